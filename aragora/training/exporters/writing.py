"""Writing an export: spooled, thinned, mixed with earlier rows, then published with its card.

A file is there as a whole or not at all. Before it appears, the database knows whose words it
holds, so that removing a person's data can name every file that used it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aragora.memory import Memory, new_id
from aragora.memory.records import TrainingSet, TrainingSource
from aragora.training.exporters.data_card import card_of
from aragora.training.exporters.replay import Replay, interleaved, rows_needed
from aragora.training.exporters.rows import ExportReport, Row
from aragora.training.exporters.spool import Spool, encoded, path_of_spool
from tensafe.files import atomic_path, write_text

if TYPE_CHECKING:
    from aragora.training.exporters.base import Run

_LAYOUTS = ("messages", "chosen")
# A group of rows is held in memory until it is written.
_BATCH_BYTES, _GROUP_ROWS = 256 << 10, 1024
_TEXT_FIELDS = ("part", "kind", "id", "debate_id", "agent", "adapter_digest", "sha256")


@dataclass(frozen=True)
class Written:
    """One file: its digest is that of its bytes; `card` describes it."""

    path: Path
    card: Path
    rows: int
    digest: str
    training_set_id: str | None


@dataclass(frozen=True)
class Export:
    """What `write` came to; without rows there are no files, and the report says why."""

    report: ExportReport
    files: tuple[Written, ...]


def write_export(target: Path, run: Run, *, memory: Memory | None, is_parquet: bool) -> Export:
    """Write all rows of a run: pairs beside conversations go to a file of their own."""
    target.parent.mkdir(parents=True, exist_ok=True)
    options = run.options
    with _spools(target) as spools:
        for row in run.rows():
            spools["messages" if "messages" in row else "chosen"].add(row)
        used = [layout for layout in _LAYOUTS if len(spools[layout])]
        made: list[tuple[Path, Path, int, str]] = []
        replayed = 0
        for layout in used:
            spool = spools[layout]
            keep = spool.kept(options.near_duplicates if options.deduplicate else 1.0)
            stay = int(keep.sum())
            run.tally.drop("nearly a repetition", len(spool) - stay)
            run.tally.rows.subtract(spool.sources(~keep))
            lines = (line for line, stays in zip(spool.lines(), keep, strict=True) if stays)
            many = 0
            if options.replay:
                old = Replay(options.replay, layout, run.memory, run.screen, run.tally)
                many = min(len(old), rows_needed(stay, options.replay_share))
                lines = interleaved(lines, stay, old.chosen(many, options.seed), many)
            replayed += many
            is_beside = layout == "chosen" and "messages" in used
            path = target.with_suffix(f".pairs{target.suffix}") if is_beside else target
            ready = path_of_spool(path, "ready")
            digest = _write_lines(ready, lines)
            made.append((path, ready, stay + many, digest))
        try:
            total = sum(rows for _, _, rows, _ in made)
            report = run.report(total, replayed=replayed)
            files = tuple(_publish(one, report, run, memory, is_parquet) for one in made)
        finally:
            for _, ready, _, _ in made:
                ready.unlink(missing_ok=True)
    return Export(replace(report, digest=files[0].digest if files else ""), files)


@contextlib.contextmanager
def _spools(target: Path) -> Generator[dict[str, Spool]]:
    paths = {layout: path_of_spool(target, layout) for layout in _LAYOUTS}
    try:
        with contextlib.ExitStack() as stack:
            yield {
                layout: Spool(stack.enter_context(path.open("w+b")))
                for layout, path in paths.items()
            }
    finally:
        for path in paths.values():
            path.unlink(missing_ok=True)


def _write_lines(path: Path, lines: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for line in lines:
            file.write(line)
            digest.update(line)
    return digest.hexdigest()


def _publish(
    made: tuple[Path, Path, int, str],
    report: ExportReport,
    run: Run,
    memory: Memory | None,
    is_parquet: bool,
) -> Written:
    path, ready, rows, digest = made
    with atomic_path(path) as temporary:
        if is_parquet:
            digest = _to_parquet(ready, temporary)
        else:
            shutil.copyfile(ready, temporary)
        settings = run.options.model_dump(mode="json")
        identity = None
        if memory is not None:
            identity = _registered(memory, run, digest, rows, _rows_of(ready))
    card = path.with_suffix(".card.md")
    write_text(card, card_of(path.name, digest, rows, replace(report, digest=digest), settings))
    return Written(path, card, rows, digest, identity)


def _to_parquet(lines: Path, target: Path) -> str:
    """The same rows in columns, a batch at a time; gives the file's digest."""
    import polars as pl
    from polars.io.plugins import register_io_source

    turn = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))
    with lines.open("rb") as file:
        first: Row = json.loads(file.readline())
    schema: dict[str, Any] = {name: turn for name in first if name != "provenance"}
    schema["provenance"] = pl.Struct(
        {
            "source": pl.String,
            "domain": pl.String,
            "debate_id": pl.String,
            "task_id": pl.String,
            "confidence": pl.Float64,
            "elo_difference": pl.Float64,
            "at": pl.Float64,
            "uses": pl.List(pl.String),
            "is_replayed": pl.Boolean,
            "is_redacted": pl.Boolean,
            "texts": pl.List(pl.Struct(dict.fromkeys(_TEXT_FIELDS, pl.String))),
        }
    )

    def batches(
        columns: list[str] | None, predicate: Any, rows: int | None, size: int | None
    ) -> Iterator[pl.DataFrame]:
        with lines.open("rb") as file:
            # `scan_ndjson` would hold several times the file's size.
            while batch := file.readlines(_BATCH_BYTES):
                yield pl.read_ndjson(b"".join(batch), schema=schema)

    register_io_source(batches, schema=schema).sink_parquet(target, row_group_size=_GROUP_ROWS)
    with target.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def register_rows(memory: Memory, run: Run, rows: Sequence[Row]) -> str:
    """Note whose words rows in memory hold, as for a file of them; gives the training set's id."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(encoded(row))
    return _registered(memory, run, digest.hexdigest(), len(rows), rows)


def _registered(memory: Memory, run: Run, digest: str, count: int, rows: Iterable[Row]) -> str:
    identity, settings = new_id(), run.options.model_dump(mode="json")
    made = TrainingSet(identity, run.kind, digest, count, settings, time.time())
    memory.usage.add_training_set(made, _sources(identity, rows))
    return identity


def _rows_of(lines: Path) -> Iterator[Row]:
    with lines.open("rb") as file:
        for line in file:
            yield json.loads(line)


def _sources(identity: str, rows: Iterable[Row]) -> Iterator[TrainingSource]:
    for number, row in enumerate(rows):
        provenance: dict[str, Any] = row["provenance"]
        for text in provenance["texts"]:
            kind, record = text["kind"], text["id"]
            yield TrainingSource(identity, number, text["part"], kind, record, text["debate_id"])
            for use, debate in enumerate(provenance["uses"]):
                yield TrainingSource(identity, number, f"use {use}", kind, record, debate)
