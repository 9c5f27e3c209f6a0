"""An agent's set of adapters: what was admitted once may be switched to, and nothing else.

Admission asks a gate. The default gate refuses everything; `PackageAdmission` is tensafe's load
gate. What was admitted is kept by digest under aragora's home, so that a later process finds the
same set, and every use checks that the file is still the one that was judged (the weights alone
don't say with which alpha they are applied), for the base that is running, and by a creator whom
the trust store still holds.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from aragora.config import AragoraConfig
from aragora.errors import AdapterRefusedError

if TYPE_CHECKING:
    from tensafe.gate.load_records import RunningBase


@dataclass(frozen=True)
class Verdict:
    """A gate's word on one package; both digests are "" when it was refused.

    `package_digest` is the whole file's, `payload_digest` that of the weights in it.
    """

    is_admitted: bool
    reason: str
    payload_digest: str = ""
    package_digest: str = ""


@dataclass(frozen=True)
class AdmissionRequest:
    """What is to be let in: for which agent, on which base, in place of which adapter digest.

    `base` is None on a server that doesn't say what it runs.
    """

    agent: str
    adapter: str
    package: Path
    base: RunningBase | None
    replaces: str | None


class AdapterAdmission(Protocol):
    """A gate. It answers with a verdict and raises nothing for a bad package."""

    def judge(self, request: AdmissionRequest) -> Verdict:
        """Whether the package may come into the agent's set."""
        ...


class NoAdmission:
    """The default gate: closed."""

    def judge(self, request: AdmissionRequest) -> Verdict:
        """Always refused."""
        return Verdict(False, "no gate was given to this agent, so nothing is admitted")


class PackageAdmission:
    """tensafe's load gate: all seven steps against the agent's base; the report is kept."""

    def judge(self, request: AdmissionRequest) -> Verdict:
        """Run the gate; whatever is wrong with the package is the verdict's reason."""
        from tensafe.errors import TensafeError
        from tensafe.gate.load_gate import judge_package, keep_report
        from tensafe.tgsp import load_trust, tensafe_home, trust_path

        if request.base is None:
            return Verdict(False, "the server doesn't say which base it runs, so nothing fits it")
        # A copy: nobody can exchange the file between the gate's look and the digest.
        with tempfile.TemporaryDirectory() as scratch:
            try:
                copy = Path(shutil.copy(request.package, scratch))
                report = judge_package(copy, request.base, load_trust(trust_path()))
                kept = keep_report(report, tensafe_home() / "gate")
            except (TensafeError, OSError) as error:
                return Verdict(False, str(error))
        if not report.accepted:
            reasons = "; ".join(f"{step.name}: {step.reason}" for step in report.failed)
            return Verdict(False, f"the load gate said no: {reasons} (report {kept})")
        reason = f"let in by the load gate (report {kept})"
        return Verdict(True, reason, report.adapter_digest, report.package_digest)


@dataclass(frozen=True)
class AdmittedAdapter:
    """One member of a set: the package it came from, and the gate's reason.

    `digest` is the weights' (its name in records), `package_digest` the whole file's, `base` the
    digest of the base that it was let in for (its name on servers that don't tell one). Members
    kept by earlier versions name no base and have to be admitted again.
    """

    name: str
    package: str
    digest: str
    package_digest: str
    reason: str
    at: float
    base: str = ""


class AdapterSet:
    """The adapters of one agent, in a file of its own under aragora's home (or in memory)."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._members = {} if path is None else _read(path)

    @classmethod
    def of(cls, agent: str) -> AdapterSet:
        """The stored set of the agent by this name."""
        from aragora.memory.identity import subject_digest

        folder = AragoraConfig().home / "agents"
        # A name may hold anything; the file is called by its digest.
        return cls(folder / f"{subject_digest(agent)[:32]}.json")

    def names(self) -> tuple[str, ...]:
        """The names that may be switched to."""
        return tuple(self._members)

    def add(self, adapter: AdmittedAdapter) -> None:
        """Take a member in, durably; the same name again replaces it."""
        self._members[adapter.name] = adapter
        if self._path is not None:
            from tensafe.files import write_json

            write_json(self._path, [asdict(a) for a in self._members.values()], mode=0o600)

    def get(self, name: str) -> AdmittedAdapter:
        """A member; raises AdapterRefusedError that lists the members."""
        found = self._members.get(name)
        if found is None:
            raise AdapterRefusedError(
                f"adapter {name!r} was not admitted to this agent's set "
                f"({', '.join(self._members) or 'which is empty'}); admit its package first"
            )
        return found


def _read(path: Path) -> dict[str, AdmittedAdapter]:
    if not path.is_file():
        return {}
    try:
        listed: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))
        return {str(entry["name"]): AdmittedAdapter(**entry) for entry in listed}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise AdapterRefusedError(
            f"{path}: the set of admitted adapters can't be read ({error}); nothing is admitted "
            "until the file is repaired or removed"
        ) from error
