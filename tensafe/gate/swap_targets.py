"""From a swap's packages to what a slot can point at: a PEFT folder, or a set of them.

Everything is made from the kept packages, always in the same bytes, so nothing has to be stored
between a red team and the swap that it allowed: a digest that differs afterwards is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tensafe.errors import UsageError, VerificationError
from tensafe.gate.swap_records import Member, SwapRecord
from tensafe.gate.swap_sets import BASE, set_document
from tensafe.gate.swap_store import SwapStore
from tensafe.screen.subject import write_adapter_files
from tensafe.tgsp.canonical import sha256_hex
from tensafe.tgsp.manifest import ManifestView
from tensafe.tgsp.reader import open_package


@dataclass(frozen=True)
class Target:
    """What a slot would point at: for a set, `document` names the adapters in `folders`."""

    digest: str
    config_digest: str
    members: tuple[Member, ...]
    folders: tuple[Path, ...]
    document: bytes | None = None


def open_target(store: SwapStore, record: SwapRecord, scratch: Path) -> Target:
    """The target of a swap, its files written under `scratch`, which must be empty.

    Raises:
        UsageError: a package is unknown, or the packages don't make the kind that was asked for.
        VerificationError: a package can't be read, or gives other bytes than it did before.
    """
    opened = [
        _opened(store, digest, scratch / f"member-{place}")
        for place, digest in enumerate(record.packages)
    ]
    members = tuple(member for member, _ in opened)
    folders = tuple(scratch / f"member-{place}" for place in range(len(members)))
    target = _target(record, opened, members, folders, scratch)
    if record.to_digest and target.digest != record.to_digest:
        raise VerificationError(
            f"swap {record.id} was decided for {record.to_digest}, its packages give "
            f"{target.digest}: nothing is loaded"
        )
    if record.members and target.members != record.members:
        raise VerificationError(
            f"swap {record.id} was decided for other adapters or configurations than its packages "
            "give: nothing is loaded"
        )
    return target


def _target(
    record: SwapRecord,
    opened: Sequence[tuple[Member, ManifestView]],
    members: tuple[Member, ...],
    folders: tuple[Path, ...],
    scratch: Path,
) -> Target:
    if record.kind == "linear":
        if len(members) != 1:
            raise UsageError(f"a linear swap takes one package, not {len(members)}")
        only = members[0]
        return Target(only.adapter_digest, only.config_digest, members, folders)
    if record.kind == "gated":
        otherwise = members[0].adapter_digest if record.otherwise == "first" else BASE
        document = set_document(opened, otherwise=otherwise)
        digest = sha256_hex(document)
        return Target(digest, digest, members, folders, document)
    from tensafe.gate.swap_composition import compose

    composed = compose(folders, scratch / "composed")
    return Target(composed.digest, composed.config_digest, members, (scratch / "composed",))


def _opened(store: SwapStore, package_digest: str, folder: Path) -> tuple[Member, ManifestView]:
    from tinker_engine.runtime.adapter_shelf import identify

    path = store.package(package_digest)
    with open_package(path) as package:
        view = package.manifest().view
        write_adapter_files(package, view, folder)
    found = identify(folder)
    member = Member(
        package=path.name,
        package_digest=package_digest,
        adapter_digest=found.digest,
        config_digest=found.config_digest,
        skill_name=view.name,
    )
    return member, view
