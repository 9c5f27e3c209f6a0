"""Clients of one live slot: 50 at once, half of them streaming, each answer with what it carried.

`answers` on stdout beforehand: what either adapter says to every prompt (greedy, so always the
same). Under load every line of stdout is one response: when it was sent, when its head arrived,
every digest it named, its text, and the longest wait between two of its pieces.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import httpx

DIGEST = "x-adapter-digest"
PROMPTS = (
    "Tell me about the harbour in winter.",
    "The parcel of Ines with a kettle goes to the station. Which gate?",
    "What would you put into a basket for a long walk?",
    "The parcel of Paul with a mirror goes to the station. Which gate?",
    "Write two sentences about a quiet village.",
    "The parcel of Keiko with a book goes to the station. Which gate?",
    "How does one clean a window?",
    "Who knocks at the door so late?",
)
TOKENS = 24


async def ask(http: httpx.AsyncClient, model: str, prompt: str, *, streams: bool) -> dict[str, Any]:
    """One request; what went wrong stands under `error`."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "temperature": 0,
        "max_tokens": TOKENS,
        "stream": streams,
    }
    told: dict[str, Any] = {"prompt": prompt, "sent": time.time(), "streams": streams}
    try:
        async with http.stream("POST", "/v1/chat/completions", json=body) as answer:
            told["head"] = time.time()
            told["status"] = answer.status_code
            told["digests"] = [answer.headers.get(DIGEST, "")]
            await (_streamed if streams else _whole)(answer, told)
    # Every kind of failure counts, and is shown.
    except Exception as error:
        told["error"] = f"{type(error).__name__}: {error}"[:300]
    told["end"] = time.time()
    return told


async def _whole(answer: httpx.Response, told: dict[str, Any]) -> None:
    value = json.loads(await answer.aread())
    if told["status"] != 200:
        told["error"] = str(value)[:300]
        return
    told["digests"].append(value["system_fingerprint"])
    told["text"] = value["choices"][0]["message"]["content"]


async def _streamed(answer: httpx.Response, told: dict[str, Any]) -> None:
    text, gap, last, is_done = "", 0.0, time.time(), False
    async for line in answer.aiter_lines():
        if not line.startswith("data: "):
            continue
        gap, last = max(gap, time.time() - last), time.time()
        if line == "data: [DONE]":
            is_done = True
            break
        value = json.loads(line[6:])
        told["digests"].append(value["system_fingerprint"])
        text += value["choices"][0]["delta"].get("content") or ""
    told |= {"text": text, "gap": gap}
    if not is_done:
        told["error"] = "the stream ended before its end"


async def load(url: str, key: str, model: str, clients: int, seconds: float) -> None:
    """Keep `clients` requests going at once until the time is over; one line a response."""
    until = time.monotonic() + seconds
    limits = httpx.Limits(max_connections=None)
    headers = {"Authorization": f"Bearer {key}"}

    async def client(http: httpx.AsyncClient, number: int) -> None:
        turn = number
        while time.monotonic() < until:
            prompt = PROMPTS[turn % len(PROMPTS)]
            told = await ask(http, model, prompt, streams=(number + turn) % 2 == 0)
            print(json.dumps(told), flush=True)
            turn += 1
            if "error" in told:
                await asyncio.sleep(0.5)

    async with httpx.AsyncClient(
        base_url=url, headers=headers, limits=limits, timeout=600, trust_env=False
    ) as http:
        await asyncio.gather(*(client(http, number) for number in range(clients)))


def expected(url: str, key: str, model: str) -> dict[str, str]:
    """The answer to every prompt of what the slot points at now."""

    async def all_of_them() -> dict[str, str]:
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(
            base_url=url, headers=headers, timeout=600, trust_env=False
        ) as http:
            told = [await ask(http, model, prompt, streams=False) for prompt in PROMPTS]
        return {one["prompt"]: one["text"] for one in told}

    return asyncio.run(all_of_them())


if __name__ == "__main__":
    where, secret, slot, count, length = sys.argv[1:]
    asyncio.run(load(where, secret, slot, int(count), float(length)))
