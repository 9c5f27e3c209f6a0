"""Build `nano` from scratch: tokenizer, data, pretraining, export.

    python -m tinker_engine.base.build --corpus texts/ --state work/ --out nano/ --minutes 95

An interrupted build goes on with the same command and `--resume`. A finished model is trained
further by a new build with `--init-from`: a round with fresh optimisers and, with another
`--seed`, examples that no earlier round saw.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from tinker_engine.base.corpus import Corpus, read_corpus
from tinker_engine.base.curriculum import generate
from tinker_engine.base.dataset import DataFiles, prepare
from tinker_engine.base.export import read_weights
from tinker_engine.base.model import NanoConfig
from tinker_engine.base.tokenizer import train_tokenizer
from tinker_engine.base.train import Trainer, TrainOptions, append_log

TOKENIZER_SEED = 77
TOKENIZER_EXAMPLES = 40_000


def _tokenizer(
    corpus: Corpus, state: Path, vocab_size: int, examples: int, init_from: Path | None
) -> Tokenizer:
    path = state / "tokenizer.json"
    if init_from is not None:
        Tokenizer.from_file(str(init_from / "tokenizer.json")).save(str(path))
    elif not path.exists():
        texts = [s.text for s in corpus.sections if not s.is_held_out]
        made = (
            m["content"] for e in generate(TOKENIZER_SEED, examples, corpus) for m in e.messages
        )
        train_tokenizer(iter([*texts, *made]), vocab_size).save(str(path))
    return Tokenizer.from_file(str(path))


def build(
    corpus_paths: list[Path],
    out: Path,
    state: Path,
    config: NanoConfig,
    options: TrainOptions,
    *,
    examples: int,
    is_resumed: bool,
    init_from: Path | None = None,
) -> Trainer:
    """Run or go on with a build; returns the trainer after the last step.

    `init_from` is an exported folder whose weights and tokenizer the build starts from.
    """
    state.mkdir(parents=True, exist_ok=True)
    log = append_log(state / "train.jsonl")
    corpus = read_corpus(corpus_paths)
    tokenizer = _tokenizer(
        corpus, state, config.vocab_size, min(TOKENIZER_EXAMPLES, examples), init_from
    )
    files = DataFiles(state / "data")
    if not files.is_ready():
        prepare(files, corpus, tokenizer, seed=options.seed, examples=examples)
    trainer = Trainer(config, options, tokenizer, state, out)
    if is_resumed:
        if not trainer.checkpoint_path.exists():
            raise FileNotFoundError(
                f"{trainer.checkpoint_path} doesn't exist, so nothing to resume: omit --resume"
            )
        trainer.load()
    elif init_from is not None:
        trainer.model.load_state_dict(read_weights(init_from))

    def tell(entry: dict[str, Any]) -> None:
        log(entry)
        print(" ".join(f"{k}={v}" for k, v in entry.items()), file=sys.stderr, flush=True)

    trainer.run(tell)
    return trainer


def main(argv: list[str] | None = None) -> int:
    """Parse the command line, build, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tinker_engine.base.build",
        description="Build the base model nano from scratch.",
    )
    parser.add_argument(
        "--corpus", nargs="+", type=Path, required=True, help="text files, or folders of .txt files"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the finished model")
    parser.add_argument(
        "--state", type=Path, required=True, help="folder for data, checkpoints and the log"
    )
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--steps", type=int, help="train this many steps")
    length.add_argument("--minutes", type=float, help="train this long, decay included")
    parser.add_argument(
        "--examples", type=int, default=320_000, help="generated examples (default %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fp32", action="store_true", help="no bf16 autocast")
    parser.add_argument(
        "--compile", action="store_true", help="torch.compile; needs a C++ compiler on CPU"
    )
    parser.add_argument(
        "--init-from", type=Path, help="start from the weights and tokenizer of this built folder"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on from the checkpoint in --state"
    )
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    options = TrainOptions(
        steps=args.steps,
        minutes=args.minutes,
        seed=args.seed,
        device=args.device,
        is_bf16=not args.fp32,
        is_compiled=args.compile,
        threads=args.threads,
    )
    build(
        args.corpus,
        args.out,
        args.state,
        NanoConfig(),
        options,
        examples=args.examples,
        is_resumed=args.resume,
        init_from=args.init_from,
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
