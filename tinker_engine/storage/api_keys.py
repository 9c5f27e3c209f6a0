"""API keys: made once, shown once, kept as their SHA-256.

A key is 256 random bits, so a plain digest can't be turned back. Its id owns what is made with it
and stays when the secret is replaced; revoking a key deletes nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import select, update

from tinker_engine.errors import NotFoundError, RequestError
from tinker_engine.runtime.callers import Limits
from tinker_engine.storage.database import Database
from tinker_engine.storage.tables import ApiKeyRow

# SDKs refuse keys that do not start so.
KEY_PREFIX = "tml-"
_NAME_LENGTH = 64


@dataclass(frozen=True)
class ApiKey:
    """A key as stored; times are seconds since the epoch, limits that are None are the server's."""

    id: str
    name: str
    digest: str
    created_at: float
    last_used_at: float | None
    expires_at: float | None
    revoked_at: float | None
    limits: Limits

    @property
    def state(self) -> str:
        """`active`, `revoked` or `expired`."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= time.time():
            return "expired"
        return "active"


def new_secret() -> str:
    """A random key."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def key_digest(secret: bytes) -> str:
    """What is stored of a key."""
    return hashlib.sha256(secret).hexdigest()


class ApiKeys:
    """The keys in a database."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def create(self, name: str, *, expires_at: float | None, limits: Limits) -> tuple[ApiKey, str]:
        """Make a key; gives its record and, for this once, the key itself.

        Raises RequestError for a name that can't be told apart from others.
        """
        if not name.strip() or len(name) > _NAME_LENGTH or not name.isprintable():
            raise RequestError(
                f"key name {name!r} has no letters, more than {_NAME_LENGTH}, or unprintable ones"
            )
        if any(name in (key.name, key.id) for key in self.all() if key.state == "active"):
            raise RequestError(f"there is an active key named {name!r}; choose another name")
        secret = new_secret()
        row = ApiKeyRow(
            id=f"key-{secrets.token_hex(4)}",
            name=name,
            digest=key_digest(secret.encode()),
            created_at=time.time(),
            expires_at=expires_at,
            **dataclasses.asdict(limits),
        )
        with self._db.write() as db:
            db.add(row)
            db.flush()
            return _record(row), secret

    def all(self) -> list[ApiKey]:
        """Every key, oldest first, the revoked ones too."""
        with self._db.read() as db:
            rows = db.scalars(select(ApiKeyRow).order_by(ApiKeyRow.created_at, ApiKeyRow.id))
            return [_record(row) for row in rows]

    def find(self, who: str) -> ApiKey:
        """A key by id, or by name (the active one first); raises NotFoundError."""
        found = [key for key in self.all() if who in (key.id, key.name)]
        if not found:
            raise NotFoundError(f"no key has id or name {who!r}; `tinker-engine keys list` has all")
        return min(found, key=lambda key: (key.id != who, key.state != "active", -key.created_at))

    def revoke(self, key_id: str) -> None:
        """Let a key in no more; what it owns stays on disk."""
        with self._db.write() as db:
            db.execute(
                update(ApiKeyRow)
                .where(ApiKeyRow.id == key_id, ApiKeyRow.revoked_at.is_(None))
                .values(revoked_at=time.time())
            )

    def replace_secret(self, key_id: str, *, expires_at: float | None) -> str:
        """A new secret for a key, revoked or not; the old one is worth nothing from now on."""
        secret = new_secret()
        with self._db.write() as db:
            db.execute(
                update(ApiKeyRow)
                .where(ApiKeyRow.id == key_id)
                .values(digest=key_digest(secret.encode()), revoked_at=None, expires_at=expires_at)
            )
        return secret

    def note_use(self, used: Mapping[str, float]) -> None:
        """Note when keys were last used."""
        with self._db.write() as db:
            for key_id, at in used.items():
                db.execute(update(ApiKeyRow).where(ApiKeyRow.id == key_id).values(last_used_at=at))


def _record(row: ApiKeyRow) -> ApiKey:
    return ApiKey(
        id=row.id,
        name=row.name,
        digest=row.digest,
        created_at=row.created_at,
        last_used_at=row.last_used_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        limits=Limits(row.max_runs, row.max_tokens_in_flight, row.max_disk_bytes),
    )
