"""A million small debates in a database, written in bulk: their shape is real, their words are not.

Each has two proposers and a judge: two proposals to one prompt and one vote, about eleven rows in
all. What the exporter has to leave out is planted in known numbers.
"""

from __future__ import annotations

import hashlib
import json
import random
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aragora.memory import Memory, answer_key, make_task

_BLOCK = 5_000
_STARTED = 1_760_000_000.0
_TABLES = ("tasks", "debates", "participants", "messages", "outcomes", "standings", "votes")
_WORDS = [
    a + b
    for a in ("tar", "mel", "sor", "vin", "dal", "kep", "nor", "lim", "bur", "fas", "gol", "hin",
              "jur", "pal", "quo", "ras", "tem", "wol", "xan", "yel")
    for b in ("", "do", "ki", "na", "re", "su", "ta", "vo", "ly", "ther", "mis", "con", "ble")
]  # fmt: skip


@dataclass
class Crowd:
    """What was written: how many debates of each planted kind."""

    debates: int = 0
    rows: int = 0
    kinds: Counter[str] = field(default_factory=Counter[str])


def write_crowd(path: Path, debates: int, seed: int = 5) -> Crowd:
    """Fill a new database; search tables are left empty, because nothing here searches."""
    with Memory.open(str(path)):
        pass
    crowd = Crowd()
    connection = sqlite3.connect(path, isolation_level=None)
    columns = {
        table: [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        for table in _TABLES
    }
    # Indexes are made afterwards, in one pass each, which is how bulk loads are done.
    later = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    ).fetchall()
    for name, _ in later:
        connection.execute(f"DROP INDEX {name}")
    for name in ("insert", "delete", "update"):
        connection.execute(f"DROP TRIGGER message_words_{name}")
    connection.execute("PRAGMA journal_mode=OFF")
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA cache_size=-100000")
    for block in _blocks(debates, seed, crowd):
        connection.execute("BEGIN")
        for table, rows in block.items():
            marks = ",".join(f":{name}" for name in columns[table])
            connection.executemany(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", rows)
            crowd.rows += len(rows)
        connection.execute("COMMIT")
    for _, sql in later:
        connection.execute(sql)
    connection.execute("ANALYZE")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    crowd.debates = debates
    return crowd


def _blocks(debates: int, seed: int, crowd: Crowd) -> Iterator[dict[str, list[dict[str, Any]]]]:
    draw = random.Random(seed)
    block: dict[str, list[dict[str, Any]]] = {table: [] for table in _TABLES}
    for number in range(debates):
        _add(block, number, draw, crowd)
        if len(block["debates"]) == _BLOCK:
            yield block
            block = {table: [] for table in _TABLES}
    if block["debates"]:
        yield block


def _sentence(draw: random.Random, words: int) -> str:
    return " ".join(draw.choices(_WORDS, k=words)).capitalize() + "."


def _answers(kind: str, draw: random.Random) -> tuple[str, str]:
    """The winning and the losing proposal."""
    first = _sentence(draw, draw.randint(10, 24))
    if kind == "tie":
        return first, first
    if kind == "length":
        return first, f"{first[:-1]} {_sentence(draw, 12)}"
    if kind == "near":
        return first, f"{first[:-1]} {draw.choice(_WORDS)}."
    if kind == "personal":
        return f"{first} Write to {draw.choice(_WORDS)}@example.org.", _sentence(draw, 14)
    return first, _sentence(draw, draw.randint(10, 24))


def _kind(draw: random.Random) -> str:
    kinds = ("pair", "tie", "length", "near", "personal", "open", "held_out")
    return draw.choices(kinds, weights=(70, 10, 4, 4, 1, 8, 3))[0]


def _add(
    block: dict[str, list[dict[str, Any]]], number: int, draw: random.Random, crowd: Crowd
) -> None:
    kind = _kind(draw)
    domain = draw.choice(("law", "code", "care", "rules"))
    crowd.kinds[kind] += 1
    identity = f"{int((_STARTED + number) * 1000):012x}{number:020x}"
    at = _STARTED + number
    question = f"Case {number}: {_sentence(draw, 9)}"
    task = make_task(question, domain=domain)
    prompt = json.dumps([{"role": "user", "content": question}])
    digest = hashlib.sha256(prompt.encode()).hexdigest()
    won, lost = _answers(kind, draw)
    is_reached = kind != "open"
    winner = draw.randint(0, 1)
    texts = {winner: won, 1 - winner: lost}
    elo = {winner: 1600.0 + draw.random(), 1 - winner: 1400.0 + draw.random()}
    block["tasks"].append({**vars(task)})
    block["debates"].append(
        {
            "id": identity, "task_id": task.id, "domain": domain,
            "split": "held_out" if kind == "held_out" else "train", "protocol_name": "judge",
            "protocol_digest": "0" * 64, "protocol": "{}", "seed": number, "state": "done",
            "error": None, "started_at": at, "ended_at": at + 1.0, "prompt_tokens": 60,
            "completion_tokens": 40, "cost_usd": 0.0, "labels": "{}",
        }
    )  # fmt: skip
    for seat in range(3):
        block["participants"].append(
            {
                "debate_id": identity, "seat": seat, "agent": f"agent{seat}", "kind": "tinker",
                "role": "judge" if seat == 2 else "proposer", "model": "nano",
                "base_digest": None, "adapter": None, "adapter_digest": None,
                "elo_before": elo.get(seat), "domain_elo_before": None,
            }
        )  # fmt: skip
        text = texts.get(seat, f"{'AB'[winner]} (0.900)")
        key = answer_key(text) if seat < 2 else None
        block["messages"].append(
            {
                "id": number * 3 + seat + 1, "debate_id": identity, "round": 1,
                "phase": "judge" if seat == 2 else "propose", "seat": seat, "target": -1,
                "status": "ok", "error": None, "attempts": 1, "prompt": prompt,
                "prompt_digest": digest, "text": text, "text_chars": len(text),
                "answer": text, "answer_key": key, "confidence": 0.9 if seat == 2 else None,
                "confidence_source": "likelihood" if seat == 2 else None, "prompt_tokens": 20,
                "completion_tokens": 20, "stop_reason": "stop", "cost_usd": 0.0, "model": "nano",
                "adapter_digest": None, "seed": seat, "temperature": 0.8, "max_tokens": 64,
                "neutralised": 0, "started_at": at, "latency_s": 0.1,
            }
        )  # fmt: skip
        if seat == 2:
            continue
        is_first = seat == winner or kind == "tie" or not is_reached
        block["standings"].append(
            {
                "debate_id": identity, "seat": seat, "place": 1 if is_first else 2,
                "score": float(is_first), "first_message_id": number * 3 + seat + 1,
                "final_message_id": number * 3 + seat + 1,
            }
        )  # fmt: skip
    block["votes"].append(
        {
            "message_id": number * 3 + 3, "debate_id": identity, "round": 1, "seat": 2,
            "choice_seat": winner, "confidence": 0.9, "invalid": None,
        }
    )  # fmt: skip
    block["outcomes"].append(
        {
            "debate_id": identity, "consensus": "judge", "is_reached": is_reached,
            "decided_by": "judge", "winner_seat": winner if is_reached else None, "answer": won,
            "answer_key": answer_key(won), "confidence": 0.9, "agreement": 0.5, "rounds": 1,
            "stopped": "rounds",
        }
    )  # fmt: skip
