"""Versions of packages in the catalogue: added once, searched, counted, withdrawn."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Select, and_, func, or_, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from tensafe.marketplace.records import (
    Listing,
    Query,
    Reference,
    read_listing,
    searched_text,
)
from tensafe.marketplace.service.creators import stamp
from tensafe.marketplace.service.refusals import (
    ConflictError,
    NotFoundError,
    NotYoursError,
    TooManyError,
)
from tensafe.marketplace.service.tables import (
    CreatorRow,
    KeyRow,
    PackageRow,
    RejectionRow,
    UploadRow,
    VersionRow,
)
from tinker_engine.storage.database import Database

# Words that say nothing about what an adapter is for; PostgreSQL leaves out the same kind itself.
_IDLE = (
    "a an and are as at be by for from has have how i in is it its my of on or our s that the "
    "their this to was we what when where which who will with you your"
)
_IDLE_WORDS = frozenset(_IDLE.split())
_DAY_S = 86_400.0
_HITS = 2_000
# Skill documents are large and stay in the database until a page of results is known.
_SORTED_BY = (
    VersionRow.id, VersionRow.name, VersionRow.published_at, VersionRow.score, VersionRow.downloads
)  # fmt: skip


@dataclass(frozen=True)
class Stored:
    """A version with what its page shows; `report` is the load gate's as JSON text."""

    listing: Listing
    handle: str
    skill_doc: str
    report: str


@dataclass(frozen=True)
class Upload:
    """A promised package."""

    fingerprint: str
    handle: str
    package_digest: str
    size_bytes: int


@dataclass(frozen=True)
class Found:
    """One page of search results, and how many there are in all."""

    listings: tuple[Listing, ...]
    total: int


class Versions:
    """What was published."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def promise(
        self, fingerprint: str, package_digest: str, size_bytes: int, *, per_day: int
    ) -> str:
        """Note that a package will come; gives the upload's id.

        Raises:
            TooManyError: the creator has had their uploads of the day.
        """
        moment, identity = time.time(), secrets.token_urlsafe(32)
        with self._database.write() as session:
            own = select(KeyRow.fingerprint).where(
                KeyRow.handle
                == select(KeyRow.handle).where(KeyRow.fingerprint == fingerprint).scalar_subquery()
            )
            recent = session.scalar(
                select(func.count())
                .select_from(UploadRow)
                .where(UploadRow.fingerprint.in_(own), UploadRow.begun_at > moment - _DAY_S)
            )
            if (recent or 0) >= per_day:
                raise TooManyError(f"at most {per_day} uploads a day: come again tomorrow")
            session.add(
                UploadRow(
                    id=identity,
                    fingerprint=fingerprint,
                    package_digest=package_digest,
                    size_bytes=size_bytes,
                    begun_at=moment,
                    is_taken=False,
                )
            )
        return identity

    def take_upload(self, identity: str, lifetime_s: float) -> Upload:
        """The promise behind an upload's id, which can be taken once.

        Raises:
            NotFoundError: there is none, it was taken, or its time is over.
        """
        with self._database.write() as session:
            row = session.get(UploadRow, identity, with_for_update=True)
            if row is None or row.is_taken or row.begun_at < time.time() - lifetime_s:
                raise NotFoundError("no such upload is open: begin it anew")
            row.is_taken = True
            key = session.get(KeyRow, row.fingerprint)
            assert key is not None
            return Upload(row.fingerprint, key.handle, row.package_digest, row.size_bytes)

    def add(self, listing: Listing, handle: str, skill_doc: str, report: str) -> Listing:
        """Give a package its number; the name becomes the creator's if it was nobody's.

        Raises:
            NotYoursError: the name is another creator's.
            ConflictError: the same package is there already.
        """
        moment = time.time()
        try:
            with self._database.write() as session:
                # Versions of one creator come one after the other; a second who wants the same
                # new name runs into its primary key.
                session.get(CreatorRow, handle, with_for_update=True)
                owner = session.get(PackageRow, listing.name)
                if owner is None:
                    session.add(PackageRow(name=listing.name, handle=handle, created_at=moment))
                    session.flush()
                elif owner.handle != handle:
                    raise NotYoursError(
                        f"the name {listing.name} belongs to {owner.handle}: give the package a "
                        "name of its own"
                    )
                last = session.scalar(
                    select(func.max(VersionRow.number)).where(VersionRow.name == listing.name)
                )
                number = 1 + (last or 0)
                listed = replace(listing, version=str(number), published=stamp(moment))
                session.add(_row(listed, number, handle, moment, skill_doc, report))
        except IntegrityError as error:
            raise ConflictError(
                "another upload of the same package or name came first: publish again"
            ) from error
        return listed

    def reject(self, package_digest: str, fingerprint: str, report: str) -> str:
        """Keep why a package was kept out; gives the report's id."""
        identity = hashlib.sha256(report.encode()).hexdigest()
        with self._database.write() as session:
            if session.get(RejectionRow, identity) is None:
                session.add(
                    RejectionRow(
                        id=identity,
                        package_digest=package_digest,
                        fingerprint=fingerprint,
                        at=time.time(),
                        report=report,
                    )
                )
        return identity

    def rejection(self, identity: str) -> str:
        """The report of a rejection as JSON text.

        Raises:
            NotFoundError: there is none.
        """
        with self._database.read() as session:
            row = session.get(RejectionRow, identity)
            if row is None:
                raise NotFoundError("there is no such report")
            return row.report

    def find(self, reference: Reference) -> Stored:
        """One version: the named one, or the latest that wasn't withdrawn.

        Raises:
            NotFoundError: there is none.
        """
        query = select(VersionRow).order_by(VersionRow.number.desc()).limit(1)
        if reference.digest is not None:
            query = query.where(VersionRow.package_digest == reference.digest)
        elif reference.version is not None:
            query = query.where(
                VersionRow.name == reference.name, VersionRow.number == int(reference.version)
            )
        else:
            query = query.where(VersionRow.name == reference.name, VersionRow.yanked.is_(None))
        with self._database.read() as session:
            row = session.scalars(query).first()
            if row is None:
                raise NotFoundError(f"there is no package {reference} to give")
            return Stored(_listing(row), row.handle, row.skill_doc, row.report)

    def of_package(self, name: str) -> list[Listing]:
        """All versions of a package, the latest first."""
        return self._all(VersionRow.name == name)

    def of_creator(self, handle: str) -> list[Listing]:
        """The latest version of each of a creator's packages that wasn't withdrawn."""
        return self._all(and_(VersionRow.handle == handle, VersionRow.id.in_(_latest())))

    def search(self, query: Query) -> Found:
        """The latest versions that match, best first."""
        conditions = _conditions(query)
        with self._database.read() as session:
            ranked = _ranked(session, query.words)
            if ranked is not None:
                conditions.append(VersionRow.id.in_(ranked))
            matching = select(*_SORTED_BY).where(VersionRow.id.in_(_latest()), *conditions)
            hits = sorted(
                session.execute(matching), key=lambda hit: _place(hit, query.order, ranked)
            )
            page = [int(hit.id) for hit in hits[query.offset : query.offset + query.limit]]
            rows = session.scalars(select(VersionRow).where(VersionRow.id.in_(page)))
            by_id = {row.id: _listing(row) for row in rows}
            return Found(tuple(by_id[identity] for identity in page), len(hits))

    def facets(self) -> dict[str, list[str]]:
        """The domains, bases and licences that there are, for a form."""
        found: dict[str, list[str]] = {}
        with self._database.read() as session:
            for name in ("domain", "base", "licence"):
                column: Any = getattr(VersionRow, name)
                query = select(column).where(VersionRow.id.in_(_latest()), column != "").distinct()
                found[name] = sorted(session.scalars(query))[:200]
        return found

    def count_download(self, package_digest: str) -> None:
        """One more complete download."""
        with self._database.write() as session:
            session.execute(
                update(VersionRow)
                .where(VersionRow.package_digest == package_digest)
                .values(downloads=VersionRow.downloads + 1)
            )

    def yank(self, reference: Reference, handle: str, reason: str) -> Listing:
        """Withdraw a version of one's own; a second reason changes nothing.

        Raises:
            NotYoursError: it is another creator's.
        """
        stored = self.find(reference)
        if stored.handle != handle:
            raise NotYoursError(f"{stored.listing.name} belongs to {stored.handle}")
        with self._database.write() as session:
            session.execute(
                update(VersionRow)
                .where(
                    VersionRow.package_digest == stored.listing.package_digest,
                    VersionRow.yanked.is_(None),
                )
                .values(yanked=reason)
            )
        return self.find(Reference(digest=stored.listing.package_digest)).listing

    def _all(self, condition: Any) -> list[Listing]:
        query = select(VersionRow).where(condition).order_by(VersionRow.name, VersionRow.id.desc())
        with self._database.read() as session:
            return [_listing(row) for row in session.scalars(query.limit(500))]


def _latest() -> Select[Any]:
    """The ids of each package's latest version that wasn't withdrawn."""
    return (
        select(func.max(VersionRow.id)).where(VersionRow.yanked.is_(None)).group_by(VersionRow.name)
    )


def _conditions(query: Query) -> list[Any]:
    found: list[Any] = []
    for name in ("domain", "base", "licence"):
        value = getattr(query, name)
        if value is not None:
            found.append(getattr(VersionRow, name) == value.lower())
    if query.creator is not None:
        named = query.creator.lower()
        found.append(or_(VersionRow.handle == named, VersionRow.fingerprint == named))
    if query.min_score is not None:
        found.append(VersionRow.score >= query.min_score)
    if query.max_epsilon is not None:
        found.append(VersionRow.epsilon <= query.max_epsilon)
    return found


def _ranked(session: Session, words: Sequence[str]) -> dict[int, int] | None:
    """Versions that hold any of the words, by id with their place; None when none was given."""
    if not words:
        return None
    telling = [word for word in words if word not in _IDLE_WORDS] or list(words)
    if session.get_bind().dialect.name == "postgresql":
        statement = (
            "SELECT id FROM versions WHERE to_tsvector('english', words) @@ "
            "to_tsquery('english', :q) ORDER BY ts_rank(to_tsvector('english', words), "
            "to_tsquery('english', :q), 1) DESC, id DESC LIMIT :n"
        )
        wanted = " | ".join(f"'{word}'" for word in telling)
    else:
        statement = (
            "SELECT rowid FROM version_words WHERE version_words MATCH :q "
            "ORDER BY rank, rowid DESC LIMIT :n"
        )
        wanted = " OR ".join(f'"{word}"' for word in telling)
    found = session.scalars(text(statement), {"q": wanted, "n": _HITS})
    return {int(identity): place for place, identity in enumerate(found)}


def _place(row: Any, order: str, ranked: dict[int, int] | None) -> tuple[float, str]:
    """What a result is sorted by, smallest first."""
    if order == "newest":
        return -row.published_at, row.name
    if order == "score":
        return -(-1.0 if row.score is None else row.score), row.name
    if order == "downloads":
        return -float(row.downloads), row.name
    return (0.0 if ranked is None else float(ranked[row.id])), row.name


def _row(
    listing: Listing, number: int, handle: str, moment: float, skill_doc: str, report: str
) -> VersionRow:
    return VersionRow(
        name=listing.name,
        number=number,
        handle=handle,
        fingerprint=listing.fingerprint,
        package_digest=listing.package_digest,
        size_bytes=listing.size_bytes,
        domain=listing.domain.lower(),
        base=listing.base.lower(),
        licence=listing.licence.lower(),
        score=listing.score,
        epsilon=listing.epsilon,
        published_at=moment,
        downloads=0,
        yanked=None,
        listing=listing.as_dict(),
        skill_doc=skill_doc,
        report=report,
        words=searched_text(listing, skill_doc),
    )


def _listing(row: VersionRow) -> Listing:
    return replace(read_listing(row.listing), downloads=row.downloads, yanked=row.yanked or "")
