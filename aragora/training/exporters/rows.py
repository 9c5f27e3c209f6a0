"""What exporters make: candidates, rows in the layouts that trainers read, and what was left out.

A row of SFT holds `messages`, a row of DPO `prompt`, `chosen` and `rejected`, each a list of chat
messages: TRL and tinker-cookbook read these. Every row holds `provenance` with the same fields,
whose `texts` name the stored record behind each part and the digest of its words.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

Row = dict[str, Any]
Chat = list[dict[str, str]]
RecordKind = Literal["message", "trial", "pattern"]


@dataclass(frozen=True)
class Text:
    """One stored text in the role `part` (`completion`, `chosen` or `rejected`) of a row."""

    part: str
    text: str
    record_kind: RecordKind
    record_id: str
    debate_id: str | None
    agent: str | None = None
    adapter_digest: str | None = None


@dataclass(frozen=True)
class Candidate:
    """A row before screening. `asked` is what benchmarks are compared with: the bare task."""

    source: str
    domain: str
    prompt: Chat
    texts: tuple[Text, ...]
    asked: str
    debate_id: str | None = None
    task_id: str | None = None
    confidence: float | None = None
    elo_difference: float | None = None
    at: float | None = None
    uses: tuple[str, ...] = ()

    @property
    def is_pair(self) -> bool:
        """Whether it is a preference pair."""
        return len(self.texts) == 2


@dataclass
class Tally:
    """Counts while an export runs: rows by source, and what each filter removed."""

    records_read: int = 0
    rows: Counter[str] = field(default_factory=Counter[str])
    left_out: Counter[str] = field(default_factory=Counter[str])
    pii: Counter[str] = field(default_factory=Counter[str])
    last_debate_id: str = ""
    is_complete: bool = True

    def drop(self, reason: str, count: int = 1) -> None:
        """Count what was left out."""
        self.left_out[reason] += count


@dataclass(frozen=True)
class ExportReport:
    """What an export came to. `funnel` tells how many debates each filter left.

    `next_after` is where the next page begins, None behind the last.
    """

    kind: str
    unit: str
    rows: int
    records_read: int
    by_source: dict[str, int]
    left_out: dict[str, int]
    pii: dict[str, int]
    funnel: tuple[tuple[str, int], ...]
    replayed: int = 0
    digest: str = ""
    next_after: str | None = None

    def explain(self) -> str:
        """Lines for people: what there is, and which filter removed how much."""
        lines = [f"{self.kind}: {self.rows:,} rows from {self.records_read:,} {self.unit} read"]
        lines += [f"  {count:>10,}  {source}" for source, count in sorted(self.by_source.items())]
        if self.replayed:
            lines.append(f"  {self.replayed:>10,}  replayed from earlier exports")
        before: int | None = None
        for name, left in self.funnel:
            gone = "" if before is None else f" ({before - left:,} fewer)"
            lines.append(f"  {left:>10,}  debates {name}{gone}")
            before = left
        reasons = sorted(self.left_out.items(), key=lambda item: (-item[1], item[0]))
        lines += [f"  {count:>10,}  left out: {reason}" for reason, count in reasons]
        return "\n".join(lines)


class TrainingRows(list[Row]):
    """Rows in order, with the `report` of how they came about.

    `training_set_id` is what the database knows them by, None unless they were registered.
    """

    def __init__(
        self, rows: list[Row], report: ExportReport, training_set_id: str | None = None
    ) -> None:
        super().__init__(rows)
        self.report, self.training_set_id = report, training_set_id

    @property
    def conversations(self) -> list[Row]:
        """The rows with `messages`."""
        return [row for row in self if "messages" in row]

    @property
    def pairs(self) -> list[Row]:
        """The rows with `chosen` and `rejected`."""
        return [row for row in self if "chosen" in row]


def text_digest(text: str) -> str:
    """Hex SHA-256 of a text's UTF-8 bytes."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def turns_of(row: Row) -> list[dict[str, Any]]:
    """All turns of a row: prompt and answers."""
    if "messages" in row:
        return row["messages"]
    return [*row["prompt"], *row["chosen"], *row["rejected"]]


def as_row(candidate: Candidate, prompt: Chat, texts: dict[str, str]) -> Row:
    """The row of a candidate, with the words given (which marks may have been put into)."""
    answers = {part: [{"role": "assistant", "content": said}] for part, said in texts.items()}
    if candidate.is_pair:
        row: Row = {"prompt": prompt, **answers}
    else:
        row = {"messages": [*prompt, *answers["completion"]]}
    row["provenance"] = {
        "source": candidate.source,
        "domain": candidate.domain,
        "debate_id": candidate.debate_id,
        "task_id": candidate.task_id,
        "confidence": candidate.confidence,
        "elo_difference": candidate.elo_difference,
        "at": candidate.at,
        "uses": list(candidate.uses),
        "is_replayed": False,
        "is_redacted": any(texts[t.part] != t.text for t in candidate.texts)
        or prompt != candidate.prompt,
        "texts": [
            {
                "part": t.part,
                "kind": t.record_kind,
                "id": t.record_id,
                "debate_id": t.debate_id,
                "agent": t.agent,
                "adapter_digest": t.adapter_digest,
                "sha256": text_digest(t.text),
            }
            for t in candidate.texts
        ],
    }
    return row
