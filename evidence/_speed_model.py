"""The model and data that every contender trains on: random weights and tokens, fixed seeds.

A Llama 512 wide with 8 layers, 8 query and 4 key/value heads, 1,408 feed-forward, 8,192 vocabulary,
and sequences of 32 to 512 tokens, 166 on average.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypedDict, cast

VOCAB = 8192
RANK, ALPHA = 30, 64
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
BATCH = 8
PAIRS, PAIR_BATCH = 24, 4
LEARNING_RATE = 1e-4
SHORTEST, LONGEST, MEAN = 32, 512, 166
# Matrix products of one token: (in, out) of each linear map, layers of them, and the head.
LINEARS = ((512, 1024), (512, 512), (512, 2816), (1408, 512))
LAYERS = 8


class Pair(TypedDict):
    """A prompt with two answers, as token ids."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]


def build(folder: Path, sequences: int) -> None:
    """Write config, weights, tokenizer, `data.json` (lists of token ids) and `pairs.json`."""
    import numpy as np
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=512,
        num_hidden_layers=LAYERS,
        num_attention_heads=8,
        num_key_value_heads=4,
        intermediate_size=1408,
        max_position_embeddings=1024,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )
    cast(Any, AutoModelForCausalLM).from_config(config).save_pretrained(folder)
    vocab = {"<pad>": 0, "<eos>": 1, **{f"w{i}": i for i in range(2, VOCAB)}}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="<pad>"))
    cast(Any, tokenizer).pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>"
    )
    wrapped.save_pretrained(str(folder))
    rng = np.random.default_rng(0)
    lengths = _lengths(rng, sequences)
    rows = [rng.integers(2, VOCAB, length).tolist() for length in lengths]
    (folder / "data.json").write_text(json.dumps(rows), encoding="utf-8")
    (folder / "pairs.json").write_text(json.dumps(_pairs(rng)), encoding="utf-8")


def _pairs(rng: Any) -> list[Pair]:
    """Prompts of half a sequence's length, and two answers that make up two whole ones."""
    pairs: list[Pair] = []
    lengths = _lengths(rng, 2 * PAIRS)
    for first, second in zip(lengths[::2], lengths[1::2], strict=True):
        prompt = min(first, second) // 2
        parts = (prompt, first - prompt, second - prompt)
        ids = [rng.integers(2, VOCAB, length).tolist() for length in parts]
        pairs.append(Pair(prompt=ids[0], chosen=ids[1], rejected=ids[2]))
    return pairs


def pairs_in(folder: Path) -> list[Pair]:
    """The pairs of `build`."""
    return json.loads((folder / "pairs.json").read_text(encoding="utf-8"))


def _lengths(rng: Any, count: int) -> list[int]:
    """Log-normal lengths within the limits, moved until their mean is right to a token."""
    import numpy as np

    drawn = rng.normal(0.0, 0.75, count)
    lengths, low, high = np.empty(0, dtype=int), np.log(SHORTEST), np.log(LONGEST)
    for _ in range(60):
        middle = (low + high) / 2
        lengths = np.exp(middle + drawn).clip(SHORTEST, LONGEST).round().astype(int)
        low, high = (middle, high) if lengths.mean() < MEAN else (low, middle)
    return [int(n) for n in lengths]


def sequences_in(folder: Path) -> list[list[int]]:
    """The token ids of `build`."""
    return json.loads((folder / "data.json").read_text(encoding="utf-8"))


def tokens_of(rows: list[list[int]]) -> int:
    """Useful tokens: each position that has a next token to learn; padding never counts."""
    return sum(len(row) - 1 for row in rows)


def flop_per_token() -> float:
    """Products of the frozen maps forward and back, and of LoRA's; attention scores left out."""
    frozen = sum(i * o for i, o in LINEARS) * LAYERS + 512 * VOCAB
    modules = (
        (512, 512),
        (512, 256),
        (512, 256),
        (512, 512),
        (512, 1408),
        (512, 1408),
        (1408, 512),
    )
    adapter = RANK * sum(i + o for i, o in modules) * LAYERS
    return 2.0 * 2 * frozen + 2.0 * 3 * adapter
