"""Measure an exported base model: held-out loss and answers to freshly generated tasks.

    python -m tinker_engine.base.score --model nano/ --corpus texts/ --json scores.json

Held-out text is cut into windows of `WINDOW` tokens without overlap; bits per byte divide the sum
of its loss by the bytes of the text. Tasks come from a seed that no training data used; answers
are decoded greedily and compared exactly, or, where several label names are right, by name in any
spelling.
"""

import argparse
import json
import math
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer

from tinker_engine.base.corpus import Corpus, read_corpus
from tinker_engine.base.curriculum import Example, generate

WINDOW = 512
TASK_SEED = 90_000_019
MAX_NEW_TOKENS = 48


class HeldOutLoss(NamedTuple):
    """Loss on held-out text: nats per token, bits per byte, and how many tokens were scored."""

    nats_per_token: float
    bits_per_byte: float
    tokens: int


class FamilyScore(NamedTuple):
    """Right answers out of all answers of a family."""

    right: int
    total: int


def is_right(example: Example, answer: str) -> bool:
    """Whether an answer is the expected one, or any accepted name in any spelling."""
    if example.is_exact:
        return answer.strip() == example.messages[-1]["content"].strip()
    return _plain(answer) in {_plain(name) for name in example.accepted}


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", name.lower())


@torch.no_grad()
def held_out_loss(model: Any, tokenizer: Any, corpus: Corpus) -> HeldOutLoss:
    """Loss on every held-out section; the first token of a window is context only."""
    nats, tokens, n_bytes = 0.0, 0, 0
    for section in corpus.sections:
        if not section.is_held_out:
            continue
        ids = tokenizer(section.text, return_tensors="pt")["input_ids"][0]
        n_bytes += len(section.text.encode())
        for window in ids.split(WINDOW):
            if len(window) < 2:
                continue
            logits = model(window[None]).logits[0, :-1].float()
            nats += float(cross_entropy(logits, window[1:], reduction="sum"))
            tokens += len(window) - 1
    return HeldOutLoss(nats / tokens, nats / math.log(2) / n_bytes, tokens)


@torch.no_grad()
def answer_all(model: Any, tokenizer: Any, examples: list[Example], batch_size: int) -> list[str]:
    """Greedy answers, in order; prompts are batched by length."""
    prompts = [
        tokenizer.apply_chat_template(e.messages[:-1], tokenize=False, add_generation_prompt=True)
        for e in examples
    ]
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    answers = [""] * len(prompts)
    tokenizer.padding_side = "left"
    for start in range(0, len(order), batch_size):
        picks = order[start : start + batch_size]
        batch = tokenizer([prompts[i] for i in picks], return_tensors="pt", padding=True)
        inputs = {key: batch[key] for key in ("input_ids", "attention_mask")}
        out = model.generate(**inputs, max_new_tokens=MAX_NEW_TOKENS, do_sample=False)
        for i, row in zip(picks, out[:, inputs["input_ids"].shape[1] :], strict=True):
            answers[i] = tokenizer.decode(row, skip_special_tokens=True)
    return answers


def score_tasks(
    model: Any, tokenizer: Any, corpus: Corpus | None, count: int, batch_size: int = 32
) -> dict[str, FamilyScore]:
    """Right answers by family of task, over `count` fresh examples that have a checkable answer."""
    examples = [e for e in generate(TASK_SEED, count, corpus) if e.is_exact or e.accepted]
    found: dict[str, list[bool]] = defaultdict(list)
    for example, answer in zip(
        examples, answer_all(model, tokenizer, examples, batch_size), strict=True
    ):
        found[example.family].append(is_right(example, answer))
    return {family: FamilyScore(sum(marks), len(marks)) for family, marks in sorted(found.items())}


def main(argv: list[str] | None = None) -> int:
    """Parse the command line, measure, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tinker_engine.base.score", description="Measure a base model."
    )
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument(
        "--corpus", nargs="+", type=Path, required=True, help="the texts it was built from"
    )
    parser.add_argument(
        "--tasks", type=int, default=4000, help="fresh examples (default %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    model: Any = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32)
    tokenizer: Any = AutoTokenizer.from_pretrained(args.model)
    corpus = read_corpus(args.corpus)
    loss = held_out_loss(model.eval(), tokenizer, corpus)
    print(
        f"held-out text: {loss.nats_per_token:.4f} nats/token, {loss.bits_per_byte:.4f} bits/byte"
    )
    print("scoring tasks...", file=sys.stderr)
    scores = score_tasks(model, tokenizer, corpus, args.tasks)
    for family, score in scores.items():
        share = 100 * score.right / score.total
        print(f"{family:24} {score.right:5} / {score.total:5}  {share:5.1f}%")
    if args.json:
        figures = {
            "held_out": loss._asdict(),
            "tasks": {family: s._asdict() for family, s in scores.items()},
        }
        args.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
