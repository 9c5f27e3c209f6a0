"""What each record has already spent in released packages.

A package written is a release. The register keeps, for every release, a fingerprint of each
record that was trained on. What one record has spent is the sum over the releases that learned
from it; records compose in parallel, so a set has spent what its most spent record has. A release
that was trained without privacy, where one is charged, spends all that there is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tensafe.errors import GateRefusedError, TensafeError
from tensafe.files import locked, write_json

REGISTER = "privacy_register.json"
# 64 bits of SHA-256: among a million records two collide with probability 3e-8, and a collision
# only over-counts.
FINGERPRINT_DIGITS = 16


@dataclass(frozen=True)
class Spent:
    """Privacy already spent by the most spent record of a set, and the releases with any of it.

    `epsilon` is infinite when a release learned from a record without privacy.
    """

    epsilon: float
    packages: tuple[str, ...]


class PrivacyRegister:
    """The register file under the tensafe home; a file that can't be parsed stops everything."""

    def __init__(self, home: Path) -> None:
        self.path = home / REGISTER

    def spent_by(self, records: Sequence[str], *, adapter: str = "") -> Spent:
        """The most that one of these records has spent in earlier releases, added up.

        Releases of `adapter` itself (its digest) are left out: the same weights in another
        package reveal nothing more.

        Raises:
            TensafeError: the register is unreadable (a missing one is an empty one).
        """
        return _spent(self._read(), _fingerprints(records), adapter)

    def release(
        self,
        package: str,
        epsilon: float | None,
        delta: float,
        records: Sequence[str],
        *,
        adapter: str = "",
        lifetime: float = math.inf,
    ) -> None:
        """Charge a release before its package is moved into place; an adapter is charged once.

        `epsilon` None: it was trained without privacy.

        Raises:
            GateRefusedError: a record would spend more than `lifetime`, by what is charged now.
            TensafeError: the register is unreadable.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with locked(self.path):
            entries = self._read()
            if any(_is_of(entry, adapter) for entry in entries):
                return
            before = _spent(entries, _fingerprints(records), adapter).epsilon
            if epsilon is not None and not before + epsilon <= lifetime:
                raise GateRefusedError(
                    f"dp_budget: other releases over the same records spent epsilon {before:.3f} "
                    f"meanwhile; with {epsilon:.3f} more it is above their lifetime budget of "
                    f"{lifetime:g}; nothing was packaged"
                )
            entries.append(
                {
                    "package": package,
                    "adapter": adapter,
                    "epsilon": epsilon,
                    "delta": delta,
                    "records": sorted(_fingerprints(records)),
                }
            )
            write_json(self.path, {"version": 1, "releases": entries}, mode=0o600)

    def _read(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        try:
            document = json.loads(self.path.read_text(encoding="utf-8"))
            if document["version"] != 1:
                raise ValueError(f"version {document['version']}, expected 1")
            return list(document["releases"])
        except (ValueError, KeyError, TypeError) as error:
            raise TensafeError(
                f"{self.path}: not a privacy register ({error}); restore it from a backup: "
                "without it earlier releases can't be counted"
            ) from error


def _fingerprints(records: Sequence[str]) -> set[str]:
    return {digest[:FINGERPRINT_DIGITS] for digest in records}


def _spent(entries: Sequence[dict[str, Any]], wanted: set[str], adapter: str) -> Spent:
    hits = [r for r in entries if not wanted.isdisjoint(r["records"]) and not _is_of(r, adapter)]
    by_record: dict[str, float] = dict.fromkeys(wanted, 0.0)
    for release in hits:
        for record in wanted.intersection(release["records"]):
            spent = release["epsilon"]
            by_record[record] += math.inf if spent is None else float(spent)
    return Spent(
        epsilon=max(by_record.values(), default=0.0),
        packages=tuple(str(r["package"]) for r in hits),
    )


def _is_of(entry: dict[str, Any], adapter: str) -> bool:
    return bool(adapter) and entry.get("adapter") == adapter
