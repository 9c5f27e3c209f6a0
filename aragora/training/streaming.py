"""An answer in pieces, each given out before the next one is computed.

The SDK has no streaming. This engine's servers stream under `/v1`, token by token; of other servers
a few tokens are sampled at a time, each piece behind the ones before.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from aragora.errors import TrainingError
from tinker_engine.recipes.chat_format import ChatMessage

if TYPE_CHECKING:
    from aragora.agents.served_model import ServedModel

_CONNECT_S, _SILENCE_S = 10.0, 300.0


async def stream_answer(
    served: ServedModel,
    path: str | None,
    messages: Sequence[ChatMessage],
    *,
    temperature: float,
    max_tokens: int,
    seed: int,
) -> AsyncIterator[str]:
    """Pieces of one answer; `path` is a `tinker://` path, None for the bare base.

    Raises TrainingError when the server refuses or breaks off.
    """
    pieces = (
        _streamed(served, path, messages, temperature, max_tokens, seed)
        if served.connection.capabilities()
        else served.sample_pieces(
            path,
            served.prompt_tokens(messages),
            seed=seed,
            temperature=temperature,
            max_tokens=max_tokens,
        )
    )
    async for piece in pieces:
        yield piece


async def _streamed(
    served: ServedModel,
    path: str | None,
    messages: Sequence[ChatMessage],
    temperature: float,
    max_tokens: int,
    seed: int,
) -> AsyncIterator[str]:
    import httpx

    connection = served.connection
    body = {
        "model": path or served.name,
        "messages": [dict(message) for message in served.disarmed(messages)],
        "temperature": temperature,
        "max_tokens": max_tokens,
        "seed": seed,
        "stream": True,
    }
    timeout = httpx.Timeout(_SILENCE_S, connect=_CONNECT_S)
    try:
        async with (
            httpx.AsyncClient(timeout=timeout, trust_env=False) as client,
            client.stream(
                "POST",
                f"{connection.base_url}/v1/chat/completions",
                headers={"Authorization": f"Bearer {connection.api_key}"},
                json=body,
            ) as answer,
        ):
            if not answer.is_success:
                await answer.aread()
                raise TrainingError(f"{connection.base_url} refused to sample: {answer.text[:500]}")
            async for line in answer.aiter_lines():
                piece = _piece(line)
                if piece:
                    yield piece
    except httpx.HTTPError as error:
        raise TrainingError(f"{connection.base_url} broke off while sampling: {error}") from error


def _piece(line: str) -> str:
    """The text in one line of a stream of server-sent events."""
    if not line.startswith("data:") or line == "data: [DONE]":
        return ""
    event: dict[str, Any] = json.loads(line.removeprefix("data:"))
    if "error" in event:
        raise TrainingError(f"sampling failed: {event['error'].get('message', event['error'])}")
    return "".join(choice["delta"].get("content") or "" for choice in event["choices"])
