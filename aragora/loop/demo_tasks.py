"""Verifiable tasks of kinds that `nano` half knows, generated from a seed.

    python -m aragora.loop.demo_tasks --seed 0 --out tasks.jsonl --keys keys.jsonl

Short lists and phrases to take something from or to copy, asked in the words of nano's curriculum,
from seeds that no training of nano used; every task has one right answer. Training tasks are
written without it: `--keys` keeps their answers apart, for reports on how right debates were.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

from aragora.memory.identity import answer_key
from tinker_engine.base.curriculum import slots
from tinker_engine.base.curriculum.example import expand
from tinker_engine.base.curriculum.lists import CHANGE
from tinker_engine.base.curriculum.lists import KINDS as POOLS

SEED_BASE = 57_000_017
KINDS = ("first-word", "initials", "first-item", "copy")
_PATTERNS = {"first-word": "first", "initials": "initials", "copy": "same"}
_ITEM = (
    "{What is|Name|Give} the first {item|word|entry} {of|in}: <LIST>",
    "<LIST>\nFirst {one|item}?",
    "{From|Out of} <LIST> {take|pick} the first.",
)
Row = dict[str, str]


def make_tasks(
    seed: int, train: int, held_out: int, kinds: tuple[str, ...] = KINDS
) -> tuple[list[Row], list[Row]]:
    """Rows of a task file, and rows with the answers of its training tasks.

    No two tasks ask the same; every kind comes as often as the others.
    """
    rng = random.Random(SEED_BASE + seed)
    seen: set[str] = set()

    def take(count: int) -> list[Row]:
        rows: list[Row] = []
        while len(rows) < count:
            kind = kinds[len(rows) % len(kinds)]
            question, answer = _item(rng) if kind == "first-item" else _phrase(kind, rng)
            if answer_key(question) not in seen:
                seen.add(answer_key(question))
                rows.append({"task": question, "answer": answer, "domain": kind})
        return rows

    # Held-out first: more training tasks leave them as they are.
    held = [{**row, "split": "held_out"} for row in take(held_out)]
    learned = take(train)
    shown = [{"task": r["task"], "domain": r["domain"], "split": "train"} for r in learned]
    return [*held, *shown], learned


def _phrase(kind: str, rng: random.Random) -> tuple[str, str]:
    """A few words with something to do to them."""
    pool = [*slots.THINGS, *slots.ANIMALS, *slots.FRUIT, *(c.lower() for c in slots.CITIES)]
    words = rng.sample(pool, rng.randint(2, 5))
    if kind == "initials":
        words = slots.person(rng).split()
    answer = {
        "first-word": words[0],
        "initials": "".join(word[0] for word in words),
        "copy": " ".join(words),
    }[kind]
    text = " ".join(words)
    ask = expand(rng.choice(CHANGE[_PATTERNS[kind]]), rng)
    forms = (f"{ask} {text}", f'{ask} "{text}"', f"{ask}\n{text}", f"{text}\n{ask.rstrip(':')}")
    return rng.choice(forms), answer


def _item(rng: random.Random) -> tuple[str, str]:
    """The first entry of a list."""
    items = rng.sample(rng.choice(list(POOLS.values())), rng.randint(3, 6))
    listed = rng.choice((", ", "; ", "\n", " / ")).join(items)
    asked = expand(rng.choice(_ITEM), rng).replace("<LIST>", listed)
    return asked[:1].upper() + asked[1:], items[0]


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
    parser.add_argument("--train", type=int, default=960, help="training tasks (%(default)s)")
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
