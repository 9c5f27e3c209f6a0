"""An agent's set of adapters: what was admitted once may be switched to, and nothing else.

Admission asks a gate. The default gate refuses everything; `PackageAdmission` verifies a signed
package against the trust store. What was admitted is kept by digest under aragora's home, so that
a later process finds the same set, and every use checks that the file is still that digest.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from aragora.config import AragoraConfig
from aragora.errors import AdapterRefusedError


@dataclass(frozen=True)
class Verdict:
    """A gate's word on one package. `payload_digest` is the adapter's, "" when it was refused."""

    is_admitted: bool
    reason: str
    payload_digest: str = ""
    base_model: str = ""


@dataclass(frozen=True)
class AdmissionRequest:
    """What is to be let in: for which agent, on which base, in place of which adapter digest."""

    agent: str
    adapter: str
    package: Path
    base_digest: str | None
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
    """Admits signed packages that are intact, trusted, gated and made for the agent's base."""

    def judge(self, request: AdmissionRequest) -> Verdict:
        """Verify the package; whatever is wrong is the verdict's reason."""
        from tensafe.errors import TensafeError
        from tensafe.tgsp import load_trust, open_package, trust_path, verify_package

        try:
            result = verify_package(request.package, load_trust(trust_path()))
            manifest = result.require(trusted=True)
            with open_package(request.package) as package:
                digest = package.payload_hash()
        except TensafeError as error:
            return Verdict(False, str(error))
        if digest != result.payload_hash:
            return Verdict(False, f"{request.package} changed while it was verified")
        if not manifest.view.rvu_safety.screening_passed:
            return Verdict(False, "its screening did not pass")
        stated = (manifest.view.provenance or {}).get("base_weights")
        if request.base_digest is None or stated != request.base_digest:
            return Verdict(
                False, f"it was made for base {str(stated)[:12]}, not {request.base_digest}"
            )
        return Verdict(True, result.why, digest, manifest.view.model.base_model)


@dataclass(frozen=True)
class AdmittedAdapter:
    """One member of a set: the package it came from, its payload digest and the gate's reason."""

    name: str
    package: str
    digest: str
    reason: str
    at: float


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
