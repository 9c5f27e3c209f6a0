"""Reading live slots, under `/api/v1/engine/slots`.

There is no route that points a slot: that takes the admission of a gate, which only the program
that embeds the engine can give, through `Engine.slots.set`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from fastapi import APIRouter, Response

from tinker_engine.runtime.engine import Engine
from tinker_engine.server.answers import JsonResponse
from tinker_engine.storage.slots import Slot


def slot_routes(engine: Engine) -> APIRouter:
    """Routes that list slots and tell their history."""
    router = APIRouter(prefix="/engine/slots")

    @router.get("")
    def list_slots() -> Response:
        return JsonResponse({"slots": [_slot(engine, slot) for slot in engine.slots.list()]})

    @router.get("/{name}")
    def get_slot(name: str) -> Response:
        return JsonResponse(_slot(engine, engine.slots.get(name)))

    @router.get("/{name}/history")
    def history(name: str) -> Response:
        changes = [dataclasses.asdict(change) for change in engine.slots.history(name)]
        return JsonResponse({"slot": name, "changes": changes})

    return router


def _slot(engine: Engine, slot: Slot) -> dict[str, Any]:
    return {
        **dataclasses.asdict(slot),
        "is_base": slot.is_base,
        "is_set": slot.is_set,
        "is_served": engine.slots.is_served(slot),
    }
