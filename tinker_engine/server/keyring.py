"""Which keys open a running server: those given at its start, and those in its database.

The database is looked at again every two seconds, and (at most five times a second) when a key is
unknown; so a new key works at once, and a revoked one for two seconds at most.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Sequence

from tinker_engine.runtime.callers import LOCAL, Caller, Limits
from tinker_engine.storage.api_keys import ApiKey, ApiKeys, key_digest

_FRESH_S = 2.0
_RETRY_S = 0.2
_NOTE_USE_S = 30.0


class Keyring:
    """Tells whose key a request came with; the first keys belong to the server's own owner."""

    def __init__(
        self, fixed: Sequence[str], stored: ApiKeys | None = None, limits: Limits | None = None
    ) -> None:
        if not fixed and stored is None:
            raise ValueError("a server needs at least one API key")
        self._fixed = tuple(key.encode() for key in fixed)
        self._stored = stored
        self._limits = limits or Limits()
        self._known: dict[str, ApiKey] = {}
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()
        self._used: dict[str, float] = {}
        self._noted_at = time.monotonic()

    async def caller(self, given: bytes) -> Caller | None:
        """Whose key it is; None for one that opens nothing."""
        # Every key is compared, so that the time taken tells nothing about which one was close.
        matches = [hmac.compare_digest(given, key) for key in self._fixed]
        if any(matches):
            return Caller(LOCAL, self._limits)
        if self._stored is None or not given:
            return None
        digest = key_digest(given)
        age = time.monotonic() - self._read_at
        if digest not in self._known:
            # A key may be younger than the last look; who guesses has to wait.
            await asyncio.sleep(_RETRY_S - age)
            await self._read(self._stored)
        elif age > _FRESH_S:
            await self._read(self._stored)
        key = self._known.get(digest)
        if key is None or key.state != "active":
            return None
        self._used[key.id] = time.time()
        return Caller(key.id, _merged(key.limits, self._limits))

    def close(self) -> None:
        """Note the last uses."""
        if self._stored is not None and self._used:
            used, self._used = self._used, {}
            self._stored.note_use(used)

    async def _read(self, stored: ApiKeys) -> None:
        asked_at = time.monotonic()
        async with self._reading:
            if self._read_at >= asked_at:
                return
            if time.monotonic() - self._noted_at > _NOTE_USE_S:
                self._noted_at = time.monotonic()
                await asyncio.to_thread(self.close)
            started_at = time.monotonic()
            keys = await asyncio.to_thread(stored.all)
            self._known = {key.digest: key for key in keys}
            self._read_at = started_at


def _merged(own: Limits, general: Limits) -> Limits:
    def pick(mine: int | None, all_have: int | None) -> int | None:
        return all_have if mine is None else mine

    return Limits(
        pick(own.max_runs, general.max_runs),
        pick(own.max_tokens_in_flight, general.max_tokens_in_flight),
        pick(own.max_disk_bytes, general.max_disk_bytes),
    )
