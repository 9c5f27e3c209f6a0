"""A proxy before an engine's `/v1`: passes everything on as it is, and stores what it may.

An exchange is stored when the operator switched recording on, the client consented (or the
operator has consent by other means), the draw says so, and it was answered by the watched model.
Its answer then carries `x-interaction-id`, with which the client can say later what it was worth:

    POST /v1/feedback {"id": "…", "thumbs": "down", "correction": "no, it is about my card"}

The id is a secret of its client: who knows it may rate that exchange, and nothing else. Nothing
that goes wrong while storing touches the answer.
"""

from __future__ import annotations

import json
import logging
import random
import secrets
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, StreamingResponse

from tensafe.errors import UsageError
from tensafe.improve.interactions import Interaction, feedback_of, read_interaction
from tensafe.improve.loop_config import RecordingConfig
from tensafe.improve.traffic import TooMuchFeedbackError, TrafficStore

if TYPE_CHECKING:
    import httpx

_log = logging.getLogger(__name__)
CONSENT_HEADER, ID_HEADER = "x-consent-to-learning", "x-interaction-id"
DIGEST_HEADER = "x-adapter-digest"
_MOST_RECORDED_BYTES, _MOST_FEEDBACK_BYTES = 1 << 20, 64 << 10
_TIMEOUT_S = 600.0
_OK = 200
# Of one connection, not of the message; and what describes a body that is written anew here.
_NOT_PASSED = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
        "upgrade", "host", "transfer-encoding", "content-length", "content-encoding",
        "accept-encoding",
    }
)  # fmt: skip


class Recorder:
    """What is stored of one model's traffic. `model` is the name that requests give it."""

    def __init__(self, store: TrafficStore, config: RecordingConfig, model: str) -> None:
        self.store = store
        self.config = config
        self.model = model

    def wants(self, body: Mapping[str, Any], consents: bool) -> bool:
        """Whether this request's exchange is to be stored."""
        config = self.config
        is_allowed = config.consent == "all" or (config.consent == "header" and consents)
        if (
            not is_allowed
            or body.get("model") != self.model
            or len(self.store) >= config.max_stored
        ):
            return False
        return random.SystemRandom().random() < config.sample_rate

    def keep(self, key: str, body: Mapping[str, Any], answer: str, digest: str) -> None:
        """Store an exchange; what is no plain chat is left out."""
        record = {"id": key, "messages": body.get("messages"), "response": answer}
        try:
            one = read_interaction(record)
            self.store.record(Interaction(key, one.messages, one.feedback, digest))
        except (ValueError, OSError) as error:
            _log.warning("an exchange was not stored: %s", error)


def recording_app(upstream: str, recorder: Recorder) -> FastAPI:
    """The proxy in front of `upstream`, an engine's address without `/v1`.

    Bodies are as large as this machine's engine takes them (`max_body_bytes`) at most.
    """
    import httpx

    from tinker_engine.config import EngineConfig
    from tinker_engine.errors import RequestError
    from tinker_engine.server.answers import read_body

    app, largest = FastAPI(openapi_url=None), EngineConfig().max_body_bytes
    client = httpx.AsyncClient(base_url=upstream, timeout=_TIMEOUT_S, trust_env=False)

    @app.post("/v1/feedback")
    async def feedback(request: Request) -> Response:
        body = await read_body(request, _MOST_FEEDBACK_BYTES)
        try:
            record: Any = json.loads(body)
            if not isinstance(record, dict):
                raise ValueError("a JSON object was expected")
            key = str(cast("dict[str, object]", record).get("id") or "")
            given = feedback_of(cast("dict[str, Any]", record))
            await run_in_threadpool(recorder.store.add_feedback, key, given)
        except TooMuchFeedbackError as error:
            return _error(429, str(error))
        except UsageError as error:
            return _error(404, str(error))
        except ValueError as error:
            return _error(400, str(error))
        return JSONResponse({"id": key, "stored": True})

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        content = await read_body(request, largest)
        body = _object(content)
        consents = request.headers.get(CONSENT_HEADER, "").strip().lower() == "yes"
        key = secrets.token_urlsafe(16) if recorder.wants(body, consents) else ""
        return await _passed_on(client, request, content, _Keeper(recorder, key, body))

    @app.api_route("/{path:path}", methods=["GET", "POST", "PUT", "DELETE"])
    async def others(request: Request, path: str) -> Response:
        del path
        return await _passed_on(client, request, await read_body(request, largest), None)

    @app.exception_handler(RequestError)
    async def refused(request: Request, error: Exception) -> Response:
        del request
        return _error(error.status if isinstance(error, RequestError) else 400, str(error))

    return app


class _Keeper:
    """Collects one answer as it passes, and stores it at its end."""

    def __init__(self, recorder: Recorder, key: str, body: Mapping[str, Any]) -> None:
        self.key = key
        self._recorder, self._body = recorder, body
        self._seen = bytearray()
        self._is_whole = True

    def see(self, chunk: bytes) -> None:
        if self.key and len(self._seen) + len(chunk) <= _MOST_RECORDED_BYTES:
            self._seen += chunk
        else:
            self._is_whole = False

    async def end(self, status: int, digest: str) -> None:
        if not self.key or status != _OK or not self._is_whole:
            return
        text = answer_text(bytes(self._seen), is_stream=bool(self._body.get("stream")))
        if text:
            await run_in_threadpool(self._recorder.keep, self.key, self._body, text, digest)


async def _passed_on(
    client: httpx.AsyncClient, request: Request, content: bytes, keeper: _Keeper | None
) -> Response:
    import httpx

    url = httpx.URL(path=request.url.path, query=request.url.query.encode("ascii"))
    asked = client.build_request(
        request.method, url, headers=_kept(request.headers), content=content
    )
    asked.headers["accept-encoding"] = "identity"
    try:
        answer = await client.send(asked, stream=True)
    except httpx.HTTPError as error:
        return _error(502, f"the engine does not answer ({type(error).__name__})")
    headers = _kept(answer.headers)
    if keeper is not None and keeper.key and answer.status_code == _OK:
        headers[ID_HEADER] = keeper.key

    async def chunks() -> AsyncIterator[bytes]:
        try:
            async for chunk in answer.aiter_raw():
                if keeper is not None:
                    keeper.see(chunk)
                yield chunk
        finally:
            await answer.aclose()
        if keeper is not None:
            await keeper.end(answer.status_code, answer.headers.get(DIGEST_HEADER, ""))

    if "text/event-stream" in answer.headers.get("content-type", ""):
        return StreamingResponse(chunks(), answer.status_code, headers)
    # Stored before it is answered, so that feedback can't come before its exchange.
    whole = b"".join([chunk async for chunk in chunks()])
    return Response(whole, answer.status_code, headers)


def answer_text(content: bytes, *, is_stream: bool) -> str:
    """The first choice's text of a chat completion, whole or as a stream's events; "" if none."""
    try:
        if not is_stream:
            return str(json.loads(content)["choices"][0]["message"]["content"] or "")
        parts: list[str] = []
        for line in content.decode("utf-8").split("\n"):
            data = line.removeprefix("data:").strip()
            if not line.startswith("data:") or data == "[DONE]":
                continue
            for choice in json.loads(data).get("choices", []):
                if choice.get("index", 0) == 0:
                    parts.append(choice.get("delta", {}).get("content") or "")
        return "".join(parts)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return ""


def _object(content: bytes) -> dict[str, Any]:
    try:
        value: object = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _NOT_PASSED}


def _error(status: int, message: str) -> Response:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return JSONResponse({"error": error}, status_code=status)
