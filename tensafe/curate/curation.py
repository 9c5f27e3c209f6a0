"""From a path to a `Dataset`: read, clean, drop, cluster, split, and account for everything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tensafe.curate.config import CurationConfig
from tensafe.curate.duplicates import Kept, Removal, remove_duplicates
from tensafe.curate.near import Clusters, join_near
from tensafe.curate.pii import redact
from tensafe.curate.similarity_text import comparison_texts, exchange_texts
from tensafe.curate.split import split_clusters
from tensafe.curate.text import clean
from tensafe.data.encoding import repair_mojibake
from tensafe.data.extraction import extract
from tensafe.data.files import FileWalk, find_files
from tensafe.data.layouts import Skipped
from tensafe.data.records import CurationReport, Dataset, Example, Message, Unreadable
from tensafe.errors import NothingToTrainError, UsageError


@dataclass
class _Reading:
    """What reading the files gave."""

    examples: list[Example] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=lambda: Counter())
    mappings: dict[str, str] = field(default_factory=dict)
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    pii: Counter[str] = field(default_factory=lambda: Counter())
    repaired: int = 0
    files: int = 0


def curate_dataset(path: Path | str, config: CurationConfig | None = None) -> Dataset:
    """The curated, split data set of a file or a folder.

    Raises:
        DataError: the path does not exist.
        UsageError: a named column occurs in no file.
        NothingToTrainError: not one example could be read; the message lists why.
    """
    settings = config or CurationConfig()
    walk = find_files(path)
    reading = _read(walk, settings)
    _check_named_columns(reading, settings)
    if not reading.examples:
        raise NothingToTrainError(_nothing(path, reading))
    removal = remove_duplicates(reading.examples, settings.contradictions)
    if not removal.kept:
        raise NothingToTrainError(
            f"{path}: all {len(reading.examples)} examples contradict each other (same question, "
            "different labels); correct the labels, or set contradictions to 'keep'"
        )
    clusters, near = _cluster(removal.kept, settings.near_duplicate_threshold)
    train, test = split_clusters(clusters, settings.test_share)
    report = _report(walk, reading, removal, settings, _split_notes(clusters, near, train, test))
    kept = Counter(example.source for example in (*train, *test))
    return Dataset(train, test, replace(report, kept_by_source=dict(sorted(kept.items()))))


def _read(walk: FileWalk, settings: CurationConfig) -> _Reading:
    reading = _Reading(unreadable=list(walk.left_out))
    for file in walk.files:
        extraction = extract(file, settings.read_options)
        before = len(reading.examples)
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
        reading.files += len(reading.examples) > before
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
        reading.examples.append(replace(example, messages=tuple(cleaned)))


def _cluster(kept: Sequence[Kept], limit: float) -> tuple[list[list[Example]], int]:
    """Examples that must stay together, and how many joins near-duplicates made."""
    examples = [entry.example for entry in kept]
    clusters = Clusters(len(examples))
    by_group: dict[str, int] = {}
    for position, entry in enumerate(kept):
        for group in entry.merged_groups:
            clusters.join(by_group.setdefault(group, position), position)
    near = join_near(clusters, range(len(examples)), comparison_texts(examples), limit)
    positions, texts = exchange_texts(examples)
    near += join_near(clusters, positions, texts, limit)
    return [[examples[member] for member in members] for members in clusters.sets()], near


def _split_notes(
    clusters: Sequence[Sequence[Example]],
    near: int,
    train: Sequence[Example],
    test: Sequence[Example],
) -> list[str]:
    total = len(train) + len(test)
    largest = max(len(cluster) for cluster in clusters)
    notes = [
        f"{len(train)} examples to train, {len(test)} to test ({len(test) / total:.1%}), split "
        f"between {len(clusters)} clusters (the largest holds {largest}); {near} near-duplicate "
        "links kept on one side"
    ]
    if not test:
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
    return CurationReport(
        files_read=reading.files,
        bytes_read=sum(file.size_bytes for file in walk.files),
        mappings=reading.mappings,
        dropped={reason: count for reason, count in sorted(dropped.items()) if count},
        unreadable=tuple(reading.unreadable),
        notes=tuple(notes),
        pii=dict(sorted(reading.pii.items())),
        is_redacted=settings.redact_pii,
    )


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
