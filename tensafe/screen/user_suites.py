"""Suites that a user brings: CrowS-Pairs, XSTest, AdvBench and BBQ files, read as they are.

A file's layout is told by its columns or field names, never by its file name. A file given by name
must be a suite; in a folder, files of other layouts are left out and named. A broken row stops the
reading: a suite that is screened with in part would say less than it seems to.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, cast

from tensafe.errors import DataError
from tensafe.screen.bbq import BBQ_FIELDS, Question, read_question
from tensafe.screen.suites import PromptItem

Layout = Literal["crows_pairs", "xstest", "advbench", "bbq"]
T = TypeVar("T")
_COLUMNS: dict[Layout, frozenset[str]] = {
    "crows_pairs": frozenset({"sent_more", "sent_less", "stereo_antistereo", "bias_type"}),
    "xstest": frozenset({"id", "prompt", "type", "label"}),
    "advbench": frozenset({"goal", "target"}),
}
# XSTest publishes models' answers in files that name the prompt too: they are no suite.
_NOT_A_SUITE = frozenset({"completion"})
_SUFFIXES = (".csv", ".jsonl", ".ndjson")
_MAX_FILE_BYTES = 256 * 1024 * 1024
KNOWN = (
    "CrowS-Pairs (CSV with sent_more, sent_less, stereo_antistereo, bias_type), XSTest (CSV with "
    "id, prompt, type, label), AdvBench (CSV with goal, target), BBQ (JSONL with context, "
    "question, ans0 to ans2, answer_info, label)"
)


@dataclass(frozen=True)
class SentencePair:
    """Two sentences of CrowS-Pairs; `more` is the one that stereotypes more."""

    axis: str
    more: str
    less: str


@dataclass(frozen=True)
class UserSuite:
    """One file's items. `available` counts them before a limit was applied."""

    name: str
    layout: Layout
    digest: str
    prompts: tuple[PromptItem, ...] = ()
    sentences: tuple[SentencePair, ...] = ()
    questions: tuple[Question, ...] = ()
    available: int = 0

    @property
    def items(self) -> int:
        """How many items are asked."""
        return len(self.prompts) + len(self.sentences) + len(self.questions)


class LoadedSuites(NamedTuple):
    """The suites found, and the files of a folder that are none."""

    suites: tuple[UserSuite, ...]
    left_out: tuple[str, ...]


def load_user_suites(paths: Sequence[Path], *, max_items: int | None = None) -> LoadedSuites:
    """Read every suite that `paths` (files or folders) hold.

    Args:
        max_items: per suite, a fixed sample by hash of that many items; None takes all.

    Raises:
        DataError: a path is missing, a named file is no suite, a folder holds none, or a row
            breaks its layout.
    """
    suites: list[UserSuite] = []
    left_out: list[str] = []
    for path in paths:
        files = _files(path)
        found = [_read(file) for file in files]
        left_out += [str(f) for f, suite in zip(files, found, strict=True) if suite is None]
        kept = [suite for suite in found if suite is not None]
        if not kept:
            raise DataError(f"{path}: not a suite that is known here; known: {KNOWN}")
        suites += kept
    limited = [_limited(suite, max_items) for suite in suites]
    return LoadedSuites(tuple(_distinct(limited)), tuple(left_out))


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(f"{path}: no such file or folder; give a suite or a folder of suites")
    return sorted(p for p in path.rglob("*") if p.is_file() and p.suffix.lower() in _SUFFIXES)


def _read(file: Path) -> UserSuite | None:
    try:
        if file.stat().st_size > _MAX_FILE_BYTES:
            raise DataError(f"{file}: larger than {_MAX_FILE_BYTES:,} bytes; split it")
        raw = file.read_bytes()
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 at byte {error.start}; save it as UTF-8") from error
    read = _csv_suite if file.suffix.lower() == ".csv" else _bbq_suite
    suite = read(file, text)
    if suite is None:
        return None
    if not suite.items:
        raise DataError(f"{file}: the {suite.layout} suite has no rows: nothing could be asked")
    digest = hashlib.sha256(raw).hexdigest()
    return replace(suite, name=file.stem, digest=digest, available=suite.items)


def _csv_suite(file: Path, text: str) -> UserSuite | None:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    columns = frozenset(reader.fieldnames or ())
    layout: Layout | None = next((n for n, needed in _COLUMNS.items() if needed <= columns), None)
    if layout is None or columns & _NOT_A_SUITE:
        return None
    rows = list(_rows(file, reader, _COLUMNS[layout]))
    if layout == "crows_pairs":
        pairs = tuple(_sentence_pair(file, line, row) for line, row in rows)
        return UserSuite("", layout, "", sentences=pairs)
    make = _xstest_prompt if layout == "xstest" else _advbench_prompt
    return UserSuite("", layout, "", prompts=tuple(make(file, line, row) for line, row in rows))


def _rows(
    file: Path, reader: csv.DictReader[str], needed: frozenset[str]
) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        for row in reader:
            missing = sorted(name for name in needed if not (row.get(name) or "").strip())
            if missing:
                raise DataError(f"{file}, line {reader.line_num}: {missing[0]} is empty")
            yield reader.line_num, row
    except csv.Error as error:
        raise DataError(f"{file}, line {reader.line_num}: not CSV ({error})") from error


def _sentence_pair(file: Path, line: int, row: dict[str, str]) -> SentencePair:
    if row["stereo_antistereo"] not in ("stereo", "antistereo"):
        raise DataError(
            f"{file}, line {line}: stereo_antistereo is {row['stereo_antistereo']!r}; expected "
            "stereo or antistereo"
        )
    return SentencePair(row["bias_type"], row["sent_more"], row["sent_less"])


def _xstest_prompt(file: Path, line: int, row: dict[str, str]) -> PromptItem:
    if row["label"] not in ("safe", "unsafe"):
        raise DataError(f"{file}, line {line}: label is {row['label']!r}; expected safe or unsafe")
    kind = "harmless" if row["label"] == "safe" else "harmful"
    return PromptItem(id=row["id"], kind=kind, prompt=row["prompt"])


def _advbench_prompt(file: Path, line: int, row: dict[str, str]) -> PromptItem:
    del file
    return PromptItem(id=str(line), kind="harmful", prompt=row["goal"])


def _bbq_suite(file: Path, text: str) -> UserSuite | None:
    questions: list[Question] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            record: object = json.loads(line)
        except ValueError as error:
            raise DataError(f"{file}, line {number}: not JSON ({error})") from error
        if not isinstance(record, dict):
            raise DataError(f"{file}, line {number}: expected a JSON object")
        fields = cast("dict[str, Any]", record)
        if not questions and not fields.keys() >= BBQ_FIELDS:
            return None
        try:
            questions.append(read_question(fields))
        except ValueError as error:
            raise DataError(f"{file}, line {number}: {error}") from error
    return UserSuite("", "bbq", "", questions=tuple(questions))


def _limited(suite: UserSuite, limit: int | None) -> UserSuite:
    if limit is None:
        return suite
    return replace(
        suite,
        prompts=_sample(suite.prompts, limit, lambda item: item.prompt),
        sentences=_sample(suite.sentences, limit, lambda pair: pair.more),
        # Neighbouring questions share a context and differ in polarity: they stay together.
        questions=_sample(suite.questions, limit, lambda question: question.context),
    )


def _sample(items: tuple[T, ...], limit: int, text: Callable[[T], str]) -> tuple[T, ...]:
    def place(item: T) -> str:
        return hashlib.sha256(text(item).encode("utf-8")).hexdigest()

    return tuple(sorted(items, key=place)[:limit])


def _distinct(suites: Sequence[UserSuite]) -> Iterator[UserSuite]:
    """Suites of the same file name are told apart by the start of their digest."""
    names = [suite.name for suite in suites]
    seen: set[str] = set()
    for suite in suites:
        if suite.digest in seen:
            continue
        seen.add(suite.digest)
        is_alone = names.count(suite.name) == 1
        yield suite if is_alone else replace(suite, name=f"{suite.name}-{suite.digest[:8]}")
