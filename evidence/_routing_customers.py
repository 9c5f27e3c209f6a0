"""Simulated customers who talk to a slot through its recorder, over HTTP, until they are sent home.

They know what they wanted, in their own words; the desks' names they never see or say.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import httpx

from evidence._routing_task import Customers, Message

_AWAY_S, _PAUSE_S, _TIMEOUT_S = 0.5, 0.02, 300.0
_LONGEST_ANSWER = 8


class Crowd:
    """Customers on a thread; `url` of the recorder may change while nobody is served.

    `asked` counts exchanges that were answered, `unserved` requests that found nobody there.
    """

    def __init__(self, messages: Sequence[Message], key: str, slot: str, *, seed: int) -> None:
        self._messages = messages
        self._key, self._slot = key, slot
        self._customers = Customers(seed)
        self._home = threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self.url = ""
        self.asked = self.told = self.unserved = 0
        self.digests: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._home.set()
        self._thread.join(60)

    def _live(self) -> None:
        with httpx.Client(trust_env=False, timeout=_TIMEOUT_S) as client:
            for message in itertools.cycle(self._messages):
                while not self._home.is_set() and not self._served(client, message):
                    self.unserved += 1
                    self._home.wait(_AWAY_S)
                if self._home.is_set():
                    return
                time.sleep(_PAUSE_S)

    def _served(self, client: httpx.Client, message: Message) -> bool:
        """Ask, and say what it was worth; False when there was nobody to ask."""
        url = self.url
        body: dict[str, Any] = {
            "model": self._slot,
            "messages": [{"role": "user", "content": message.text}],
            "max_tokens": _LONGEST_ANSWER,
            "temperature": 0,
        }
        headers = {"Authorization": f"Bearer {self._key}", "x-consent-to-learning": "yes"}
        try:
            answer = client.post(f"{url}/v1/chat/completions", json=body, headers=headers)
            if answer.status_code != 200:
                return False
            said = self._customers.react(message, answer.json()["choices"][0]["message"]["content"])
            interaction = answer.headers.get("x-interaction-id")
            if said and interaction:
                client.post(f"{url}/v1/feedback", json={"id": interaction, **said})
                self.told += 1
        except (httpx.HTTPError, httpx.InvalidURL):
            return False
        self.asked += 1
        digest = answer.headers["x-adapter-digest"]
        if digest not in self.digests:
            self.digests.append(digest)
        return True
