"""Incidents: why a swap was blocked or taken back, with evidence and what to do, for later readers.

An incident is one JSON file and one page that says the same. Everything in it that came from a
package, a model or a person is data: the page escapes it and can run nothing.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from tensafe.errors import DataError
from tensafe.files import private_folder, write_private
from tensafe.gate.live_quality import LiveVerdict
from tensafe.gate.swap_records import SwapRecord
from tensafe.gate.swap_store import SwapStore, new_id
from tensafe.tgsp.keys import now
from tensafe.tgsp.text import one_line

_log = logging.getLogger(__name__)
IncidentKind = Literal["swap_rejected", "live_quality", "slot_damaged", "slot_unwanted"]
INCIDENT_VERSION = 1
_MOST_SHOWN = 20
_LONGEST = 1200


class Failure(BaseModel):
    """One thing that said no: the examination, the check in it, and its reason."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: str
    check: str
    reason: str


class Exhibit(BaseModel):
    """One answer that counts as evidence."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    what: str
    prompt: str
    before: str = ""
    after: str = ""


class Incident(BaseModel):
    """One incident. `figures` are what `tensafe swap reproduce` compares; digests name evidence."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = INCIDENT_VERSION
    id: str
    kind: IncidentKind
    slot: str
    swap: str
    at: str
    summary: str
    requested_by: str = ""
    decided_by: str = ""
    from_digest: str = ""
    to_digest: str = ""
    packages: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()
    figures: dict[str, float] = {}
    exhibits: tuple[Exhibit, ...] = ()
    evidence: dict[str, str] = {}
    what_to_do: tuple[str, ...] = ()


def rejected(
    store: SwapStore, record: SwapRecord, failures: Sequence[Failure], exhibits: Sequence[Exhibit]
) -> Incident:
    """Write the incident of a rejected swap; gives it."""
    decision = record.decision
    evidence = {f"gate-{n}.json": digest for n, digest in enumerate(record.gate_reports)}
    if record.red_team_digest:
        evidence["red_team.json"] = record.red_team_digest
    if decision is not None and decision.approval_digest:
        evidence["approval.json"] = decision.approval_digest
    stages = " and the ".join(sorted({failure.stage for failure in failures}))
    return write_incident(
        store,
        Incident(
            id=new_id(),
            kind="swap_rejected",
            slot=record.slot,
            swap=record.id,
            at=now(),
            summary=(
                f"A {record.action} of slot {record.slot} was blocked by the {stages}. "
                f"The slot still answers with {record.from_digest[:12]}."
            ),
            requested_by=_plain(record.requested_by),
            decided_by="" if decision is None else _plain(decision.decided_by),
            from_digest=record.from_digest,
            to_digest=record.to_digest,
            packages=record.packages,
            failures=tuple(failures),
            figures=record.figures,
            exhibits=tuple(exhibits)[:_MOST_SHOWN],
            evidence=evidence,
            what_to_do=tuple(_advice(failures, record)),
        ),
    )


def fallen(record: SwapRecord, verdict: LiveVerdict) -> Incident:
    """The incident of an adapter that was taken back because live quality fell."""
    return Incident(
        id=new_id(),
        kind="live_quality",
        slot=record.slot,
        swap=record.id,
        at=now(),
        summary=(
            f"Slot {record.slot} was taken back to {record.to_digest[:12]}: its live answers "
            f"scored {verdict.mean:.1%}."
        ),
        requested_by=record.requested_by,
        decided_by="" if record.decision is None else record.decision.decided_by,
        from_digest=record.to_digest,
        to_digest=record.from_digest,
        packages=record.packages,
        failures=(
            Failure(
                stage="live quality",
                check="sequential test",
                reason=f"mean {verdict.mean:.4f} of {verdict.items} scored answers, floor "
                f"{verdict.floor or 0.0:.4f}, wealth {verdict.wealth:.4g}",
            ),
        ),
        figures={
            "items": float(verdict.items),
            "mean": verdict.mean,
            "floor": verdict.floor or 0.0,
            "wealth": min(verdict.wealth, 1e300),
        },
        what_to_do=(
            "Read the badly scored answers: they are what the held-out set does not ask for.",
            "Add such questions to the slot's held-out set (`tensafe slot set`), so that the next "
            "red team asks them.",
        ),
    )


def damaged(slot: str, why: str) -> Incident:
    """The incident of a slot whose files are not what they were."""
    return Incident(
        id=new_id(),
        kind="slot_damaged",
        slot=slot,
        swap="",
        at=now(),
        summary=f"Slot {slot} can't answer: its adapter's files are not what was let in.",
        failures=(Failure(stage="start", check="digests", reason=_plain(why)),),
        what_to_do=(
            "Until it is put right the slot answers with errors, never with another adapter.",
            "Find out who changed the files, and restore the engine's home from a backup, or go "
            "back with `tensafe swap rollback`.",
        ),
    )


def unwanted(record: SwapRecord, faults: Sequence[str]) -> Incident:
    """The incident of a live adapter that the load gate would refuse today."""
    return Incident(
        id=new_id(),
        kind="slot_unwanted",
        slot=record.slot,
        swap=record.id,
        at=now(),
        summary=f"Slot {record.slot} answers with an adapter that would not be let in today.",
        failures=tuple(
            Failure(stage="load_gate", check="start", reason=_plain(fault)) for fault in faults[:20]
        ),
        what_to_do=(
            "It was let in when it was swapped; since then a key was revoked or expired, or the "
            "rules or the base changed. It goes on answering.",
            f"Go back with `tensafe swap rollback {record.slot}`, or swap in another one.",
        ),
    )


def write_incident(store: SwapStore, incident: Incident) -> Incident:
    """Store an incident as JSON, and as a page that says the same."""
    from tensafe.gate.incident_page import render_incident

    folder = private_folder(store.incident_folder(incident.id))
    write_private(folder / "incident.json", _bytes(incident))
    try:
        write_private(folder / "incident.html", render_incident(incident).encode("utf-8"))
    # The edge of a convenience: the record stands, and a rejection must not hang on its page.
    except Exception:
        _log.exception("the page of incident %s could not be written", incident.id)
    return incident


def read_incident(store: SwapStore, incident_id: str) -> Incident:
    """A stored incident.

    Raises:
        UsageError: not the id of an incident.
        DataError: there is none, or it is not what was written.
    """
    path = store.incident_folder(incident_id) / "incident.json"
    try:
        return Incident.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(
            f"there is no incident {incident_id}; `tensafe swap incidents` lists them"
        ) from error
    except ValidationError as error:
        raise DataError(f"{path} is not what was written: {error.error_count()} faults") from error


def gate_failures(reports: Sequence[dict[str, Any]], faults: Sequence[str]) -> list[Failure]:
    """One failure per step of the load gate that said no, then what else was found."""
    found = [
        Failure(stage="load gate", check=str(step["name"]), reason=_plain(fault))
        for report in reports
        for step in report["steps"][:-1]
        if not step["passed"]
        for fault in step["faults"]
    ]
    return found or [
        Failure(stage="load gate", check="members", reason=_plain(fault)) for fault in faults
    ]


def red_team_failures(report: dict[str, Any]) -> tuple[list[Failure], list[Exhibit]]:
    """The checks that failed, and answers that show it."""
    failures = [
        Failure(
            stage="red team",
            check=str(check["name"]),
            reason=_plain(f"{check['value']:.4g} against {check['limit']:.4g}: {check['detail']}"),
        )
        for check in report["checks"]
        if not check["passed"]
    ]
    exhibits = [
        Exhibit(
            what=_cut(f"safety-critical prompt: {answer['why']}"),
            prompt=_cut(answer["prompt"]),
            before=_cut(answer["old_answer"]),
            after=_cut(answer["new_answer"]),
        )
        for answer in report["regressions"]
    ]
    for name, layer in report["layers"].items():
        if not layer["passed"]:
            exhibits += [
                Exhibit(
                    what=_cut(f"{name}: {finding['rule']}; {finding['detail']}"),
                    prompt=_cut(finding["prompt"]),
                    after=_cut(finding["output"]),
                )
                for finding in layer["findings"][:5]
            ]
    items = report["quality"].get("items", [])
    worse = sorted(items, key=lambda item: item["score"] - item["base_score"])
    exhibits += [
        Exhibit(
            what=f"held-out item: {item['base_score']:.2f} before, {item['score']:.2f} after",
            prompt=_cut(item["prompt"]),
            before=_cut(item["base_answer"]),
            after=_cut(item["answer"]),
        )
        for item in worse[:5]
        if item["score"] <= item["base_score"]
    ]
    return failures, exhibits


def _advice(failures: Sequence[Failure], record: SwapRecord) -> list[str]:
    """What a person does about each kind of failure, once."""
    advice: list[str] = []
    checks = {(failure.stage, failure.check.split(".", 1)[0]) for failure in failures}
    for (stage, check), text in _ADVICE.items():
        if any(s == stage and check in ("", c) for s, c in checks) and text not in advice:
            advice.append(text)
    advice.append(
        f"Run `tensafe swap reproduce {record.id}` to see the same verdict from the same evidence."
    )
    return advice


_ADVICE: dict[tuple[str, str], str] = {
    ("load gate", "payload_hash"): "The file is not what was signed: fetch the package again, and "
    "ask its creator if it happens twice.",
    ("load gate", "signatures"): "The signatures don't hold: don't use the file; ask its creator "
    "for a package signed anew.",
    ("load gate", "creator"): "Nobody here vouches for its creator: compare the fingerprint over "
    "another channel, then `tensafe keys trust FILE`, or leave it.",
    ("load gate", "lora_config"): "The adapter is not the plain LoRA for this base that it says: "
    "train or pack it again against the base that runs.",
    ("load gate", "base"): "It was made for another base, tokenizer or chat template: train it on "
    "the one that runs.",
    ("load gate", "rvu_v2"): "Its screening does not hold: run `tensafe screen` on it and read the "
    "findings before anything else.",
    ("load gate", "members"): "The packages don't go together: see the reason, and change the set.",
    ("red team", "improvement"): "It is not better by enough on the slot's own held-out set: read "
    "the items that got worse, add training data for them, train on.",
    ("red team", "improvement_p"): "The difference may be chance: more held-out items make a real "
    "improvement certain; an adapter without one stays out.",
    ("red team", "held_out_items"): "The slot has too few held-out items to judge by: set it up "
    "with more (`tensafe slot set`).",
    ("red team", "safety_regressions"): "Answers to safety-critical prompts got worse: read them "
    "below, and remove what taught them from the training data.",
    ("red team", "toxicity"): "It is more abusive, more compliant with harm or refuses more: read "
    "the findings, clean the training data, train again.",
    ("red team", "bias"): "It treats groups differently than before: balance the training data, or "
    "add counter-examples with the groups exchanged.",
    ("red team", "quality_measured"): "The comparison could not be run: see the reason and the "
    "host's log, then ask again.",
    ("red team", "behaviour_measured"): "The safety checks could not be run: see the reason and "
    "the host's log, then ask again.",
    ("approval", ""): "A person said no: ask the person named above.",
    ("engine", ""): "The engine could not load it: see the reason and the host's log.",
}


def _plain(text: str) -> str:
    return one_line(text)[:_LONGEST]


def _cut(text: object) -> str:
    return str(text)[:_LONGEST]


def _bytes(incident: Incident) -> bytes:
    text = json.dumps(incident.model_dump(mode="json"), indent=2, sort_keys=True)
    return text.encode("utf-8") + b"\n"
