"""`/v1`: models, completions and chat completions, as OpenAI's clients call them.

Every answer names the digest of the weights that gave it, in the header `x-adapter-digest` and as
`system_fingerprint`; for the bare base it is the base's digest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from tinker_engine.protocol.openai_requests import ChatBody, CompletionBody
from tinker_engine.runtime.engine import Engine
from tinker_engine.runtime.generation import Generation
from tinker_engine.runtime.served_models import ServedModel
from tinker_engine.server.answers import JsonResponse, parse
from tinker_engine.server.openai_answers import Layout, model_json
from tinker_engine.server.openai_prompts import Question, chat_question, completion_question
from tinker_engine.server.openai_writer import AnswerWriter, EventResponse, event_stream

DIGEST_HEADER = "x-adapter-digest"
# A stream that has nothing to say sends a comment this often, so that nobody hangs up.
_QUIET_S = 10.0

T = TypeVar("T")
Body = ChatBody | CompletionBody


def openai_routes(engine: Engine) -> APIRouter:
    """Routes under `/v1`."""
    router = APIRouter()
    limit = engine.config.max_body_bytes

    @router.get("/models")
    def list_models() -> Response:
        cards = engine.models.cards()
        return JsonResponse({"object": "list", "data": [model_json(card) for card in cards]})

    @router.get("/models/{name:path}")
    def get_model(name: str) -> Response:
        return JsonResponse(model_json(engine.models.card(name)))

    @router.post("/completions")
    async def completions(request: Request) -> Response:
        body = await parse(request, CompletionBody, limit)
        return await _answer(
            engine, request, body, lambda: completion_question(body, engine.text, engine.base_info)
        )

    @router.post("/chat/completions")
    async def chat_completions(request: Request) -> Response:
        body = await parse(request, ChatBody, limit)
        return await _answer(
            engine, request, body, lambda: chat_question(body, engine.text, engine.base_info)
        )

    return router


async def _answer(
    engine: Engine, request: Request, body: Body, ask: Callable[[], Question]
) -> Response:
    question = await run_in_threadpool(ask)
    model = await run_in_threadpool(engine.models.use, body.model, body.asked_text)
    generation = _begin(engine, model, question, is_stream=bool(body.stream))
    layout = Layout(body, model, engine.text.vocabulary)
    headers = {DIGEST_HEADER: model.digest}
    try:
        writer = AnswerWriter(layout, question, engine.text)
        if not body.stream:
            results = await _while_wanted(request, generation.results())
            whole = await run_in_threadpool(writer.whole, results)
            generation.close()
            return JsonResponse(whole, headers=headers)
        # What fails before the first token is still answered with its own status.
        rest = generation.tokens(_QUIET_S)
        first = await _while_wanted(request, _next(rest))
        return EventResponse(event_stream(writer, first, rest), headers, generation.close)
    except BaseException:
        generation.close()
        raise


def _begin(
    engine: Engine, model: ServedModel, question: Question, *, is_stream: bool
) -> Generation:
    try:
        return Generation(
            engine.futures,
            engine.queue,
            model,
            question.requests,
            engine.usage,
            wants_tokens=is_stream,
        )
    except BaseException:
        model.release()
        raise


async def _next(bunches: Any) -> list[Any]:
    return await anext(bunches, [])


async def _while_wanted(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Wait for something as long as the client does; raises ClientDisconnect when it has gone."""
    task = asyncio.ensure_future(work)
    # The body has been read, so all that can still arrive is that the client hung up.
    gone = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait([task, gone], return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        for unfinished in (task, gone):
            unfinished.cancel()
        await asyncio.wait([gone])
