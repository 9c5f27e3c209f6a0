"""Reading the plain-text books that `nano` is pretrained on, and what their layout gives away.

A book is one text file: sections are separated by two blank lines and open with their
title; blocks headed "Glossary" hold `term: definition` lines.
One section in a hundred is held out, by a hash of its text, so the split never depends on order.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

HELD_OUT_SHARE = 100
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_TERM = re.compile(r"^([A-Za-z][^:.\n]{1,45}): ([^\n]{15,260})$", re.MULTILINE)


@dataclass(frozen=True)
class Section:
    """A section of a book, its title being the first line of its text."""

    book: str
    title: str
    text: str
    is_held_out: bool


@dataclass(frozen=True)
class Term:
    """A glossary entry."""

    book: str
    name: str
    definition: str


@dataclass(frozen=True)
class Corpus:
    """All sections and glossary entries of some books."""

    sections: tuple[Section, ...]
    terms: tuple[Term, ...]


def corpus_files(paths: list[Path]) -> list[Path]:
    """The text files named, and those inside the folders named, sorted by name."""
    files = [f for p in paths for f in (sorted(p.glob("*.txt")) if p.is_dir() else [p])]
    if not files:
        raise FileNotFoundError(f"no .txt file found under {', '.join(map(str, paths))}")
    return sorted(files, key=lambda f: f.name)


def _is_held_out(text: str) -> bool:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % HELD_OUT_SHARE == 0


def read_book(path: Path) -> tuple[list[Section], list[Term]]:
    """Sections and glossary terms of one book; the file's stem is the book's name."""
    book = path.stem.replace("-", " ").replace("_", " ")
    sections: list[Section] = []
    terms: list[Term] = []
    blocks = [
        b.strip() for b in re.split(r"\n\n\n+", path.read_text(encoding="utf-8")) if b.strip()
    ]
    for block in blocks:
        title, _, body = block.partition("\n")
        title = title.strip()
        if len(title) > 80:  # prose, not a title
            title, body = "", block
        is_held_out = _is_held_out(block)
        _, mark, glossary = body.partition("\nGlossary\n")
        sections.append(Section(book, title, block, is_held_out))
        if mark and not is_held_out:
            terms += [Term(book, m[1].strip(), m[2].strip()) for m in _TERM.finditer(glossary)]
    return sections, terms


def read_corpus(paths: list[Path]) -> Corpus:
    """Every book among the files and folders named."""
    sections: list[Section] = []
    terms: list[Term] = []
    for path in corpus_files(paths):
        more, more_terms = read_book(path)
        sections += more
        terms += more_terms
    return Corpus(tuple(sections), tuple(terms))


def paragraphs(section: Section) -> list[str]:
    """Paragraphs of running prose: no lists, no exercises' fragments."""
    parts = [p.strip().replace("\n", " ") for p in section.text.split("\n\n")]
    return [
        p for p in parts if len(p) > 150 and p[0].isupper() and p[-1] == "." and "size 12" not in p
    ]


def sentences(paragraph: str) -> list[str]:
    """Sentences of a paragraph that are neither very short nor very long."""
    return [s for s in _SENTENCE.split(paragraph) if 30 < len(s) < 240]
