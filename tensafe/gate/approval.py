"""A human's signed yes or no to one swap.

The document names the swap, the slot, both digests and the evidence that was looked at, so that it
can be used for nothing else; it is signed with both keys of a person whom the slot's policy names,
and whose key the trust store holds in force.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, cast

from tensafe.errors import VerificationError
from tensafe.gate.swap_records import SwapRecord
from tensafe.tgsp.canonical import JSONFormError, canonical_json, parse_two_forms, sha256_hex
from tensafe.tgsp.keys import Signer, decode64, encode64, now, verify_ed25519, verify_ml_dsa_65
from tensafe.tgsp.text import one_line
from tensafe.tgsp.trust import TrustStore

FORMAT = "tensafe-swap-approval"
MAX_BYTES = 64 * 1024
_LONGEST_REASON = 2000
Verdict = Literal["approve", "reject"]


@dataclass(frozen=True)
class Approval:
    """A verified approval document; `digest` is that of its bytes."""

    verdict: Verdict
    approver: str
    fingerprint: str
    reason: str
    at: str
    digest: str


def sign_approval(signer: Signer, record: SwapRecord, verdict: Verdict, reason: str = "") -> bytes:
    """The document that says yes or no to `record` as it stands."""
    body: dict[str, object] = {
        **_binding(record),
        "verdict": verdict,
        "reason": one_line(reason)[:_LONGEST_REASON],
        "at": now(),
        "approver": signer.public.identity.name,
        "fingerprint": signer.public.fingerprint,
    }
    message = canonical_json(body)
    signatures = {
        "ed25519": encode64(signer.sign_ed25519(message)),
        "ml_dsa_65": encode64(signer.sign_ml_dsa_65(message)),
    }
    return canonical_json({**body, "signatures": signatures})


def read_approval(
    data: bytes,
    record: SwapRecord,
    approvers: tuple[str, ...],
    trust: TrustStore,
    *,
    at: datetime,
) -> Approval:
    """Verify a document for this very swap.

    Raises:
        VerificationError: it is for something else, its signatures don't verify, or its signer may
            not approve, is not trusted, or is revoked or expired at the moment `at`.
    """
    try:
        value = parse_two_forms(data, max_bytes=MAX_BYTES)
        signatures = cast("dict[str, object]", value["signatures"])
        body = {key: part for key, part in value.items() if key != "signatures"}
        fingerprint, verdict = str(body["fingerprint"]), body["verdict"]
        ed25519 = decode64(str(signatures["ed25519"]))
        ml_dsa_65 = decode64(str(signatures["ml_dsa_65"]))
        reason, signed_at, name = str(body["reason"]), str(body["at"]), str(body["approver"])
    except JSONFormError as error:
        raise VerificationError(f"the approval is not readable: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise VerificationError(
            f"the approval lacks a field or holds a bad one: {error}"
        ) from error
    for field, expected in _binding(record).items():
        if body.get(field) != expected:
            raise VerificationError(
                f"the approval is for {field} {body.get(field)!r}, this swap has {expected!r}; "
                "sign what `tensafe swap status` shows now"
            )
    if verdict not in ("approve", "reject"):
        raise VerificationError(f"the verdict is {verdict!r}; expected approve or reject")
    if fingerprint not in approvers:
        raise VerificationError(
            f"{one_line(name)} ({fingerprint[:16]}) is not among the approvers of slot "
            f"{record.slot!r}"
        )
    entry = trust.find(fingerprint)
    state = "untrusted" if entry is None else entry.state(at)
    if entry is None or state != "trusted":
        raise VerificationError(
            f"the approver's key {fingerprint[:16]} is {state} here; see `tensafe keys list`"
        )
    keys, message = entry.public.keys, canonical_json(body)
    if not verify_ed25519(keys.ed25519, ed25519, message):
        raise VerificationError("the approval's Ed25519 signature does not verify")
    if keys.ml_dsa_65 is None or not verify_ml_dsa_65(keys.ml_dsa_65, ml_dsa_65, message):
        raise VerificationError("the approval's ML-DSA-65 signature does not verify")
    return Approval(
        verdict,
        entry.public.identity.name,
        fingerprint,
        one_line(reason),
        signed_at,
        sha256_hex(data),
    )


def _binding(record: SwapRecord) -> dict[str, object]:
    """What a signature binds a verdict to."""
    return {
        "format": FORMAT,
        "version": 1,
        "swap": record.id,
        "action": record.action,
        "slot": record.slot,
        "from_digest": record.from_digest,
        "to_digest": record.to_digest,
        "gate_reports": list(record.gate_reports),
        "red_team_digest": record.red_team_digest,
    }
