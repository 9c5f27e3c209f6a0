"""Options of the exporters; the same names are arguments of `export` and command options."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from aragora.errors import UsageError
from aragora.memory.records import Split

PiiRule = Literal["drop", "redact", "keep"]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class ExportOptions(BaseModel):
    """What all exporters understand."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    domains: tuple[str, ...] = Field(default=(), description="Only these domains.")
    splits: tuple[Split, ...] = Field(
        default=("train", "none"),
        description="Splits of debates to use; held-out ones only if they are named.",
    )
    since: datetime | None = Field(default=None, description="Debates that began at or after this.")
    until: datetime | None = Field(default=None, description="Debates that began before this.")
    limit: int | None = Field(default=None, ge=1, description="Most rows.")
    after: str = Field(default="", description="Go on behind this debate (paging).")
    pii: PiiRule = Field(
        default="drop",
        description="Rows with personal data or secrets: leave out, put marks, or keep.",
    )
    deduplicate: bool = Field(default=True, description="Leave out repeated rows.")
    near_duplicates: Share = Field(
        default=0.9,
        description="Similarity from which on two rows are the same (1 turns it off).",
    )
    benchmarks: tuple[Path, ...] = Field(
        default=(), description="Benchmark files beside the registered ones."
    )
    replay: tuple[Path, ...] = Field(
        default=(), description="Earlier exports to mix in, so that little is forgotten."
    )
    replay_share: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        default=0.2, description="Share of replayed rows in the whole."
    )
    seed: int = Field(default=0, description="Seed of which earlier rows are replayed.")

    @field_validator("since", "until")
    @classmethod
    def _in_utc(cls, value: datetime | None) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value

    @model_validator(mode="after")
    def _is_a_span(self) -> Self:
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise ValueError("until must be later than since")
        return self


class SFTOptions(ExportOptions):
    """Options of `SFTExporter`."""

    min_confidence: Share = Field(default=0.8, description="Least confidence of an outcome.")
    min_success_rate: Share = Field(
        default=0.7, description="Least share of a pattern's uses that led to an improvement."
    )
    min_pattern_uses: int = Field(default=1, ge=1, description="Least uses of a pattern.")
    min_expert_elo: float = Field(
        default=1600.0, description="Rating in the domain that makes an expert."
    )
    include_debates: bool = Field(default=True, description="Answers that won.")
    include_patterns: bool = Field(default=True, description="Issue and suggestion that mends it.")
    include_critiques: bool = Field(default=True, description="Critiques that led to better.")
    include_experts: bool = Field(default=True, description="Experts' answers that agree.")


class DPOOptions(ExportOptions):
    """Options of `DPOExporter`."""

    min_elo_difference: float = Field(
        default=100.0,
        ge=0.0,
        description="How far the winner's rating was above the loser's when the debate began; "
        "0 asks for no ratings.",
    )
    min_confidence: Share = Field(default=0.0, description="Least confidence of an outcome.")
    min_calibration_gap: Share = Field(
        default=0.2, description="Least difference of the squared errors of two confidences."
    )
    max_similarity: Share = Field(
        default=0.9, description="Pairs of answers that are more alike teach nothing."
    )
    include_head_to_head: bool = Field(default=True, description="Winner against loser.")
    include_calibration: bool = Field(default=True, description="Well against badly calibrated.")
    include_domain_specific: bool = Field(default=True, description="Expert against non-expert.")


class GauntletOptions(ExportOptions):
    """Options of `GauntletExporter`; domains are the attacks' categories."""

    include_attack_patterns: bool = Field(default=True, description="Attack and held defence.")
    include_defense_training: bool = Field(default=True, description="Held against broken.")
    agents: tuple[str, ...] = Field(default=(), description="Only runs against these agents.")
    max_similarity: Share = Field(default=0.9, description="As for preference pairs.")


OptionsT = TypeVar("OptionsT", bound=ExportOptions)


def read_options(model: type[OptionsT], given: dict[str, Any]) -> OptionsT:
    """Options from keyword arguments; None is the default. Raises UsageError that names the one."""
    try:
        return model.model_validate({k: v for k, v in given.items() if v is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "options"
        known = ", ".join(model.model_fields)
        hint = f"; options: {known}" if first["type"] == "extra_forbidden" else ""
        raise UsageError(f"{name}: {first['msg']}{hint}") from error


def without_replay(options: OptionsT) -> OptionsT:
    """The options; raises UsageError where earlier rows are to be mixed into rows in memory."""
    if options.replay:
        raise UsageError("replay: earlier rows are mixed into files only; use write or the command")
    return options
