"""What a marketplace says about a package: a listing, a query over listings, results.

A listing is made from a signed manifest, but it reaches a reader through somebody's server: it
is what to choose by, never what to believe. `pull` verifies the package itself. Texts in it are
one line each, without control characters, and bounded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from tensafe.errors import DataError, UsageError, VerificationError
from tensafe.tgsp.manifest import Manifest
from tensafe.tgsp.skill_doc import skill_name
from tensafe.tgsp.text import one_line
from tensafe.tgsp.verification import Verification

MAX_TEXT = 1024
MAX_WORDS = 32
Order = Literal["relevance", "newest", "score", "downloads"]
_LICENCE = re.compile(r"(?m)^license:[ \t]*(.+)$")
_REFERENCE = re.compile(r"(?P<name>[a-z0-9]+(?:-[a-z0-9]+)*)(?:@(?P<version>[1-9][0-9]{0,8}))?")
# They become parts of file names; a version is a number or a registry's tag.
_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_VERSION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"(?:sha256:)?(?P<digest>[0-9a-f]{64})")


@dataclass(frozen=True)
class Listing:
    """One version of a package. Scores are shares of 1; sizes are bytes; times ISO 8601 in UTC.

    `version` is a number that the marketplace gave in order of arrival, or a registry's tag.
    `epsilon` is None for training without differential privacy. `creator` is the name that the
    signer gave themselves, `fingerprint` the key that signed. `yanked` is why a version was
    withdrawn, empty when it wasn't.
    """

    name: str
    version: str
    package_digest: str
    adapter_digest: str
    size_bytes: int
    domain: str
    base: str
    architecture: str
    rank: int
    description: str
    triggers: tuple[str, ...]
    capabilities: tuple[str, ...]
    compliance: tuple[str, ...]
    score: float | None
    score_low: float | None
    score_high: float | None
    base_score: float | None
    test_size: int | None
    epsilon: float | None
    delta: float | None
    licence: str
    creator: str
    organization: str
    fingerprint: str
    created: str
    published: str
    downloads: int = 0
    yanked: str = ""

    def as_dict(self) -> dict[str, object]:
        """The listing as JSON values."""
        return asdict(self)


class Query(BaseModel):
    """What to search for; every field that is given has to match.

    `text` is matched as words in name, domain, description and skill document; the others name
    exact values (case aside), a least score, and a largest epsilon, which excludes adapters that
    were trained without privacy.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str = Field(default="", max_length=MAX_TEXT)
    domain: str | None = Field(default=None, max_length=256)
    base: str | None = Field(default=None, max_length=256)
    licence: str | None = Field(default=None, max_length=128)
    creator: str | None = Field(default=None, max_length=256)
    min_score: Annotated[float, Field(ge=0, le=1)] | None = None
    max_epsilon: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    order: Order = "relevance"
    limit: int = Field(default=20, ge=1, le=100)
    offset: int = Field(default=0, ge=0, le=100_000)

    @property
    def words(self) -> list[str]:
        """The words of `text` in lower case, without punctuation and repetition."""
        found = re.findall(r"[^\W_]+", self.text.lower())
        return list(dict.fromkeys(found))[:MAX_WORDS]


class Reference(BaseModel):
    """Which package: a name, perhaps with a version (default: the latest), or a package digest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = ""
    version: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read `NAME`, `NAME@VERSION` or `sha256:DIGEST`.

        Raises:
            UsageError: it is none of these.
        """
        if found := _DIGEST.fullmatch(text):
            return cls(digest=found["digest"])
        if found := _REFERENCE.fullmatch(text):
            return cls(name=found["name"], version=found["version"])
        raise UsageError(
            f"{one_line(text)[:100]!r} names no package: write NAME, NAME@VERSION (as in "
            "support-routing@2) or sha256:DIGEST"
        )

    def is_answered_by(self, listing: Listing) -> bool:
        """Whether a listing is of what was asked for, and not of another package."""
        if self.digest is not None:
            return listing.package_digest == self.digest
        return listing.name == self.name and self.version in (None, listing.version)

    def __str__(self) -> str:
        """As it is written."""
        if self.digest:
            return f"sha256:{self.digest}"
        return self.name if self.version is None else f"{self.name}@{self.version}"


@dataclass(frozen=True)
class Published:
    """A package as it now stands in `marketplace`; `is_new` is False if it stood there already."""

    listing: Listing
    marketplace: str
    is_new: bool = True


@dataclass(frozen=True)
class Pulled:
    """A verified package at `path`; `listing` states what its signed manifest does."""

    path: Path
    listing: Listing
    verification: Verification
    marketplace: str


def listing_of(
    manifest: Manifest, *, version: str, package_digest: str, size_bytes: int, published: str
) -> Listing:
    """The listing of a package with a verified manifest.

    Raises:
        VerificationError: its name gives no name in a marketplace.
    """
    view = manifest.view
    evaluation, privacy = view.evaluation, view.privacy
    is_private = privacy is not None and privacy.mechanism != "none"
    return Listing(
        name=listed_name(manifest),
        version=version,
        package_digest=package_digest,
        adapter_digest=view.integrity.payload_hash,
        size_bytes=size_bytes,
        domain=_text(view.domain),
        base=_text(view.model.base_model),
        architecture=_text(view.model.architecture),
        rank=view.lora_config.rank,
        description=_text(view.skill.description),
        triggers=_texts(view.skill.triggers),
        capabilities=_texts(view.skill.capabilities),
        compliance=_texts(view.skill.compliance),
        score=evaluation.score if evaluation else None,
        score_low=evaluation.interval[0] if evaluation else None,
        score_high=evaluation.interval[1] if evaluation else None,
        base_score=evaluation.base_score if evaluation else None,
        test_size=evaluation.test_size if evaluation else None,
        epsilon=privacy.epsilon if privacy is not None and is_private else None,
        delta=privacy.delta if privacy is not None and is_private else None,
        licence=licence_of(view.skill_doc or ""),
        creator=_text(view.creator.name),
        organization=_text(view.creator.organization),
        fingerprint=view.creator.public_key_fingerprint,
        created=_text(view.created or ""),
        published=published,
    )


def listed_name(manifest: Manifest) -> str:
    """The name in a marketplace: the manifest's, as letters, digits and hyphens.

    Raises:
        VerificationError: nothing usable is left of it.
    """
    try:
        return skill_name(manifest.view.name)
    except DataError as error:
        raise VerificationError(f"the package can't be listed: {error}") from error


def licence_of(skill_doc: str) -> str:
    """What the skill document's front matter states as its licence, else nothing."""
    matter = skill_doc.split("\n---", 1)[0]
    found = _LICENCE.search(matter) if skill_doc.startswith("---\n") else None
    return one_line(found[1]).strip("'\"")[:128] if found else ""


def read_listing(value: object) -> Listing:
    """A listing from a file or a server's answer, checked and its texts made plain.

    Raises:
        DataError: fields are missing or of the wrong type.
    """
    if not isinstance(value, Mapping):
        raise DataError("not a listing: expected a JSON object")
    known = {field.name for field in fields(Listing)}
    given = {k: v for k, v in cast("Mapping[str, object]", value).items() if k in known}
    try:
        read = _READER.validate_python(given)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in fault["loc"])
        raise DataError(f"not a listing: {place}: {fault['msg']}") from error
    for digest in (read.package_digest, read.adapter_digest, read.fingerprint):
        if _DIGEST.fullmatch(digest) is None:
            raise DataError("not a listing: a digest is not 64 hexadecimal digits")
    if _NAME.fullmatch(read.name) is None or _VERSION.fullmatch(read.version) is None:
        raise DataError("not a listing: name or version holds more than letters, digits, hyphens")
    plain: dict[str, object] = {
        name: _text(text) for name, text in asdict(read).items() if isinstance(text, str)
    }
    plain |= {
        name: _texts(cast("tuple[str, ...]", texts))
        for name, texts in asdict(read).items()
        if isinstance(texts, tuple)
    }
    return replace(read, **plain)  # pyright: ignore[reportArgumentType]


_READER = TypeAdapter(Listing)


def is_match(listing: Listing, skill_doc: str, query: Query) -> bool:
    """Whether a listing answers a query; any of its words is enough (see `relevance`)."""
    wanted = (
        (query.domain, listing.domain),
        (query.base, listing.base),
        (query.licence, listing.licence),
    )
    if any(value is not None and value.lower() != has.lower() for value, has in wanted):
        return False
    if query.creator is not None and query.creator.lower() not in (
        listing.creator.lower(),
        listing.fingerprint,
    ):
        return False
    if query.min_score is not None and (listing.score is None or listing.score < query.min_score):
        return False
    if query.max_epsilon is not None and (
        listing.epsilon is None or listing.epsilon > query.max_epsilon
    ):
        return False
    return not query.words or relevance(listing, skill_doc, query) > 0


def relevance(listing: Listing, skill_doc: str, query: Query) -> int:
    """How many of the query's words stand in the listing or its skill document."""
    held = set(re.findall(r"[^\W_]+", searched_text(listing, skill_doc).lower()))
    return sum(word in held for word in query.words)


def searched_text(listing: Listing, skill_doc: str) -> str:
    """All that a search looks through."""
    parts = (
        listing.name.replace("-", " "),
        listing.domain,
        listing.description,
        *listing.triggers,
        *listing.capabilities,
        skill_doc,
    )
    return "\n".join(parts)


def _text(text: str) -> str:
    return one_line(text)[:MAX_TEXT]


def _texts(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_text(text) for text in texts[:64])
