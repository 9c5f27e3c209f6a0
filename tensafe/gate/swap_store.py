"""The folder in which swaps live: one file a record, reports beside it, packages by digest.

    slots/NAME.json                  what the operator set up
    evaluation/DIGEST.jsonl          held-out examples and safety prompts
    packages/DIGEST.tgsp             every package that was asked for
    swaps/ID/record.json             where the swap stands, replaced as a whole
    swaps/ID/gate-N.json, red_team.json, approval.json
    incidents/ID/incident.json, incident.html
    live/SLOT/DIGEST.jsonl           scores of live answers
    audit.jsonl, audit.head.json     everything that happened

Files are written whole or not at all. Reports hold held-out data, so the folder is its owner's
alone.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from tensafe.data.records import Example, Message, set_digest
from tensafe.errors import DataError, UsageError
from tensafe.files import atomic_path, private_folder, write_private, write_text
from tensafe.gate.audit_log import AuditLog
from tensafe.gate.swap_records import SlotSettings, SwapRecord
from tensafe.tgsp.canonical import sha256_hex
from tensafe.tgsp.reader import package_digest

_SLOT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SWAP_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
M = TypeVar("M", bound=BaseModel)


class SwapStore:
    """Reading and writing of that folder; holds no state of its own."""

    def __init__(self, home: Path) -> None:
        self.home = private_folder(home)
        for name in ("slots", "evaluation", "packages", "swaps", "incidents", "live"):
            private_folder(home / name)
        self.audit = AuditLog(home)

    def slot_settings(self, name: str) -> SlotSettings:
        """One slot's settings.

        Raises:
            UsageError: there is no such slot.
        """
        path = self._slot_path(name)
        if not path.is_file():
            known = ", ".join(settings.name for settings in self.all_slots()) or "none"
            raise UsageError(
                f"there is no slot {name!r} (slots: {known}); set one up with `tensafe slot set`"
            )
        return _read(path, SlotSettings)

    def all_slots(self) -> list[SlotSettings]:
        """Every slot, by name."""
        return [_read(path, SlotSettings) for path in sorted((self.home / "slots").glob("*.json"))]

    def write_slot(self, settings: SlotSettings) -> None:
        """Store a slot's settings."""
        write_private(self._slot_path(settings.name), _bytes(settings))

    def record(self, swap_id: str) -> SwapRecord:
        """One swap.

        Raises:
            UsageError: there is no such swap.
        """
        path = self.swap_folder(swap_id) / "record.json"
        if not path.is_file():
            raise UsageError(f"there is no swap {swap_id!r}; `tensafe swap status` lists them")
        return _read(path, SwapRecord)

    def records(self) -> list[SwapRecord]:
        """Every swap, oldest request first."""
        paths = sorted((self.home / "swaps").glob("*/record.json"))
        return [_read(path, SwapRecord) for path in paths]

    def write_record(self, record: SwapRecord) -> SwapRecord:
        """Replace a swap's record; gives it back."""
        folder = private_folder(self.swap_folder(record.id))
        write_private(folder / "record.json", _bytes(record))
        return record

    def swap_folder(self, swap_id: str) -> Path:
        """Where a swap's files lie; raises UsageError for what is no id of a swap."""
        if not _SWAP_ID.fullmatch(swap_id):
            raise UsageError(f"{swap_id!r} is not the id of a swap; see `tensafe swap status`")
        return self.home / "swaps" / swap_id

    def write_report(self, swap_id: str, name: str, text: str) -> str:
        """Store a report beside the swap's record; gives its digest."""
        folder = private_folder(self.swap_folder(swap_id))
        write_text(folder / name, text, mode=0o600)
        return sha256_hex(text.encode("utf-8"))

    def read_report(self, swap_id: str, name: str) -> dict[str, Any]:
        """A stored report.

        Raises:
            DataError: it is missing or damaged.
        """
        path = self.swap_folder(swap_id) / name
        try:
            return cast("dict[str, Any]", json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: can't be read: {error}") from error

    def add_package(self, source: Path) -> str:
        """Copy a package under the digest of its bytes; gives the digest.

        The copy is what is judged and served: nobody can exchange it after the gate looked.

        Raises:
            DataError: it can't be read.
        """
        digest = package_digest(source)
        target = self.home / "packages" / f"{digest}.tgsp"
        if target.is_file() and package_digest(target) == digest:
            return digest
        try:
            with atomic_path(target, mode=0o600) as temporary:
                shutil.copyfile(source, temporary)
                if package_digest(temporary) != digest:
                    raise DataError(f"{source} was changed while it was read; ask again")
        except OSError as error:
            raise DataError(f"{source}: can't be kept: {error.strerror}") from error
        return digest

    def package(self, digest: str) -> Path:
        """A kept package; raises UsageError for an unknown digest."""
        path = self.home / "packages" / f"{digest}.tgsp"
        if not _DIGEST.fullmatch(digest) or not path.is_file():
            raise UsageError(f"no package {digest[:80]!r} was given to this host")
        return path

    def add_examples(self, examples: Iterable[Example]) -> str:
        """Keep held-out examples or safety prompts; gives their digest, whatever their order."""
        ordered = sorted(examples, key=lambda example: example.digest)
        digest = set_digest(example.digest for example in ordered)
        path = self.home / "evaluation" / f"{digest}.jsonl"
        lines = [
            json.dumps(
                {"messages": e.messages, "source": e.source, "place": e.place}, ensure_ascii=False
            )
            for e in ordered
        ]
        write_text(path, "".join(line + "\n" for line in lines), mode=0o600)
        return digest

    def examples(self, digest: str) -> tuple[Example, ...]:
        """Kept examples, checked against their digest.

        Raises:
            DataError: missing or changed.
        """
        path = self.home / "evaluation" / f"{digest}.jsonl"
        try:
            rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            found = tuple(_example(row, digest) for row in rows)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}: can't be read: {error}; set the slot up again") from error
        if set_digest(example.digest for example in found) != digest:
            raise DataError(f"{path} was changed: its digest is another; set the slot up again")
        return found

    def incident_folder(self, incident_id: str) -> Path:
        """Where an incident's files lie."""
        if not _SWAP_ID.fullmatch(incident_id):
            raise UsageError(f"{incident_id!r} is not the id of an incident")
        return self.home / "incidents" / incident_id

    def incidents(self) -> list[str]:
        """The ids of all incidents, oldest first."""
        return [path.parent.name for path in sorted(self.home.glob("incidents/*/incident.json"))]

    def add_score(self, slot: str, digest: str, score: float) -> None:
        """Append one live score; a torn last line is a score that nobody was told of."""
        folder = private_folder(self.home / "live" / slot)
        line = json.dumps({"score": score, "at": datetime.now(UTC).timestamp()}) + "\n"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(folder / f"{digest}.jsonl", flags, 0o600)
        try:
            os.write(descriptor, line.encode("ascii"))
        finally:
            os.close(descriptor)

    def scores(self, slot: str, digest: str) -> list[float]:
        """The live scores of one digest, oldest first."""
        path = self.home / "live" / slot / f"{digest}.jsonl"
        found: list[float] = []
        try:
            lines = path.read_text(encoding="ascii").splitlines()
        except FileNotFoundError:
            return found
        for line in lines:
            try:
                found.append(float(json.loads(line)["score"]))
            except (ValueError, KeyError, TypeError):
                continue
        return found

    def _slot_path(self, name: str) -> Path:
        if not _SLOT_NAME.fullmatch(name):
            raise UsageError(
                f"slot name {name!r} is not allowed; use 1 to 64 letters, digits, '.', '_' or '-', "
                "starting with a letter or digit"
            )
        return self.home / "slots" / f"{name}.json"


def new_id() -> str:
    """Ids in the order of time, to the microsecond: second, then 5 hex digits, then 3 of chance."""
    at = datetime.now(UTC)
    return f"{at:%Y%m%dT%H%M%SZ}-{at.microsecond:05x}{secrets.token_hex(2)[:3]}"


def prompts_as_examples(prompts: Sequence[str], source: str) -> tuple[Example, ...]:
    """Prompts that have no reference answer, in the form in which evaluation files are kept."""
    return tuple(
        Example(
            (Message(role="user", content=text), Message(role="assistant", content="")),
            source, str(place), f"{source}:{place}",
        )
        for place, text in enumerate(prompts, start=1)
    )  # fmt: skip


def _example(row: dict[str, Any], digest: str) -> Example:
    messages = tuple(
        Message(role=turn["role"], content=turn["content"]) for turn in row["messages"]
    )
    kind = "chat" if len(messages) > 2 else "qa"
    return Example(messages, str(row["source"]), str(row["place"]), digest, kind)


def _bytes(value: BaseModel) -> bytes:
    text = json.dumps(value.model_dump(mode="json"), indent=2, sort_keys=True, allow_nan=False)
    return text.encode("utf-8") + b"\n"


def _read(path: Path, layout: type[M]) -> M:
    try:
        return layout.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{path}: {place}: {first['msg']}; it is not what was written") from error
