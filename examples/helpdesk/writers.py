"""One writer per file format. Each takes cases and writes one file, the same bytes each time."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from messages import Case
from phrasebook import Dice

CHANNELS = ("mail", "web form", "phone note", "shop", "letter")
PRIORITIES = ("low", "normal", "normal", "normal", "high")
OPENED_FROM = datetime(2023, 1, 9, 8, 0)


def _moments(count: int, dice: Dice, minutes_apart: int) -> list[datetime]:
    """`count` rising points in time."""
    moments: list[datetime] = []
    now = OPENED_FROM
    for _ in range(count):
        now += timedelta(minutes=dice.between(1, 2 * minutes_apart))
        moments.append(now)
    return moments


def write_tickets(path: Path, cases: Sequence[Case], dice: Dice) -> int:
    """A CSV export in cp1252, with an export's usual dirt; returns the number of usable rows.

    Some rows have no message, some no team, some are exported twice, some messages have a line
    break or a typographic apostrophe.
    """
    header = (
        "ticket_id",
        "opened",
        "channel",
        "product",
        "priority",
        "customer",
        "message",
        "team",
    )
    rows: list[tuple[str, ...]] = []
    usable = 0
    for number, (case, opened) in enumerate(
        zip(cases, _moments(len(cases), dice, 160), strict=True), start=1
    ):
        message, team = case.question, case.answer
        if dice.chance(0.3):
            message = message.replace("'", "’")  # in cp1252, not in Latin-1
        if dice.chance(0.02) and ". " in message:
            message = message.replace(". ", ".\n", 1)
        dirt = dice.below(200)
        message = "" if dirt == 0 else message
        team = "" if dirt == 1 else team
        usable += bool(message and team)
        product = "" if dice.chance(0.07) else case.model
        row = (
            f"T{number:05d}", opened.strftime("%d.%m.%Y %H:%M"), dice.pick(CHANNELS), product,
            dice.pick(PRIORITIES), case.first_name, message, team,
        )  # fmt: skip
        rows.extend([row, row] if dice.chance(0.008) else [row])
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows([header, *rows])
    path.write_bytes(text.getvalue().encode("cp1252"))
    return usable


def write_chats(path: Path, cases: Sequence[Case], dice: Dice) -> int:
    """A JSONL export of chats as OpenAI `messages`; its last line broke off in the export."""
    lines: list[str] = []
    for number, case in enumerate(cases, start=1):
        record: dict[str, object] = {
            "id": f"chat-{number:04d}",
            "messages": [
                {"role": "user", "content": case.question},
                {"role": "assistant", "content": case.answer},
            ],
        }
        if dice.chance(0.4):
            record["metadata"] = {"lang": "en", "rating": dice.between(1, 5)}
        lines.append(json.dumps(record, ensure_ascii=dice.chance(0.5)))
    lines.append(
        '{"id": "chat-' + f"{len(cases) + 1:04d}" + '", "messages": [{"role": "user", "con'
    )
    path.write_text("\n".join(lines), encoding="utf-8")
    return len(cases)


def write_history(path: Path, cases: Sequence[Case], dice: Dice) -> int:
    """Closed cases of earlier years as Parquet."""
    import polars

    moments = _moments(len(cases), dice, 300)
    frame = polars.DataFrame(
        {
            "case_no": [f"H-{number:06d}" for number in range(1, len(cases) + 1)],
            "closed_at": [moment - timedelta(days=900) for moment in moments],
            "product": [None if dice.chance(0.1) else case.model for case in cases],
            "body": [case.question for case in cases],
            "queue": [case.answer for case in cases],
            "minutes_spent": [dice.between(2, 90) for _ in cases],
            "satisfaction": [dice.between(1, 5) if dice.chance(0.6) else None for _ in cases],
        },
        schema_overrides={"minutes_spent": polars.Int16, "satisfaction": polars.Int8},
    )
    frame.write_parquet(path, compression="zstd", compression_level=9, statistics=True)
    return len(cases)


def write_faq_markdown(path: Path, cases: Sequence[Case]) -> int:
    """The customers' FAQ: a heading per question, the answer beneath it."""
    parts = [
        "# Who helps with what",
        "Veldrun answers every message. This page names the team that takes care of yours, so\n"
        "that you reach the right people at once. Each answer is the name of a team.",
    ]
    for start in range(0, len(cases), 30):
        parts.append(f"## Part {start // 30 + 1}")
        for case in cases[start : start + 30]:
            parts += [f"### {case.question}", case.answer]
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return len(cases)


def write_faq_text(path: Path, cases: Sequence[Case]) -> int:
    """The hotline's cheat sheet: `Q:` and `A:` lines, UTF-8 with a byte order mark, CRLF."""
    blocks = [f"Q: {case.question}\nA: {case.answer}\n" for case in cases]
    text = "VELDRUN HOTLINE - CHEAT SHEET\n\n" + "\n".join(blocks)
    path.write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig"))
    return len(cases)


def write_broken_bulletin(path: Path) -> int:
    """A PDF whose copy broke off after the header: no reader can open it."""
    path.write_bytes(
        b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n2 0 ob"
    )
    return 0
