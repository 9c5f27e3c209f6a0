"""The manifest of a package: what the format's schema 1.1 says it holds, and what is signed.

Owns the manifest's fields, its hash and the message that signatures cover. A `Manifest` keeps the
parsed JSON untouched (`raw`, the only thing ever hashed) beside a typed view of it (`view`).
Fields that a reader has to know to decide anything are required; descriptive ones of packages
from elsewhere may be missing. Unknown keys are kept and covered by the hash, except inside
`signatures`, which nothing covers and which therefore holds exactly its three.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tensafe.errors import VerificationError
from tensafe.tgsp.canonical import canonical_json, parse, sha256_hex

SCHEMA_VERSION = "1.1"
REQUIRED_SIGNED_FIELDS = ("creator", "integrity", "lora_config", "rvu_safety")

Hex64 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Texts = Annotated[tuple[str, ...], Field(strict=False)]
NonEmpty = Annotated[str, Field(min_length=1)]


class ManifestError(VerificationError):
    """The manifest breaks the format's rules: the message names the field and what is expected."""


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="allow")


class ModelPart(_Part):
    """The base model that the adapter was made for (dense models: no experts)."""

    architecture: str
    base_model: NonEmpty
    num_experts: Annotated[int, Field(ge=0)] = 0
    experts_per_token: Annotated[int, Field(ge=0)] = 0


class LoraConfigPart(_Part):
    """The adapter's shape; the last three parametrise encrypted inference elsewhere."""

    rank: Annotated[int, Field(ge=1, le=1024)]
    alpha: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    target_modules: Annotated[tuple[NonEmpty, ...], Field(strict=False, min_length=1)]
    lora_dropout: Share
    bias: Literal["none", "all", "lora_only"]
    task_type: NonEmpty
    simd_slots: Annotated[int, Field(ge=1)]
    cols_per_ct: Annotated[int, Field(ge=1)]
    batches: Annotated[int, Field(ge=1)]


class SkillPart(_Part):
    """What the adapter is for. `compliance` holds the creator's claims, nothing that was tested."""

    description: str
    triggers: Texts = ()
    capabilities: Texts = ()
    input_format: str = ""
    output_format: str = ""
    quality_score: Share | None = None
    compliance: Texts = ()
    composable_with: Texts = ()


class RvuSafetyPart(_Part):
    """What screening found; `screening_hash` is the SHA-256 of the screening report.

    In this project's packages that is the report without text, which stands in the manifest as
    `screening`; the one with quotes stays with the owner of the data.
    """

    version: Literal["RVUv2"]
    layers: Texts
    screening_passed: bool
    screening_timestamp: NonEmpty
    screening_hash: Hex64


class CreatorPart(_Part):
    """Who signed. The embedded public keys let a package be checked, never trusted."""

    name: str
    organization: str = ""
    email: str = ""
    public_key_fingerprint: Hex64
    verified: bool = False
    ed25519_public_key: str | None = None
    ml_dsa_65_public_key: str | None = None


class IntegrityPart(_Part):
    """Hashes of payload and manifest."""

    payload_hash: Hex64
    manifest_hash: Hex64
    hash_algorithm: Literal["SHA-256"]


class SignaturesPart(_Part):
    """Signatures and the top-level fields that they cover."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    ed25519: str
    dilithium3: str
    signed_fields: Texts


class PrivacyPart(_Part):
    """The differential-privacy facts of training, or mechanism `none`."""

    mechanism: NonEmpty
    epsilon: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    delta: Annotated[float, Field(gt=0, lt=1)] | None = None
    clip_norm: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    noise_multiplier: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    sampling_rate: Annotated[float, Field(gt=0, le=1)] | None = None
    steps: Annotated[int, Field(ge=0)] | None = None
    accountant: str | None = None
    accountant_version: str | None = None

    @model_validator(mode="after")
    def _complete(self) -> PrivacyPart:
        if self.mechanism != "none":
            missing = [name for name in type(self).model_fields if getattr(self, name) is None]
            if missing:
                raise ValueError(f"mechanism {self.mechanism!r} lacks {', '.join(missing)}")
        return self


class EvaluationPart(_Part):
    """The qa_verify result that the package was let through on."""

    score: Share
    interval: Annotated[tuple[Share, Share], Field(strict=False)]
    base_score: Share | None
    test_size: Annotated[int, Field(ge=1)]
    report_digest: Hex64


class ManifestView(_Part):
    """All fields of schema 1.1, then the ones that this project adds (absent elsewhere)."""

    format: Literal["TGSP"]
    version: Literal["1.1"]
    name: Annotated[str, Field(min_length=1, max_length=256)]
    domain: str
    model: ModelPart
    lora_config: LoraConfigPart
    skill: SkillPart
    rvu_safety: RvuSafetyPart
    creator: CreatorPart
    integrity: IntegrityPart
    signatures: SignaturesPart
    created: str | None = None
    skill_doc: str | None = None
    screening: dict[str, object] | None = None
    provenance: dict[str, object] | None = None
    privacy: PrivacyPart | None = None
    evaluation: EvaluationPart | None = None
    gates: dict[str, dict[str, object]] | None = None


@dataclass(frozen=True)
class Manifest:
    """A parsed manifest: `raw` is what was signed, `view` is how to read it."""

    raw: dict[str, object]
    view: ManifestView

    @property
    def computed_hash(self) -> str:
        """The hash that `integrity.manifest_hash` has to state."""
        return manifest_hash(self.raw)

    @property
    def message(self) -> bytes:
        """The bytes that both signatures cover, for this manifest's own `signed_fields`.

        Raises:
            ManifestError: `signed_fields` breaks its rules (see `require_signed_fields`).
        """
        require_signed_fields(self)
        return signed_message(self.raw, self.view.signatures.signed_fields)


def parse_manifest(data: bytes) -> Manifest:
    """Read a manifest strictly, in any byte form.

    The byte form is a check of its own (`canonical.require_one_of_two_forms`), so that a
    verification can report both.

    Raises:
        JSONFormError: not strict JSON.
        ManifestError: fields are missing, of the wrong type or out of range.
    """
    return typed_manifest(parse(data))


def typed_manifest(raw: dict[str, object]) -> Manifest:
    """Give a parsed manifest its typed view.

    Raises:
        ManifestError: fields are missing, of the wrong type or out of range.
    """
    try:
        return Manifest(raw, ManifestView.model_validate(raw))
    except ValidationError as error:
        faults = [
            # ascii(): unknown keys are part of the place, and packages may be hostile.
            f"{ascii('.'.join(str(part) for part in fault['loc']))[1:-1][:120]}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)[:5]
        ]
        raise ManifestError("; ".join(faults)) from error


def manifest_hash(raw: dict[str, object]) -> str:
    """SHA-256 of the manifest without `signatures` and with an empty `integrity.manifest_hash`."""
    hashed = {key: value for key, value in raw.items() if key != "signatures"}
    integrity = cast("dict[str, object]", hashed["integrity"])
    hashed["integrity"] = {**integrity, "manifest_hash": ""}
    return sha256_hex(canonical_json(hashed))


def signed_message(raw: dict[str, object], fields: Sequence[str]) -> bytes:
    """Canonical JSON of the named top-level fields."""
    return canonical_json({field: raw[field] for field in fields})


def require_signed_fields(manifest: Manifest) -> None:
    """Demand that the signatures cover what the format says they must.

    The list itself is covered by nothing, and its order doesn't change the signed message. In a
    package that carries its ML-DSA-65 key (so, one of this project's) it therefore has to be
    sorted; public writers may keep their own order, but name nothing twice.

    Raises:
        ManifestError: a required field is missing, one is absent from the manifest, is
            `signatures` itself, or stands twice or out of order.
    """
    fields = manifest.view.signatures.signed_fields
    missing = [name for name in REQUIRED_SIGNED_FIELDS if name not in fields]
    if missing:
        raise ManifestError(f"signed_fields lacks {', '.join(missing)}")
    if len(set(fields)) != len(fields):
        raise ManifestError("signed_fields names a field twice")
    absent = [name for name in fields if name not in manifest.raw or name == "signatures"]
    if absent:
        raise ManifestError(f"signed_fields names {absent[0][:80]!r}, which can't be signed")
    if manifest.view.creator.ml_dsa_65_public_key is not None and list(fields) != sorted(fields):
        raise ManifestError("signed_fields is not sorted")
