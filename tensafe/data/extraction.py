"""From a file to examples: reader, mapping, layout, with a reason for everything left behind."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tensafe.data.boilerplate import without_boilerplate
from tensafe.data.columns import ColumnChoice, ColumnMapping, cell_text, infer_mapping
from tensafe.data.files import SourceFile
from tensafe.data.items import Item, LeftOut, OpenedSource, Paragraph, Row
from tensafe.data.layouts import (
    PREFERENCE,
    Skipped,
    chat_layout,
    example_from_chat,
    example_from_columns,
    example_from_preference,
    is_preference,
)
from tensafe.data.passages import PassageCutter, pair_example, split_pairs
from tensafe.data.questions import Pair, find_structured, pair_sections
from tensafe.data.records import Example, Unreadable
from tensafe.data.sources import open_source

_SAMPLE_ROWS = 2000
_LISTED_PER_FILE = 20
_PROSE_CHARS = 200


@dataclass(frozen=True)
class ReadOptions:
    """How files are turned into examples."""

    columns: ColumnChoice = field(default_factory=ColumnChoice)
    include_prose: bool = True
    passage_chars: int = 1200


@dataclass
class Extraction:
    """One file on its way to examples. `mapping` is known before the first item is taken.

    `items` can be walked once; the counts are complete when it is exhausted. `made_chars` counts
    the characters of pairs whose question is not in the text (`Pair.is_made`).
    """

    name: str
    format: str
    detail: str
    mapping: str
    columns: tuple[str, ...]
    items: Iterator[Example | Unreadable | Skipped]
    records: int = 0
    chars: int = 0
    made_chars: int = 0
    chat_layouts: tuple[str, ...] = ()
    has_preference: bool = False


def extract(file: SourceFile, options: ReadOptions) -> Extraction:
    """The examples of a file, as a stream."""
    opened = open_source(file)
    extraction = Extraction(file.name, opened.format, opened.detail, "", (), iter(()))
    head = list(itertools.islice(opened.items, _SAMPLE_ROWS))
    stream = itertools.chain(head, opened.items)
    if any(isinstance(item, Paragraph) for item in head):
        extraction.mapping = _prose_words(opened, options)
        sample = [item for item in head if isinstance(item, Paragraph)]
        found = _from_prose(extraction, sample, stream, options)
    else:
        found = _from_rows(extraction, head, stream, options)
    extraction.items = _limited(file.name, found)
    return extraction


def _prose_words(opened: OpenedSource, options: ReadOptions) -> str:
    rest = (
        f"the rest is prose in passages of about {options.passage_chars} characters"
        if options.include_prose
        else "the rest is left out"
    )
    return f"running text: questions with answers where the text has them, {rest}"


def _from_prose(
    extraction: Extraction,
    sample: Sequence[Paragraph],
    stream: Iterator[Item],
    options: ReadOptions,
) -> Iterator[Example | Unreadable | Skipped]:
    problems: list[Unreadable] = []

    def paragraphs() -> Iterator[Paragraph | LeftOut]:
        for item in stream:
            if isinstance(item, Paragraph):
                extraction.records += 1
                extraction.chars += len(item.text)
                yield item
            elif isinstance(item, LeftOut):
                yield item
            elif isinstance(item, Unreadable):
                problems.append(item)

    parts = split_pairs(find_structured(without_boilerplate(paragraphs(), sample)))
    if extraction.format == "Markdown":
        parts = pair_sections(parts, options.passage_chars)
    cutter = PassageCutter(extraction.name, options.passage_chars)
    for part in parts:
        if isinstance(part, LeftOut):
            yield Skipped(part.reason, part.place)
        elif isinstance(part, Pair):
            extraction.made_chars += part.is_made * (len(part.question) + len(part.answer) + 1)
            yield pair_example(part, extraction.name)
        else:
            yield from _wanted(cutter.take(part), options)
    yield from _wanted(cutter.release(), options)
    yield from problems


def _wanted(
    found: Iterator[Example | LeftOut], options: ReadOptions
) -> Iterator[Example | Skipped]:
    """Passages with their definitions; without the passages where prose isn't wanted."""
    for item in found:
        if isinstance(item, LeftOut):
            yield Skipped(item.reason, item.place)
        elif item.kind == "text" and not options.include_prose:
            yield Skipped("prose, left out on request", item.place)
        else:
            yield item


def _from_rows(
    extraction: Extraction, head: list[Item], stream: Iterator[Item], options: ReadOptions
) -> Iterator[Example | Unreadable | Skipped]:
    rows = [item for item in head if isinstance(item, Row)]
    tabular = [
        row.fields
        for row in rows
        if chat_layout(row.fields) is None and not is_preference(row.fields)
    ]
    layouts = Counter(layout for row in rows if (layout := chat_layout(row.fields)))
    extraction.chat_layouts = tuple(sorted(layouts))
    extraction.has_preference = any(is_preference(row.fields) for row in rows)
    mapping = infer_mapping(tabular, options.columns) if tabular else None
    prose_column = _prose_column(tabular) if isinstance(mapping, str) else None
    extraction.columns = tuple(dict.fromkeys(name for row in rows for name in row.fields))
    extraction.mapping = _mapping_words(mapping, layouts, extraction.has_preference, prose_column)
    plan = _RowPlan(mapping, prose_column, options)
    return _row_examples(extraction, stream, plan)


@dataclass(frozen=True)
class _RowPlan:
    mapping: ColumnMapping | str | None
    prose_column: str | None
    options: ReadOptions


def _mapping_words(
    mapping: ColumnMapping | str | None,
    layouts: Counter[str],
    has_preference: bool,
    prose_column: str | None,
) -> str:
    words = [
        f"{layout} chats: the last assistant turn is learned, all earlier turns are its prompt"
        for layout in sorted(layouts)
    ]
    if isinstance(mapping, ColumnMapping):
        words.append(mapping.sentence)
    elif prose_column:
        words.append(f"prose = {prose_column!r}")
    elif mapping == "preference":
        words.append("preference pairs: recognised, not learned from, as no column asks anything")
    elif mapping:
        words.append(mapping)
    if has_preference:
        words.append("preference pairs: the preferred answer is learned, the rejected one is not")
    return "; ".join(words)


def _prose_column(rows: Sequence[Mapping[str, object]]) -> str | None:
    """The one column of long text in a table that has no answers."""
    candidates: Counter[str] = Counter()
    for row in rows:
        candidates.update(name for name in row if len(cell_text(row[name])) >= _PROSE_CHARS)
    often = [name for name, count in candidates.items() if count > 0.5 * len(rows)]
    return often[0] if len(often) == 1 else None


def _row_examples(
    extraction: Extraction, stream: Iterator[Item], plan: _RowPlan
) -> Iterator[Example | Unreadable | Skipped]:
    unmapped = 0
    for item in stream:
        if isinstance(item, Unreadable):
            yield item
            continue
        if not isinstance(item, Row):
            continue
        extraction.records += 1
        extraction.chars += sum(len(cell_text(cell)) for cell in item.fields.values())
        if is_preference(item.fields):
            yield example_from_preference(item, extraction.name)
        elif plan.mapping == "preference":
            yield Skipped(PREFERENCE, item.place)
        elif chat_layout(item.fields) is not None:
            yield example_from_chat(item, extraction.name)
        elif isinstance(plan.mapping, ColumnMapping):
            yield example_from_columns(item, extraction.name, plan.mapping)
        elif plan.prose_column is not None:
            yield from _prose_row(item, extraction.name, plan)
        else:
            unmapped += 1
    if unmapped:
        reason = plan.mapping if isinstance(plan.mapping, str) else "rows of unknown layout"
        yield Unreadable(
            extraction.name,
            "" if unmapped == extraction.records else f"{unmapped} rows",
            reason,
            "name the columns with question_columns and answer_column, or leave the file out",
        )


def _prose_row(row: Row, source: str, plan: _RowPlan) -> Iterator[Example | Skipped]:
    text = cell_text(row.fields.get(plan.prose_column or ""))
    cutter = PassageCutter(source, plan.options.passage_chars)
    blocks = (Paragraph(block, row.place) for block in text.split("\n\n") if block.strip())
    found = itertools.chain.from_iterable(map(cutter.take, blocks))
    for item in _wanted(itertools.chain(found, cutter.release()), plan.options):
        yield item if isinstance(item, Skipped) else replace(item, group=f"{source}#{row.place}")


def _limited(
    name: str, found: Iterator[Example | Unreadable | Skipped]
) -> Iterator[Example | Unreadable | Skipped]:
    """Lists the first twenty bad parts one by one, the others as a count; never stays silent."""
    seen, is_silent = 0, True
    for item in found:
        is_silent = False
        if isinstance(item, Unreadable):
            seen += 1
            if seen > _LISTED_PER_FILE:
                continue
        yield item
    if seen > _LISTED_PER_FILE:
        yield Unreadable(
            name,
            "",
            f"{seen - _LISTED_PER_FILE} more parts like these",
            "correct the listed ones first and read again",
        )
    if is_silent:
        yield Unreadable(
            name, "", "holds no text to learn from", "leave it out, or check that it was saved"
        )
