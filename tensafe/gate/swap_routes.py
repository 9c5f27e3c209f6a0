"""The control API of a host of slots, on an address and with a key of its own.

Keys that may ask the models open nothing here. Every route hands its input to the desk, which
examines it: no route moves a slot. Refusals are `{"error": {"kind", "message"}}`, where the kind is
the name of the error in `tensafe.errors`.
"""

from __future__ import annotations

import hmac
import tempfile
from pathlib import Path
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Receive, Scope, Send

from tensafe.data.records import Example, Message
from tensafe.errors import (
    DataError,
    GateRefusedError,
    TensafeError,
    UsageError,
    VerificationError,
)
from tensafe.gate.approval import MAX_BYTES as MAX_APPROVAL_BYTES
from tensafe.gate.audit_log import verify_log
from tensafe.gate.incident import read_incident
from tensafe.gate.swap_desk import SwapDesk
from tensafe.gate.swap_records import Otherwise, SwapKind, SwapPolicy

HEALTH = "/healthz"
_MAX_JSON = 64 * 1024 * 1024
_LONGEST_WAIT_S = 30.0
B = TypeVar("B", bound=BaseModel)
_STATUS: tuple[tuple[type[TensafeError], int], ...] = (
    (UsageError, 400),
    (DataError, 400),
    (GateRefusedError, 409),
    (VerificationError, 403),
)


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class HeldOutRow(_Body):
    """One held-out example."""

    messages: list[dict[str, str]]
    source: str = ""
    place: str = ""


class SlotBody(_Body):
    """How a slot is judged; null keeps what an existing slot has."""

    held_out: list[HeldOutRow]
    safety_prompts: list[str] | None = None
    policy: SwapPolicy | None = None
    by: str


class SwapBody(_Body):
    """A request for a change; packages are digests that were uploaded before."""

    slot: str
    packages: list[str]
    kind: SwapKind = "linear"
    otherwise: Otherwise = "first"
    by: str
    reason: str = ""


class RollbackBody(_Body):
    """A request to undo a slot's last swap."""

    by: str
    reason: str = ""


class ScoreBody(_Body):
    """How good one live answer was."""

    digest: str
    score: float


def control_app(desk: SwapDesk, key: str) -> FastAPI:
    """The application that whoever holds `key` controls the desk with."""
    app = FastAPI(title="tensafe control", docs_url=None, redoc_url=None, openapi_url=None)

    @app.exception_handler(TensafeError)
    def refuse(request: Request, error: TensafeError) -> JSONResponse:
        status = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
        return _refusal(type(error).__name__, str(error), status)

    @app.exception_handler(Exception)
    def fail(request: Request, error: Exception) -> JSONResponse:
        from tinker_engine.errors import EngineError

        kind = "EngineError" if isinstance(error, EngineError) else "TensafeError"
        return _refusal(kind, f"{type(error).__name__}: {error}", 500)

    @app.get(HEALTH)
    def health() -> dict[str, str]:
        return {"status": "ok"}

    _slot_routes(app, desk)
    _swap_routes(app, desk)
    _record_routes(app, desk)
    app.add_middleware(_KeyGuard, key=key)
    return app


def _slot_routes(app: FastAPI, desk: SwapDesk) -> None:
    @app.get("/v1/slots")
    def slots() -> dict[str, Any]:
        return {"slots": desk.slots()}

    @app.get("/v1/slots/{name}")
    def slot(name: str) -> dict[str, Any]:
        return {**desk.slot(name), "live": vars(desk.live_quality(name))}

    @app.put("/v1/slots/{name}")
    async def set_up(name: str, request: Request) -> Any:
        body = await _parsed(request, SlotBody)

        def create() -> Any:
            return desk.create_slot(
                name,
                held_out=[_example(row, place) for place, row in enumerate(body.held_out, 1)],
                safety_prompts=body.safety_prompts,
                policy=body.policy,
                by=body.by,
            )

        return (await run_in_threadpool(create)).model_dump(mode="json")

    @app.post("/v1/slots/{name}/rollback")
    async def roll_back(name: str, request: Request) -> Any:
        body = await _parsed(request, RollbackBody)
        record = await run_in_threadpool(
            lambda: desk.roll_back(name, by=body.by, reason=body.reason)
        )
        return record.model_dump(mode="json")

    @app.post("/v1/slots/{name}/scores")
    async def score(name: str, request: Request) -> Any:
        body = await _parsed(request, ScoreBody)
        return vars(await run_in_threadpool(lambda: desk.score(name, body.digest, body.score)))


def _swap_routes(app: FastAPI, desk: SwapDesk) -> None:
    @app.put("/v1/packages")
    async def upload(request: Request) -> dict[str, str]:
        with tempfile.TemporaryDirectory(dir=desk.store.home) as scratch:
            path = Path(scratch) / "upload.tgsp"
            size, limit = 0, SwapPolicy().load.max_payload_bytes
            with path.open("wb") as file:
                async for chunk in request.stream():
                    size += len(chunk)
                    if size > limit:
                        raise DataError(f"the package is larger than {limit} bytes")
                    file.write(chunk)
            return {"digest": await run_in_threadpool(desk.store.add_package, path)}

    @app.post("/v1/swaps")
    async def ask(request: Request) -> JSONResponse:
        body = await _parsed(request, SwapBody)

        def enter() -> Any:
            return desk.request(
                body.slot, body.packages, kind=body.kind, otherwise=body.otherwise,
                by=body.by, reason=body.reason,
            )  # fmt: skip

        record = await run_in_threadpool(enter)
        return JSONResponse(record.model_dump(mode="json"), 202)

    @app.get("/v1/swaps")
    def swaps(slot: str | None = None) -> dict[str, Any]:
        return {"swaps": [record.model_dump(mode="json") for record in desk.swaps(slot)]}

    @app.get("/v1/swaps/{swap_id}")
    def status(swap_id: str, wait_s: float = 0.0) -> Any:
        record = (
            desk.wait(swap_id, min(wait_s, _LONGEST_WAIT_S)) if wait_s > 0 else desk.status(swap_id)
        )
        return record.model_dump(mode="json")

    @app.post("/v1/swaps/{swap_id}/decision")
    async def decide(swap_id: str, request: Request) -> Any:
        document = await _body(request, MAX_APPROVAL_BYTES)
        record = await run_in_threadpool(desk.decide, swap_id, document)
        return record.model_dump(mode="json")

    @app.post("/v1/swaps/{swap_id}/reproduce")
    def reproduce(swap_id: str) -> dict[str, Any]:
        return desk.reproduce(swap_id)


def _record_routes(app: FastAPI, desk: SwapDesk) -> None:
    @app.get("/v1/incidents")
    def incidents() -> dict[str, Any]:
        found = [read_incident(desk.store, name) for name in desk.store.incidents()]
        return {"incidents": [incident.model_dump(mode="json") for incident in found]}

    @app.get("/v1/incidents/{incident_id}")
    def incident(incident_id: str) -> Any:
        return read_incident(desk.store, incident_id).model_dump(mode="json")

    @app.get("/v1/incidents/{incident_id}/page")
    def page(incident_id: str) -> HTMLResponse:
        from tensafe.gate.incident_page import render_incident

        return HTMLResponse(render_incident(read_incident(desk.store, incident_id)))

    @app.get("/v1/audit")
    def audit() -> dict[str, Any]:
        check = verify_log(desk.store.home)
        entries = [vars(entry) for entry in desk.store.audit.entries()]
        return {"entries": entries, "head": check.head, "faults": list(check.faults)}


class _KeyGuard:
    """ASGI middleware: the control key, in `Authorization: Bearer`, or 401."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._expected = f"Bearer {key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it before its body is read."""
        if scope["type"] != "http":
            raise RuntimeError(f"the control API speaks HTTP alone, not {scope['type']}")
        if scope["path"] != HEALTH:
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(given, self._expected):
                message = "the control key is missing or wrong; it stands in control.json"
                await _refusal("UsageError", message, 401)(scope, receive, send)
                return
        await self._app(scope, receive, send)


async def _parsed(request: Request, layout: type[B]) -> B:
    data = await _body(request, _MAX_JSON)
    try:
        return layout.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{place or 'body'}: {first['msg']}") from error


async def _body(request: Request, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise UsageError(f"the body is larger than {limit} bytes")
        parts.append(chunk)
    return b"".join(parts)


def _example(row: HeldOutRow, place: int) -> Example:
    try:
        messages = tuple(
            Message(role=turn["role"], content=turn["content"])  # pyright: ignore[reportArgumentType]
            for turn in row.messages
        )
    except KeyError as error:
        raise UsageError(f"held-out example {place}: a message has no {error}") from error
    if len(messages) < 2 or messages[-1]["role"] != "assistant":
        raise UsageError(f"held-out example {place}: expected a question and, last, its answer")
    kind = "chat" if len(messages) > 2 else "qa"
    return Example(messages, row.source, row.place or str(place), f"held-out:{place}", kind)


def _refusal(kind: str, message: str, status: int) -> JSONResponse:
    return JSONResponse({"error": {"kind": kind, "message": message}}, status)
