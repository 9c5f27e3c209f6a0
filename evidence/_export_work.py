"""The measured parts of `exporters`, each run in a process of its own."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import select

from aragora.memory import Memory, tables
from aragora.training import DPOExporter, SFTExporter
from evidence._debate_crowd import write_crowd

NAIVE_DEBATES, SFT_ROWS = 20_000, 200_000
_CHECKED = 500


def write(database: Path, debates: int) -> dict[str, Any]:
    """Fill the database."""
    crowd = write_crowd(database, debates)
    return {
        "rows": crowd.rows,
        "size_mb": database.stat().st_size // 1_000_000,
        "planted": dict(crowd.kinds),
    }


def dpo(database: Path, debates: int) -> dict[str, Any]:
    """Export all pairs to a file, with its registration in the database."""
    export = DPOExporter(str(database)).write(database.with_name("pairs.jsonl"))
    return _exported(export.report.rows, export.report.records_read, export.report.left_out)


def sft(database: Path, debates: int) -> dict[str, Any]:
    """Export the first conversations to columns."""
    export = SFTExporter(str(database)).write(
        database.with_name("talks.parquet"), include_critiques=False, limit=SFT_ROWS
    )
    return _exported(export.report.rows, export.report.records_read, export.report.left_out)


def naive(database: Path, debates: int) -> dict[str, Any]:
    """The pairs of the first debates by mapped objects, all of them at once."""
    count = min(debates, NAIVE_DEBATES)
    with Memory.open(str(database)) as memory, memory.database.read() as session:
        first = select(tables.DebateRow.id).order_by(tables.DebateRow.id).limit(count)
        held: dict[str, dict[str, list[Any]]] = {}
        for row_type in (
            tables.ParticipantRow, tables.MessageRow, tables.OutcomeRow, tables.StandingRow,
        ):  # fmt: skip
            found: Any = session.scalars(
                select(row_type).where(row_type.debate_id.in_(first))
            ).all()
            grouped: dict[str, list[Any]] = defaultdict(list)
            for row in found:
                grouped[row.debate_id].append(row)
            held[row_type.__tablename__] = grouped
        parents = session.scalars(
            select(tables.DebateRow).order_by(tables.DebateRow.id).limit(count)
        ).all()
        pairs = [
            (good.text, bad.text)
            for debate in parents
            if debate.split != "held_out" and held["outcomes"][debate.id][0].is_reached
            for good in held["messages"][debate.id]
            for bad in held["messages"][debate.id]
            if good.phase == bad.phase == "propose"
            and good.answer_key == held["outcomes"][debate.id][0].answer_key
            and bad.answer_key != good.answer_key
        ]
        return _exported(len(pairs), len(parents), {})


def verify(database: Path, debates: int) -> dict[str, Any]:
    """Look every exported text up in the stored debates."""
    counts: Counter[str] = Counter()
    with (
        Memory.open(str(database)) as memory,
        database.with_name("pairs.jsonl").open(encoding="utf-8") as file,
        memory.database.read() as session,
    ):
        lines = iter(file)
        connection = session.connection()
        while block := [json.loads(line) for line in islice(lines, _CHECKED)]:
            ids = [int(t["id"]) for row in block for t in row["provenance"]["texts"]]
            message, outcome, debate = (
                tables.MessageRow, tables.OutcomeRow, tables.DebateRow,
            )  # fmt: skip
            query = (
                select(
                    message.id, message.debate_id, message.text, message.prompt,
                    message.prompt_digest, message.answer_key, outcome.answer_key, debate.labels,
                )
                .join(outcome, outcome.debate_id == message.debate_id)
                .join(debate, debate.id == message.debate_id)
                .where(message.id.in_(ids))
            )  # fmt: skip
            stored = {row[0]: tuple(row[1:]) for row in connection.execute(query)}
            for row in block:
                counts.update(_problems(row, stored))
                counts["pairs"] += 1
    return {"checked": counts.pop("pairs"), "wrong": dict(counts)}


def _problems(row: dict[str, Any], stored: dict[int, tuple[Any, ...]]) -> Iterator[str]:
    chosen, rejected = (stored.get(int(t["id"])) for t in row["provenance"]["texts"])
    if chosen is None or rejected is None:
        yield "a text that is not stored"
        return
    if row["chosen"][0]["content"] != chosen[1] or row["rejected"][0]["content"] != rejected[1]:
        yield "a text that differs from the stored one"
    if row["prompt"] != chosen[2] or row["prompt"] != rejected[2] or chosen[3] != rejected[3]:
        yield "a prompt that differs"
    if chosen[0] != rejected[0] or chosen[0] != row["provenance"]["debate_id"]:
        yield "texts of two debates"
    if chosen[4] != chosen[5] or rejected[4] == chosen[5]:
        yield "not the outcome's order"
    if chosen[6]["planted"] != "pair":
        yield f"planted to be left out: {chosen[6]['planted']}"


def _exported(rows: int, debates: int, left_out: dict[str, int]) -> dict[str, Any]:
    return {"exported": rows, "debates": debates, "left_out": left_out}


def main() -> None:
    """Do one part and print its figures."""
    part, database, debates = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    started = time.monotonic()
    parts = {"write": write, "dpo": dpo, "sft": sft, "naive": naive, "verify": verify}
    figures = parts[part](database, debates)
    seconds, cpu = time.monotonic() - started, time.process_time()
    figures |= {
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    if "exported" in figures:
        figures["rows_per_second"] = round(figures["exported"] / seconds)
        figures["rows_per_cpu_second"] = round(figures["exported"] / cpu)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
