"""Live slots: only an admission moves them, atomically, and every answer says who gave it."""

from __future__ import annotations

import dataclasses
import math
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from serving_samples import ANSWER, QUESTION, admission_for, openai_client

from tinker_engine.config import EngineConfig
from tinker_engine.connect import Connection, open_engine
from tinker_engine.errors import (
    AdmissionError,
    CheckpointError,
    NotFoundError,
    RequestError,
    SlotConflictError,
)
from tinker_engine.models.adapter_files import read_adapter, write_adapter
from tinker_engine.runtime.adapter_shelf import identify
from tinker_engine.runtime.engine import Engine
from tinker_engine.runtime.slots import Admission

MESSAGES: Any = [{"role": "user", "content": QUESTION}]
Make = Callable[[float], Path]


def ask(client: openai.OpenAI, model: str, **more: Any) -> tuple[str, str]:
    """The digest that answered, and the greedy answer."""
    raw = client.chat.completions.with_raw_response.create(
        model=model, messages=MESSAGES, temperature=0, **more
    )
    answer = raw.parse()
    assert answer.system_fingerprint == raw.headers["x-adapter-digest"]
    return raw.headers["x-adapter-digest"], answer.choices[0].message.content or ""


def put(engine: Engine, name: str, folder: Path, expected: str | None) -> str:
    return engine.slots.set(name, folder, expected=expected, admission=admission_for(folder)).digest


def base_admission(engine: Engine) -> Admission:
    return Admission("1" * 64, engine.base_info.digest, None, "test gate", time.time())


def test_a_slot_serves_what_was_admitted_and_remembers(
    engine: Engine, client: openai.OpenAI, adapter: Path, other_adapter: Make
) -> None:
    first = put(engine, "memory", adapter, None)
    assert ask(client, "memory") == (first, ANSWER)
    weaker = other_adapter(0.01)
    second = put(engine, "memory", weaker, first)
    digest, text = ask(client, "memory")
    assert digest == second != first
    assert text != ANSWER
    assert engine.slots.adapter_folder(engine.slots.get("memory"), first).is_dir()
    to_base = engine.slots.set("memory", None, expected=second, admission=base_admission(engine))
    assert to_base.is_base
    assert ask(client, "memory", max_tokens=5) == ask(client, "nano", max_tokens=5)
    changes = engine.slots.history("memory")
    assert [(c.previous_digest, c.digest) for c in changes] == [
        (None, first),
        (first, second),
        (second, engine.base_info.digest),
    ]
    assert {c.decided_by for c in changes} == {"test gate"}
    assert "memory" in {model.id for model in client.models.list()}
    card: Any = client.models.retrieve("memory")
    assert (card.kind, card.digest) == ("slot", engine.base_info.digest)


@pytest.mark.parametrize(
    "change",
    [
        {"adapter_digest": "a" * 64},
        {"config_digest": "a" * 64},
        {"config_digest": None},
        {"gate_report_digest": "none"},
        {"decided_by": " "},
        {"decided_at": math.nan},
        {"decided_at": 0.0},
        {"decided_at": time.time() + 1e6},
    ],
)
def test_without_a_fitting_admission_nothing_moves(
    engine: Engine, adapter: Path, change: dict[str, Any]
) -> None:
    admission = dataclasses.replace(admission_for(adapter), **change)
    with pytest.raises(AdmissionError):
        engine.slots.set("refused", adapter, expected=None, admission=admission)
    with pytest.raises(NotFoundError):
        engine.slots.get("refused")
    # Not even something that looks like one will do, nor the adapter's for the base.
    for false in (None, vars(admission), admission_for(adapter)):
        with pytest.raises(AdmissionError):
            engine.slots.set("refused", None, expected=None, admission=false)  # type: ignore[arg-type]


def test_the_configuration_belongs_to_the_adapter(
    engine: Engine, adapter: Path, tmp_path: Path
) -> None:
    digest = put(engine, "scaled", adapter, None)
    louder = tmp_path / "louder"
    shutil.copytree(adapter, louder)
    config = (louder / "adapter_config.json").read_text("utf-8")
    (louder / "adapter_config.json").write_text(
        config.replace('"lora_alpha": 32', '"lora_alpha": 3200'), "utf-8"
    )
    assert identify(louder).digest == digest
    # What a gate said of the one is not said of the other ...
    with pytest.raises(AdmissionError):
        engine.slots.set("scaled", louder, expected=digest, admission=admission_for(adapter))
    # ... and one digest never stands for both.
    with pytest.raises(CheckpointError, match="adapter_config"):
        put(engine, "scaled", louder, digest)


def test_a_slot_moves_only_from_where_it_is_expected(
    engine: Engine, adapter: Path, other_adapter: Make
) -> None:
    first = put(engine, "contested", adapter, None)
    with pytest.raises(SlotConflictError, match="not at nothing"):
        put(engine, "contested", adapter, None)
    rivals = [other_adapter(scale) for scale in (0.3, 0.4, 0.5, 0.6)]
    outcomes: list[str | None] = []

    def compete(folder: Path) -> None:
        try:
            outcomes.append(put(engine, "contested", folder, first))
        except SlotConflictError:
            outcomes.append(None)

    threads = [threading.Thread(target=compete, args=(folder,)) for folder in rivals]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [digest for digest in outcomes if digest]
    assert len(outcomes) == 4
    assert winners == [engine.slots.get("contested").digest]
    assert len(engine.slots.history("contested")) == 2
    # The losers' files are gone again.
    kept = {path.name for path in (engine.config.home / "adapters").iterdir()}
    assert not kept & ({identify(folder).digest for folder in rivals} - set(winners))


def test_a_running_request_ends_on_the_digest_it_began_with(
    engine: Engine, client: openai.OpenAI, adapter: Path, other_adapter: Make
) -> None:
    folders = [adapter, other_adapter(0.7), other_adapter(0.8), other_adapter(0.9)]
    digests = [identify(folder).digest for folder in folders]
    put(engine, "moving", folders[0], None)
    stream = client.chat.completions.create(
        model="moving", messages=MESSAGES, temperature=0, stream=True
    )
    chunks = iter(stream)
    seen = [next(chunks) for _ in range(3)]
    for place in (1, 2, 3):
        put(engine, "moving", folders[place], digests[place - 1])
    shelf = engine.config.home / "adapters"
    assert (shelf / digests[0]).is_dir() or digests[0] in {
        slot.digest for slot in engine.slots.list()
    }
    assert ask(client, "moving", max_tokens=4)[0] == digests[3]
    seen.extend(chunks)
    assert {chunk.system_fingerprint for chunk in seen} == {digests[0]}
    assert "".join(c.choices[0].delta.content or "" for c in seen) == ANSWER
    # Two changes back and nobody uses it any more: its files go.
    deadline = time.monotonic() + 10
    while (shelf / digests[1]).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not (shelf / digests[1]).exists()
    assert (shelf / digests[2]).is_dir()


def test_unfit_adapters_and_bad_names_change_nothing(
    engine: Engine, adapter: Path, tmp_path: Path
) -> None:
    files = read_adapter(adapter)
    unfit = tmp_path / "unfit"
    write_adapter(
        unfit, files.config, {name: (a[:, :-1], b) for name, (a, b) in files.factors.items()}
    )
    with pytest.raises(CheckpointError):
        put(engine, "unfit", unfit, None)
    assert not (engine.config.home / "adapters" / identify(unfit).digest).exists()
    with pytest.raises(CheckpointError, match="not a PEFT adapter folder"):
        engine.slots.set("unfit", tmp_path, expected=None, admission=admission_for(adapter))
    for name in ("nano", "a/b", "", "tinker://x", "-x", "x" * 65):
        with pytest.raises(RequestError):
            put(engine, name, adapter, None)
    assert "unfit" not in {slot.name for slot in engine.slots.list()}


def test_over_http_slots_can_only_be_read(
    engine: Engine, connection: Connection, adapter: Path
) -> None:
    digest = put(engine, "readable", adapter, None)
    route = f"{connection.base_url}/api/v1/engine/slots"
    with httpx.Client(headers={"X-API-Key": connection.api_key}, trust_env=False) as raw:
        listed = raw.get(route).json()["slots"]
        assert digest in {slot["digest"] for slot in listed if slot["name"] == "readable"}
        one = raw.get(f"{route}/readable").json()
        assert (one["digest"], one["is_base"], one["is_served"]) == (digest, False, True)
        history = raw.get(f"{route}/readable/history").json()["changes"]
        assert [change["digest"] for change in history] == [digest]
        assert history[0]["gate_report_digest"] == "0" * 64
        assert raw.get(f"{route}/nobody").status_code == 404
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            for path in (route, f"{route}/readable", f"{route}/readable/history"):
                assert raw.request(method, path, json={}).status_code in (404, 405)
    assert httpx.get(route, trust_env=False).status_code == 401


def test_after_a_restart_a_slot_serves_what_it_served(
    adapter: Path, other_adapter: Make, tmp_path: Path
) -> None:
    config = EngineConfig(home=tmp_path / "home", threads=1)
    with open_engine("embedded", config=config) as first:
        assert first.host is not None
        before = put(first.host.engine, "lasting", adapter, None)
        after = put(first.host.engine, "lasting", other_adapter(0.9), before)
        answered = ask(openai_client(first), "lasting", max_tokens=12)
    with open_engine("embedded", config=config) as second:
        assert second.host is not None
        engine = second.host.engine
        client = openai_client(second)
        assert ask(client, "lasting", max_tokens=12) == answered
        assert answered[0] == after
        assert [c.digest for c in engine.slots.history("lasting")] == [before, after]
        # Rolling back takes the files that the slot kept.
        kept = engine.slots.adapter_folder(engine.slots.get("lasting"), before)
        put(engine, "lasting", kept, after)
        assert ask(client, "lasting")[1] == ANSWER
    # A damaged adapter is an error, and never the base instead.
    weights = config.home / "adapters" / before / "adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with (
        open_engine("embedded", config=config) as third,
        pytest.raises(openai.APIStatusError, match="has digest"),
    ):
        ask(openai_client(third), "lasting")
