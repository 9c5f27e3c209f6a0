"""Writing a package: the one function that does, and what it refuses.

Owns the order of things: the three gates first, then the manifest, then both signatures, then a
temporary file that is read back and verified before it takes its name. Nothing else in the
project writes packages.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import mmap
import os
import re
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from tensafe.errors import DataError, GateRefusedError
from tensafe.files import atomic_path
from tensafe.gate.records import GateRecord, ThreeGates
from tensafe.tgsp.canonical import canonical_json, sha256_hex
from tensafe.tgsp.keys import Signer, encode64, public_keys_fields
from tensafe.tgsp.manifest import (
    REQUIRED_SIGNED_FIELDS,
    ManifestError,
    manifest_hash,
    signed_message,
    typed_manifest,
)
from tensafe.tgsp.metadata import WEIGHT_LAYERS, PackageMetadata, manifest_parts
from tensafe.tgsp.reader import MAGIC, MAX_MANIFEST_BYTES
from tensafe.tgsp.safetensors_header import read_header
from tensafe.tgsp.skill_doc import require_skill_doc
from tensafe.tgsp.trust import NOBODY
from tensafe.tgsp.verification import verify_package

QA_VERIFY_THRESHOLD = 0.80
_COPY_CHUNK_BYTES = 4 * 1024 * 1024
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,127}\Z")


@dataclass(frozen=True)
class PackageDigest:
    """What was written: hex SHA-256 of file, payload and manifest (with its hash field empty)."""

    path: Path
    package: str
    payload: str
    manifest: str
    size_bytes: int


def write_package(
    path: Path,
    *,
    payload: Path | bytes,
    metadata: PackageMetadata,
    gates: ThreeGates,
    signer: Signer,
) -> PackageDigest:
    """Write a signed package, or refuse.

    An existing file at `path` is replaced whole. The same inputs and timestamps give the same
    bytes but for `signatures.dilithium3`, because ML-DSA-65 signing is hedged (FIPS 204, 3.4).

    Raises:
        GateRefusedError: a gate did not pass, or a record contradicts itself, the metadata or
            the others: no package exists then.
        ManifestError, PayloadError, JSONFormError: metadata or payload break the format's rules.
        DataError: the skill document breaks its rules, the payload can't be read, or the package
            can't be written.
    """
    require_gates(gates, metadata)
    _require_name(metadata.name)
    require_skill_doc(metadata.skill_doc)
    with _payload(payload) as weights:
        read_header(weights)
        payload_hash = sha256_hex(weights)
        manifest, stated_hash = _signed_manifest(metadata, gates, signer, payload_hash)
        try:
            with atomic_path(path) as temporary:
                package, size = _write(temporary, manifest, weights)
                # Catches a payload file that changed meanwhile, and any disagreement between
                # this writer and the reader, before anyone can see the package.
                verify_package(temporary, NOBODY).require(trusted=False)
        except OSError as error:
            raise DataError(f"{path}: can't write the package: {error.strerror}") from error
    return PackageDigest(path, package, payload_hash, stated_hash, size)


def require_gates(gates: ThreeGates, metadata: PackageMetadata) -> None:
    """Refuse unless all three gates let this very package through.

    Raises:
        GateRefusedError: names the gate, by how much it missed, and its advice.
    """
    for name, record in _named(gates).items():
        if record.name != name:
            raise GateRefusedError(f"the record given for {name} is one of {record.name}")
        if not (math.isfinite(record.score) and math.isfinite(record.threshold)):
            raise GateRefusedError(f"{name}: score or threshold is not a finite number")
        if record.verdict == "failed":
            raise GateRefusedError(refusal(record))
    if not gates.all_pass():
        waived = next(n for n, r in _named(gates).items() if r.verdict != "passed")
        raise GateRefusedError(f"{waived} can't be waived, only dp_budget can")
    _require_quality(gates.qa_verify, metadata)
    _require_screening(gates.rvu_v2_pass, metadata)
    _require_budget(gates.dp_budget, metadata)


def _named(gates: ThreeGates) -> dict[str, GateRecord]:
    return {
        "qa_verify": gates.qa_verify,
        "rvu_v2_pass": gates.rvu_v2_pass,
        "dp_budget": gates.dp_budget,
    }


def refusal(record: GateRecord) -> str:
    """Why a failed gate stops a package: its name, by how much it missed, and its advice."""
    advice = "".join(f"\n  try: {line}" for line in record.advice)
    return (
        f"{record.name} failed with {record.score:g} against {record.threshold:g}: "
        f"{record.reason}{advice}"
    )


def _require_quality(record: GateRecord, metadata: PackageMetadata) -> None:
    evaluation = metadata.evaluation
    if not QA_VERIFY_THRESHOLD <= record.threshold <= record.score <= 1:
        raise GateRefusedError(
            f"qa_verify is recorded as passed with {record.score:g} against {record.threshold:g}; "
            f"at least {QA_VERIFY_THRESHOLD:g} is needed"
        )
    if (evaluation.score, evaluation.report_digest) != (record.score, record.report_digest):
        raise GateRefusedError("the evaluation in the metadata is not the one qa_verify judged")
    low, high = evaluation.interval
    if not low <= evaluation.score <= high:
        raise GateRefusedError("the evaluation's interval does not contain its score")


def _require_screening(record: GateRecord, metadata: PackageMetadata) -> None:
    screening = metadata.screening
    if record.score > record.threshold or not screening.passed:
        raise GateRefusedError("rvu_v2_pass is recorded as passed, but a screening layer failed")
    stated = screening.record.get("report_digest")
    if not screening.report_digest == record.report_digest == stated:
        raise GateRefusedError("the screening in the metadata is not the one rvu_v2_pass judged")
    missing = [layer for layer in WEIGHT_LAYERS if layer not in screening.layers]
    if missing:
        raise GateRefusedError(f"screening ran without the layers {', '.join(missing)}")


def _require_budget(record: GateRecord, metadata: PackageMetadata) -> None:
    private = metadata.privacy is not None and metadata.privacy.mechanism != "none"
    if private != (record.verdict == "passed"):
        raise GateRefusedError(
            f"dp_budget is {record.verdict}, but the run was "
            f"{'private' if private else 'not private'}: it is waived exactly without privacy"
        )
    if metadata.privacy is None or not private:
        return
    if not metadata.privacy.epsilon <= record.score <= record.threshold:
        raise GateRefusedError(
            f"the run spent epsilon {metadata.privacy.epsilon:g}, dp_budget judged "
            f"{record.score:g} against {record.threshold:g}"
        )


def _require_name(name: str) -> None:
    if not _NAME.match(name):
        raise ManifestError(
            f"package name {name[:40]!r}: use 1 to 128 letters, digits, dots, spaces, hyphens and "
            "underscores, starting with a letter or digit"
        )


def _signed_manifest(
    metadata: PackageMetadata, gates: ThreeGates, signer: Signer, payload_hash: str
) -> tuple[bytes, str]:
    public = signer.public
    raw = manifest_parts(metadata)
    raw["gates"] = {name: _gate_summary(record) for name, record in _named(gates).items()}
    raw["creator"] = {
        "name": public.identity.name,
        "organization": public.identity.organization,
        "email": public.identity.email,
        "public_key_fingerprint": public.fingerprint,
        # Nobody but the creator has looked at this identity when it is written.
        "verified": False,
        **public_keys_fields(public.keys),
    }
    integrity = {"payload_hash": payload_hash, "manifest_hash": "", "hash_algorithm": "SHA-256"}
    raw["integrity"] = integrity
    integrity["manifest_hash"] = manifest_hash(raw)
    message = signed_message(raw, REQUIRED_SIGNED_FIELDS)
    raw["signatures"] = {
        "ed25519": encode64(signer.sign_ed25519(message)),
        "dilithium3": encode64(signer.sign_ml_dsa_65(message)),
        "signed_fields": list(REQUIRED_SIGNED_FIELDS),
    }
    typed_manifest(raw)
    data = canonical_json(raw)
    if len(data) > MAX_MANIFEST_BYTES:
        raise ManifestError(
            f"the manifest would have {len(data)} bytes: at most {MAX_MANIFEST_BYTES} fit"
        )
    return data, integrity["manifest_hash"]


def _gate_summary(record: GateRecord) -> dict[str, object]:
    return {
        "verdict": record.verdict,
        "score": record.score,
        "threshold": record.threshold,
        "reason": record.reason,
        "report_digest": record.report_digest,
    }


@contextlib.contextmanager
def _payload(source: Path | bytes) -> Generator[memoryview]:
    if isinstance(source, bytes):
        yield memoryview(source)
        return
    try:
        with source.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise DataError(f"{source} is empty: expected an adapter in safetensors")
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise DataError(f"{source}: can't read the adapter: {error.strerror}") from error
    view = memoryview(mapped)
    try:
        yield view
    finally:
        view.release()
        with contextlib.suppress(BufferError):
            mapped.close()


def _write(path: Path, manifest: bytes, payload: memoryview) -> tuple[str, int]:
    digest = hashlib.sha256()
    size = 0
    with path.open("wb") as file:
        for part in (MAGIC, len(manifest).to_bytes(4, "little"), manifest):
            file.write(part)
            digest.update(part)
            size += len(part)
        for offset in range(0, len(payload), _COPY_CHUNK_BYTES):
            chunk = payload[offset : offset + _COPY_CHUNK_BYTES]
            file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size
