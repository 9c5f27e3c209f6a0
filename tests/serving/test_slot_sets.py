"""A set of adapters behind one slot: one member answers each request, and says that it did."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import openai
import pytest
from serving_samples import ANSWER, QUESTION

from tinker_engine.errors import CheckpointError, NotFoundError, RequestError
from tinker_engine.runtime.adapter_shelf import identify, read_set
from tinker_engine.runtime.engine import Engine
from tinker_engine.runtime.slots import Admission

Make = Callable[[float], Path]


def document_of(*folders: Path, more: str = "") -> bytes:
    rows = [{"digest": f.digest, "config_digest": f.config_digest} for f in map(identify, folders)]
    return json.dumps({"members": rows, "more": more}).encode()


def admission_of(document: bytes) -> Admission:
    digest = read_set(document).digest
    return Admission("0" * 64, digest, digest, "test gate", time.time())


def by_word(document: bytes, asked: str) -> str:
    """The first member for the repair shop, the second for what is marked so, else the base."""
    members = read_set(document).members
    if "repair" in asked:
        return members[0].digest
    return members[1].digest if "second" in asked else "base"


def ask(client: openai.OpenAI, model: str, text: str) -> tuple[str, str]:
    raw = client.chat.completions.with_raw_response.create(
        model=model, messages=[{"role": "user", "content": text}], temperature=0, max_tokens=200
    )
    answer = raw.parse()
    assert answer.system_fingerprint == raw.headers["x-adapter-digest"]
    return raw.headers["x-adapter-digest"], answer.choices[0].message.content or ""


def test_each_request_is_answered_by_its_member(
    engine: Engine, client: openai.OpenAI, adapter: Path, other_adapter: Make
) -> None:
    engine.slots.use_router(by_word)
    folders = [adapter, other_adapter(0.71)]
    document = document_of(*folders)
    slot = engine.slots.set_group(
        "many", document, folders, expected=None, admission=admission_of(document)
    )
    assert slot.is_set
    first, second = (identify(folder).digest for folder in folders)
    assert ask(client, "many", QUESTION) == (first, ANSWER)
    assert ask(client, "many", "the second one, please")[0] == second
    assert ask(client, "many", "hm")[0] == engine.base_info.digest
    assert client.completions.create(
        model="many", prompt="second", max_tokens=1
    ).system_fingerprint == second  # fmt: skip
    # The slot's own name stands for the set, in the list and in its history.
    card = client.models.retrieve("many").model_dump()
    assert card["digest"] == slot.digest == engine.slots.history("many")[-1].digest
    assert first != slot.digest != second


def test_members_stay_while_a_slot_may_go_back_to_them_and_go_afterwards(
    engine: Engine, client: openai.OpenAI, adapter: Path, other_adapter: Make
) -> None:
    engine.slots.use_router(by_word)
    folders = [other_adapter(0.61), other_adapter(0.81)]
    document = document_of(*folders)
    made = engine.slots.set_group(
        "passing", document, folders, expected=None, admission=admission_of(document)
    )
    held = engine.slots.pin("passing", "repair")
    base = engine.base_info.digest
    at = engine.slots.set(
        "passing", None, expected=made.digest,
        admission=Admission("1" * 64, base, None, "test gate", time.time()),
    )  # fmt: skip
    shelf = engine.config.home / "adapters"
    members = [identify(folder).digest for folder in folders]
    assert all((shelf / digest).is_dir() for digest in (made.digest, *members))
    identity = identify(adapter)
    engine.slots.set(
        "passing", adapter, expected=at.digest,
        admission=Admission("1" * 64, identity.digest, identity.config_digest, "g", time.time()),
    )  # fmt: skip
    assert not (shelf / made.digest).exists()
    assert not (shelf / members[1]).exists()
    # A request that began on a member keeps it until its end.
    assert (shelf / members[0]).is_dir()
    engine.slots.release(held)
    assert not (shelf / members[0]).exists()


def test_what_is_no_set_of_these_adapters_is_refused(
    engine: Engine, adapter: Path, other_adapter: Make
) -> None:
    engine.slots.use_router(by_word)
    other = other_adapter(0.91)
    document = document_of(adapter, other)
    with pytest.raises(CheckpointError, match="other adapters"):
        engine.slots.set_group(
            "odd", document, [other, adapter], expected=None, admission=admission_of(document)
        )
    for bad in (b"{}", b"[", b'{"members": []}', document_of(adapter, adapter)):
        with pytest.raises(CheckpointError):
            read_set(bad)
    with pytest.raises(NotFoundError):
        engine.slots.get("odd")


def test_a_router_that_names_a_stranger_gets_an_error_and_no_answer(
    engine: Engine, client: openai.OpenAI, adapter: Path, other_adapter: Make
) -> None:
    engine.slots.use_router(lambda document, asked: "f" * 64)
    folders = [adapter, other_adapter(0.55)]
    document = document_of(*folders)
    engine.slots.set_group(
        "stray", document, folders, expected=None, admission=admission_of(document)
    )
    with pytest.raises(openai.APIStatusError):
        ask(client, "stray", "hm")


def test_an_engine_without_a_router_takes_no_sets(
    engine: Engine, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.slots, "_router", None)
    document = document_of(adapter)
    with pytest.raises(RequestError, match="no router"):
        engine.slots.set_group(
            "none", document, [adapter], expected=None, admission=admission_of(document)
        )


def test_damage_of_a_member_is_seen(engine: Engine, adapter: Path, other_adapter: Make) -> None:
    engine.slots.use_router(by_word)
    folders = [adapter, other_adapter(0.45)]
    document = document_of(*folders)
    slot = engine.slots.set_group(
        "harmed", document, folders, expected=None, admission=admission_of(document)
    )
    engine.slots.verify(slot)
    weights = engine.config.home / "adapters" / identify(folders[1]).digest
    file = weights / "adapter_model.safetensors"
    kept = file.read_bytes()
    file.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="digest"):
        engine.slots.verify(slot)
    file.write_bytes(kept)
