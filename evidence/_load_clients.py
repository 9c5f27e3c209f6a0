"""The load: sampling clients in one process, and training runs that go on until they are told."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from typing import Any

import httpx

from evidence._wire_belongings import forward_backward

_POLL_S = 40.0
_PROMPT_TOKENS, _NEW_TOKENS = 16, 16


async def _call(http: httpx.AsyncClient, route: str, body: dict[str, Any]) -> httpx.Response:
    return await http.post(f"/api/v1{route}", json=body, timeout=_POLL_S)


async def _result(http: httpx.AsyncClient, request_id: str) -> dict[str, Any]:
    while True:
        answer = await _call(http, "/retrieve_future", {"request_id": request_id})
        if answer.status_code != 408:
            return answer.raise_for_status().json()


async def _sample(http: httpx.AsyncClient, sampler_id: str, number: int) -> None:
    rng = random.Random(number)
    tokens = [rng.randrange(4, 2000) for _ in range(_PROMPT_TOKENS)]
    body = {
        "sampling_session_id": sampler_id,
        "seq_id": number,
        "prompt": {"chunks": [{"type": "encoded_text", "tokens": tokens}]},
        "sampling_params": {"max_tokens": _NEW_TOKENS, "temperature": 1.0, "stop": []},
    }
    submitted = (await _call(http, "/asample", body)).raise_for_status().json()
    answer = await _result(http, submitted["request_id"])
    if len(answer["sequences"][0]["tokens"]) != _NEW_TOKENS:
        raise ValueError(f"asked for {_NEW_TOKENS} tokens: {answer}")


async def _client(
    http: httpx.AsyncClient, sampler_id: str, first: int, until: float, told: dict[str, Any]
) -> None:
    number = first
    while time.monotonic() < until:
        number += 1
        started_at = time.monotonic()
        try:
            await _sample(http, sampler_id, number)
        # Every kind of failure counts, and is shown.
        except Exception as error:
            told["errors"].append(f"{type(error).__name__}: {error}"[:300])
            await asyncio.sleep(1)
        else:
            told["seconds"].append(time.monotonic() - started_at)


async def _sampler(http: httpx.AsyncClient, number: int, path: str | None) -> str:
    """A sampling session of its own, of a checkpoint or of the bare base."""
    session = (await _call(http, "/create_session", {"tags": []})).raise_for_status().json()
    body: dict[str, Any] = {"session_id": session["session_id"], "sampling_session_seq_id": number}
    body |= {"model_path": path} if path else {"base_model": "nano"}
    created = await _call(http, "/create_sampling_session", body)
    return created.raise_for_status().json()["sampling_session_id"]


async def sample(
    base_url: str, key: str, clients: int, programs: int, seconds: float
) -> dict[str, Any]:
    """Let `clients` sample at once, spread over `programs` sampling sessions."""
    told: dict[str, Any] = {"errors": [], "seconds": []}
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(
        base_url=base_url, headers={"X-API-Key": key}, limits=limits, trust_env=False
    ) as http:
        listed = (await http.get("/api/v1/checkpoints")).raise_for_status().json()["checkpoints"]
        paths = [c["tinker_path"] for c in listed if c["checkpoint_type"] == "sampler"]
        choices = [None, *paths]
        samplers = [await _sampler(http, i, choices[i % len(choices)]) for i in range(programs)]
        until = time.monotonic() + seconds
        await asyncio.gather(
            *(
                _client(http, samplers[i % programs], i * 1_000_000, until, told)
                for i in range(clients)
            )
        )
    return told


async def train(base_url: str, key: str, seconds: float) -> dict[str, Any]:
    """Train one run, a step after the other, on eight examples each."""
    told: dict[str, Any] = {"errors": [], "losses": []}
    async with httpx.AsyncClient(
        base_url=base_url, headers={"X-API-Key": key}, trust_env=False
    ) as http:
        session = (await _call(http, "/create_session", {"tags": []})).json()["session_id"]
        new = {"session_id": session, "model_seq_id": 0, "base_model": "nano"}
        lora = {"lora_config": {"rank": 8, "train_unembed": False}}
        created = (await _call(http, "/create_model", {**new, **lora})).raise_for_status().json()
        run_id = (await _result(http, created["request_id"]))["model_id"]
        until, seq_id = time.monotonic() + seconds, 0
        while time.monotonic() < until:
            try:
                seq_id += 1
                body = forward_backward(run_id, seq_id)
                data = body["forward_backward_input"]["data"]
                body["forward_backward_input"]["data"] = data * 8
                loss = (await _call(http, "/forward_backward", body)).raise_for_status().json()
                seq_id += 1
                adam = {"model_id": run_id, "seq_id": seq_id, "adam_params": {}}
                step = (await _call(http, "/optim_step", adam)).raise_for_status().json()
                metrics = (await _result(http, loss["request_id"]))["metrics"]
                await _result(http, step["request_id"])
                told["losses"].append(metrics["loss:sum"])
            except Exception as error:
                told["errors"].append(f"{type(error).__name__}: {error}"[:300])
                break
    return told


def main() -> None:
    """`sample` or `train`, with address, key, seconds (and clients, programs); JSON on stdout."""
    kind, base_url, key, seconds, *counts = sys.argv[1:]
    if kind == "train":
        told = asyncio.run(train(base_url, key, float(seconds)))
    else:
        clients, programs = (int(count) for count in counts)
        told = asyncio.run(sample(base_url, key, clients, programs, float(seconds)))
    print(json.dumps(told))


if __name__ == "__main__":
    main()
