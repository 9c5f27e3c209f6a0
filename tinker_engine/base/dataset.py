"""Training data as memory-mapped arrays: a stream of book text and packed rows of chat examples.

Text is one `uint16` stream, sections closed by the end token; a row is any window of it. Examples
are packed whole into rows of `ROW` tokens. Weights are sixteenths: 16 for text, more for answers,
less for prompts, 0 for padding. The batch of a step depends on nothing but the step and the seed.
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from tinker_engine.base.corpus import Corpus
from tinker_engine.base.curriculum import Example, generate
from tinker_engine.base.tokenizer import ASSISTANT, END, PAD, SYSTEM, USER, token_id

ROW = 256
TEXT_ROW = 512
PROMPT_WEIGHT, ANSWER_WEIGHT, TEXT_WEIGHT = 4, 32, 16
OPEN_ROWS = 64
ROLE_TOKEN = {"user": USER, "assistant": ASSISTANT, "system": SYSTEM}
HELD_OUT_SEED = 1_000_003


class Batch(NamedTuple):
    """Packed rows: ids, next ids, positions (0 opens a document) and loss weights, all (B, T)."""

    tokens: Tensor
    targets: Tensor
    positions: Tensor
    weights: Tensor


class Encoded(NamedTuple):
    """Token ids and the loss weight of each, in sixteenths."""

    ids: list[int]
    weights: list[int]


def encode_example(example: Example, tokenizer: Tokenizer) -> Encoded:
    """Ids as the chat template renders them; a weight belongs to the token it predicts."""
    end = token_id(tokenizer, END)
    ids: list[int] = []
    weights: list[int] = []
    for message in example.messages:
        body = tokenizer.encode(message["content"], add_special_tokens=False).ids
        is_answer = message["role"] == "assistant"
        ids += [
            token_id(tokenizer, ROLE_TOKEN[message["role"]]),
            *body,
            *([end] if is_answer else []),
        ]
        weights += [0] + [ANSWER_WEIGHT if is_answer else PROMPT_WEIGHT] * (len(body) + is_answer)
    return Encoded(ids, weights)


def pack(examples: Iterable[Encoded], pad: int) -> Iterator[NDArray[np.uint16]]:
    """Rows (3, ROW + 1) of ids, positions and weights; each goes into the fullest row it fits."""
    rows: list[list[Encoded]] = []
    room: list[int] = []

    def close(at: int) -> NDArray[np.uint16]:
        row = np.zeros((3, ROW + 1), dtype=np.uint16)
        row[0] = pad
        used = 0
        for ids, weights in rows.pop(at):
            row[0, used : used + len(ids)] = ids
            row[1, used : used + len(ids)] = np.arange(len(ids))
            row[2, used : used + len(ids)] = weights
            used += len(ids)
        room.pop(at)
        return row

    for example in examples:
        size = len(example.ids)
        if size > ROW + 1:
            continue
        fits = [i for i, free in enumerate(room) if free >= size]
        if fits:
            at = min(fits, key=room.__getitem__)
            rows[at].append(example)
            room[at] -= size
        else:
            if len(rows) == OPEN_ROWS:
                yield close(min(range(len(rows)), key=room.__getitem__))
            rows.append([example])
            room.append(ROW + 1 - size)
    while rows:
        yield close(0)


@dataclass(frozen=True)
class DataFiles:
    """Where the prepared arrays lie inside the state folder."""

    folder: Path

    def path(self, name: str) -> Path:
        """The file of one array."""
        return self.folder / f"{name}.npy"

    def is_ready(self) -> bool:
        """Whether all arrays were written."""
        return (self.folder / "data.json").exists()


def _examples(seed: int, count: int, corpus: Corpus, tokenizer: Tokenizer) -> Iterator[Encoded]:
    for example in generate(seed, count, corpus):
        yield encode_example(example, tokenizer)


def prepare(
    files: DataFiles, corpus: Corpus, tokenizer: Tokenizer, *, seed: int, examples: int
) -> None:
    """Write text and example arrays for training and for the held-out measurement."""
    files.folder.mkdir(parents=True, exist_ok=True)
    end, pad = token_id(tokenizer, END), token_id(tokenizer, PAD)
    counts: dict[str, int] = {}
    for name, is_held_out in (("text", False), ("text_held_out", True)):
        chosen = [s.text for s in corpus.sections if s.is_held_out == is_held_out]
        encoded = tokenizer.encode_batch(chosen, add_special_tokens=False)
        stream = np.array([i for e in encoded for i in (*e.ids, end)], dtype=np.uint16)
        np.save(files.path(name), stream)
        counts[f"{name}_tokens"] = int(stream.size)
        counts[f"{name}_bytes"] = sum(len(t.encode()) for t in chosen)
    for name, its_seed, count in (
        ("chat", seed, examples),
        ("chat_held_out", HELD_OUT_SEED + seed, max(40, examples // 200)),
    ):
        rows = list(pack(_examples(its_seed, count, corpus, tokenizer), pad))
        np.save(files.path(name), np.stack(rows))
        counts[f"{name}_rows"] = len(rows)
        counts[f"{name}_examples"] = count
        counts[f"{name}_tokens"] = int(sum(int((r[2] > 0).sum()) for r in rows))
    note = files.folder / "data.json.tmp"
    note.write_text(json.dumps(counts, indent=2) + "\n")
    os.replace(note, files.folder / "data.json")


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, size: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, epoch)).permutation(size)


def _to_batch(
    ids: NDArray[np.int64], positions: NDArray[np.int64], weights: NDArray[np.float32]
) -> Batch:
    return Batch(
        torch.from_numpy(ids[:, :-1].copy()),
        torch.from_numpy(ids[:, 1:].copy()),
        torch.from_numpy(positions[:, :-1].copy()),
        torch.from_numpy(weights[:, 1:].copy()),
    )


class Batches:
    """Batches by number; an epoch visits every window or row once, in an order the seed draws."""

    def __init__(
        self, files: DataFiles, *, seed: int, tokens_per_batch: int, end: int, suffix: str = ""
    ) -> None:
        self.text = np.load(files.path(f"text{suffix}"), mmap_mode="r")
        self.chat = np.load(files.path(f"chat{suffix}"), mmap_mode="r")
        self.seed, self.end = seed, end
        self.text_row = min(TEXT_ROW, (self.text.size - 1) // 2)
        self.text_rows = max(1, tokens_per_batch // self.text_row)
        self.chat_rows = max(1, tokens_per_batch // ROW)

    def text_batch(self, number: int) -> Batch:
        """Windows of the text stream."""
        row = self.text_row
        windows = (self.text.size - 1) // row - 1
        rows: list[NDArray[np.int64]] = []
        for n in range(number * self.text_rows, (number + 1) * self.text_rows):
            epoch, at = divmod(n, windows)
            shift = int(np.random.default_rng((self.seed, epoch, 7)).integers(row))
            start = int(_order(self.seed, epoch, windows)[at]) * row + shift
            rows.append(self.text[start : start + row + 1].astype(np.int64))
        ids = np.stack(rows)
        opens = np.zeros(ids.shape, dtype=bool)
        opens[:, 0] = True
        opens[:, 1:] = ids[:, :-1] == self.end
        index = np.arange(ids.shape[1])
        positions = index - np.maximum.accumulate(np.where(opens, index, 0), axis=1)
        weights = np.full(ids.shape, TEXT_WEIGHT / 16, dtype=np.float32)
        weights[positions == 0] = 0  # what opens a document can't be foreseen
        return _to_batch(ids, positions, weights)

    def chat_batch(self, number: int) -> Batch:
        """Rows of packed examples."""
        size = self.chat.shape[0]
        picks: list[int] = []
        for n in range(number * self.chat_rows, (number + 1) * self.chat_rows):
            epoch, at = divmod(n, size)
            picks.append(int(_order(self.seed + 1, epoch, size)[at]))
        rows = np.stack([self.chat[i] for i in picks]).astype(np.int64)
        return _to_batch(rows[:, 0], rows[:, 1], (rows[:, 2] / 16).astype(np.float32))
