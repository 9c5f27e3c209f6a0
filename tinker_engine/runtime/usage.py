"""What each owner uses and what was done in all: tokens in flight, disk space, totals.

A request holds its tokens from its arrival until it is finished, however it ends. Totals count what
was finished; they name no owner, no data and no text.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tinker_engine.errors import QuotaError, TooManyTokensError
from tinker_engine.runtime.callers import LOCAL, Caller, current_caller
from tinker_engine.runtime.futures import Failure, Future
from tinker_engine.runtime.records import SampleResult


class Hold:
    """Tokens of one request. Leaving the block gives them back, unless it was kept."""

    def __init__(self, usage: Usage, owner: str, kind: str, tokens: int) -> None:
        self._usage = usage
        self._owner = owner
        self._kind = kind
        self._tokens = tokens
        self._is_kept = False
        self._is_open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if not self._is_kept:
            self._release()

    def keep(self) -> None:
        """Hold the tokens until `settle`."""
        self._is_kept = True

    def settle(self, future: Future) -> None:
        """The request is finished: give the tokens back and count what was done."""
        self._release()
        self._usage.count(self._kind, self._tokens, future)

    def _release(self) -> None:
        if self._is_open:
            self._is_open = False
            self._usage.give_back(self._owner, self._tokens)


class Usage:
    """Counts of one engine; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_flight: Counter[str] = Counter()
        self._tokens: Counter[str] = Counter()
        self._finished: Counter[tuple[str, ...]] = Counter()
        self._refusals: Counter[str] = Counter()

    def hold(self, kind: str, tokens: int, *, is_awaited: bool = False) -> Hold:
        """Take tokens for a request of the current caller.

        `is_awaited` says that other requests, which hold tokens already, wait for this one: it must
        come in, or nothing would ever be given back. Raises TooManyTokensError when the caller has
        to wait, and QuotaError when waiting can't help.
        """
        return self.hold_each(kind, [tokens], is_awaited=is_awaited)[0]

    def hold_each(self, kind: str, parts: Sequence[int], *, is_awaited: bool = False) -> list[Hold]:
        """Take the tokens of a request of several parts at once, to be given back part by part.

        Raises as `hold` does.
        """
        caller = current_caller() or Caller(LOCAL)
        limit = caller.limits.max_tokens_in_flight
        tokens = sum(parts)
        if limit is not None and tokens > limit:
            raise self.refuse("tokens", tokens, limit, "split it into smaller ones")
        with self._lock:
            held = self._in_flight[caller.owner]
            if limit is not None and not is_awaited and held + tokens > limit and held:
                self._refusals["tokens"] += 1
                raise TooManyTokensError(
                    f"{held} tokens of this key are in flight and the request has {tokens}; its "
                    f"limit is {limit} at a time. Wait for earlier requests, then send it again"
                )
            self._in_flight[caller.owner] += tokens
        return [Hold(self, caller.owner, kind, part) for part in parts]

    def refuse(self, quota: str, asked: int, limit: int, advice: str) -> QuotaError:
        """Count a refusal and give the error to raise."""
        with self._lock:
            self._refusals[quota] += 1
        told = {
            "tokens": f"the request has {asked} tokens, and this key may have {limit} in flight",
            "runs": f"this key would have {asked} runs in memory, and may have {limit}",
            "disk": f"this key's checkpoints would take {asked} bytes, and may take {limit}",
        }[quota]
        return QuotaError(f"{told}: {advice}")

    def give_back(self, owner: str, tokens: int) -> None:
        """End a hold."""
        with self._lock:
            self._in_flight[owner] -= tokens
            if not self._in_flight[owner]:
                del self._in_flight[owner]

    def count(self, kind: str, tokens: int, future: Future) -> None:
        """Count a finished request."""
        outcome = future.outcome
        ended = outcome.category if isinstance(outcome, Failure) else "done"
        with self._lock:
            self._finished[kind, ended] += 1
            if ended != "done":
                return
            if isinstance(outcome, SampleResult):
                self._tokens["sampled"] += sum(len(s.tokens) for s in outcome.sequences)
            elif kind == "forward_backward":
                self._tokens["trained"] += tokens
            elif kind == "forward":
                self._tokens["scored"] += tokens

    def in_flight(self, owner: str | None = None) -> int:
        """Tokens in flight, of one owner or of all."""
        with self._lock:
            return self._in_flight[owner] if owner is not None else self._in_flight.total()

    def tokens(self) -> dict[str, int]:
        """Tokens that were `trained`, `scored` and `sampled`."""
        with self._lock:
            return {name: self._tokens[name] for name in ("trained", "scored", "sampled")}

    def finished(self) -> dict[tuple[str, ...], int]:
        """Finished requests by kind and by how they ended: `done`, `user` or `server`."""
        with self._lock:
            return dict(self._finished)

    def refusals(self) -> dict[str, int]:
        """Requests refused for a quota: `tokens`, `runs` and `disk`."""
        with self._lock:
            return {name: self._refusals[name] for name in ("tokens", "runs", "disk")}


class DiskQuota:
    """Checks that what is about to be kept fits into the caller's disk space.

    `stored` gives the bytes of an owner's checkpoints, `unnamed` those of its sampler snapshots.
    """

    def __init__(
        self, usage: Usage, stored: Callable[[str], int], unnamed: Callable[[str], int]
    ) -> None:
        self._usage = usage
        self._stored = stored
        self._unnamed = unnamed

    def used(self, owner: str) -> int:
        """Bytes of an owner."""
        return self._stored(owner) + self._unnamed(owner)

    def check(self, added_bytes: int, *, freed_bytes: int = 0) -> None:
        """Raise QuotaError when that much more doesn't fit."""
        caller = current_caller()
        limit = caller.limits.max_disk_bytes if caller else None
        if caller is None or limit is None:
            return
        after = self.used(caller.owner) + added_bytes - freed_bytes
        if after > limit:
            raise self._usage.refuse(
                "disk", after, limit, "delete checkpoints, or save them with a time to live"
            )


def folder_bytes(folder: Path) -> int:
    """Bytes of the files in a folder, 0 if there is none."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
