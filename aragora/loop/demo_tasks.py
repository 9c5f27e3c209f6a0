"""Verifiable tasks of kinds that `nano` half knows, generated from a seed.

    python -m aragora.loop.demo_tasks --seed 0 --out tasks.jsonl --keys keys.jsonl

Kinds are those of nano's curriculum (records to read, objects to write as JSON, fields to copy),
from seeds that no training of nano used; every task has one right answer. Training tasks are
written without it: `--keys` keeps their answers apart, for reports on how right debates were.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from aragora.memory.identity import answer_key
from tinker_engine.base.curriculum import lists, reading
from tinker_engine.base.curriculum.example import Example

SEED_BASE = 57_000_017
KINDS = ("read-record", "read-record", "json", "extract")
_MAKERS: tuple[Callable[[random.Random], Example], ...] = (lists.make, reading.make)
Row = dict[str, str]


def make_tasks(
    seed: int, train: int, held_out: int, kinds: tuple[str, ...] = KINDS
) -> tuple[list[Row], list[Row]]:
    """Rows of a task file, and rows with the answers of its training tasks.

    No two tasks ask the same; each split holds every kind in its share of `kinds`.
    """
    rng = random.Random(SEED_BASE + seed)
    shares = Counter(kinds)
    seen: set[str] = set()

    def take(count: int) -> list[Row]:
        rows: list[Row] = []
        per_kind: Counter[str] = Counter()
        while len(rows) < count:
            example = rng.choice(_MAKERS)(rng)
            kind, turns = example.family, example.messages
            if kind not in kinds or not example.is_exact or len(turns) != 2:
                continue
            question, answer = turns[0]["content"], turns[1]["content"]
            if per_kind[kind] >= -(-count * shares[kind] // len(kinds)):
                continue
            if answer_key(question) in seen or not answer_key(answer):
                continue
            seen.add(answer_key(question))
            per_kind[kind] += 1
            rows.append({"task": question, "answer": answer, "domain": kind})
        return rows

    # Held-out first: more training tasks leave them as they are.
    held = [{**row, "split": "held_out"} for row in take(held_out)]
    learned = take(train)
    shown = [{"task": r["task"], "domain": r["domain"], "split": "train"} for r in learned]
    return [*held, *shown], learned


def write_rows(path: Path, rows: list[Row]) -> None:
    """Write JSON lines."""
    from tensafe.files import write_text

    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def main(argv: list[str] | None = None) -> int:
    """Parse the command line, write the files, give the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m aragora.loop.demo_tasks", description="Make tasks for a loop on nano."
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train", type=int, default=360, help="training tasks (%(default)s)")
    parser.add_argument("--held-out", type=int, default=240, help="held-out ones (%(default)s)")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), help="kinds (%(default)s)")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--keys", type=Path, help="write the training tasks' answers here")
    args = parser.parse_args(argv)
    rows, keys = make_tasks(args.seed, args.train, args.held_out, tuple(args.kinds))
    write_rows(args.out, rows)
    if args.keys:
        write_rows(args.keys, keys)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
