"""A teacher: a model behind an OpenAI-compatible chat endpoint that writes pairs from passages.

Nothing is sent anywhere unless a teacher was named. Each answer is checked to be grounded: all its
content words, and every number, must stand in the passage that it was written from; what isn't
grounded is dropped and counted, never corrected. The pairs of a passage stay with it in the split.

The key comes from the environment (`TENSAFE_TEACHER_KEY`) and goes into one request header: it is
in no message, log or file. Replies are kept in a file of the run, so that a run that goes on asks
nothing twice and learns from the same pairs.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from tensafe.curate.grounding import read_pairs, why_not_grounded
from tensafe.data.passages import pair_example
from tensafe.data.questions import Pair
from tensafe.data.records import Example, Message
from tensafe.errors import TeacherError, UsageError

if TYPE_CHECKING:
    import httpx

KEY_VARIABLE = "TENSAFE_TEACHER_KEY"
UNREADABLE = "teacher's reply without a readable pair"
_ATTEMPTS, _FIRST_WAIT_S, _LONGEST_WAIT_S = 4, 0.5, 30.0
_REPLY_TOKENS = 512
_INSTRUCTION = (
    "You write exam questions with their answers from a passage. Use only what the passage says, "
    "in its own words. Each question must be understandable without the passage. Reply with a "
    'JSON array only: [{{"question": "...", "answer": "..."}}], at most {count} entries.'
)


class TeacherConfig(BaseModel):
    """Which teacher to ask, and how much."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(description="base URL of an OpenAI-compatible API, usually ending in /v1")
    model: str | None = Field(default=None, description="default: the first that the server lists")
    pairs_per_passage: int = Field(default=3, ge=1, le=20)
    timeout_s: float = Field(default=120.0, gt=0, le=3600)

    @field_validator("url")
    @classmethod
    def _plain_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be an http or https URL, such as http://127.0.0.1:8000/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError(f"must hold no key or query; give the key in {KEY_VARIABLE}")
        return value.rstrip("/").removesuffix("/chat/completions")


@dataclass
class Written:
    """What a teacher wrote: grounded pairs, and what was dropped, by reason."""

    examples: list[Example] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=lambda: Counter())
    passages: int = 0
    model: str = ""


class Teacher:
    """Asks one endpoint; use it as a context manager. `replies` is the file that keeps replies."""

    def __init__(self, config: TeacherConfig, replies: Path | None = None) -> None:
        import httpx

        key = os.environ.get(KEY_VARIABLE, "")
        host = urlsplit(config.url).hostname or ""
        if key and config.url.startswith("http:") and not _is_loopback(host):
            raise UsageError(
                f"{KEY_VARIABLE} is set, but {config.url} is not encrypted; use https, or unset it"
            )
        self._config = config
        self._replies = _Replies(replies)
        self._client = httpx.Client(
            base_url=config.url,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=config.timeout_s,
            # A proxy has no business between this machine and itself.
            trust_env=not _is_loopback(host),
        )

    def __enter__(self) -> Teacher:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def write_pairs(
        self, passages: Sequence[Example], on_passage: Callable[[int, int], None] | None = None
    ) -> Written:
        """Grounded pairs from passages of prose; `on_passage(done, total)` follows each.

        Raises:
            TeacherError: the endpoint can't be reached or refuses; finished replies are kept.
        """
        model = self._config.model or self._first_model()
        written = Written(passages=len(passages), model=model)
        for done, passage in enumerate(passages, start=1):
            self._read(written, passage, self._reply(model, passage.reference))
            if on_passage is not None:
                on_passage(done, len(passages))
        return written

    def answer(self, messages: Sequence[Message], *, number: int = 0) -> str:
        """The reply to a chat; `number` tells several replies to one chat apart.

        Raises:
            TeacherError: the endpoint can't be reached or refuses; finished replies are kept.
        """
        model = self._config.model or self._first_model()
        return self._said(
            [dict(turn) for turn in messages],
            kept_as=(model, f"chat {number}", json.dumps([dict(turn) for turn in messages])),
            temperature=0.0 if number == 0 else 0.7,
        )

    def _read(self, written: Written, passage: Example, reply: str) -> None:
        pairs = read_pairs(reply)[: self._config.pairs_per_passage]
        if not pairs:
            written.dropped[UNREADABLE] += 1
        for question, answer in pairs:
            reason = why_not_grounded(question, answer, passage.reference)
            if reason is not None:
                written.dropped[f"teacher's {reason}"] += 1
                continue
            place = f"{passage.place}, written by {written.model}"
            pair = Pair(question, answer, place)
            written.examples.append(pair_example(pair, passage.source, passage.group))

    def _reply(self, model: str, text: str) -> str:
        instruction = _INSTRUCTION.format(count=self._config.pairs_per_passage)
        messages = [
            {"role": "system", "content": instruction},
            {"role": "user", "content": f"Passage:\n{text}"},
        ]
        return self._said(messages, kept_as=(model, instruction, text), temperature=0.0)

    def _said(
        self, messages: list[dict[str, Any]], *, kept_as: tuple[str, str, str], temperature: float
    ) -> str:
        kept = self._replies.get(*kept_as)
        if kept is not None:
            return kept
        request = {
            "model": kept_as[0],
            "messages": messages,
            "temperature": temperature,
            "max_tokens": _REPLY_TOKENS,
        }
        answer = self._ask("POST", "/chat/completions", request)
        try:
            reply = str(answer["choices"][0]["message"]["content"] or "")
        except (KeyError, IndexError, TypeError) as error:
            raise TeacherError(
                f"{self._config.url}: the reply to /chat/completions has no choices[0].message."
                "content; name an OpenAI-compatible chat endpoint with --teacher"
            ) from error
        self._replies.keep(*kept_as, reply)
        return reply

    def _first_model(self) -> str:
        answer = self._ask("GET", "/models", None)
        try:
            return str(answer["data"][0]["id"])
        except (KeyError, IndexError, TypeError) as error:
            raise TeacherError(
                f"{self._config.url}: /models lists none; name one with --teacher-model"
            ) from error

    def _ask(self, method: str, route: str, body: object | None) -> Any:
        """The JSON of a reply; busy and broken connections are tried again, refusals are not."""
        import httpx

        reason = ""
        for attempt in range(_ATTEMPTS):
            try:
                response = self._client.request(method, route, json=body)
            except httpx.HTTPError as error:
                # Only the kind of failure: messages of other libraries may quote headers.
                reason = type(error).__name__
                _wait(attempt, None)
                continue
            if response.status_code == 429 or response.status_code >= 500:
                reason = f"HTTP {response.status_code}"
                _wait(attempt, response)
                continue
            return self._json(route, response)
        raise TeacherError(
            f"{self._config.url}{route}: {reason}, {_ATTEMPTS} times; check that the teacher runs, "
            "then give the same command again: replies so far are kept"
        )

    def _json(self, route: str, response: httpx.Response) -> Any:
        if not response.is_success:
            raise TeacherError(
                f"{self._config.url}{route}: HTTP {response.status_code}; check the URL, the model "
                f"name and {KEY_VARIABLE}"
            )
        try:
            return response.json()
        except ValueError as error:
            raise TeacherError(
                f"{self._config.url}{route}: the reply is not JSON; name an OpenAI-compatible API, "
                "usually a URL that ends in /v1"
            ) from error


class _Replies:
    """Replies by what was asked, appended one JSON line each; a line cut short is asked again."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._known: dict[str, str] = {}
        if path is not None and path.exists():
            for line in path.read_text(encoding="utf-8").split("\n"):
                try:
                    entry = cast("dict[str, str]", json.loads(line))
                    self._known[entry["asked"]] = entry["reply"]
                except (ValueError, KeyError, TypeError):
                    continue

    def get(self, *asked: str) -> str | None:
        return self._known.get(_digest(*asked))

    def keep(self, *asked_and_reply: str) -> None:
        *asked, reply = asked_and_reply
        self._known[_digest(*asked)] = reply
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                # The newline in front ends a line that a kill cut short.
                file.write("\n" + json.dumps({"asked": _digest(*asked), "reply": reply}))


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode("utf-8")).hexdigest()


def _wait(attempt: int, response: httpx.Response | None) -> None:
    if attempt + 1 < _ATTEMPTS:
        named = response.headers.get("Retry-After", "") if response is not None else ""
        seconds = float(named) if named.isdigit() else _FIRST_WAIT_S * 2**attempt
        time.sleep(min(seconds, _LONGEST_WAIT_S))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
