"""Runs: creating them, the training requests, saving and loading."""

from __future__ import annotations

import json
import secrets
import uuid

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from tinker_engine.errors import RequestError
from tinker_engine.protocol.metadata import LoraFlags, parse_run_spec
from tinker_engine.protocol.paths import CheckpointPath, check_name, check_run_id, parse_path
from tinker_engine.protocol.requests import (
    CreateModelBody,
    LoadWeightsBody,
    LoraConfigBody,
    ModelBody,
    OptimizerConfigBody,
    OptimStepBody,
    SaveExternalBody,
    SaveForSamplerBody,
    SaveWeightsBody,
)
from tinker_engine.protocol.results import PROTOBUF
from tinker_engine.protocol.training import read_json_call, read_proto_call
from tinker_engine.runtime.engine import Engine
from tinker_engine.runtime.names import findable_name
from tinker_engine.runtime.records import AdamParams, RunSpec
from tinker_engine.runtime.submissions import NewRun, Submission
from tinker_engine.server.answers import (
    JsonResponse,
    StrictRoute,
    payload_digest,
    read_body,
    retry_key,
)
from tinker_engine.storage.sealing import check_recipients

MIN_TTL_S, MAX_TTL_S = 3600, 10 * 366 * 24 * 3600
_DEFAULT_RANK = 32


def training_routes(engine: Engine) -> APIRouter:
    """Routes that concern training runs."""
    router = APIRouter(route_class=StrictRoute)

    @router.post("/create_model")
    def create_model(body: CreateModelBody) -> Response:
        engine.touch_session(body.session_id)
        engine.base.check(body.base_model)
        _check_optimizer(body.optimizer_config)
        lora = body.lora_config or LoraConfigBody(rank=_DEFAULT_RANK)
        flags = LoraFlags(
            rank=lora.rank,
            seed=secrets.randbits(31) if lora.seed is None else lora.seed,
            train_mlp=lora.train_mlp,
            train_attn=lora.train_attn,
            train_unembed=lora.train_unembed,
        )
        new = NewRun(
            session_id=body.session_id,
            model_seq_id=body.model_seq_id,
            base_model=body.base_model,
            digest=payload_digest("create_model", body),
            user_metadata=body.user_metadata,
            spec=parse_run_spec(flags, body.user_metadata),
        )
        return _submitted(engine.runs.create(new), new.run_id)

    @router.post("/get_info")
    def get_info(body: ModelBody) -> Response:
        spec = engine.runs.spec(check_run_id(body.model_id))
        base = engine.base_info
        return JsonResponse(
            {
                "type": "get_info",
                "model_id": body.model_id,
                "model_name": base.name,
                "is_lora": True,
                "lora_rank": spec.rank,
                # The tokenizer's folder, so that the SDK finds it without asking a hub.
                "model_data": {
                    "arch": base.architecture,
                    "model_name": findable_name(base),
                    "tokenizer_id": base.path,
                },
            }
        )

    @router.post("/unload_model")
    def unload_model(body: ModelBody, request: Request) -> Response:
        where = _where(body, "unload_model", request)
        return _submitted(engine.runs.unload(where), body.model_id)

    @router.post("/forward")
    async def forward(request: Request) -> Response:
        return await _forward(engine, request, forward_only=True)

    @router.post("/forward_backward")
    async def forward_backward(request: Request) -> Response:
        return await _forward(engine, request, forward_only=False)

    @router.post("/optim_step")
    def optim_step(body: OptimStepBody, request: Request) -> Response:
        where = _where(body, "optim_step", request)
        with _Place(engine, where):
            params = _adam(body)
        return _submitted(engine.runs.optim_step(where, params), body.model_id)

    @router.post("/save_weights")
    def save_weights(body: SaveWeightsBody, request: Request) -> Response:
        where = _where(body, "save_weights", request)
        with _Place(engine, where):
            name = body.path or f"step-{uuid.uuid4().hex[:12]}"
            path = CheckpointPath(where.run_id, "weights", check_name(name))
            ttl_s = check_ttl(body.ttl_seconds)
        request_id = engine.runs.save(
            where,
            path,
            overwrite=body.overwrite,
            user_metadata=body.user_metadata,
            ttl_s=ttl_s,
        )
        return _submitted(request_id, body.model_id)

    @router.post("/save_weights_for_sampler")
    def save_weights_for_sampler(body: SaveForSamplerBody, request: Request) -> Response:
        # A retry counts the sampling session up, although it is the same request.
        where = _where(body, "sampler", request, without=frozenset({"sampling_session_seq_id"}))
        with _Place(engine, where):
            if body.kind != "snapshot":
                raise RequestError("kind 'inflight' is not served yet; use kind='snapshot'")
            ttl_s = check_ttl(body.ttl_seconds)
            name = None if body.path is None else check_name(body.path)
        if name is None:
            return _submitted(_snapshot(engine, where, body), body.model_id)
        request_id = engine.runs.save(
            where,
            CheckpointPath(where.run_id, "sampler_weights", name),
            overwrite=False,
            user_metadata=body.user_metadata,
            ttl_s=ttl_s,
        )
        return _submitted(request_id, body.model_id)

    @router.post("/save_weights_external")
    def save_weights_external(body: SaveExternalBody, request: Request) -> Response:
        where = _where(body, "save_weights_external", request)
        with _Place(engine, where):
            recipients = tuple(body.age_encryption_recipients or ())
            check_recipients(recipients)
            path = CheckpointPath(where.run_id, "external_weights", check_name(body.path))
            ttl_s = check_ttl(body.ttl_seconds)
        request_id = engine.runs.save(
            where,
            path,
            overwrite=False,
            user_metadata=None,
            ttl_s=ttl_s,
            recipients=recipients,
        )
        return _submitted(request_id, body.model_id)

    @router.post("/load_weights")
    def load_weights(body: LoadWeightsBody, request: Request) -> Response:
        if body.optimizer_config is not None:
            _check_optimizer(body.optimizer_config)
        path = parse_path(body.path)
        if body.model_id is not None:
            where = Submission(
                check_run_id(body.model_id),
                body.seq_id,
                payload_digest("load_weights", body),
                retry_key(request),
            )
            return _submitted(
                engine.runs.load(where, path, with_optimizer=body.optimizer), body.model_id
            )
        if body.session_id is None or body.model_seq_id is None:
            raise RequestError("give model_id, or session_id and model_seq_id for a new run")
        engine.touch_session(body.session_id)
        if body.base_model is not None:
            engine.base.check(body.base_model)
        new = NewRun(
            session_id=body.session_id,
            model_seq_id=body.model_seq_id,
            base_model=body.base_model or engine.base_info.name,
            digest=payload_digest("load_weights", body),
            user_metadata=body.user_metadata,
            spec=_spec_of_upload(engine, path, body) if path.is_upload else None,
            parent=path,
            with_optimizer=body.optimizer,
        )
        return _submitted(engine.runs.create(new), new.run_id)

    return router


def _spec_of_upload(engine: Engine, path: CheckpointPath, body: LoadWeightsBody) -> RunSpec:
    """What a run from an uploaded adapter is made of: its shape, and the policy asked for here."""
    if body.optimizer:
        raise RequestError(
            f"{path} is an uploaded adapter and has no optimizer state; use "
            "create_training_client_from_state"
        )
    shape = engine.store.run(path.run_id).spec
    flags = LoraFlags(shape.rank, 0, train_mlp=True, train_attn=True, train_unembed=False)
    its_own = {"lora_alpha": repr(shape.alpha), "target_modules": json.dumps(list(shape.targets))}
    return parse_run_spec(flags, its_own | dict(body.user_metadata or {}))


def check_ttl(ttl_seconds: int | None) -> int | None:
    """Give a time to live back if it is allowed, else raise RequestError."""
    if ttl_seconds is not None and not MIN_TTL_S <= ttl_seconds <= MAX_TTL_S:
        raise RequestError(
            f"ttl_seconds is {ttl_seconds}; expected {MIN_TTL_S} (an hour) to {MAX_TTL_S}"
        )
    return ttl_seconds


class _Place:
    """Checks that fail inside use up the request's place, so that later requests can go on."""

    def __init__(self, engine: Engine, where: Submission) -> None:
        self._engine, self._where = engine, where

    def __enter__(self) -> None:
        return

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, RequestError):
            self._engine.runs.reject(self._where, error)


def _where(
    body: ModelBody | OptimStepBody | SaveWeightsBody | SaveForSamplerBody | SaveExternalBody,
    kind: str,
    request: Request,
    *,
    without: frozenset[str] = frozenset(),
) -> Submission:
    return Submission(
        run_id=check_run_id(body.model_id),
        seq_id=None if isinstance(body, ModelBody) else body.seq_id,
        digest=payload_digest(kind, body, without=without),
        retry_key=retry_key(request),
    )


async def _forward(engine: Engine, request: Request, *, forward_only: bool) -> Response:
    body = await read_body(request, engine.config.max_body_bytes)
    is_proto = PROTOBUF in request.headers.get("content-type", "")
    key = retry_key(request)

    def work() -> Response:
        read = read_proto_call if is_proto else read_json_call
        call = read(body, forward_only=forward_only)
        where = Submission(check_run_id(call.model_id), call.seq_id, call.digest, key)
        return _submitted(engine.runs.forward(where, call), call.model_id)

    # Decoding a large batch takes milliseconds, which other requests need not wait for.
    return await run_in_threadpool(work)


def _snapshot(engine: Engine, where: Submission, body: SaveForSamplerBody) -> str:
    session_id = engine.runs.live(where.run_id).session_id
    number = body.sampling_session_seq_id
    tag = uuid.uuid4().hex[:12] if number is None else str(number)
    sampler_id = f"{session_id}:sample:{tag}"
    return engine.runs.snapshot(where, session_id, sampler_id)


def _adam(body: OptimStepBody) -> AdamParams:
    if body.optimizer_params is not None:
        family = body.optimizer_params.get("type")
        raise RequestError(f"optimizer {family!r} is not offered by this server; use AdamParams")
    if body.adam_params is None:
        raise RequestError("adam_params is missing")
    return AdamParams(**body.adam_params.model_dump())


def _check_optimizer(config: OptimizerConfigBody) -> None:
    if config.type != "adamw":
        raise RequestError(f"optimizer {config.type!r} is not offered by this server; use adamw")


def _submitted(request_id: str, model_id: str) -> Response:
    return JsonResponse({"request_id": request_id, "model_id": model_id})
