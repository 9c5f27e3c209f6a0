"""Verification: is a package intact, who signed it, and does this user trust them?

Owns the named checks and the verdict made of them. Every check that can run is run and gives its
reason; one that can't, because what it needs is broken, counts as failed. Costs one SHA-256 pass
over the file. Trust is looked up in the trust store alone: keys that a package carries prove that
it is intact, never that it is anyone's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from tensafe.errors import KeyStoreError, VerificationError
from tensafe.tgsp.canonical import require_one_of_two_forms
from tensafe.tgsp.keys import (
    ED25519_SIGNATURE_BYTES,
    ML_DSA_65_SIGNATURE_BYTES,
    PublicKeys,
    decode64,
    verify_ed25519,
    verify_ml_dsa_65,
)
from tensafe.tgsp.manifest import CreatorPart, Manifest, require_signed_fields
from tensafe.tgsp.reader import Package, PackageFormatError, open_package
from tensafe.tgsp.trust import TrustState, TrustStore

CheckStatus = Literal["passed", "failed", "not_run", "absent"]
Verdict = Literal["trusted", "untrusted", "ed25519_only", "expired", "revoked", "refused"]
CHECKS = (
    "layout",
    "manifest_fields",
    "canonical_form",
    "signed_fields",
    "manifest_hash",
    "payload_hash",
    "safetensors",
    "creator_key",
    "ed25519",
    "ml_dsa_65",
)
VERDICTS: dict[Verdict, str] = {
    "trusted": "intact and trusted",
    "untrusted": "intact but untrusted",
    "ed25519_only": "intact, Ed25519 only",
    "expired": "intact, but its creator's key has expired",
    "revoked": "intact, but its creator's key was revoked",
    "refused": "not intact",
}


@dataclass(frozen=True)
class Check:
    """One check; `absent` is only for an ML-DSA-65 signature that was never really there."""

    name: str
    status: CheckStatus
    reason: str


@dataclass(frozen=True)
class TrustFinding:
    """What the trust store says about the signer; `known_as` is the store's name for them."""

    state: TrustState
    reason: str
    known_as: str = ""


@dataclass(frozen=True)
class Verification:
    """All checks of one package, in the order of `CHECKS`, and what follows from them."""

    checks: tuple[Check, ...]
    trust: TrustFinding
    manifest: Manifest | None = None
    payload_hash: str = ""
    size_bytes: int = 0
    verdict: Verdict = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "verdict", _verdict(self.checks, self.trust))

    @property
    def is_intact(self) -> bool:
        """Nothing was changed since the two signatures were made, whoever made them."""
        return self.verdict in ("trusted", "untrusted", "expired", "revoked")

    @property
    def is_trusted(self) -> bool:
        """Intact, and signed by a creator whom the trust store holds with both keys."""
        return self.verdict == "trusted"

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that did not pass."""
        return tuple(check for check in self.checks if check.status != "passed")

    def is_accepted(self, *, trusted: bool) -> bool:
        """Intact by a key that is neither expired nor revoked, and if demanded a trusted one."""
        return self.verdict == "trusted" or (self.verdict == "untrusted" and not trusted)

    def require(self, *, trusted: bool = True) -> Manifest:
        """The verified manifest.

        Raises:
            VerificationError: the package is not intact, or not trusted when it has to be.
        """
        if self.manifest is None or not self.is_accepted(trusted=trusted):
            raise VerificationError(f"{VERDICTS[self.verdict]}: {self.why}")
        return self.manifest

    @property
    def why(self) -> str:
        """The first reason for the verdict."""
        return self.failures[0].reason if self.failures else self.trust.reason


def verify_package(
    path: Path, trust: TrustStore, *, public_key: PublicKeys | None = None
) -> Verification:
    """Verify a package file; whatever is wrong with its content is in the result.

    `public_key` lets a package without embedded keys be checked; it gives no trust.

    Raises:
        DataError: there is no such file, or it can't be read.
    """
    try:
        with open_package(path) as package:
            return verify(package, trust, public_key=public_key)
    except PackageFormatError as error:
        return unlaid(error)


def unlaid(error: PackageFormatError) -> Verification:
    """The verification of bytes that are not laid out as a package."""
    first = Check("layout", "failed", str(error))
    return Verification(
        (first, *(_not_run(name) for name in CHECKS[1:])),
        TrustFinding("untrusted", "nobody can be identified"),
    )


def verify(
    package: Package,
    trust: TrustStore,
    *,
    public_key: PublicKeys | None = None,
    at: datetime | None = None,
) -> Verification:
    """Verify an opened package. `at` is the moment for expiry (default: now)."""
    payload_hash = package.payload_hash()
    layout = Check("layout", "passed", f"TGSP 1.0, {package.size_bytes} bytes")
    try:
        manifest = package.manifest()
    except VerificationError as error:
        manifest = None
        content = [Check("manifest_fields", "failed", str(error))]
    else:
        content = [Check("manifest_fields", "passed", "schema 1.1")]
        content += _manifest_checks(package, manifest, payload_hash)
    content.append(_run("safetensors", lambda: f"{len(package.header().tensors)} tensors"))
    finding = TrustFinding("untrusted", "nobody can be identified")
    if manifest is not None:
        content += _signature_checks(manifest, trust, public_key)
        finding = trust_finding(manifest.view.creator, trust, at or datetime.now(UTC))
    done = {check.name: check for check in [layout, *content]}
    checks = tuple(done.get(name) or _not_run(name) for name in CHECKS)
    return Verification(checks, finding, manifest, payload_hash, package.size_bytes)


def trust_finding(creator: CreatorPart, trust: TrustStore, at: datetime) -> TrustFinding:
    """What the trust store says about the creator that a manifest names."""
    fingerprint = creator.public_key_fingerprint
    entry = trust.find(fingerprint)
    if entry is None:
        return TrustFinding("untrusted", "the creator's key is not in your trust store")
    name = entry.public.identity.name
    state = entry.state(at)
    if state == "revoked":
        return TrustFinding(state, f"revoked {entry.revoked}: {entry.reason}", name)
    if state == "expired":
        return TrustFinding(state, f"expired {entry.expires}", name)
    if entry.public.keys.ml_dsa_65 is None:
        return TrustFinding("untrusted", "the trust store has no ML-DSA-65 key of theirs", name)
    return TrustFinding("trusted", f"trusted since {entry.added}", name)


def _verdict(checks: tuple[Check, ...], trust: TrustFinding) -> Verdict:
    statuses = {check.status for check in checks}
    if not checks or not statuses <= {"passed", "absent"}:
        return "refused"
    if trust.state in ("revoked", "expired"):
        return trust.state
    if "absent" in statuses:
        return "ed25519_only"
    return trust.state


def _manifest_checks(package: Package, manifest: Manifest, payload_hash: str) -> list[Check]:
    def canonical_form() -> str:
        require_one_of_two_forms(package.manifest_bytes, manifest.raw)
        return "one of the two accepted byte forms"

    def signed_fields() -> str:
        require_signed_fields(manifest)
        return ", ".join(manifest.view.signatures.signed_fields)

    integrity = manifest.view.integrity
    return [
        _run("canonical_form", canonical_form),
        _run("signed_fields", signed_fields),
        _run("manifest_hash", lambda: _equal(manifest.computed_hash, integrity.manifest_hash)),
        _run("payload_hash", lambda: _equal(payload_hash, integrity.payload_hash)),
    ]


def _signature_checks(
    manifest: Manifest, trust: TrustStore, public_key: PublicKeys | None
) -> list[Check]:
    creator, signatures = manifest.view.creator, manifest.view.signatures
    try:
        keys = _keys(creator, trust, public_key)
    except VerificationError as error:
        return [Check("creator_key", "failed", str(error))]
    identified = Check("creator_key", "passed", f"fingerprint {keys.fingerprint}")
    try:
        message = manifest.message
    except VerificationError:
        return [identified]  # signed_fields has said why there is no message to check

    def ed25519() -> str:
        signature = _decode(signatures.ed25519, ED25519_SIGNATURE_BYTES)
        if not verify_ed25519(keys.ed25519, signature, message):
            raise VerificationError("the signature does not verify")
        return "verifies"

    def ml_dsa_65(key: bytes) -> str:
        signature = _decode(signatures.dilithium3, ML_DSA_65_SIGNATURE_BYTES)
        if not verify_ml_dsa_65(key, signature, message):
            raise VerificationError("the signature does not verify")
        return "verifies"

    checks = [identified, _run("ed25519", ed25519)]
    post_quantum = keys.ml_dsa_65
    if post_quantum is None:
        reason = "no ML-DSA-65 key of this creator is known; what stands there is not accepted"
        return [*checks, Check("ml_dsa_65", "absent", reason)]
    return [*checks, _run("ml_dsa_65", lambda: ml_dsa_65(post_quantum))]


def _keys(creator: CreatorPart, trust: TrustStore, given: PublicKeys | None) -> PublicKeys:
    """The keys to check with: the trust store's before the given one's before the embedded."""
    sources: list[PublicKeys] = []
    entry = trust.find(creator.public_key_fingerprint)
    if entry is not None:
        sources.append(entry.public.keys)
    if given is not None:
        sources.append(given)
    if (embedded := _embedded(creator)) is not None:
        sources.append(embedded)
    if not sources:
        raise VerificationError(
            "the package carries no public key and the trust store knows none with its "
            "fingerprint: get the creator's key and give it with --public-key"
        )
    for keys in sources:
        if keys.fingerprint != creator.public_key_fingerprint:
            raise VerificationError(
                f"the public key has fingerprint {keys.fingerprint}, "
                f"the manifest names {creator.public_key_fingerprint}"
            )
    known = {keys.ml_dsa_65 for keys in sources if keys.ml_dsa_65 is not None}
    if len(known) > 1:
        raise VerificationError("the package carries another ML-DSA-65 key than its creator's")
    return PublicKeys(sources[0].ed25519, known.pop() if known else None)


def _embedded(creator: CreatorPart) -> PublicKeys | None:
    if creator.ed25519_public_key is None:
        if creator.ml_dsa_65_public_key is not None:
            raise VerificationError("the package carries an ML-DSA-65 key but no Ed25519 key")
        return None
    try:
        post_quantum = creator.ml_dsa_65_public_key
        return PublicKeys(
            decode64(creator.ed25519_public_key),
            None if post_quantum is None else decode64(post_quantum),
        )
    except (KeyStoreError, ValueError) as error:
        raise VerificationError(f"the package carries a malformed public key: {error}") from error


def _decode(text: str, size: int) -> bytes:
    try:
        signature = decode64(text)
    except ValueError as error:
        raise VerificationError(f"the signature is {error}") from error
    if len(signature) != size:
        raise VerificationError(f"the signature has {len(signature)} bytes, not {size}: a stub")
    return signature


def _equal(computed: str, stated: str) -> str:
    if computed != stated:
        raise VerificationError(f"content has {computed}, the manifest states {stated}")
    return computed


def _run(name: str, check: Callable[[], str]) -> Check:
    try:
        return Check(name, "passed", check())
    except VerificationError as error:
        return Check(name, "failed", str(error))


def _not_run(name: str) -> Check:
    return Check(name, "not_run", "could not be checked: what it needs is broken")
