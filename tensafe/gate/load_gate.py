"""The load gate: seven steps between a package file and a running base model.

Every step is run whatever the others found, and one that can't be run has failed. Nothing here
loads anything: the report says whether something may be loaded, and only a report that accepts
gives an admission.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from tensafe.errors import DataError, GateRefusedError, VerificationError
from tensafe.files import write_text
from tensafe.gate.load_records import GateStep, LoadPolicy, LoadReport, RunningBase, StepName
from tensafe.gate.load_steps import (
    Findings,
    base_step,
    creator_step,
    lora_config_step,
    payload_step,
    signatures_step,
)
from tensafe.gate.screening_step import rvu_step
from tensafe.tgsp.reader import Package, PackageFormatError, open_package, package_digest
from tensafe.tgsp.text import one_line
from tensafe.tgsp.trust import TrustStore
from tensafe.tgsp.verification import Verification, unlaid, verify

_log = logging.getLogger(__name__)
_MOST_FAULTS, _LONGEST = 20, 400
_MOST_EVIDENCE_CHARS = 16 << 10


def judge_package(
    path: Path,
    base: RunningBase,
    trust: TrustStore,
    policy: LoadPolicy | None = None,
    *,
    at: datetime | None = None,
) -> LoadReport:
    """Run the seven steps on a package; whatever is wrong with it is in the report.

    `at` is the moment for the expiry of keys (default: now).

    Raises:
        DataError: there is no such file, or it can't be read.
    """
    policy, moment = policy or LoadPolicy(), at or datetime.now(UTC)
    digest = package_digest(path)
    try:
        with open_package(path) as package:
            started = time.monotonic()
            verified = verify(package, trust, at=moment)
            steps = _steps(package, verified, base, policy, time.monotonic() - started)
    except PackageFormatError as error:
        verified = unlaid(error)
        steps = _steps(None, verified, base, policy, 0.0)
    return LoadReport(
        package=_plain(path.name),
        package_digest=digest,
        adapter_digest=verified.payload_hash,
        base=_plain(base.name),
        base_digest=base.digest,
        policy=policy.model_dump(mode="json"),
        at=moment.isoformat(timespec="seconds"),
        steps=(*steps, _decision(steps)),
    )


def require_admission(report: LoadReport) -> None:
    """Demand a report that accepts.

    Raises:
        GateRefusedError: a step said no; the message names each with its reason.
    """
    if not report.accepted:
        reasons = "".join(f"\n  {step.name}: {step.reason}" for step in report.failed)
        raise GateRefusedError(f"{report.package} was not let in:{reasons}")


def keep_report(report: LoadReport, folder: Path) -> Path:
    """Write the report under a name made of its moment and digest; gives its path.

    Raises:
        DataError: it can't be written.
    """
    stamp = report.at.replace(":", "").replace("+0000", "Z")
    path = folder / f"{stamp}-{report.package_digest[:12]}-{report.digest[:12]}.json"
    try:
        write_text(path, report.to_json())
    except OSError as error:
        raise DataError(f"{path}: can't write the gate's report: {error.strerror}") from error
    return path


def _steps(
    package: Package | None,
    verified: Verification,
    base: RunningBase,
    policy: LoadPolicy,
    verify_seconds: float,
) -> tuple[GateStep, ...]:
    """Steps 1 to 6. Verification is one pass, so its time stands at the first of its steps."""
    run = [
        _timed("payload_hash", lambda: payload_step(verified, policy), verify_seconds),
        _timed("signatures", lambda: signatures_step(verified)),
        _timed("creator", lambda: creator_step(verified)),
        _timed("lora_config", lambda: lora_config_step(package, verified, base, policy)),
        _timed("base", lambda: base_step(verified, base, policy)),
        _timed("rvu_v2", lambda: rvu_step(package, verified, policy)),
    ]
    return tuple(run)


def _timed(name: StepName, step: Callable[[], Findings], before: float = 0.0) -> GateStep:
    started = time.monotonic()
    try:
        found = step()
    except VerificationError as error:
        found = Findings((str(error),))
    # The edge where a step's crash becomes its refusal: a hostile package must not pass by it.
    except Exception as error:
        _log.exception("step %s of the load gate could not be run", name)
        found = Findings((f"could not be run: {type(error).__name__}: {error}",))
    faults = tuple(_plain(fault) for fault in found.faults[:_MOST_FAULTS])
    return GateStep(
        name=name,
        passed=not found.faults,
        reason=faults[0] if faults else _plain(found.reason),
        faults=faults,
        evidence=_bounded(found.evidence),
        seconds=round(before + time.monotonic() - started, 6),
    )


def _decision(steps: tuple[GateStep, ...]) -> GateStep:
    failed = [step.name for step in steps if not step.passed]
    if failed:
        reason = f"rejected: {', '.join(failed)} said no"
        return GateStep("decision", passed=False, reason=reason, faults=(reason,))
    return GateStep("decision", passed=True, reason="accepted: all six steps passed")


def _bounded(evidence: dict[str, object]) -> dict[str, object]:
    """Evidence that is small, else how large it is: reports go into databases and onto pages."""
    size = len(json.dumps(evidence))
    return evidence if size <= _MOST_EVIDENCE_CHARS else {"left_out_chars": size}


def _plain(text: str) -> str:
    """One line without control characters, of bounded length: packages may be hostile."""
    return one_line(text)[:_LONGEST]
