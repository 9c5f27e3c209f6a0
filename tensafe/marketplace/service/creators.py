"""Creators, their keys, and the challenges that their requests are signed over."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import ValidationError
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from tensafe.errors import DataError, KeyStoreError, VerificationError
from tensafe.marketplace.proof import Action, SignedAction
from tensafe.marketplace.records import MAX_TEXT
from tensafe.marketplace.service.refusals import (
    ConflictError,
    NotFoundError,
    ProofError,
    RefusedError,
    RevokedKeyError,
    UnknownKeyError,
)
from tensafe.marketplace.service.tables import ChallengeRow, CreatorRow, KeyRow
from tensafe.tgsp.keys import (
    Identity,
    PublicIdentity,
    PublicKeys,
    decode64,
    encode64,
    read_public_key_document,
)
from tensafe.tgsp.skill_doc import skill_name
from tensafe.tgsp.text import one_line
from tensafe.tgsp.trust import TrustedCreator, TrustStore
from tinker_engine.storage.database import Database

_MOST_CHALLENGES = 100_000


@dataclass(frozen=True)
class Creator:
    """Somebody who publishes; `keys` are fingerprints with the reason of their revocation."""

    handle: str
    name: str
    organization: str
    created: str
    keys: tuple[tuple[str, str | None], ...]


class Creators:
    """Who may publish."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def challenge(self, lifetime_s: float) -> str:
        """A new challenge, good once and for so long."""
        moment, given = time.time(), secrets.token_urlsafe(32)
        with self._database.write() as session:
            session.execute(delete(ChallengeRow).where(ChallengeRow.expires_at < moment))
            open_ones = session.scalar(select(func.count()).select_from(ChallengeRow)) or 0
            if open_ones >= _MOST_CHALLENGES:
                raise RefusedError("too many challenges are open: come again in a few minutes")
            session.add(ChallengeRow(id=given, expires_at=moment + lifetime_s))
        return given

    def require(self, signed: SignedAction, action: Action, audiences: frozenset[str]) -> str:
        """The handle of who signed, once: the challenge is used up.

        Raises:
            UnknownKeyError: the key is not registered.
            RevokedKeyError: it was revoked.
            ProofError: anything else about the signature is wrong.
        """
        self._take(signed, action, audiences)
        with self._database.read() as session:
            row = session.get(KeyRow, signed.fingerprint)
            if row is None:
                raise UnknownKeyError(f"the key {signed.fingerprint} is not registered here")
            if row.revoked_at is not None:
                raise RevokedKeyError(
                    f"the key {signed.fingerprint} was revoked here: {row.reason}"
                )
            keys, handle = _keys(row), row.handle
        _require_signature(signed, keys)
        return handle

    def register(
        self, signed: SignedAction, audiences: frozenset[str], *, is_open: bool = True
    ) -> Creator:
        """A new creator with the key that signed; its public-key file and handle are fields.

        Raises:
            ConflictError: handle or key are taken.
        """
        self._take(signed, "register", audiences)
        public = _public(signed)
        _require_signature(signed, public.keys)
        if not is_open:
            raise UnknownKeyError(
                "registration is closed here: ask the operator to add your public-key file"
            )
        return self.add(public, signed.fields.get("handle", ""))

    def add(self, public: PublicIdentity, handle: str = "") -> Creator:
        """A new creator, whoever asks for it: for the operator, and after a proof."""
        try:
            name = skill_name(handle or public.identity.name)
        except DataError as error:
            raise RefusedError(f"no handle can be made of that name: {error}") from error
        with self._database.write() as session:
            known = session.get(KeyRow, public.fingerprint)
            if known is not None:
                if known.handle == name and known.revoked_at is None:
                    return _creator(session, name)
                raise ConflictError(f"this key is registered already, for {known.handle}")
            if session.get(CreatorRow, name) is not None:
                raise ConflictError(
                    f"the handle {name} is taken: if it is yours, let this key join it with "
                    "`tensafe marketplace keys add`; else register under another with `tensafe "
                    "marketplace register --handle NAME`"
                )
            session.add(
                CreatorRow(
                    handle=name,
                    name=one_line(public.identity.name)[:MAX_TEXT],
                    organization=one_line(public.identity.organization)[:MAX_TEXT],
                    created_at=time.time(),
                )
            )
            session.flush()
            session.add(_key_row(public.keys, name))
            session.flush()
            return _creator(session, name)

    def add_key(self, signed: SignedAction, audiences: frozenset[str]) -> Creator:
        """Another key for the creator who signed, and who holds that one too.

        A public-key file is everybody's to have, so it proves nothing here: the other key has to
        sign that it joins this creator, over the same challenge.

        Raises:
            ProofError: the other key's consent is missing or not for this.
            ConflictError: the key is registered already.
        """
        handle = self.require(signed, "add-key", audiences)
        public = _public(signed, own=False)
        _require_consent(signed, public.keys)
        with self._database.write() as session:
            if session.get(KeyRow, public.fingerprint) is not None:
                raise ConflictError("this key is registered already")
            session.add(_key_row(public.keys, handle))
            session.flush()
            return _creator(session, handle)

    def revoke_key(self, signed: SignedAction, audiences: frozenset[str]) -> Creator:
        """Never take a key of the creator who signed again."""
        handle = self.require(signed, "revoke-key", audiences)
        reason = one_line(signed.fields.get("reason", ""))[:500] or "no reason given"
        return self.revoke(signed.fields.get("key", ""), reason, handle=handle)

    def revoke(self, fingerprint: str, reason: str, *, handle: str | None = None) -> Creator:
        """Never take a key again; `handle` says whose it has to be (None: the operator asks)."""
        with self._database.write() as session:
            row = session.get(KeyRow, fingerprint)
            if row is None or handle not in (None, row.handle):
                raise NotFoundError("the creator has no such key")
            if row.revoked_at is None:
                row.revoked_at, row.reason = time.time(), reason
            session.flush()
            return _creator(session, row.handle)

    def get(self, handle: str) -> Creator:
        """A creator by handle.

        Raises:
            NotFoundError: there is none.
        """
        with self._database.read() as session:
            return _creator(session, handle)

    def trust(self, handle: str) -> TrustStore:
        """The creator's keys as the load gate wants them."""
        with self._database.read() as session:
            creator = session.get(CreatorRow, handle)
            rows = session.scalars(select(KeyRow).where(KeyRow.handle == handle)).all()
            name = "" if creator is None else creator.name
            entries = {row.fingerprint: _trusted(row, name) for row in rows}
        return TrustStore(entries)

    def _take(self, signed: SignedAction, action: Action, audiences: frozenset[str]) -> None:
        if signed.action != action:
            raise ProofError(f"the request is signed as {signed.action!r}, not as {action!r}")
        if signed.audience not in audiences:
            raise ProofError(
                f"the request is signed for {one_line(signed.audience)!r}, and this is "
                f"{' or '.join(sorted(audiences))}"
            )
        with self._database.write() as session:
            row = session.get(ChallengeRow, signed.challenge, with_for_update=True)
            is_good = row is not None and row.expires_at >= time.time()
            if row is not None:
                session.delete(row)
        if not is_good:
            raise ProofError("the challenge is unknown, was used or has expired: ask for another")


def stamp(moment: float) -> str:
    """Seconds since the epoch as ISO 8601 in UTC."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _require_signature(signed: SignedAction, keys: PublicKeys) -> None:
    try:
        signed.require(keys)
    except VerificationError as error:
        raise ProofError(str(error)) from error


def _require_consent(signed: SignedAction, keys: PublicKeys) -> None:
    """Demand the added key's own signatures over who it joins, at this place and this once."""
    try:
        consent = SignedAction.model_validate_json(signed.fields.get("consent", ""))
    except ValidationError as error:
        raise ProofError("the request holds no consent signed by the key to be added") from error
    told = (consent.action, consent.audience, consent.challenge, consent.fields)
    if told != ("join", signed.audience, signed.challenge, {"joins": signed.fingerprint}):
        raise ProofError("the added key's consent is for something else")
    _require_signature(consent, keys)


def _public(signed: SignedAction, *, own: bool = True) -> PublicIdentity:
    try:
        public = read_public_key_document(signed.fields.get("public_key", "").encode())
    except KeyStoreError as error:
        raise ProofError(str(error)) from error
    if public.keys.ml_dsa_65 is None or (own and public.fingerprint != signed.fingerprint):
        raise ProofError("the public-key file is not that of the key that signed")
    return public


def _key_row(keys: PublicKeys, handle: str) -> KeyRow:
    assert keys.ml_dsa_65 is not None
    return KeyRow(
        fingerprint=keys.fingerprint,
        handle=handle,
        ed25519=encode64(keys.ed25519),
        ml_dsa_65=encode64(keys.ml_dsa_65),
        added_at=time.time(),
        revoked_at=None,
        reason="",
    )


def _keys(row: KeyRow) -> PublicKeys:
    return PublicKeys(decode64(row.ed25519), decode64(row.ml_dsa_65))


def _trusted(row: KeyRow, name: str) -> TrustedCreator:
    public = PublicIdentity(Identity(name, ""), _keys(row), stamp(row.added_at))
    revoked = None if row.revoked_at is None else stamp(row.revoked_at)
    return TrustedCreator(public, stamp(row.added_at), None, revoked, row.reason)


def _creator(session: Session, handle: str) -> Creator:
    row = session.get(CreatorRow, handle)
    if row is None:
        raise NotFoundError("there is no such creator")
    query = select(KeyRow).where(KeyRow.handle == handle).order_by(KeyRow.added_at)
    keys = tuple(
        (key.fingerprint, None if key.revoked_at is None else key.reason)
        for key in session.scalars(query)
    )
    return Creator(row.handle, row.name, row.organization, stamp(row.created_at), keys)
