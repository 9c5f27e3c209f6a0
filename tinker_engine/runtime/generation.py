"""One request under `/v1` on its way through the queue: its tokens as they come, and its end.

Tokens are handed over from the compute thread without waiting; the reader takes them in bunches.
Whoever starts a generation closes it: what is still running is cancelled then, and the adapter that
answered is let go.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import NamedTuple

from tinker_engine.errors import EngineError, RequestError
from tinker_engine.runtime.futures import SAMPLE, Failure, Future, FutureTable
from tinker_engine.runtime.queue import ComputeQueue, SampleJob
from tinker_engine.runtime.records import SampleRequest, SampleResult, TokenEvent
from tinker_engine.runtime.served_models import ServedModel
from tinker_engine.runtime.usage import Hold, Usage

_LONG_WAIT_S = 60.0


class PromptToken(NamedTuple):
    """A token of one sample for the prompt with this number."""

    prompt: int
    event: TokenEvent


class Generation:
    """The sampling requests of one API request, one for each prompt; made in the event loop.

    With `wants_tokens`, `tokens` gives them as they are chosen; without, only `results` is there.
    Raises TooManyTokensError or QuotaError, before anything is queued.
    """

    def __init__(
        self,
        futures: FutureTable,
        queue: ComputeQueue,
        model: ServedModel,
        requests: Sequence[SampleRequest],
        usage: Usage,
        *,
        wants_tokens: bool,
    ) -> None:
        self.model = model
        self._table = futures
        self._inbox = _Inbox(asyncio.get_running_loop())
        self._futures: list[Future] = []
        self._is_closed = False
        with contextlib.ExitStack() as held:
            # One by one the last could never come in, and nobody would be told that it can't.
            holds = usage.hold_each(SAMPLE, [request.most_tokens for request in requests])
            for hold in holds:
                held.enter_context(hold)
            for place, (request, hold) in enumerate(zip(requests, holds, strict=True)):
                future, _ = futures.register(
                    f"v1:{uuid.uuid4().hex}",
                    kind=SAMPLE,
                    digest="",
                    on_done=partial(self._settle, hold),
                )
                hold.keep()
                self._futures.append(future)
                on_token = self._teller(place) if wants_tokens else None
                queue.submit_sample(model.sampler_id, SampleJob(future, request, on_token=on_token))

    def _settle(self, hold: Hold, future: Future) -> None:
        hold.settle(future)
        self._inbox.wake(future)

    async def tokens(self, pause_s: float) -> AsyncIterator[list[PromptToken]]:
        """Bunches of tokens until all requests have ended; an empty one after each quiet `pause_s`.

        Raises RequestError or EngineError, as the failure is the client's or not, once one failed.
        """
        while True:
            # In this order: what happens after the reset wakes, what happened before it is seen.
            self._inbox.reset()
            is_done = self._is_done()
            bunch = self._inbox.take()
            self._raise_failures()
            if bunch:
                yield bunch
            elif is_done:
                return
            elif not await self._inbox.wait(pause_s):
                yield []

    async def results(self) -> list[SampleResult]:
        """The result of each prompt; raises as `tokens` does."""
        self._inbox.reset()
        while not self._is_done():
            await self._inbox.wait(_LONG_WAIT_S)
            self._inbox.reset()
        self._raise_failures()
        return [f.outcome for f in self._futures if isinstance(f.outcome, SampleResult)]

    def close(self) -> None:
        """Cancel what is still running and let go of everything; closing twice is harmless."""
        if self._is_closed:
            return
        self._is_closed = True
        for future in self._futures:
            if future.outcome is None:
                future.is_cancelled = True
                self._table.finish(future, Failure("cancelled: the client is gone", "user"))
        self._table.forget([future.request_id for future in self._futures])
        self.model.release()

    def _is_done(self) -> bool:
        return all(future.outcome is not None for future in self._futures)

    def _raise_failures(self) -> None:
        for future in self._futures:
            if isinstance(future.outcome, Failure):
                is_user = future.outcome.category == "user"
                raise (RequestError if is_user else EngineError)(future.outcome.message)

    def _teller(self, place: int) -> Callable[[TokenEvent], None]:
        return lambda event: self._inbox.put(PromptToken(place, event))


class _Inbox:
    """What other threads hand to a coroutine, with one wake-up for any number of things."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._event = asyncio.Event()
        self._items: deque[PromptToken] = deque()
        self._lock = threading.Lock()
        self._is_waking = False

    def put(self, item: PromptToken) -> None:
        """Hand something over; from any thread, never blocks for long, never raises."""
        self._items.append(item)
        self.wake()

    def wake(self, _cause: object = None) -> None:
        """Let the coroutine look again."""
        with self._lock:
            if self._is_waking:
                return
            self._is_waking = True
        # A loop that is closed has nobody left who waits.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._event.set)

    def reset(self) -> None:
        """Be woken by whatever happens from here on."""
        self._event.clear()
        with self._lock:
            self._is_waking = False

    def take(self) -> list[PromptToken]:
        """Everything that was handed over and not yet taken."""
        items: list[PromptToken] = []
        while self._items:
            items.append(self._items.popleft())
        return items

    async def wait(self, timeout_s: float) -> bool:
        """Wait to be woken; False when the time has passed instead."""
        try:
            await asyncio.wait_for(self._event.wait(), timeout_s)
        except TimeoutError:
            return False
        return True
