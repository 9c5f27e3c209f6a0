"""A scorecard: one line for each thing that a package is asked, with what to do about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Literal

ItemName = Literal[
    "integrity",
    "creator",
    "gates",
    "quality",
    "screening",
    "privacy",
    "fit",
    "skill_doc",
    "licence",
    "lineage",
    "compliance",
]
Status = Literal["passed", "failed", "warning", "not_run"]


@dataclass(frozen=True)
class ScoreItem:
    """One line. `warning` is for what a reader should know and nobody can call wrong."""

    name: ItemName
    status: Status
    reason: str
    advice: str = ""
    evidence: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Scorecard:
    """All lines of one package, in the suite's order."""

    file: str
    package_digest: str
    items: tuple[ScoreItem, ...]

    @property
    def failed(self) -> tuple[ScoreItem, ...]:
        """The lines that keep it out of a marketplace."""
        return tuple(item for item in self.items if item.status == "failed")

    @property
    def warnings(self) -> tuple[ScoreItem, ...]:
        """The lines that a reader should see, those that could not be run among them."""
        return tuple(item for item in self.items if item.status in ("warning", "not_run"))

    @property
    def is_intact(self) -> bool:
        """Whether hashes and signatures hold, without which nothing else means anything."""
        return all(item.status == "passed" for item in self.items if item.name == "integrity")

    @property
    def is_ready(self) -> bool:
        """True when nothing failed."""
        return bool(self.items) and not self.failed

    def to_json(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "file": self.file,
            "package_digest": self.package_digest,
            "ready": self.is_ready,
            "passed": sum(item.status == "passed" for item in self.items),
            "warnings": len(self.warnings),
            "failed": len(self.failed),
            "items": [asdict(item) for item in self.items],
        }
