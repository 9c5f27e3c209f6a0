"""From a path to a `Dataset`: read, clean, drop, cluster, split, and account for everything."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tensafe.curate.clusters import Clusters, Positions
from tensafe.curate.comparison import ComparisonTexts, ExchangeTexts
from tensafe.curate.config import CurationConfig
from tensafe.curate.duplicates import Removal, remove_duplicates
from tensafe.curate.near import join_near
from tensafe.curate.pii import redact
from tensafe.curate.rows import Rows
from tensafe.curate.split import split_rows
from tensafe.curate.teacher import Teacher
from tensafe.curate.text import clean
from tensafe.data.encoding import repair_mojibake
from tensafe.data.extraction import extract
from tensafe.data.files import FileWalk, find_files
from tensafe.data.layouts import Skipped
from tensafe.data.records import CurationReport, Dataset, Example, Message, Unreadable
from tensafe.data.stored import StoredExamples, side_of
from tensafe.errors import NothingToTrainError, UsageError


@dataclass
class _Reading:
    """What reading the files gave."""

    rows: Rows = field(default_factory=Rows)
    unreadable: list[Unreadable] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=lambda: Counter())
    mappings: dict[str, str] = field(default_factory=dict)
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    pii: Counter[str] = field(default_factory=lambda: Counter())
    repaired: int = 0
    files: int = 0
    notes: list[str] = field(default_factory=list)
    taken: int = 0
    for_teacher: bool = False
    passages: list[Example] = field(default_factory=list)


def curate_dataset(
    path: Path | str,
    config: CurationConfig | None = None,
    *,
    teacher: Teacher | None = None,
    on_passage: Callable[[int, int], None] | None = None,
) -> Dataset:
    """The curated, split data set of a file or a folder.

    With a `teacher`, pairs that it writes from the passages of prose are added;
    `on_passage(done, total)` follows each passage.

    Raises:
        DataError: the path does not exist.
        UsageError: a named column occurs in no file.
        NothingToTrainError: not one example could be read; the message lists why.
        TeacherError: the teacher can't be reached or refuses.
    """
    settings = config or CurationConfig()
    walk = find_files(path)
    reading = _read(walk, settings, for_teacher=teacher is not None)
    if teacher is not None:
        _teach(reading, settings, teacher, on_passage)
    _check_named_columns(reading, settings)
    rows = reading.rows
    if not len(rows):
        raise NothingToTrainError(_nothing(path, reading))
    removal = remove_duplicates(rows, settings.contradictions)
    if not len(removal.kept):
        raise NothingToTrainError(
            f"{path}: all {len(rows)} examples contradict each other (same question, "
            "different labels); correct the labels, or set contradictions to 'keep'"
        )
    clusters, near = _cluster(rows, removal, settings.near_duplicate_threshold)
    roots = clusters.roots()
    train, test = split_rows(rows, removal.kept, roots, settings.test_share)
    report = _report(walk, reading, removal, settings, _split_notes(roots, near, train, test))
    return Dataset(_side(rows, train), _side(rows, test), report)


def _side(rows: Rows, numbers: Positions) -> tuple[Example, ...] | StoredExamples:
    digests = rows.digests[numbers].tobytes()
    return side_of(rows.examples, array("q", numbers.tobytes()), digests)


def _teach(
    reading: _Reading,
    settings: CurationConfig,
    teacher: Teacher,
    on_passage: Callable[[int, int], None] | None,
) -> None:
    """Adds what the teacher writes; where prose isn't wanted, it was read for the teacher only."""
    written = teacher.write_pairs(reading.passages, on_passage)
    if not settings.include_prose:
        reading.dropped["prose, left out on request"] += len(reading.passages)
    for example in written.examples:
        _take(reading, example, settings)
    reading.dropped.update(written.dropped)
    reading.notes.append(
        f"{len(written.examples)} pairs were written by {written.model} from "
        f"{len(reading.passages)} passages; {written.dropped.total()} of its pairs or replies "
        "were dropped"
    )


def _read(walk: FileWalk, settings: CurationConfig, *, for_teacher: bool = False) -> _Reading:
    reading = _Reading(unreadable=list(walk.left_out), for_teacher=for_teacher)
    options = settings.read_options
    if for_teacher:
        options = replace(options, include_prose=True)
    for file in walk.files:
        extraction = extract(file, options)
        before = reading.taken
        for item in extraction.items:
            if isinstance(item, Unreadable):
                reading.unreadable.append(item)
            elif isinstance(item, Skipped):
                reading.dropped[item.reason] += 1
            else:
                _take(reading, item, settings)
        if extraction.columns:
            reading.columns[file.name] = extraction.columns
        if extraction.mapping:
            reading.mappings[file.name] = extraction.mapping
        reading.files += reading.taken > before
    return reading


def _take(reading: _Reading, example: Example, settings: CurationConfig) -> None:
    cleaned: list[Message] = []
    for turn in example.messages:
        text = turn["content"]
        if settings.repair_encoding and (repaired := repair_mojibake(text)) != text:
            text = repaired
            reading.repaired += 1
        text = clean(text)
        redaction = redact(text)
        reading.pii.update(finding.kind for finding in redaction.findings)
        text = redaction.text if settings.redact_pii else text
        cleaned.append({"role": turn["role"], "content": text})
    if not cleaned[-1]["content"]:
        reading.dropped["no answer after cleaning"] += 1
    elif any(turn["role"] == "user" and not turn["content"] for turn in cleaned):
        reading.dropped["no question after cleaning"] += 1
    else:
        taken = Example(tuple(cleaned), example.source, example.place, example.group, example.kind)
        reading.taken += 1
        if reading.for_teacher and taken.kind == "text":
            reading.passages.append(taken)
        if taken.kind != "text" or settings.include_prose:
            reading.rows.add(taken)


def _cluster(rows: Rows, removal: Removal, limit: float) -> tuple[Clusters, int]:
    """Which kept rows must stay together, and how many joins near-duplicates made."""
    kept = removal.kept
    clusters = Clusters(len(kept))
    standing = np.flatnonzero(removal.stands_for >= 0)
    place = removal.stands_for[standing]
    _, first, which = np.unique(rows.group_keys[standing], return_index=True, return_inverse=True)
    clusters.join_all(place[first[which]], place)
    near = join_near(clusters, np.arange(len(kept)), ComparisonTexts(rows, kept), limit)
    long_answers = np.flatnonzero(rows.has_long_answer[kept])
    texts = ExchangeTexts(rows, kept[long_answers])
    return clusters, near + join_near(clusters, long_answers, texts, limit)


def _split_notes(roots: Positions, near: int, train: Positions, test: Positions) -> list[str]:
    total = len(train) + len(test)
    sizes = np.bincount(roots)
    notes = [
        f"{len(train)} examples to train, {len(test)} to test ({len(test) / total:.1%}), split "
        f"between {np.count_nonzero(sizes)} clusters (the largest holds {sizes.max()}); {near} "
        "near-duplicate links kept on one side"
    ]
    if not len(test):
        notes.append("everything belongs to one cluster, so nothing could be held out for testing")
    return notes


def _report(
    walk: FileWalk,
    reading: _Reading,
    removal: Removal,
    settings: CurationConfig,
    notes: list[str],
) -> CurationReport:
    dropped = Counter(reading.dropped)
    dropped["exact duplicate"] += removal.exact
    dropped["duplicate but for case, spacing or punctuation"] += removal.near_exact
    dropped["same question with another label"] += removal.contradictory
    if removal.ambiguous_prompts:
        notes.append(
            f"{removal.ambiguous_prompts} questions have more than one answer (labels: "
            f"{settings.contradictions}; free text: all kept, on one side of the split)"
        )
    if reading.repaired:
        notes.append(f"{reading.repaired} texts had wrong decoding undone")
    notes += reading.notes
    return CurationReport(
        files_read=reading.files,
        bytes_read=sum(file.size_bytes for file in walk.files),
        kept_by_source=_kept_by_source(reading.rows, removal.kept),
        mappings=reading.mappings,
        dropped={reason: count for reason, count in sorted(dropped.items()) if count},
        unreadable=tuple(reading.unreadable),
        notes=tuple(notes),
        pii=dict(sorted(reading.pii.items())),
        is_redacted=settings.redact_pii,
    )


def _kept_by_source(rows: Rows, kept: Positions) -> dict[str, int]:
    counts = np.bincount(rows.sources[kept], minlength=len(rows.source_names)).tolist()
    named = zip(rows.source_names, counts, strict=True)
    return dict(sorted((name, count) for name, count in named if count))


def _check_named_columns(reading: _Reading, settings: CurationConfig) -> None:
    found = {name for columns in reading.columns.values() for name in columns}
    for name in settings.read_options.columns.names:
        if name not in found:
            listed = "; ".join(
                f"{file}: {', '.join(columns[:20])}"
                for file, columns in list(reading.columns.items())[:5]
            )
            raise UsageError(
                f"no column is called {name!r}; the columns are {listed or 'none: no table found'}"
            )


def _nothing(path: Path | str, reading: _Reading) -> str:
    reasons = [
        f"  {part.source}{' ' + part.place if part.place else ''}: {part.reason}; {part.advice}"
        for part in reading.unreadable[:10]
    ]
    reasons += [f"  {count} rows: {reason}" for reason, count in sorted(reading.dropped.items())]
    more = len(reading.unreadable) - 10
    if more > 0:
        reasons.append(f"  and {more} more")
    listed = "\n".join(reasons) or "  there are no files in it"
    return f"{path}: no example to train on could be read:\n{listed}"
