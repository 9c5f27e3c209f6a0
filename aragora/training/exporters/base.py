"""What all exporters share: reading debates page by page, screening, and giving rows.

An exporter says which candidates a debate yields; everything else is the same for all of them. Rows
come in the order of the debates' ids, and memory holds a page of debates, eight bytes for each row,
and the benchmarks' items.
"""

from __future__ import annotations

import contextlib
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Generic

from aragora.memory import DebateFilter, Memory, StoredDebate
from aragora.training.exporters.benchmarks import (
    Contamination,
    held_out_tasks,
    read_items,
    registered,
)
from aragora.training.exporters.near_rows import kept_rows
from aragora.training.exporters.options import (
    ExportOptions,
    OptionsT,
    read_options,
    without_replay,
)
from aragora.training.exporters.rows import Candidate, ExportReport, Row, Tally, TrainingRows
from aragora.training.exporters.screening import Screen
from aragora.training.exporters.writing import Export, register_rows, write_export

Group = tuple[str, list[Candidate]]
_PAGE = 1000


class Exporter(ABC, Generic[OptionsT]):
    """Makes training rows of what the database holds.

    Args:
        memory: an open database, or its URL or file; None is the default one.
    """

    kind: ClassVar[str]
    unit: ClassVar[str] = "debates"
    planted: ClassVar[re.Pattern[str] | None] = None
    options_type: type[OptionsT]

    def __init__(self, memory: Memory | str | None = None) -> None:
        self._memory = memory

    @abstractmethod
    def groups(self, memory: Memory, options: OptionsT, tally: Tally) -> Iterator[Group]:
        """Candidates by debate, in the order of the debates' ids; "" where there is no debate."""

    def funnel(self, memory: Memory, options: OptionsT) -> list[tuple[str, DebateFilter]]:
        """The filters on debates one after the other, by what is left after each."""
        return list(narrowing(options))

    def export(
        self, options: OptionsT | None = None, *, register: bool = False, **given: Any
    ) -> TrainingRows:
        """All rows in memory, with their report; options as keywords or as one object.

        `register` notes whose words they hold, as `write` does: for rows that are trained on.

        Raises UsageError for an option that isn't there or out of range, and for `replay`, which is
        mixed into files.
        """
        chosen = without_replay(self._options(options, given))
        with self._opened() as memory:
            run = self._begin(memory, chosen)
            rows = list(run.rows())
            if chosen.deduplicate and chosen.near_duplicates < 1.0:
                keep = kept_rows(rows, chosen.near_duplicates)
                gone = [
                    row["provenance"]["source"]
                    for row, stays in zip(rows, keep, strict=True)
                    if not stays
                ]
                run.tally.drop("nearly a repetition", len(gone))
                run.tally.rows.subtract(gone)
                rows = [row for row, stays in zip(rows, keep, strict=True) if stays]
            identity = register_rows(memory, run, rows) if register and rows else None
            return TrainingRows(rows, run.report(len(rows)), identity)

    def stream(self, options: OptionsT | None = None, **given: Any) -> Generator[Row]:
        """Rows one by one. Repetitions are left out, near-repetitions are not looked for.

        Raises UsageError as `export`.
        """
        chosen = without_replay(self._options(options, given))
        with self._opened() as memory:
            yield from self._begin(memory, chosen).rows()

    def write(
        self,
        path: Path | str,
        options: OptionsT | None = None,
        *,
        is_parquet: bool | None = None,
        register: bool = True,
        **given: Any,
    ) -> Export:
        """Write a file (and its card) in bounded memory; `register` notes whose words it holds.

        Without rows no file is written; the report says why. `is_parquet` None goes by the name.
        """
        chosen = self._options(options, given)
        target = Path(path)
        with self._opened() as memory:
            run = self._begin(memory, chosen)
            return write_export(
                target,
                run,
                memory=memory if register else None,
                is_parquet=target.suffix == ".parquet" if is_parquet is None else is_parquet,
            )

    def _options(self, options: OptionsT | None, given: dict[str, Any]) -> OptionsT:
        if options is None:
            return read_options(self.options_type, given)
        return read_options(self.options_type, {**options.model_dump(), **given})

    def _begin(self, memory: Memory, options: OptionsT) -> Run:
        tally = Tally()
        items = [item for path in (*registered(), *options.benchmarks) for item in read_items(path)]
        if "held_out" not in options.splits:
            items += held_out_tasks(memory)
        screen = Screen(
            Contamination(items),
            options.pii,
            deduplicate=options.deduplicate,
            planted=self.planted,
            tally=tally,
        )
        groups = self.groups(memory, options, tally)
        filters = self.funnel(memory, options)
        return Run(self.kind, self.unit, options, groups, screen, tally, filters, memory)

    @contextlib.contextmanager
    def _opened(self) -> Generator[Memory]:
        if isinstance(self._memory, Memory):
            yield self._memory
        else:
            with Memory.open(self._memory) as memory:
                yield memory


@dataclass
class Run:
    """One export as it goes: its rows can be walked once, its report stands at the end."""

    kind: str
    unit: str
    options: ExportOptions
    groups: Iterator[Group]
    screen: Screen
    tally: Tally
    filters: list[tuple[str, DebateFilter]]
    memory: Memory

    def rows(self) -> Iterator[Row]:
        """Rows up to the limit, where reading ends: the next page may turn out to be empty.

        A debate that doesn't fit as a whole is left to the next page, and cut where it is the first
        one of a page, which has to get on.
        """
        made, limit = 0, self.options.limit
        for debate_id, candidates in self.groups:
            if limit is not None and made >= limit:
                self.tally.is_complete = False
                return
            rows = [row for c in candidates if (row := self.screen.row(c)) is not None]
            if limit is not None and made + len(rows) > limit:
                self.tally.is_complete = False
                if (made and self.tally.last_debate_id) or not debate_id:
                    return
                rows = rows[: limit - made]
            self.tally.last_debate_id = debate_id or self.tally.last_debate_id
            made += len(rows)
            for row in rows:
                self.tally.rows[row["provenance"]["source"]] += 1
                yield row

    def report(self, rows: int, *, replayed: int = 0, digest: str = "") -> ExportReport:
        """What came of it; counts each filter's remainder in the database."""
        tally = self.tally
        return ExportReport(
            kind=self.kind,
            unit=self.unit,
            rows=rows,
            records_read=tally.records_read,
            by_source=dict(tally.rows),
            left_out={reason: n for reason, n in tally.left_out.items() if n},
            pii=dict(tally.pii),
            funnel=tuple((name, self.memory.debates.count(w)) for name, w in self.filters),
            replayed=replayed,
            digest=digest,
            next_after=None if tally.is_complete else tally.last_debate_id,
        )


def narrowing(options: ExportOptions) -> Iterator[tuple[str, DebateFilter]]:
    """The filters that all exporters put on debates, from the widest on."""
    wanted = DebateFilter(state=None)
    yield "in the database", wanted
    wanted = replace(wanted, state="done")
    yield "that are done", wanted
    wanted = replace(wanted, splits=options.splits)
    yield f"of split {', '.join(options.splits)}", wanted
    if options.domains:
        wanted = replace(wanted, domains=options.domains)
        yield f"in domain {', '.join(options.domains)}", wanted
    if options.since is not None or options.until is not None:
        since, until = options.since, options.until
        wanted = replace(
            wanted,
            since=None if since is None else since.timestamp(),
            until=None if until is None else until.timestamp(),
        )
        yield "in the span of time", wanted


def read_debates(
    memory: Memory,
    wanted: DebateFilter,
    options: ExportOptions,
    tally: Tally,
    parts: Collection[str],
) -> Iterator[StoredDebate]:
    """Debates in the order of their ids, counted."""
    for stored in memory.debates.iterate(wanted, page=_PAGE, after=options.after, parts=parts):
        tally.records_read += 1
        yield stored
