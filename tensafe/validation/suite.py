"""The suite: every line is judged, whatever the others found; what can't be judged has failed.

It gives no admission: only the load gate does. Trust is a warning here and not a failure, because
a marketplace carries packages of creators whom a reader doesn't know yet.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tensafe.errors import VerificationError
from tensafe.gate.declared_base import local_base
from tensafe.gate.load_records import LoadPolicy, RunningBase
from tensafe.gate.load_steps import Findings, base_step, lora_config_step
from tensafe.gate.screening_step import rvu_step
from tensafe.tgsp.reader import Package, PackageFormatError, open_package, package_digest
from tensafe.tgsp.text import one_line
from tensafe.tgsp.trust import TrustStore
from tensafe.tgsp.verification import Verification, unlaid, verify
from tensafe.validation.manifest_items import manifest_items
from tensafe.validation.records import ItemName, Scorecard, ScoreItem

if TYPE_CHECKING:
    from tensafe.tgsp.manifest import ManifestView

_log = logging.getLogger(__name__)
_LONGEST = 400
ORDER: tuple[ItemName, ...] = (
    "integrity", "creator", "gates", "quality", "screening", "privacy", "fit", "skill_doc",
    "licence", "lineage", "compliance",
)  # fmt: skip
_ADVICE: dict[str, str] = {
    "screening": "screen it again with `tensafe screen`, and pack it with this version",
    "fit": "name the base it was made for with --base-model, or see `tensafe gate`",
}


def validate_package(
    path: Path,
    trust: TrustStore,
    base: RunningBase | None,
    *,
    no_base: str = "no base model was given",
    policy: LoadPolicy | None = None,
) -> Scorecard:
    """Run the suite over a package; whatever is wrong with it is in the scorecard.

    Args:
        base: the base model as it runs; None leaves the line `fit` unjudged, for `no_base`.

    Raises:
        DataError: there is no such file, or it can't be read.
    """
    digest = package_digest(path)
    try:
        with open_package(path) as package:
            verified = verify(package, trust)
            items = _items(package, verified, base, no_base, policy or LoadPolicy())
    except PackageFormatError as error:
        items = [_integrity(unlaid(error))]
    return Scorecard(one_line(path.name), digest, tuple(items))


def validate_with_engine(
    path: Path, trust: TrustStore, *, engine: str | None = None, base_model: str | None = None
) -> Scorecard:
    """As `validate_package`, on the base that the package names, where that is on this machine.

    Raises:
        DataError: there is no such file, or it can't be read.
        EngineError: an engine or base that was named doesn't answer.
    """
    from tensafe.gate.running import running_base
    from tinker_engine.connect import open_engine

    view = stated_view(path)
    if view is None:
        return validate_package(path, trust, None, no_base="the package can't be read")
    named = base_model or local_base(view.model.base_model)
    if named is None and engine is None:
        missing = f"{one_line(view.model.base_model)[:80]!r} is not on this machine"
        return validate_package(path, trust, None, no_base=missing)
    with open_engine(engine, base_model=named) as connection:
        return validate_package(path, trust, running_base(connection))


def stated_view(path: Path) -> ManifestView | None:
    """The manifest as it stands, not verified; None where it can't be read."""
    try:
        with open_package(path) as package:
            return package.manifest().view
    except VerificationError:
        return None


def _items(
    package: Package,
    verified: Verification,
    base: RunningBase | None,
    no_base: str,
    policy: LoadPolicy,
) -> list[ScoreItem]:
    items = [_integrity(verified)]
    if verified.manifest is None:
        return items
    manifest = verified.manifest
    items += [_creator(verified), *manifest_items(manifest)]
    screening = _of_findings("screening", lambda: rvu_step(package, verified, policy))
    items.append(screening)
    items.append(_fit(package, verified, base, no_base, policy))
    order = {name: place for place, name in enumerate(ORDER)}
    return sorted(items, key=lambda item: order[item.name])


def _integrity(verified: Verification) -> ScoreItem:
    bad = [check for check in verified.checks if check.status != "passed"]
    if not bad:
        return ScoreItem(
            "integrity", "passed", f"all {len(verified.checks)} checks, both signatures"
        )
    return ScoreItem(
        "integrity",
        "failed",
        f"{bad[0].name}: {_plain(bad[0].reason)}",
        "don't use it; get it again from its creator, and see `tensafe verify`",
        {"failed": [check.name for check in bad]},
    )


def _creator(verified: Verification) -> ScoreItem:
    trust = verified.trust
    if trust.state == "trusted":
        return ScoreItem("creator", "passed", _plain(trust.reason))
    if trust.state in ("revoked", "expired"):
        return ScoreItem(
            "creator", "failed", f"{trust.state}: {_plain(trust.reason)}", "ask for a new package"
        )
    return ScoreItem(
        "creator",
        "warning",
        _plain(trust.reason),
        "get their public key from them and run `tensafe keys trust FILE`; until then the load "
        "gate refuses it",
    )


def _fit(
    package: Package,
    verified: Verification,
    base: RunningBase | None,
    no_base: str,
    policy: LoadPolicy,
) -> ScoreItem:
    if base is None:
        return ScoreItem(
            "fit",
            "not_run",
            f"not held against its base: {_plain(no_base)}",
            "give the base it was made for with --base-model FOLDER",
        )

    def both() -> Findings:
        shape = lora_config_step(package, verified, base, policy)
        made_for = base_step(verified, base, policy)
        return Findings(
            (*shape.faults, *made_for.faults),
            f"{shape.reason}; {made_for.reason}",
            {**shape.evidence, **made_for.evidence},
        )

    return _of_findings("fit", both)


def _of_findings(name: ItemName, step: Callable[[], Findings]) -> ScoreItem:
    """A step of the load gate as a line."""
    try:
        found = step()
    except VerificationError as error:
        return ScoreItem(name, "failed", _plain(str(error)))
    # As in the gate: a hostile package's crash is its failure.
    except Exception as error:
        _log.exception("%s could not be judged", name)
        return ScoreItem(name, "failed", f"could not be run: {type(error).__name__}")
    if not found.faults:
        return ScoreItem(name, "passed", _plain(found.reason))
    more = f" (and {len(found.faults) - 1} more)" if len(found.faults) > 1 else ""
    faults = [_plain(fault) for fault in found.faults[:20]]
    return ScoreItem(name, "failed", faults[0] + more, _ADVICE[name], {"faults": faults})


def _plain(text: str) -> str:
    return one_line(text)[:_LONGEST]
