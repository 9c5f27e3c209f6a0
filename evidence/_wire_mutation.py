"""Real request bodies, broken in every way that bytes and JSON values can be."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any

import zstandard

from evidence._wire_belongings import TOKENS, Belongings, forward_backward, sample

JSON, PROTOBUF = "application/json", "application/x-protobuf"
# JSON that says what numbers, texts and shapes should not be.
_ODD: tuple[Any, ...] = (
    None, True, -1, 0, 2**31, 2**63, 2**70, -(2**64), 1e308, 0.5, "", "\x00", "ä" * 300, "../..",
    [], {}, [[]], [None], {"a": {}}, [1e300, -1e300], "tinker://", "NaN",
)  # fmt: skip
_RAW = (b"\xff\xfe", b"\x00" * 9, b"NaN", b"1e999", b'"\\ud800"', b"[" * 2000, b'{"a":' * 500)


@dataclass(frozen=True)
class Body:
    """A request that would be served as it is."""

    route: str
    content: bytes
    media: str


def real_bodies(things: Belongings) -> list[Body]:
    """One body for each route that reads one, protobuf where SDKs send protobuf."""
    run, session = things.run_id, things.session_id
    forward = forward_backward(run, None)
    bodies: dict[str, dict[str, Any]] = {
        "/asample": sample(things.sampler_id, 3),
        "/create_session": {"tags": ["a"], "user_metadata": {"a": "b"}, "sdk_version": "1"},
        "/session_heartbeat": {"session_id": session},
        "/create_model": {
            "session_id": session,
            "model_seq_id": 3,
            "base_model": "nano",
            "lora_config": {"rank": 2, "seed": 1},
            "user_metadata": {"lora_alpha": "8"},
        },
        "/get_info": {"model_id": run},
        "/forward_backward": forward,
        "/forward": {**forward, "forward_input": forward["forward_backward_input"]},
        "/optim_step": {"model_id": run, "adam_params": {"learning_rate": 1e-4, "beta1": 0.9}},
        "/save_weights": {"model_id": run, "path": "other", "ttl_seconds": 3600},
        "/save_weights_for_sampler": {"model_id": run, "sampling_session_seq_id": 4},
        "/save_weights_external": {"model_id": run, "path": "out", "ttl_seconds": 3600},
        "/load_weights": {"model_id": run, "path": things.state_path, "optimizer": True},
        "/copy_weights": {"source_path": things.state_path, "destination_project_id": "p"},
        "/weights_info": {"tinker_path": things.state_path},
        "/create_sampling_session": {
            "session_id": session,
            "sampling_session_seq_id": 5,
            "model_path": things.sampler_path,
        },
        "/join_sampling_session": {"sampling_session_id": things.sampler_id},
        "/retrieve_future": {"request_id": things.request_id},
        "/retrieve_futures": {
            "target": {"sampling_session_id": things.sampler_id, "cloned_sampler_id": 0},
            "timeout": 0,
            "retrieved_request_ids": [],
        },
        "/cancel_future": {"request_id": things.sample_id},
        "/client/config": {"sdk_version": "1"},
        f"/sessions/{'0' * 32}/finish": {"reason": {"type": "success"}},
    }
    made = [Body(route, json.dumps(body).encode(), JSON) for route, body in bodies.items()]
    return [*made, *(Body(f"/{r}", _proto(run), PROTOBUF) for r in ("forward", "forward_backward"))]


def _proto(run_id: str) -> bytes:
    import numpy as np
    from tinker.proto import tinker_public_pb2 as public_pb

    message: Any = public_pb.ForwardBackwardRequest()
    message.model_id, message.loss_fn = run_id, "cross_entropy"
    datum = message.data.add()
    datum.model_input.add().encoded_text.tokens = np.asarray(TOKENS[:-1], np.int32).tobytes()
    for name, dtype, values in (
        ("target_tokens", public_pb.DTYPE_INT64, np.asarray(TOKENS[1:], np.int64)),
        ("weights", public_pb.DTYPE_FLOAT32, np.ones(len(TOKENS) - 1, np.float32)),
    ):
        tensor = datum.loss_fn_inputs[name]
        tensor.dtype, tensor.dense = dtype, values.tobytes()
        tensor.shape.append(len(values))
    return message.SerializeToString()


@dataclass(frozen=True)
class Broken:
    """A request that may be anything."""

    route: str
    content: bytes
    headers: dict[str, str]


def broken(body: Body, rng: random.Random) -> Broken:
    """A body with one to four things wrong, and sometimes headers that lie about it."""
    content = body.content
    if body.media == JSON and rng.random() < 0.6:
        content = _odd_json(content, rng)
    else:
        for _ in range(rng.randint(1, 4)):
            content = _odd_bytes(content, rng)
    headers = {"Content-Type": body.media}
    if rng.random() < 0.1:
        headers["Content-Type"] = rng.choice([PROTOBUF, JSON, "text/plain", ""])
    if rng.random() < 0.2:
        content, headers["Content-Encoding"] = _compressed(content, rng)
    return Broken(body.route, content, headers)


def _odd_json(content: bytes, rng: random.Random) -> bytes:
    document: Any = json.loads(content)
    places = [place for place in _places(document) if place[-1] != "timeout"]
    for _ in range(rng.randint(1, 3)):
        place = rng.choice(places)
        parent: Any = document
        for step in place[:-1]:
            parent = parent[step] if _has(parent, step) else None
        if not _has(parent, place[-1]):
            continue
        if rng.random() < 0.2 and isinstance(parent, dict):
            del parent[place[-1]]
        else:
            parent[place[-1]] = rng.choice(_ODD)
    return json.dumps(document).encode()


def _has(parent: Any, step: Any) -> bool:
    if isinstance(parent, dict):
        return step in parent
    return isinstance(parent, list) and isinstance(step, int) and step < len(parent)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        items: list[tuple[Any, Any]] = list(value.items())
    else:
        items = list(enumerate(value)) if isinstance(value, list) else []
    found: list[tuple[Any, ...]] = []
    for step, child in items:
        found += [(*path, step), *_places(child, (*path, step))]
    return found


def _odd_bytes(content: bytes, rng: random.Random) -> bytes:
    if not content:
        return rng.choice(_RAW)
    start = rng.randrange(len(content))
    end = min(len(content), start + rng.randint(1, 16))
    match rng.randrange(6):
        case 0:
            flipped = content[start] ^ (1 << rng.randrange(8))
            return content[:start] + bytes([flipped]) + content[start + 1 :]
        case 1:
            return content[:start]
        case 2:
            return content[:start] + content[end:]
        case 3:
            return content[:end] + content[start:end] * rng.randint(1, 50) + content[end:]
        case 4:
            return content[:start] + rng.randbytes(rng.randint(1, 12)) + content[end:]
        case _:
            return content[:start] + rng.choice(_RAW) + content[start:]


def _compressed(content: bytes, rng: random.Random) -> tuple[bytes, str]:
    match rng.randrange(5):
        case 0:
            return content, "zstd"
        case 1:
            return content, rng.choice(["gzip", "br", "zstd, zstd", "x" * 40])
        case 2:
            # 200 MB of nothing in a few kilobytes.
            return zstandard.compress(b"\x00" * 200_000_000, 1), "zstd"
        case 3:
            return _odd_bytes(zstandard.compress(content), rng), "zstd"
        case _:
            return zstandard.compress(content), "zstd"
