"""How a debate goes: one frozen, complete setting that is stored with every debate."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aragora.errors import UsageError
from aragora.memory.identity import digest_of

Consensus = Literal["majority", "supermajority", "unanimity", "judge", "verifier"]
SHARES: dict[str, float] = {"majority": 0.5, "supermajority": 2 / 3, "unanimity": 1.0}


class DebateProtocol(BaseModel):
    """Settings of a debate; unknown fields are refused.

    A round is critique, then revision, then a vote. `ballot` `answers` counts each proposer's own
    answer as its vote instead of asking. `stop_when_agreed` ends early when this share of proposers
    gives the same answer after a round (0: never). Deadlines are seconds per turn.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "debate"
    description: str = ""
    rounds: int = Field(default=2, ge=1, le=20)
    critique: bool = True
    revise: bool = True
    ballot: Literal["votes", "answers"] = "votes"
    consensus: Consensus = "majority"
    supermajority: float = Field(default=2 / 3, gt=0.5, le=1.0)
    self_votes: bool = False
    critics_vote: bool = True
    topology: Literal["full", "ring"] = "full"
    devils_advocate: bool = False
    stop_when_agreed: float = Field(default=1.0, ge=0.0, le=1.0)
    deadline_s: float = Field(default=120.0, gt=0.0, le=86_400.0)
    retries: int = Field(default=1, ge=0, le=10)
    max_tokens: int = Field(default=256, ge=1, le=131_072)
    token_budget: int | None = Field(default=None, ge=1)
    cost_budget_usd: float | None = Field(default=None, ge=0.0)
    max_chars: int = Field(default=16_000, ge=100, le=1_000_000)
    temperature: float | None = Field(default=None, ge=0.0, le=2.0)
    concurrency: int = Field(default=16, ge=1, le=1024)

    @property
    def digest(self) -> str:
        """Hex SHA-256 of all settings but name and description."""
        return digest_of(self.model_dump(exclude={"name", "description"}))


def protocol_names() -> list[str]:
    """Names of the built-in protocols."""
    return list(_built_in())


def load_protocol(name: str, **changes: Any) -> DebateProtocol:
    """A built-in protocol, or one from a TOML file, with fields changed.

    Raises UsageError that lists the names, or names the file and the field.
    """
    known = _built_in()
    if name in known:
        settings = known[name]
    elif name.endswith(".toml"):
        settings = _from_file(Path(name))
    else:
        raise UsageError(
            f"protocol {name!r} is not known; choose {', '.join(known)}, or give a .toml file"
        )
    try:
        return DebateProtocol.model_validate({"name": Path(name).stem, **settings, **changes})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"protocol {name}: {field}: {first['msg']}") from error


def _built_in() -> dict[str, dict[str, Any]]:
    text = files("aragora.debate").joinpath("protocols.toml").read_text("utf-8")
    return tomllib.loads(text)


def _from_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"protocol file {path} can't be read: {error}") from error
