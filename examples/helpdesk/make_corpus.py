"""Write the Veldrun helpdesk corpus: `python examples/helpdesk/make_corpus.py [--check]`.

Without an option the files under `examples/helpdesk/data/` are written anew, the same bytes each
time. With `--check` they are made in a temporary folder and compared with the committed ones.
reportlab and polars are needed, the rest is the standard library.
"""

from __future__ import annotations

import argparse
import filecmp
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from manual import LONGEST_QUESTION, write_manual
from messages import Case, ask, compose
from phrasebook import Dice, Phrasebook, read_phrasebooks
from writers import (
    write_broken_bulletin,
    write_chats,
    write_faq_markdown,
    write_faq_text,
    write_history,
    write_tickets,
)

SEED = 20_240_611
DATA = Path(__file__).resolve().parent / "data"
#: Cases per file, before the export's dirt.
COUNTS: Mapping[str, int] = {
    "tickets.csv": 6800,
    "chats.jsonl": 4200,
    "history.parquet": 4600,
    "faq.md": 180,
    "hotline.txt": 180,
    "manual.pdf": 160,
}
#: How many of a file's writers type in a hurry (lower case, short forms).
HURRY: Mapping[str, float] = {"tickets.csv": 0.15, "chats.jsonl": 0.55, "history.parquet": 0.1}


def _draw(
    books: list[Phrasebook], seen: set[str], count: int, make: Callable[[Phrasebook], Case]
) -> list[Case]:
    """`count` cases whose words differ from every case in `seen`, which they join."""
    dice = Dice(SEED + len(seen))
    cases: list[Case] = []
    while len(cases) < count:
        case = make(dice.weighted([(book, book.weight) for book in books]))
        words = " ".join("".join(c if c.isalnum() else " " for c in case.question.lower()).split())
        if words not in seen:
            seen.add(words)
            cases.append(case)
    return cases


def _short_question(book: Phrasebook, dice: Dice) -> Case:
    """An FAQ question that fits on one line of the manual."""
    while True:
        case = ask(book, dice)
        if len(case.question) <= LONGEST_QUESTION:
            return case


def make_cases() -> dict[str, list[Case]]:
    """The cases of every file, by file name; no message stands in two of them."""
    books = read_phrasebooks()
    dice = Dice(SEED)
    seen: set[str] = set()
    cases: dict[str, list[Case]] = {}
    for name, count in COUNTS.items():

        def make(book: Phrasebook, name: str = name) -> Case:
            if name == "manual.pdf":
                return _short_question(book, dice)
            return compose(book, dice, hurry=HURRY[name]) if name in HURRY else ask(book, dice)

        cases[name] = _draw(books, seen, count, make)
    return cases


def write_corpus(folder: Path) -> dict[str, int]:
    """Write every file into `folder`; returns the number of usable questions in each."""
    folder.mkdir(parents=True, exist_ok=True)
    cases = make_cases()
    dice = Dice(SEED + 1)
    return {
        "tickets.csv": write_tickets(folder / "tickets.csv", cases["tickets.csv"], dice),
        "chats.jsonl": write_chats(folder / "chats.jsonl", cases["chats.jsonl"], dice),
        "history.parquet": write_history(
            folder / "history.parquet", cases["history.parquet"], dice
        ),
        "faq.md": write_faq_markdown(folder / "faq.md", cases["faq.md"]),
        "hotline.txt": write_faq_text(folder / "hotline.txt", cases["hotline.txt"]),
        "manual.pdf": write_manual(folder / "manual.pdf", cases["manual.pdf"]),
        "bulletin_2019.pdf": write_broken_bulletin(folder / "bulletin_2019.pdf"),
    }


def changed_files(folder: Path) -> list[str]:
    """Names of the files in `folder` that differ from freshly made ones, or are absent there."""
    with tempfile.TemporaryDirectory() as fresh:
        names = list(write_corpus(Path(fresh)))
        _, different, missing = filecmp.cmpfiles(fresh, folder, names, shallow=False)
    return sorted(different + missing)


def main() -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    if parser.parse_args().check:
        changed = changed_files(DATA)
        print(f"differs from the script: {', '.join(changed)}" if changed else "unchanged")
        return 1 if changed else 0
    for name, count in write_corpus(DATA).items():
        print(f"{name:20} {count:5} questions  {(DATA / name).stat().st_size:8} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
