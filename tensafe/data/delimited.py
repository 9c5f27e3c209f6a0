"""Reads CSV and TSV: the dialect is found out, newlines in quotes stay, bad lines cost one line.

A quote that is opened and not closed as it should be would swallow the lines after it. Here it
costs its own line, which is reported, and the lines after it are read again. Between tabs, where
most writers don't quote at all, such a quote is part of the text and costs nothing.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tensafe.data.encoding import TextEncoding, open_text
from tensafe.data.items import Item, OpenedSource, Row
from tensafe.data.records import Unreadable

_MAX_RECORD_CHARS = 4 << 20
# Each quote of a longer line would be looked for to its end, again and again.
_MAX_MENDED_CHARS = 64 << 10
_SAMPLE_CHARS = 1 << 17
_SAMPLE_RECORDS = 200
# Stands for "no delimiter": the unit separator does not occur in text.
_NONE = "\x1f"
# Names that nothing but a header holds.
_KNOWN = {"text", "question", "answer", "prompt", "completion", "label", "category", "response"}
_NAMES = {",": "comma", "\t": "tab", ";": "semicolon", "|": "bar", _NONE: "one column"}


@dataclass(frozen=True)
class Dialect:
    """How a delimited file is written."""

    delimiter: str
    escape: str | None
    columns: tuple[str, ...]
    header_lines: int

    @property
    def words(self) -> str:
        """The dialect in words for people."""
        by = _NAMES.get(self.delimiter, repr(self.delimiter))
        separated = by if self.delimiter == _NONE else f"{by}-separated"
        return f"{separated}, {'header row' if self.header_lines else 'no header row'}"


def open_delimited(path: Path, name: str, kind: str, encoding: TextEncoding) -> OpenedSource:
    """Rows of a CSV or TSV file; `kind` decides ties between delimiters.

    Raises:
        OSError: the file can't be opened.
    """
    with open_text(path, encoding, newline="") as file:
        sample = file.read(_SAMPLE_CHARS)
    dialect = detect_dialect(sample, kind)
    detail = f"{encoding.label}, {dialect.words}"
    return OpenedSource(kind, detail, _rows(path, name, encoding, dialect))


def detect_dialect(sample: str, kind: str) -> Dialect:
    """The dialect that splits the most records of the sample into the same number of fields."""
    declared = re.match(r"sep=(.)\r?\n", sample)
    if declared:
        sample = sample[declared.end() :]
    escape = "\\" if '\\"' in sample and '""' not in sample else None
    candidates = [declared.group(1)] if declared else [",", "\t", ";", "|"]
    preferred = "\t" if kind == "TSV" else ","
    best, best_score, best_records = _NONE, 0.0, _parse(sample, _NONE, escape)
    for delimiter in candidates:
        records = _parse(sample, delimiter, escape)
        score = _consistency(records) + (0.1 if delimiter == preferred else 0.0)
        if records and len(records[0]) > 1 and _KNOWN & {cell.lower() for cell in records[0]}:
            score += 0.5
        if score > max(best_score, 0.6):
            best, best_score, best_records = delimiter, score, records
    has_header = _has_header(best_records)
    first = best_records[0] if best_records else []
    columns = _column_names(first if has_header else [""] * len(first))
    return Dialect(best, escape, columns, int(has_header) + (1 if declared else 0))


def _parse(sample: str, delimiter: str, escape: str | None) -> list[list[str]]:
    split = sample.splitlines(keepends=True) if "\n" not in sample else _split_keeping(sample)
    # The last line may be cut off by the end of the sample.
    is_cut = len(sample) >= _SAMPLE_CHARS and len(split) > 1
    lines = _Lines(split[:-1] if is_cut else split)
    records: list[list[str]] = []
    for _, record in itertools.islice(_records(lines, delimiter, escape), _SAMPLE_RECORDS):
        if isinstance(record, list):
            if any(cell.strip() for cell in record):
                records.append(record)
        elif is_cut and lines.ended:
            # The quote may be closed after the sample.
            break
    return records


def _split_keeping(text: str) -> list[str]:
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _consistency(records: Sequence[Sequence[str]]) -> float:
    """Share of the records that have as many fields as most; 0 where most have one."""
    if not records:
        return 0.0
    width, count = Counter(len(record) for record in records).most_common(1)[0]
    if width < 2:
        return 0.0
    share = count / len(records)
    return share if len(records[0]) == width else share / 2


def _has_header(records: Sequence[Sequence[str]]) -> bool:
    """Whether the first record names columns: short, distinct, wordless of data and punctuation."""
    if not records:
        return False
    first = [cell.strip() for cell in records[0]]
    named = [cell for cell in first if cell]
    if _names_known_columns(first, records[1:]):
        return True
    if not named or len(set(named)) < len(named) or len(named) < len(first) - 1:
        return False
    if any(len(cell) > 64 or cell[-1] in "?!.," or _is_number(cell) for cell in named):
        return False
    if any(len(cell.split()) > 5 for cell in named):
        return False
    for position, cell in enumerate(first):
        below = [record[position].strip() for record in records[1:] if position < len(record)]
        if cell and cell in below:
            return False
    return True


def _names_known_columns(first: Sequence[str], below: Sequence[Sequence[str]]) -> bool:
    """Whether known names are among short cells; one alone must not come again below as data.

    The other cells may be empty, alike or numbers, as Excel's are.
    """
    for cell in first:
        ends_sentence = cell[-1:] in ("?", "!") or (cell[-1:] in (".", ",") and " " in cell)
        if len(cell) > 64 or ends_sentence:
            return False
    known = [place for place, cell in enumerate(first) if cell.lower() in _KNOWN]
    if len({first[place].lower() for place in known}) != 1:
        return bool(known)
    return not any(
        place < len(record) and record[place].strip() == first[place]
        for place in known
        for record in below
    )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _column_names(first: Sequence[str]) -> tuple[str, ...]:
    names: list[str] = []
    for position, cell in enumerate(first, start=1):
        name = cell.strip() or f"column {position}"
        copies = sum(1 for other in names if other == name or other.startswith(f"{name} ("))
        names.append(f"{name} ({copies + 1})" if copies else name)
    return tuple(names)


class _OpenQuoteError(Exception):
    """A record outgrew every sensible size: its quote is not closed."""


@dataclass(frozen=True)
class _BadQuote:
    """Why the fields of a line can't be told, and what its owner can do."""

    reason: str
    advice: str


_NEVER_CLOSED = _BadQuote(
    "a quote is opened here and never closed",
    'close the quote, or double it ("") if it belongs to the text',
)
_TEXT_BEHIND = _BadQuote(
    "text follows a closing quote",
    'double the quotes ("") that belong to the text, and quote the whole field',
)


class _Lines:
    """Lines with a memory of the record being read, so that they can be given back."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._given_back: deque[str] = deque()
        self.taken: list[str] = []
        self.number = 0
        self.chars = 0
        self.ended = False

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if self.chars > _MAX_RECORD_CHARS:
            raise _OpenQuoteError
        try:
            line = self._given_back.popleft() if self._given_back else next(self._lines)
        except StopIteration:
            self.ended = True
            raise
        self.number += 1
        self.chars += len(line)
        self.taken.append(line)
        return line

    @property
    def first_line(self) -> int:
        """Number of the line on which the record began, counted from 1."""
        return self.number - len(self.taken) + 1

    def start_record(self) -> None:
        self.taken = []
        self.chars = 0

    def keep_only_first(self) -> None:
        """Gives back all lines of the record but its first."""
        rest = self.taken[1:]
        self._given_back.extendleft(reversed(rest))
        self.number -= len(rest)
        self.ended = False
        self.start_record()


def _rows(path: Path, name: str, encoding: TextEncoding, dialect: Dialect) -> Iterator[Item]:
    if encoding.broken:
        yield broken_bytes(name, encoding)
    csv.field_size_limit(2 * _MAX_RECORD_CHARS)
    with open_text(path, encoding, newline="") as file:
        lines = _Lines(file)
        for _ in range(dialect.header_lines - 1):
            next(lines, None)
            lines.start_record()
        header_is_next = dialect.header_lines > 0
        for number, record in _records(lines, dialect.delimiter, dialect.escape):
            if isinstance(record, _BadQuote):
                yield Unreadable(name, f"line {number}", record.reason, record.advice)
            elif not any(cell.strip() for cell in record):
                continue
            elif header_is_next:
                header_is_next = False
            else:
                yield _row(name, number, record, dialect.columns)


def _records(
    lines: _Lines, delimiter: str, escape: str | None
) -> Iterator[tuple[int, list[str] | _BadQuote]]:
    """Line number and fields of each record, or what is wrong with the quotes of that line."""
    while True:
        lines.start_record()
        # Only a strict reader says that a quote is closed where no field can end.
        reader = csv.reader(lines, delimiter=delimiter, escapechar=escape, strict=True)
        try:
            for record in reader:
                if _swallows_rows(lines.taken, delimiter, len(record)):
                    raise _OpenQuoteError
                yield lines.first_line, record
                lines.start_record()
        except (_OpenQuoteError, csv.Error):
            if delimiter == "\t":
                yield lines.first_line, lines.taken[0].rstrip("\r\n").split(delimiter)
            elif len(lines.taken) == 1 and not lines.ended:
                own = None if escape else _fields_of_line(lines.taken[0], delimiter)
                yield lines.first_line, own or _TEXT_BEHIND
            else:
                yield lines.first_line, _NEVER_CLOSED
            lines.keep_only_first()
            continue
        return


def _fields_of_line(line: str, delimiter: str) -> list[str] | None:
    """The fields of a line with quotes inside of quotes; None for one too long to look for them.

    A quote closes its field where the delimiter or the line's end follows, and is text elsewhere.
    """
    if len(line) > _MAX_MENDED_CHARS:
        return None
    line, end = line.rstrip("\r\n"), re.escape(delimiter)
    fields = re.finditer(rf'(?:"(.*?)"|([^{end}]*))(?:{end}|$)', line)
    found = [m[2] if m[1] is None else m[1].replace('""', '"') for m in fields]
    # Behind the last field the pattern finds an empty one at the line's end.
    return found if line.endswith(delimiter) else found[:-1]


def _swallows_rows(taken: Sequence[str], delimiter: str, fields: int) -> bool:
    """Whether each line of a record of several has all its fields: a stray quote joined them.

    Only where the delimiter is a tab, which text hardly holds.
    """
    if delimiter != "\t" or len(taken) == 1:
        return False
    return all(line.count(delimiter) >= fields - 1 > 0 for line in taken)


def _row(name: str, number: int, record: list[str], columns: tuple[str, ...]) -> Item:
    place = f"line {number}"
    if len(record) > len(columns) and any(cell.strip() for cell in record[len(columns) :]):
        return Unreadable(
            name,
            place,
            f"{len(record)} fields where the header has {len(columns)}",
            "put text that contains the delimiter in double quotes",
        )
    padded = record + [""] * (len(columns) - len(record))
    return Row(dict(zip(columns, padded, strict=False)), place)


def broken_bytes(name: str, encoding: TextEncoding) -> Unreadable:
    """The report of bytes that an encoding can't explain; the text around them is used."""
    return Unreadable(
        name,
        "",
        f"{encoding.broken} bytes are not valid {encoding.codec} and were replaced by U+FFFD",
        "save the file as UTF-8; the text around these bytes is used",
    )
