"""The two examinations of a swap: each package by the load gate, the whole by the red team."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tensafe.errors import DataError, UsageError, VerificationError
from tensafe.evaluate.model import AnsweringModel
from tensafe.gate.load_gate import judge_package
from tensafe.gate.load_records import LoadReport, RunningBase
from tensafe.gate.red_team import Contestant, RememberedReplies, Trial, red_team
from tensafe.gate.red_team_models import RedTeamModels, RoutedModel
from tensafe.gate.red_team_records import RedTeamReport
from tensafe.gate.running import running_base
from tensafe.gate.swap_records import SlotSettings, SwapRecord
from tensafe.gate.swap_sets import BASE, choose
from tensafe.gate.swap_store import SwapStore
from tensafe.gate.swap_targets import Target, open_target
from tensafe.screen.suites import load_suites
from tensafe.tgsp.canonical import sha256_hex
from tensafe.tgsp.trust import TrustStore

if TYPE_CHECKING:
    from tinker_engine.connect import Connection

RED_TEAM_FILE = "red_team.json"
# What changes no answer and no limit of a red team, so evidence stays good without it.
_NOT_EVIDENCE = frozenset(
    {
        "approval", "approvers", "approval_hours", "evidence_hours", "automatic_rollback",
        "live_tolerance", "live_alpha", "live_baseline_items", "load",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Admitted:
    """What the load gate said of all packages of one swap."""

    reports: tuple[LoadReport, ...]
    target: Target | None
    faults: tuple[str, ...]


@dataclass(frozen=True)
class Evidence:
    """A kept red team's report: of which swap, its text, verdict and figures."""

    swap: str
    text: str
    passed: bool
    figures: dict[str, float]


class SwapJudge:
    """Judges swaps of one engine; nothing here moves a slot."""

    def __init__(
        self,
        store: SwapStore,
        connect: Callable[[], Connection],
        trust: Callable[[], TrustStore],
    ) -> None:
        self._store = store
        self._connect = connect
        self._trust = trust
        self._memory = RememberedReplies()

    def close(self) -> None:
        """End the connection to the engine, if there was one."""
        if "_engine" in self.__dict__:
            self._engine.close()

    @cached_property
    def _engine(self) -> Connection:
        return self._connect()

    @cached_property
    def base(self) -> RunningBase:
        """The base that runs."""
        return running_base(self._engine)

    @cached_property
    def _models(self) -> RedTeamModels:
        return RedTeamModels(self._engine)

    def admit(self, record: SwapRecord, settings: SlotSettings) -> Admitted:
        """All packages through the seven steps; all of them are judged whatever one of them is."""
        trust, policy = self._trust(), settings.policy.load
        reports = tuple(
            judge_package(self._store.package(digest), self.base, trust, policy)
            for digest in record.packages
        )
        faults = [
            f"{report.package_digest[:12]} {step.name}: {fault}"
            for report in reports
            for step in report.failed
            for fault in step.faults
        ]
        target = None
        if not faults:
            try:
                with tempfile.TemporaryDirectory(prefix="tensafe-swap-") as scratch:
                    target = open_target(self._store, record, Path(scratch))
                    faults += self._fit(target, record, settings)
            except (UsageError, VerificationError) as error:
                faults.append(str(error))
        return Admitted(reports, None if faults else target, tuple(faults))

    def examine(
        self, record: SwapRecord, settings: SlotSettings, *, is_afresh: bool = False
    ) -> RedTeamReport:
        """Old against new, by the slot's own data and policy; `is_afresh` asks everything again.

        Raises:
            DataError: the held-out data can't be read, or the old adapter's packages are gone.
            EngineError: the engine can't load one of them.
        """
        store = self._store
        return red_team(
            Trial(
                old=self._live(record),
                new=self._contestant(record),
                base=Contestant(self._models.base(), self.base.digest),
                held_out=store.examples(settings.held_out_digest),
                held_out_digest=settings.held_out_digest,
                safety=store.examples(settings.safety_digest),
                safety_digest=settings.safety_digest,
                policy=settings.policy,
            ),
            RememberedReplies() if is_afresh else self._memory,
        )

    def fresh_evidence(self, record: SwapRecord, settings: SlotSettings) -> Evidence | None:
        """The red team of an earlier swap that answers the same question, young enough.

        A report that is not the one its swap was decided by counts as none. Digests of weights
        alone don't make two adapters the same: their configurations have to agree as well.
        """
        hours = settings.policy.evidence_hours
        for earlier in reversed(self._store.records()):
            is_same = (earlier.slot, earlier.from_digest, earlier.to_digest) == (
                record.slot, record.from_digest, record.to_digest,
            )  # fmt: skip
            if not is_same or earlier.id == record.id or not earlier.red_team_digest:
                continue
            if _adapters(earlier) != _adapters(record):
                continue
            if self._adapters_at(earlier) != self._adapters_at(record):
                continue
            if found := self._evidence(earlier, settings, hours):
                return found
        return None

    def is_current(
        self, record: SwapRecord, settings: SlotSettings, *, hours: float | None = None
    ) -> bool:
        """Whether a swap's own red team asked what these settings ask, `hours` ago at most.

        A rollback needs none.
        """
        return record.action == "rollback" or bool(self._evidence(record, settings, hours))

    def _evidence(
        self, record: SwapRecord, settings: SlotSettings, hours: float | None
    ) -> Evidence | None:
        """A swap's kept report, if it answers what these settings ask and is young enough."""
        try:
            path = self._store.swap_folder(record.id) / RED_TEAM_FILE
            text = path.read_text(encoding="utf-8")
            report: dict[str, Any] = json.loads(text)
            is_good = sha256_hex(text.encode("utf-8")) == record.red_team_digest
            if is_good and hours is not None:
                oldest = datetime.now(UTC) - timedelta(hours=hours)
                is_good = datetime.fromisoformat(report["at"]) >= oldest
            if is_good and _asked(report) == {**_question(settings), "base": self.base.digest}:
                figures = {check["name"]: check["value"] for check in report["checks"]}
                return Evidence(record.id, text, bool(report["passed"]), figures)
        except (OSError, KeyError, TypeError, ValueError):
            pass
        return None

    def _fit(self, target: Target, record: SwapRecord, settings: SlotSettings) -> list[str]:
        """What only shows when the members are together."""
        if record.kind != "composed":
            return []
        from tensafe.screen.config import ScreenConfig
        from tensafe.screen.screening import screen_weights
        from tinker_engine.models.adapter_files import read_adapter

        rank, most = read_adapter(target.folders[0]).config.rank, settings.policy.load.max_rank
        faults = [f"composed rank {rank} is above the policy's {most}"] if rank > most else []
        results, _, _ = screen_weights(target.folders[0], ScreenConfig())
        return faults + [f"composed, {r.name}: {r.reason}" for r in results if not r.passed]

    def _standing_at(self, record: SwapRecord) -> SwapRecord | None:
        """The swap that had put the slot where this one found it; None at the base or unknown.

        Only what was applied to this very slot counts: packages that were merely handed in may
        hold the same weights under another configuration.
        """
        until = "" if record.decision is None else record.decision.at
        found = [
            earlier
            for earlier in self._store.records()
            if (earlier.slot, earlier.to_digest) == (record.slot, record.from_digest)
            and earlier.is_applied
            and earlier.packages
            and (not until or earlier.applied_at <= until)
        ]
        return max(found, key=lambda earlier: (earlier.applied_at, earlier.id), default=None)

    def _adapters_at(self, record: SwapRecord) -> tuple[object, ...]:
        standing = self._standing_at(record)
        return () if standing is None else _adapters(standing)

    def _live(self, record: SwapRecord) -> Contestant:
        """What the slot answered with when the record was made."""
        if record.from_digest == self.base.digest:
            return Contestant(self._models.base(), self.base.digest)
        standing = self._standing_at(record)
        if standing is None:
            raise DataError(
                f"no swap of this host put {record.from_digest} into slot {record.slot!r}; "
                "what is live can't be compared"
            )
        return self._contestant(standing)

    def _contestant(self, record: SwapRecord) -> Contestant:
        return Contestant(
            self._model_of(record),
            record.to_digest,
            tuple(member.config_digest for member in record.members),
        )

    def _model_of(self, record: SwapRecord) -> AnsweringModel:
        with tempfile.TemporaryDirectory(prefix="tensafe-swap-") as scratch:
            target = open_target(self._store, record, Path(scratch))
            if target.document is None:
                return self._models.adapter(
                    f"{target.digest}:{target.config_digest}", target.folders[0]
                )
            members: dict[str, AnsweringModel] = {
                member.adapter_digest: self._models.adapter(
                    f"{member.adapter_digest}:{member.config_digest}", folder
                )
                for member, folder in zip(target.members, target.folders, strict=True)
            }
        members[BASE] = self._models.base()
        return RoutedModel(members, partial(choose, target.document))


def _adapters(record: SwapRecord) -> tuple[object, ...]:
    """What a swap would serve, weights and configurations alike."""
    members = tuple((member.adapter_digest, member.config_digest) for member in record.members)
    return record.kind, members


def _question(settings: SlotSettings) -> dict[str, Any]:
    policy = settings.policy.model_dump(mode="json")
    return {
        "held_out": settings.held_out_digest,
        "safety": settings.safety_digest,
        "suites": load_suites().digests,
        "policy": {key: value for key, value in policy.items() if key not in _NOT_EVIDENCE},
    }


def _asked(report: dict[str, Any]) -> dict[str, Any]:
    policy: dict[str, Any] = report["policy"]
    return {
        "base": report["base_digest"],
        "held_out": report["held_out_digest"],
        "safety": report["safety_digest"],
        "suites": report["suites"],
        "policy": {key: value for key, value in policy.items() if key not in _NOT_EVIDENCE},
    }
