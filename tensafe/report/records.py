"""What a run folder holds, read back as typed records.

Only `config.json` is required: a run that was killed, or that is still going on, has the rest in
part. A record that is there and can't be read is an error that names it; one that reads well but
isn't the one that the gates judged is listed in `changed`, so that the page can say so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from tensafe.data.records import CurationReport
from tensafe.errors import DataError
from tensafe.evaluate import EvalReport
from tensafe.gate.records import ThreeGates
from tensafe.pipeline.config import TrainConfig
from tensafe.screen import ScreenReport
from tensafe.tgsp.metadata import Provenance
from tinker_engine.runtime.records import PrivacyRecord

if TYPE_CHECKING:
    from tensafe.tgsp.verification import Verification

_Record = TypeVar("_Record")


@dataclass(frozen=True)
class Side:
    """One side of the split: how many examples, and their digest."""

    examples: int
    digest: str


@dataclass(frozen=True)
class DataCard:
    """`dataset/card.json`."""

    train: Side
    test: Side
    kinds: dict[str, int]
    report: CurationReport


@dataclass(frozen=True)
class OutcomeRecord:
    """The part of `outcome.json` that no other record holds."""

    base_model: str
    base_digest: str
    steps: int
    package: str | None = None
    package_digest: str | None = None
    payload_digest: str | None = None


@dataclass(frozen=True)
class Events:
    """`events.jsonl` in order; `unreadable` counts lines that a kill left torn."""

    lines: tuple[dict[str, Any], ...]
    unreadable: int


@dataclass(frozen=True)
class RunRecords:
    """A run folder's records; None where the run has not come so far.

    `card_text` is the data set's README.md, "" if it has none. `verification` is the package's,
    checked when the records were read. `changed` holds one sentence per record that
    doesn't match the digest that another names.
    """

    folder: Path
    config: TrainConfig
    events: Events
    card: DataCard | None
    card_text: str
    evaluation: EvalReport | None
    screening: ScreenReport | None
    gates: ThreeGates | None
    privacy: PrivacyRecord | None
    provenance: Provenance | None
    outcome: OutcomeRecord | None
    verification: Verification | None
    changed: tuple[str, ...]

    @property
    def name(self) -> str:
        """The adapter's name."""
        return self.config.adapter_name


def read_run(folder: Path) -> RunRecords:
    """Read every record of a run.

    Raises:
        DataError: the folder holds no run, or a record in it is not what a run writes.
    """
    if not (folder / "config.json").is_file():
        raise DataError(
            f"{folder}: no config.json in it, so it is not a run folder; give the folder that "
            "`tensafe train` named at its end (--out, or runs/NAME)"
        )
    config = _read(folder / "config.json", TrainConfig)
    if config is None:
        raise DataError(f"{folder / 'config.json'}: vanished while it was read")
    outcome = _read(folder / "outcome.json", OutcomeRecord)
    gates = _read(folder / "gates.json", ThreeGates)
    verification = _verify(folder, outcome)
    return RunRecords(
        folder=folder,
        config=config,
        events=_events(folder / "events.jsonl"),
        card=_read(folder / "dataset" / "card.json", DataCard),
        card_text=_text(folder / "dataset" / "README.md"),
        evaluation=_read(folder / "evaluation.json", EvalReport),
        screening=_read(folder / "screening.json", ScreenReport),
        gates=gates,
        privacy=_read(folder / "privacy.json", PrivacyRecord),
        provenance=_read(folder / "provenance.json", Provenance),
        outcome=outcome,
        verification=verification,
        changed=tuple(_changed(folder, gates, outcome, verification)),
    )


def _read(path: Path, kind: type[_Record]) -> _Record | None:
    """A record from its JSON file, None if there is no file."""
    from pydantic import TypeAdapter, ValidationError

    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    try:
        return TypeAdapter(kind).validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise DataError(
            f"{path}: {place}: {first['msg']}; expected the record that `tensafe train` writes: "
            "give its command again to make it anew, or read it with the release that wrote it"
        ) from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error


def _events(path: Path) -> Events:
    lines: list[dict[str, Any]] = []
    unreadable = 0
    for line in filter(None, _text(path).split("\n")):
        try:
            event: object = json.loads(line)
        except ValueError:
            event = None
        if isinstance(event, dict) and "event" in event:
            lines.append(cast("dict[str, Any]", event))
        else:
            unreadable += 1
    return Events(tuple(lines), unreadable)


def _verify(folder: Path, outcome: OutcomeRecord | None) -> Verification | None:
    """The package's own checks; who is trusted is no matter of a report."""
    from tensafe.tgsp.trust import NOBODY
    from tensafe.tgsp.verification import verify_package

    if outcome is None or outcome.package is None:
        return None
    # The record's path is relative to where the run was started; the folder may have moved.
    path = folder / Path(outcome.package).name
    return verify_package(path, NOBODY) if path.is_file() else None


def _changed(
    folder: Path,
    gates: ThreeGates | None,
    outcome: OutcomeRecord | None,
    verification: Verification | None,
) -> list[str]:
    found: list[str] = []
    judged: Mapping[str, str] = (
        {
            "evaluation.json": gates.qa_verify.report_digest,
            "screening.json": gates.rvu_v2_pass.report_digest,
        }
        if gates
        else {}
    )
    for file, expected in judged.items():
        actual = _digest(folder / file)
        if actual != expected:
            state = f"has digest {actual[:16]}…" if actual else "is missing"
            found.append(f"{file} {state}, but the gate judged {expected[:16]}…")
    if outcome is None or outcome.package is None:
        return found
    file = Path(outcome.package).name
    actual = _digest(folder / file)
    if not actual:
        found.append(f"{file}, the package of this run, is no longer in the run folder")
    elif actual != outcome.package_digest:
        found.append(
            f"{file} has digest {actual[:16]}…, but this run wrote "
            f"{(outcome.package_digest or '')[:16]}…"
        )
    if verification is not None and not verification.is_intact:
        reasons = "; ".join(f"{c.name}: {c.reason}" for c in verification.failures)
        found.append(f"{file} does not verify: {reasons}")
    return found


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
