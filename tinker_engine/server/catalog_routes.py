"""What exists: training runs, checkpoints and their facts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from tinker_engine.protocol.metadata import ATTENTION_TARGETS, MLP_TARGETS, UNEMBED_TARGETS
from tinker_engine.protocol.paths import check_run_id, parse_path
from tinker_engine.protocol.requests import WeightsInfoBody
from tinker_engine.runtime.callers import owner_of_new
from tinker_engine.runtime.engine import Engine
from tinker_engine.server.answers import JsonResponse, StrictRoute
from tinker_engine.storage.store import CheckpointRecord, RunRecord

_EXTERNAL_SINCE = (0, 28)
Limit = Annotated[int, Query(ge=1, le=1000)]
Offset = Annotated[int, Query(ge=0, lt=2**63)]


def catalog_routes(engine: Engine) -> APIRouter:
    """Routes that list runs and checkpoints."""
    router = APIRouter(route_class=StrictRoute)

    @router.get("/training_runs")
    def list_runs(limit: Limit = 20, offset: Offset = 0) -> Response:
        page = engine.store.list_runs(limit, offset)
        return JsonResponse(
            {
                "training_runs": [_run_json(engine, run) for run in page.items],
                "cursor": {"offset": offset, "limit": limit, "total_count": page.total},
            }
        )

    @router.get("/training_runs/{run_id}")
    def get_run(run_id: str) -> Response:
        return JsonResponse(_run_json(engine, engine.store.run(check_run_id(run_id))))

    @router.get("/training_runs/{run_id}/checkpoints")
    def list_run_checkpoints(run_id: str, request: Request) -> Response:
        engine.store.run(check_run_id(run_id))
        page = engine.store.list_checkpoints(run_id)
        return JsonResponse({"checkpoints": _checkpoints_json(page.items, request)})

    @router.get("/checkpoints")
    def list_checkpoints(request: Request, limit: Limit = 100, offset: Offset = 0) -> Response:
        page = engine.store.list_checkpoints(limit=limit, offset=offset)
        return JsonResponse(
            {
                "checkpoints": _checkpoints_json(page.items, request),
                "cursor": {"offset": offset, "limit": limit, "total_count": page.total},
            }
        )

    @router.post("/weights_info")
    def weights_info(body: WeightsInfoBody) -> Response:
        path = parse_path(body.tinker_path)
        engine.store.checkpoint(path)
        run = engine.store.run(path.run_id)
        targets = set(run.spec.targets)
        return JsonResponse(
            {
                "base_model": run.base_model,
                "is_lora": True,
                "lora_rank": run.spec.rank,
                "train_attn": bool(targets & set(ATTENTION_TARGETS)),
                "train_mlp": bool(targets & set(MLP_TARGETS)),
                "train_unembed": bool(targets & set(UNEMBED_TARGETS)),
            }
        )

    return router


def _run_json(engine: Engine, run: RunRecord) -> dict[str, Any]:
    checkpoints: list[CheckpointRecord] = engine.store.list_checkpoints(run.id).items
    last = {kind: next((c for c in checkpoints if c.path.kind == kind), None) for kind in _TYPES}
    state, sampler = last["weights"], last["sampler_weights"]
    return {
        "training_run_id": run.id,
        "base_model": run.base_model,
        "model_owner": owner_of_new(),
        "is_lora": True,
        "lora_rank": run.spec.rank,
        "last_request_time": _time(run.last_request_at),
        "last_checkpoint": None if state is None else _checkpoint_json(state),
        "last_sampler_checkpoint": None if sampler is None else _checkpoint_json(sampler),
        "user_metadata": run.user_metadata,
    }


_TYPES = {"weights": "training", "sampler_weights": "sampler", "external_weights": "external"}


def _checkpoints_json(
    records: Sequence[CheckpointRecord], request: Request
) -> list[dict[str, Any]]:
    """Checkpoints as the asking SDK can read them."""
    listed = [_checkpoint_json(record) for record in records]
    if not _knows_external(request):
        # One entry of an unknown type would make the whole list unreadable there. These SDKs call
        # every checkpoint that isn't a training state "sampler".
        for entry in listed:
            if entry["checkpoint_type"] == "external":
                entry["checkpoint_type"] = "sampler"
    return listed


def _knows_external(request: Request) -> bool:
    """Whether the client's SDK has the checkpoint type "external": from 0.28 on; others may."""
    version = request.headers.get("x-stainless-package-version", "")
    major, _, rest = version.partition(".")
    minor = rest.partition(".")[0]
    is_numbered = major.isascii() and major.isdigit() and minor.isascii() and minor.isdigit()
    return not is_numbered or (int(major), int(minor)) >= _EXTERNAL_SINCE


def _checkpoint_json(record: CheckpointRecord) -> dict[str, Any]:
    return {
        "checkpoint_id": record.path.checkpoint_id,
        "checkpoint_type": _TYPES[record.path.kind],
        "time": _time(record.created_at),
        "tinker_path": str(record.path),
        "size_bytes": record.size_bytes,
        "public": record.is_public,
        "user_metadata": record.user_metadata,
        "expires_at": None if record.expires_at is None else _time(record.expires_at),
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
