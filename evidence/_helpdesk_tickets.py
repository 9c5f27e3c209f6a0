"""The helpdesk example's tickets, as local files for tinker-cookbook's dataset builders."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any, NamedTuple

from evidence._client_environments import ROOT

TICKETS = ROOT / "examples" / "helpdesk" / "data" / "tickets.csv"
CONVERSATIONS, COMPARISONS, PROBLEMS = 1696, 384, 312


class TicketFiles(NamedTuple):
    """Conversations (SFT), comparisons (DPO) and problems (RL); no ticket is in two of them."""

    conversations: Path
    comparisons: Path
    problems: Path


def write_tickets(folder: Path) -> TicketFiles:
    """Write the three JSONL files."""
    text = TICKETS.read_text("cp1252")
    rows = [r for r in csv.DictReader(text.splitlines()) if r["team"] and r["message"]]
    random.Random(0).shuffle(rows)
    teams = sorted({row["team"] for row in rows})
    end = CONVERSATIONS + COMPARISONS
    return TicketFiles(
        _write(folder / "conversations.jsonl", [_chat(r) for r in rows[:CONVERSATIONS]]),
        _write(
            folder / "comparisons.jsonl",
            [_pair(r, teams, i) for i, r in enumerate(rows[CONVERSATIONS:end])],
        ),
        _write(
            folder / "problems.jsonl",
            [{"ticket": r["message"], "team": r["team"]} for r in rows[end : end + PROBLEMS]],
        ),
    )


def _chat(row: dict[str, str]) -> dict[str, Any]:
    return {"messages": [_said("user", row["message"]), _said("assistant", row["team"])]}


def _pair(row: dict[str, str], teams: list[str], place: int) -> dict[str, Any]:
    """The right team (A) against each other team in turn (B)."""
    wrong = [team for team in teams if team != row["team"]]
    comparison = {
        "prompt_conversation": [_said("user", row["message"])],
        "completion_A": [_said("assistant", row["team"])],
        "completion_B": [_said("assistant", wrong[place % len(wrong)])],
    }
    return {"comparison": comparison, "label": "A"}


def _said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _write(file: Path, rows: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return file
