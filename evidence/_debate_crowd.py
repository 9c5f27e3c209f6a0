"""A million small debates in a database, written in bulk: their shape is real, their words are not.

Each has two proposers and a judge: two proposals to one prompt and one vote, twelve rows in all. A
first block is made here and repeated inside the database, every text marked with its round. What
the exporter has to leave out is planted in known numbers; the debates' labels say where.
"""

from __future__ import annotations

import hashlib
import json
import random
import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aragora.memory import Memory, answer_key, make_task

BLOCK = 20_000
_STARTED = 1_760_000_000
_TABLES = ("tasks", "debates", "participants", "messages", "outcomes", "standings", "votes")
_WORDS = [
    a + b
    for a in ("tar", "mel", "sor", "vin", "dal", "kep", "nor", "lim", "bur", "fas", "gol", "hin",
              "jur", "pal", "quo", "ras", "tem", "wol", "xan", "yel")
    for b in ("", "do", "ki", "na", "re", "su", "ta", "vo", "ly", "ther", "mis", "con", "ble")
]  # fmt: skip


# What changes from round to round; `n` is the debate's number, :k the round, :b the block's size.
_ID = f"printf('%012x%020x', ({_STARTED} + n + :k * :b) * 1000, n + :k * :b)"
_TASK = "substr({0}, 1, 56) || printf('%08x', :k)"
_MESSAGE = "{0} + :k * :b * 3"
_SAID = "{0} || ' Round ' || :k || '.'"
_CHANGED = {
    "tasks": {"id": _TASK, "text": _SAID},
    "debates": {"id": _ID, "task_id": _TASK, "started_at": "{0} + :k * :b"},
    "participants": {"debate_id": _ID},
    "messages": {
        "id": _MESSAGE,
        "debate_id": _ID,
        "prompt": "replace({0}, '\"}}]', ' Round ' || :k || '.\"}}]')",
        "text": _SAID,
        "answer": _SAID,
        "answer_key": _SAID,
    },
    "outcomes": {"debate_id": _ID, "answer": _SAID, "answer_key": _SAID},
    "standings": {
        "debate_id": _ID,
        "first_message_id": _MESSAGE,
        "final_message_id": _MESSAGE,
    },
    "votes": {"debate_id": _ID, "message_id": _MESSAGE},
}
_OWNER = {"tasks": "task_id", "debates": "id"}


@dataclass
class Crowd:
    """What was written: how many debates of each planted kind, and rows in all."""

    debates: int = 0
    rows: int = 0
    kinds: Counter[str] = field(default_factory=Counter[str])


def write_crowd(path: Path, debates: int, seed: int = 5) -> Crowd:
    """Fill a new database with whole blocks; search tables stay empty: nothing here searches."""
    with Memory.open(str(path)):
        pass
    block = min(debates, BLOCK)
    if debates % block:
        raise ValueError(f"debates come in blocks of {block}")
    rounds = debates // block
    connection = sqlite3.connect(path, isolation_level=None)
    # Indexes are made afterwards, in one pass each, which is how bulk loads are done.
    later = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    ).fetchall()
    for name, _ in later:
        connection.execute(f"DROP INDEX {name}")
    for name in ("insert", "delete", "update"):
        connection.execute(f"DROP TRIGGER message_words_{name}")
    for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-100000"):
        connection.execute(f"PRAGMA {pragma}")
    crowd = Crowd(debates)
    connection.execute("BEGIN")
    first = _first_block(block, seed, crowd)
    for table, rows in first.items():
        marks = ",".join(f":{name}" for name in rows[0])
        names = ",".join(rows[0])
        connection.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", rows)
    connection.execute("CREATE TEMP TABLE base AS SELECT id, task_id, seed AS n FROM debates")
    connection.execute("CREATE INDEX temp.base_ids ON base (id)")
    connection.execute("CREATE INDEX temp.base_tasks ON base (task_id)")
    for table, rows in first.items():
        connection.execute(f"CREATE TEMP TABLE first_{table} AS SELECT * FROM {table}")
        crowd.rows += len(rows) * rounds
    for number in range(1, rounds):
        for table, rows in first.items():
            _repeat(connection, table, list(rows[0]), number, block)
    connection.execute("COMMIT")
    for _, sql in later:
        connection.execute(sql)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    crowd.kinds = Counter({kind: count * rounds for kind, count in crowd.kinds.items()})
    return crowd


def _repeat(
    connection: sqlite3.Connection, table: str, names: list[str], number: int, block: int
) -> None:
    changed = _CHANGED[table]
    values = [changed.get(name, "{0}").format(f"f.{name}") for name in names]
    key = _OWNER.get(table)
    joined = "task_id = f.id" if table == "tasks" else f"id = f.{key or 'debate_id'}"
    connection.execute(
        f"INSERT INTO {table} ({','.join(names)}) SELECT {','.join(values)} "
        f"FROM first_{table} f JOIN base ON base.{joined} ORDER BY base.n, f.rowid",
        {"k": number, "b": block},
    )


def _first_block(count: int, seed: int, crowd: Crowd) -> dict[str, list[dict[str, Any]]]:
    draw = random.Random(seed)
    block: dict[str, list[dict[str, Any]]] = {table: [] for table in _TABLES}
    for number in range(count):
        _add(block, number, draw, crowd)
    return block


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
    identity = f"{(_STARTED + number) * 1000:012x}{number:020x}"
    at = float(_STARTED + number)
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
            "completion_tokens": 40, "cost_usd": 0.0, "labels": json.dumps({"planted": kind}),
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
