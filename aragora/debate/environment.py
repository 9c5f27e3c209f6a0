"""What is debated: a task, its setting, and (where there is one) who can check an answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from aragora.memory.records import Split


class Verifier(Protocol):
    """Scores an answer in [0, 1]. `uses_key` says that it knows the right answer.

    Failure contract: an exception means that the answer could not be checked, not that it is wrong.
    """

    @property
    def name(self) -> str:
        """Name under which verdicts are stored."""
        ...

    @property
    def uses_key(self) -> bool:
        """Whether verdicts come from an answer key."""
        ...

    def score(self, answer: str) -> float:
        """How right an answer is; 1 is right, 0 is wrong."""
        ...


@dataclass(frozen=True)
class KeyVerifier:
    """Compares with a known answer in normal form. Never to be used on what is trained on."""

    key: str
    name: str = "key"
    uses_key: bool = True

    def score(self, answer: str) -> float:
        """1.0 for the same answer, else 0.0."""
        from aragora.memory.identity import answer_key

        return float(answer_key(answer) == answer_key(self.key))


@dataclass(frozen=True)
class CheckVerifier:
    """A function that checks an answer without knowing it (a solver, a test suite)."""

    check: Callable[[str], float]
    name: str = "check"
    uses_key: bool = False

    def score(self, answer: str) -> float:
        """What the function says."""
        return float(self.check(answer))


@dataclass(frozen=True)
class Environment:
    """The setting of a debate.

    `verifier` scores answers and is recorded; it decides only where the protocol's consensus is
    `verifier`. `subjects` are the people whose data the task holds. `labels` are stored as given.
    """

    task: str
    context: str = ""
    domain: str = "general"
    source: str = ""
    split: Split = "none"
    verifier: Verifier | None = None
    subjects: tuple[str, ...] = ()
    labels: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def question(self) -> str:
        """Context and task as agents see them."""
        return f"{self.context}\n\n{self.task}" if self.context else self.task
