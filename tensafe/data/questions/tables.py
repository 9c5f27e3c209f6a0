"""Tables in Markdown text: a question column with its answers, or one fact for each cell."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tensafe.data.columns import ColumnChoice, ColumnMapping, infer_mapping, plain_name
from tensafe.data.items import Paragraph
from tensafe.data.questions.glossary import question_for
from tensafe.data.questions.pair import Pair

_RULE = re.compile(r"^\s*\|?\s*:?-{2,}:?\s*(?:\|\s*:?-{2,}:?\s*)*\|?\s*$")
_CELL = re.compile(r"(?<!\\)\|")
_TERM_NAMES = frozenset(("term", "word", "abbreviation", "acronym", "name", "concept"))
_MEANING_NAMES = frozenset(("definition", "meaning", "explanation", "description", "stands for"))
_NAME = re.compile(r"(?=.*[^\W\d_]{2})[\w\s'’(),./&:#+-]*[\w)]")
_MAX_COLUMNS = 8


def read_table(paragraph: Paragraph) -> list[dict[str, str]] | None:
    """The rows of a paragraph that is a Markdown table with a header; None for any other."""
    lines = [line for line in paragraph.text.split("\n") if line.strip()]
    if len(lines) < 3 or not _RULE.match(lines[1]) or "|" not in lines[0]:
        return None
    names = _cells(lines[0])
    if len(set(names)) != len(names) or not 2 <= len(names) <= _MAX_COLUMNS:
        return None
    rows = [_cells(line) for line in lines[2:]]
    if any(len(row) != len(names) for row in rows):
        return None
    return [dict(zip(names, row, strict=True)) for row in rows]


def table_pairs(rows: Sequence[dict[str, str]], paragraph: Paragraph) -> Iterator[Pair]:
    """Pairs of a table. All cells of one row are one passage."""
    names = list(rows[0])
    mapping = infer_mapping(rows, ColumnChoice())
    names_things = _names_things(rows)
    is_asked = isinstance(mapping, ColumnMapping) and _asks(mapping, rows)
    for number, row in enumerate(rows, start=1):
        passage = f"{paragraph.place} row {number}"
        if plain_name(names[0]) in _TERM_NAMES and plain_name(names[1]) in _MEANING_NAMES:
            asked = [(question_for(row[names[0]]), row[names[1]])]
        elif isinstance(mapping, ColumnMapping) and _asks(mapping, rows):
            asked = [(row[mapping.questions[0]], row[mapping.answer])]
        elif names_things:
            asked = [(f"{row[names[0]]}: what is the {_name(n)}?", row[n]) for n in names[1:]]
        else:
            return
        for question, answer in asked:
            if row[names[0]].strip() and answer.strip(" -–—"):
                yield Pair(question, answer, paragraph.place, passage, is_made=not is_asked)


def _names_things(rows: Sequence[dict[str, str]]) -> bool:
    """Whether a fact of the table is understood alone: keys that are names, cells that are words.

    A table of figures is not: `Pizza: what is the total?` says neither of what nor when.
    """
    keys = [next(iter(row.values())) for row in rows]
    cells = [cell for row in rows for cell in list(row.values())[1:] if cell]
    names = [*keys, *list(rows[0])[1:]]
    named = all(_NAME.fullmatch(name) for name in names) and len(set(keys)) == len(keys)
    wordy = sum(bool(re.match(r"[\W_]*[^\W\d_]{2}", cell)) for cell in cells)
    return named and wordy >= 0.8 * len(cells)


def _asks(mapping: ColumnMapping, rows: Sequence[dict[str, str]]) -> bool:
    """Whether the question column holds questions, not just texts."""
    texts = [row[mapping.questions[0]] for row in rows]
    return sum(text.rstrip().endswith("?") for text in texts) >= 0.5 * len(texts)


def _name(header: str) -> str:
    first = header.partition(" ")[0]
    return header if first.isupper() and len(first) > 1 else header[:1].lower() + header[1:]


def _cells(line: str) -> list[str]:
    inner = line.strip().removeprefix("|").removesuffix("|")
    return [cell.replace("\\|", "|").strip().strip("*_`") for cell in _CELL.split(inner)]
