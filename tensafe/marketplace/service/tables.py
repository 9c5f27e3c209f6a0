"""Tables of the catalogue. Times are seconds since the epoch (UTC); digests are hex SHA-256."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

DIGEST = 64
NAME = 64
TEXT = 1024


class Base(DeclarativeBase):
    """Base of all tables."""

    type_annotation_map = {dict[str, Any]: JSON}  # noqa: RUF012


class CreatorRow(Base):
    """Somebody who publishes: `handle` is theirs for good, the rest is what they say."""

    __tablename__ = "creators"

    handle: Mapped[str] = mapped_column(String(NAME), primary_key=True)
    name: Mapped[str] = mapped_column(String(TEXT))
    organization: Mapped[str] = mapped_column(String(TEXT))
    created_at: Mapped[float]


class KeyRow(Base):
    """A creator's key pair (public halves, base64). A revoked one stays, so it can't come back."""

    __tablename__ = "creator_keys"

    fingerprint: Mapped[str] = mapped_column(String(DIGEST), primary_key=True)
    handle: Mapped[str] = mapped_column(ForeignKey("creators.handle"), index=True)
    ed25519: Mapped[str]
    ml_dsa_65: Mapped[str]
    added_at: Mapped[float]
    revoked_at: Mapped[float | None]
    reason: Mapped[str]


class ChallengeRow(Base):
    """A challenge that was given and not yet taken."""

    __tablename__ = "challenges"

    id: Mapped[str] = mapped_column(String(DIGEST), primary_key=True)
    expires_at: Mapped[float] = mapped_column(index=True)


class UploadRow(Base):
    """A promised package: whose, which, how large. It is taken when its bytes begin to arrive."""

    __tablename__ = "uploads"

    id: Mapped[str] = mapped_column(String(DIGEST), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(ForeignKey("creator_keys.fingerprint"), index=True)
    package_digest: Mapped[str] = mapped_column(String(DIGEST))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    begun_at: Mapped[float] = mapped_column(index=True)
    is_taken: Mapped[bool]


class PackageRow(Base):
    """A name and whose it is."""

    __tablename__ = "packages"

    name: Mapped[str] = mapped_column(String(NAME), primary_key=True)
    handle: Mapped[str] = mapped_column(ForeignKey("creators.handle"), index=True)
    created_at: Mapped[float]


class VersionRow(Base):
    """One version: never changed but for `downloads` and `yanked` (the reason, when withdrawn).

    `listing` is what clients get; the columns are what is searched by, in lower case; `words` is
    the text of the full-text index, `report` the load gate's as JSON text.
    """

    __tablename__ = "versions"
    __table_args__ = (
        UniqueConstraint("name", "number", name="versions_number_once"),
        UniqueConstraint("package_digest", name="versions_digest_once"),
        Index("versions_by_filter", "domain", "base"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(ForeignKey("packages.name"))
    number: Mapped[int]
    handle: Mapped[str] = mapped_column(ForeignKey("creators.handle"), index=True)
    fingerprint: Mapped[str] = mapped_column(String(DIGEST))
    package_digest: Mapped[str] = mapped_column(String(DIGEST))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    domain: Mapped[str] = mapped_column(String(TEXT))
    base: Mapped[str] = mapped_column(String(TEXT))
    licence: Mapped[str] = mapped_column(String(TEXT))
    score: Mapped[float | None]
    epsilon: Mapped[float | None]
    published_at: Mapped[float]
    downloads: Mapped[int]
    yanked: Mapped[str | None] = mapped_column(String(TEXT))
    listing: Mapped[dict[str, Any]]
    skill_doc: Mapped[str]
    report: Mapped[str]
    words: Mapped[str]


class RejectionRow(Base):
    """A package that was kept out, and why; `report` is the load gate's as JSON text."""

    __tablename__ = "rejections"

    id: Mapped[str] = mapped_column(String(DIGEST), primary_key=True)
    package_digest: Mapped[str] = mapped_column(String(DIGEST), index=True)
    fingerprint: Mapped[str] = mapped_column(String(DIGEST), index=True)
    at: Mapped[float]
    report: Mapped[str]
