"""The OpenAPI document: what FastAPI knows of the routes, with bodies, answers and errors added.

Routes read large bodies and write answers themselves, so their types are stated here, one line a
route; a route without a line is a failed test.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema

from tinker_engine.protocol import answers as wire
from tinker_engine.protocol.openai_requests import ChatBody, CompletionBody
from tinker_engine.protocol.requests import RetrieveFutureBody, RetrieveFuturesBody, SampleBody
from tinker_engine.protocol.results import PROTOBUF
from tinker_engine.protocol.training import ForwardBackwardBody, ForwardBody
from tinker_engine.runtime.records import BaseInfo, PrivacyRecord

JSON, BYTES, TEXT, TAR = (
    "application/json",
    "application/octet-stream",
    "text/plain",
    "application/x-tar",
)
_ANY_OBJECT: dict[str, Any] = {"type": "object"}
_BINARY: dict[str, Any] = {"type": "string", "format": "binary"}
EVENTS = "text/event-stream"
# What a route may answer beside JSON, when the request asks for it.
_BESIDE_JSON: dict[str, dict[str, Any]] = {PROTOBUF: _BINARY, EVENTS: {"type": "string"}}
_REF = "#/components/schemas/{model}"
# What a refusal may be: of the request as it is, of what it names, of its size, of a place or key
# that was used otherwise, of a quota; and the engine may be shutting down.
_REFUSALS = {
    400: "The request can't be served as it is.",
    401: "The API key is missing or unknown.",
    403: "A quota or a privacy budget is used up.",
    404: "What is named does not exist for this key.",
    413: "The body is too large.",
    422: "The same request came before with another payload.",
    429: "Too many tokens in flight; `Retry-After` says when to come again.",
    503: "The engine is shutting down, or its database does not answer.",
}


@dataclass(frozen=True)
class Facts:
    """What a route takes and answers, where FastAPI can't see it.

    `answer` is a model, or a schema; `body` a model, `media` what else the body or answer may be.
    """

    answer: Any
    body: type[BaseModel] | None = None
    media: str = JSON
    status: int = 200
    takes: tuple[str, ...] = ()
    extra: tuple[tuple[int, Any], ...] = ()


_CHECKPOINT = "/api/v1/training_runs/{run_id}/checkpoints/{kind}/{name}"
_FILES = "/api/v1/engine/runs/{run_id}/checkpoints/{kind}/{name}/files"
_LINKS = "/api/v1/links"
ROUTES: dict[tuple[str, str], Facts] = {
    ("get", "/v1/models"): Facts(_ANY_OBJECT),
    ("get", "/v1/models/{name}"): Facts(_ANY_OBJECT),
    ("post", "/v1/completions"): Facts(_ANY_OBJECT, CompletionBody, media=EVENTS),
    ("post", "/v1/chat/completions"): Facts(_ANY_OBJECT, ChatBody, media=EVENTS),
    ("get", "/metrics"): Facts({"type": "string"}, media=TEXT),
    **{
        (method, path if path.startswith("/api/") else f"/api/v1{path}"): facts
        for (method, path), facts in {
            ("get", "/healthz"): Facts(wire.Health),
            ("get", "/get_server_capabilities"): Facts(_ANY_OBJECT),
            ("post", "/client/config"): Facts(_ANY_OBJECT),
            ("post", "/client/dynamic_config"): Facts(_ANY_OBJECT),
            ("post", "/telemetry"): Facts(wire.Accepted, takes=(JSON,)),
            ("post", "/create_session"): Facts(wire.SessionCreated),
            ("post", "/session_heartbeat"): Facts(wire.HeartbeatTaken),
            ("post", "/sessions/{session_id}/finish"): Facts(wire.Nothing),
            ("get", "/sessions"): Facts(wire.SessionList),
            ("get", "/sessions/{session_id}"): Facts(wire.SessionFacts),
            ("post", "/create_model"): Facts(wire.Submitted),
            ("post", "/get_info"): Facts(wire.RunInfo),
            ("post", "/unload_model"): Facts(wire.Submitted),
            ("post", "/forward"): Facts(wire.Submitted, ForwardBody, takes=(PROTOBUF,)),
            ("post", "/forward_backward"): Facts(
                wire.Submitted, ForwardBackwardBody, takes=(PROTOBUF,)
            ),
            ("post", "/optim_step"): Facts(wire.Submitted),
            ("post", "/save_weights"): Facts(wire.Submitted),
            ("post", "/save_weights_for_sampler"): Facts(wire.Submitted),
            ("post", "/save_weights_external"): Facts(wire.Submitted),
            ("post", "/load_weights"): Facts(wire.Submitted),
            ("post", "/retrieve_future"): Facts(
                _ANY_OBJECT,
                RetrieveFutureBody,
                media=PROTOBUF,
                extra=((408, wire.TryAgain), (410, wire.ErrorAnswer)),
            ),
            ("post", "/retrieve_futures"): Facts(wire.Completions, RetrieveFuturesBody),
            ("post", "/cancel_future"): Facts(wire.Nothing),
            ("post", "/create_sampling_session"): Facts(wire.SamplingSessionCreated),
            ("post", "/join_sampling_session"): Facts(wire.SamplingSessionJoined),
            ("get", "/samplers/{sampler_id}"): Facts(wire.SamplerFacts),
            ("post", "/asample"): Facts(wire.SampleSubmitted, SampleBody),
            ("get", "/training_runs"): Facts(wire.RunPage),
            ("get", "/training_runs/{run_id}"): Facts(wire.RunFacts),
            ("get", "/training_runs/{run_id}/checkpoints"): Facts(wire.CheckpointList),
            ("get", "/checkpoints"): Facts(wire.CheckpointPage),
            ("post", "/weights_info"): Facts(wire.WeightsInfo),
            ("post", "/copy_weights"): Facts(wire.Copied),
            ("get", "/engine/capabilities"): Facts(_ANY_OBJECT),
            ("get", "/engine/base"): Facts(BaseInfo),
            ("get", "/engine/base/shape"): Facts(_ANY_OBJECT),
            ("get", "/engine/slots"): Facts(_ANY_OBJECT),
            ("get", "/engine/slots/{name}"): Facts(_ANY_OBJECT),
            ("get", "/engine/slots/{name}/history"): Facts(_ANY_OBJECT),
            ("get", "/engine/status"): Facts(wire.EngineStatus),
            ("get", "/engine/runs/{run_id}/privacy"): Facts(PrivacyRecord),
            ("post", "/engine/adapters"): Facts(wire.UploadedAdapter, takes=(BYTES,)),
            ("get", _FILES): Facts(wire.AdapterFiles),
            ("get", f"{_FILES}/{{file}}"): Facts(_BINARY, media=BYTES),
            ("delete", _CHECKPOINT): Facts(wire.Nothing),
            ("put", f"{_CHECKPOINT}/ttl"): Facts(wire.Nothing),
            ("post", f"{_CHECKPOINT}/publish"): Facts(wire.Nothing),
            ("delete", f"{_CHECKPOINT}/publish"): Facts(wire.Nothing),
            ("get", f"{_CHECKPOINT}/archive"): Facts(wire.Link, status=302),
            ("get", f"{_CHECKPOINT}/external_weights_urls"): Facts(wire.Links),
            ("get", f"{_LINKS}/archives/{{run_id}}/{{kind}}/{{name}}"): Facts(_BINARY, media=TAR),
            ("get", f"{_LINKS}/files/{{run_id}}/{{kind}}/{{name}}/{{file}}"): Facts(
                _BINARY, media=BYTES
            ),
        }.items()
    },
}


def describe(app: FastAPI) -> None:
    """Let the application answer `/openapi.json` with the whole document."""
    kept: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not kept:
            kept.update(_document(app))
        return kept

    app.openapi = openapi


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, routes=app.routes)
    components: dict[str, Any] = document.setdefault("components", {})
    schemas: dict[str, Any] = components.setdefault("schemas", {})
    components["securitySchemes"] = {
        "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        "bearer": {"type": "http", "scheme": "bearer"},
    }
    document["security"] = [{"key": []}, {"bearer": []}]
    _add_models(schemas)
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            facts = ROUTES.get((method, path))
            if facts is not None:
                _complete(operation, path, facts)
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    return document


def _complete(operation: dict[str, Any], path: str, facts: Facts) -> None:
    content: dict[str, Any] = {}
    if facts.body is not None:
        content[JSON] = {"schema": _schema(facts.body)}
    content |= {
        media: {"schema": _ANY_OBJECT if media == JSON else _BINARY} for media in facts.takes
    }
    if content:
        operation["requestBody"] = {"required": facts.body is not None, "content": content}
    beside = _BESIDE_JSON.get(facts.media)
    answers = {facts.media if beside is None else JSON: {"schema": _schema(facts.answer)}}
    if beside is not None:
        answers[facts.media] = {"schema": beside}
    refusals = dict(_REFUSALS)
    if "requestBody" not in operation:
        for status in (413, 422, 429):
            del refusals[status]
    if path == "/api/v1/healthz":
        operation["security"] = []
        refusals = {}
    # OpenAI's clients expect their own layout.
    is_ours = path.startswith("/api/") or path == "/metrics"
    error = {JSON: {"schema": _schema(wire.ErrorAnswer if is_ours else _ANY_OBJECT)}}
    operation["responses"] = {
        str(facts.status): {"description": "Done.", "content": answers},
        **{str(s): {"description": told, "content": error} for s, told in refusals.items()},
        **{
            str(s): {"description": "Not now.", "content": {JSON: {"schema": _schema(model)}}}
            for s, model in facts.extra
        },
    }


def _schema(model: Any) -> dict[str, Any]:
    return model if isinstance(model, dict) else {"$ref": _REF.format(model=model.__name__)}


def _add_models(schemas: dict[str, Any]) -> None:
    models: set[type[BaseModel]] = {wire.ErrorAnswer}
    for facts in ROUTES.values():
        for model in (facts.answer, facts.body, *(extra for _, extra in facts.extra)):
            if isinstance(model, type) and issubclass(model, BaseModel):
                models.add(model)
    pairs: list[tuple[type[BaseModel], Literal["validation"]]] = [
        (model, "validation") for model in sorted(models, key=lambda m: m.__name__)
    ]
    _, found = models_json_schema(pairs, ref_template=_REF)
    schemas |= found["$defs"]
    for record in (BaseInfo, PrivacyRecord):
        schemas[record.__name__] = TypeAdapter(record).json_schema(ref_template=_REF)
