"""What each record has already spent in released packages.

A package written is a release. The register keeps, for every release, two fingerprints of each
record that was trained on: of its exact text, and of the form in which curation takes wordings that
differ in case, spacing or punctuation for one record. Either one names the record. What one record
has spent is the sum over the releases that learned from it; records compose in parallel, so a set
has spent what its most spent record has. A release that was trained without privacy spends all that
there is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tensafe.curate.pairs import record_key
from tensafe.data.records import Example
from tensafe.errors import GateRefusedError, TensafeError
from tensafe.files import locked, write_json

REGISTER = "privacy_register.json"
# 64 bits of a hash: among a million records two collide with probability 3e-8, and a collision
# only over-counts.
FINGERPRINT_DIGITS = 16


class RecordPrint(NamedTuple):
    """Fingerprints of one record: of its exact text, and of its plain form."""

    exact: str
    plain: str


def record_prints(examples: Iterable[Example]) -> list[RecordPrint]:
    """The fingerprints of examples, in their order."""
    return [
        RecordPrint(
            example.digest[:FINGERPRINT_DIGITS], record_key(example).hex()[:FINGERPRINT_DIGITS]
        )
        for example in examples
    ]


@dataclass(frozen=True)
class Spent:
    """Privacy already spent by the most spent record of a set, and the releases with any of it.

    `epsilon` is infinite when a release learned from a record without privacy. `delta` is the
    largest sum of deltas, whichever record has it: of releases that compose, both add up.
    """

    epsilon: float
    delta: float
    packages: tuple[str, ...]


class PrivacyRegister:
    """The register file under the tensafe home; a file that can't be parsed stops everything."""

    def __init__(self, home: Path) -> None:
        self.path = home / REGISTER

    def spent_by(self, records: Sequence[RecordPrint], *, adapter: str = "") -> Spent:
        """The most that one of these records has spent in earlier releases, added up.

        Releases of `adapter` itself (its digest) are left out: the same weights in another
        package reveal nothing more.

        Raises:
            TensafeError: the register is unreadable (a missing one is an empty one).
        """
        return _spent(self._read(), records, adapter)

    def release(
        self,
        package: str,
        epsilon: float | None,
        delta: float,
        records: Sequence[RecordPrint],
        *,
        adapter: str = "",
        lifetime: float = math.inf,
        delta_limit: float = math.inf,
    ) -> None:
        """Charge a release before its package is moved into place; an adapter is charged once.

        `epsilon` None: it was trained without privacy.

        Raises:
            GateRefusedError: a record would spend more than `lifetime`, or deltas that sum to more
                than `delta_limit`, by what is charged now.
            TensafeError: the register is unreadable.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with locked(self.path):
            entries = self._read()
            if any(_is_of(entry, adapter) for entry in entries):
                return
            before = _spent(entries, records, adapter)
            if epsilon is not None and not before.epsilon + epsilon <= lifetime:
                raise GateRefusedError(
                    "dp_budget: other releases over the same records spent epsilon "
                    f"{before.epsilon:.3f} meanwhile; with {epsilon:.3f} more it is above their "
                    f"lifetime budget of {lifetime:g}; nothing was packaged"
                )
            if epsilon is not None and not before.delta + delta <= delta_limit:
                raise GateRefusedError(
                    "dp_budget: other releases over the same records spent delta "
                    f"{before.delta:.2e} meanwhile; with {delta:.2e} more it is above "
                    f"{delta_limit:.2e}; nothing was packaged"
                )
            entries.append(
                {
                    "package": package,
                    "adapter": adapter,
                    "epsilon": epsilon,
                    "delta": delta,
                    "records": sorted({digits for record in records for digits in record}),
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


def _spent(entries: Sequence[dict[str, Any]], wanted: Sequence[RecordPrint], adapter: str) -> Spent:
    epsilons, deltas, packages = [0.0] * len(wanted), [0.0] * len(wanted), list[str]()
    for release in entries:
        if _is_of(release, adapter):
            continue
        # Releases of the first version hold exact fingerprints alone.
        held, is_hit = set(release["records"]), False
        epsilon = math.inf if release["epsilon"] is None else float(release["epsilon"])
        for place, record in enumerate(wanted):
            if record.exact in held or record.plain in held:
                epsilons[place] += epsilon
                deltas[place] += float(release["delta"])
                is_hit = True
        if is_hit:
            packages.append(str(release["package"]))
    return Spent(max(epsilons, default=0.0), max(deltas, default=0.0), tuple(packages))


def _is_of(entry: dict[str, Any], adapter: str) -> bool:
    return bool(adapter) and entry.get("adapter") == adapter
