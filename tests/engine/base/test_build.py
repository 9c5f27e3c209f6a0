"""Building from scratch, at toy size: packing, resuming, and the exported folder."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from tinker_engine.base.build import build
from tinker_engine.base.corpus import read_corpus
from tinker_engine.base.curriculum import generate
from tinker_engine.base.dataset import ROW, Batches, DataFiles, encode_example, pack
from tinker_engine.base.export import read_weights
from tinker_engine.base.model import Nano, NanoConfig, packed_mask
from tinker_engine.base.tokenizer import CHAT_TEMPLATE, END, token_id
from tinker_engine.base.train import Trainer, TrainOptions, learning_rate_factor

CONFIG = NanoConfig(
    vocab_size=512,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=48,
)
OPTIONS = TrainOptions(steps=3, tokens_per_batch=512, is_bf16=False, threads=1)
WORDS = ("river", "stone", "moves", "under", "heavy", "light", "energy", "flows", "between")


@pytest.fixture(scope="module")
def corpus_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("corpus"), random.Random(0)
    sections: list[str] = []
    for n in range(300):
        lines = [
            " ".join(rng.choices(WORDS, k=12)).capitalize() + f" in {1800 + n}." for _ in range(3)
        ]
        glossary = "Glossary\n\n" + f"term{n}: " + " ".join(rng.choices(WORDS, k=6))
        sections.append(f"Title {n}\n\n{' '.join(lines)}\n\n{glossary}")
    (folder / "toy.txt").write_text("\n\n\n".join(sections))
    return folder


@pytest.fixture(scope="module")
def built(corpus_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    build(
        [corpus_dir],
        folder / "out",
        folder / "state",
        CONFIG,
        OPTIONS,
        examples=300,
        is_resumed=False,
    )
    return folder


def _tokenizer(built: Path) -> Tokenizer:
    return Tokenizer.from_file(str(built / "state" / "tokenizer.json"))


def test_exported_folder_loads_and_renders_like_the_training_data(
    built: Path, corpus_dir: Path
) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(built / "out")
    tokenizer: Any = AutoTokenizer.from_pretrained(built / "out")
    assert model.config.num_hidden_layers == CONFIG.num_hidden_layers
    assert tokenizer.chat_template == CHAT_TEMPLATE
    for example in generate(3, 40, read_corpus([corpus_dir])):
        text = tokenizer.apply_chat_template(example.messages, tokenize=False)
        own = encode_example(example, _tokenizer(built)).ids
        assert tokenizer(text, add_special_tokens=False)["input_ids"] == own


def test_resumed_run_ends_with_identical_weights(built: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    shutil.copytree(built / "state" / "data", state / "data")
    first = Trainer(CONFIG, OPTIONS, _tokenizer(built), state, tmp_path / "out")
    first.train_step()
    first.save()
    second = Trainer(CONFIG, OPTIONS, _tokenizer(built), state, tmp_path / "out")
    second.load()
    assert second.step == 1
    second.run(lambda _: None)
    straight = (built / "out" / "model.safetensors").read_bytes()
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == straight


def test_resume_without_checkpoint_says_so(corpus_dir: Path, built: Path, tmp_path: Path) -> None:
    shutil.copytree(built / "state" / "data", tmp_path / "data")
    shutil.copy(built / "state" / "tokenizer.json", tmp_path)
    with pytest.raises(FileNotFoundError, match="omit --resume"):
        build(
            [corpus_dir], tmp_path / "o", tmp_path, CONFIG, OPTIONS, examples=300, is_resumed=True
        )


def test_a_later_round_starts_from_the_earlier_weights(
    built: Path, corpus_dir: Path, tmp_path: Path
) -> None:
    options = TrainOptions(
        steps=1, tokens_per_batch=512, is_bf16=False, threads=1, seed=1, muon_lr=0.0, adam_lr=0.0
    )
    build(
        [corpus_dir], tmp_path / "out", tmp_path / "state", CONFIG, options,
        examples=300, is_resumed=False, init_from=built / "out",
    )  # fmt: skip
    before, after = read_weights(built / "out"), read_weights(tmp_path / "out")
    assert before.keys() == after.keys()
    for name, weight in before.items():
        torch.testing.assert_close(after[name], weight)
    assert (tmp_path / "state" / "tokenizer.json").read_text() == (
        built / "state" / "tokenizer.json"
    ).read_text()


def test_checkpoint_of_another_seed_is_refused(built: Path) -> None:
    options = TrainOptions(steps=3, tokens_per_batch=512, is_bf16=False, threads=1, seed=1)
    trainer = Trainer(CONFIG, options, _tokenizer(built), built / "state", built / "out2")
    with pytest.raises(ValueError, match="seed"):
        trainer.load()


def test_batches_follow_from_seed_and_number_alone(built: Path) -> None:
    end = token_id(_tokenizer(built), END)

    def batches(seed: int) -> Batches:
        files = DataFiles(built / "state" / "data")
        return Batches(files, seed=seed, tokens_per_batch=512, end=end)

    for kind in ("text_batch", "chat_batch"):
        again = [getattr(batches(0), kind)(n).tokens for n in (4, 4)]
        assert torch.equal(*again)
        assert not torch.equal(again[0], getattr(batches(1), kind)(4).tokens)


def test_packing_keeps_every_example_whole(built: Path) -> None:
    tokenizer = _tokenizer(built)
    encoded = [encode_example(e, tokenizer) for e in generate(5, 200)]
    fitting = [e for e in encoded if len(e.ids) <= ROW + 1]
    rows = list(pack(encoded, pad=0))
    opened = sum(int(((r[1] == 0) & (r[0] != 0)).sum()) for r in rows)
    assert opened == len(fitting)
    assert sum(int(r[2].astype(np.int64).sum()) for r in rows) == sum(
        sum(e.weights) for e in fitting
    )


def test_documents_in_a_row_do_not_see_each_other() -> None:
    model = Nano(CONFIG, seed=0)
    ids = torch.randint(0, 512, (1, 12), generator=torch.Generator().manual_seed(0))
    positions = torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5, 6]])
    alone = torch.arange(7)[None]
    packed = model.features(ids, positions, packed_mask(positions))[:, 5:]
    torch.testing.assert_close(packed, model.features(ids[:, 5:], alone, packed_mask(alone)))


def test_learning_rate_rises_holds_and_falls() -> None:
    assert learning_rate_factor(0, 0.0) < 0.05
    assert learning_rate_factor(500, 0.4) == 1.0
    assert 0.4 < learning_rate_factor(500, 0.84) < 0.6
    assert learning_rate_factor(500, 1.0) == pytest.approx(0.01)
