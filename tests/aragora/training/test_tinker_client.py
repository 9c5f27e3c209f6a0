"""The client on the embedded engine: train, sample, stream, keep, go on, delete."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aragora.agents.api_agents import TinkerAgent
from aragora.errors import AdapterRefusedError, TrainingDataError, TrainingError, UsageError
from aragora.training import (
    JobStatus,
    ModelRegistry,
    TinkerClient,
    TinkerModel,
    TrainingProgress,
    TrainingResult,
    TrainingScheduler,
)
from aragora.training.streaming import stream_answer

ROWS = [{"prompt": f"Say {n}.", "completion": f"It is {n}."} for n in range(24)]
EXPLAIN = "Explain what a cell is, and what it is made of."
PAIRS = [
    {"prompt": f"Say {n}.", "chosen": f"It is {n}.", "rejected": "I don't know."} for n in range(8)
]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> ModelRegistry:
    return ModelRegistry(tmp_path_factory.mktemp("models") / "models.json")


@pytest.fixture(scope="module")
def trained(
    registry: ModelRegistry, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TrainingResult, list[TrainingProgress]]:
    """An SFT and then a DPO on it, in two steps each."""
    steps: list[TrainingProgress] = []

    async def train() -> TrainingResult:
        async with TinkerClient(engine="embedded", registry=registry) as client:
            result = await client.train_combined(
                ROWS,
                PAIRS,
                model=TinkerModel.NANO,
                adapter_name="aragora-v1",
                epochs=1,
                learning_rate=1e-3,
                batch_size=2,
                gradient_accumulation_steps=4,
                on_progress=steps.append,
                folder=tmp_path_factory.mktemp("run"),
            )
            # What the thread has told arrives in the event loop's next turns.
            await asyncio.sleep(0)
            return result

    return asyncio.run(train()), steps


async def opened(registry: ModelRegistry) -> TinkerClient:
    return await TinkerClient(engine="embedded", registry=registry).__aenter__()


def test_a_combined_training_tells_its_steps_and_registers_one_model(
    registry: ModelRegistry, trained: tuple[TrainingResult, list[TrainingProgress]]
) -> None:
    result, steps = trained
    assert (result.model_id, result.base_model, result.lora_rank) == ("aragora-v1", "nano", 16)
    assert [(s.stage, s.step, s.total) for s in steps] == [
        ("sft", 1, 3),
        ("sft", 2, 3),
        ("sft", 3, 3),
        ("dpo", 1, 1),
    ]
    assert steps[-1].loss == pytest.approx(0.6931, abs=1e-3)
    known = registry.get("aragora-v1")
    assert known.checkpoint == result.checkpoint
    assert known.training_type == "combined"
    assert len(known.adapter_digest) == 64
    assert not known.is_evaluated


def test_streaming_gives_the_answer_in_pieces_before_it_is_over(
    registry: ModelRegistry, trained: tuple[TrainingResult, list[TrainingProgress]]
) -> None:
    result, _ = trained

    async def ask() -> tuple[str, list[str], list[str]]:
        client = await opened(registry)
        told = {"model_id": result.model_id, "temperature": 0.0, "max_tokens": 24}
        whole = await client.sample(EXPLAIN, **told)
        pieces = [piece async for piece in client.sample_stream(EXPLAIN, **told)]
        served = client._served("nano")
        # Servers without /v1 are asked piece by piece.
        served.connection._capabilities = {}
        try:
            messages = [{"role": "user", "content": EXPLAIN}]
            slow = [
                piece
                async for piece in stream_answer(
                    served, result.checkpoint, messages, temperature=0.0, max_tokens=24, seed=0
                )
            ]
        finally:
            served.connection._capabilities = None
        return whole, pieces, slow

    whole, pieces, slow = asyncio.run(ask())
    assert whole
    assert "".join(pieces).strip() == "".join(slow).strip() == whole
    assert len(pieces) > 3


def test_a_saved_model_comes_back_from_its_folder(
    registry: ModelRegistry,
    trained: tuple[TrainingResult, list[TrainingProgress]],
    tmp_path: Path,
) -> None:
    result, _ = trained
    folder = tmp_path / "my-model"

    async def keep() -> tuple[str, str, str, str, str]:
        client = await opened(registry)
        path = await client.save_checkpoint(result.model_id, folder)
        known = await client.load_checkpoint(path)
        elsewhere = ModelRegistry(tmp_path / "other.json")
        other = await opened(elsewhere)
        restored = await other.load_checkpoint(folder)
        one = await client.sample("Say 5.", result.model_id, temperature=0.0, max_tokens=8)
        two = await other.sample("Say 5.", restored, temperature=0.0, max_tokens=8)
        config = json.loads((folder / "adapter_config.json").read_text())
        changed = json.dumps({**config, "lora_alpha": 1000})
        (folder / "adapter_config.json").write_text(changed)
        with pytest.raises(TrainingError, match="alpha 1000"):
            await other.sample("Say 5.", restored)
        (folder / "adapter_model.safetensors").write_bytes(b"other")
        with pytest.raises(TrainingError, match="no longer holds"):
            await other.sample("Say 5.", restored)
        return path, known, restored, one, two

    path, known, restored, one, two = asyncio.run(keep())
    assert path.startswith("tinker://")
    assert known == restored == "aragora-v1"
    assert one == two
    state = json.loads((folder / "training_state.json").read_text())
    assert state["training_checkpoint"] == result.training_checkpoint
    assert (folder / "adapter_config.json").is_file()


def test_training_goes_on_from_a_parent_of_its_rank(
    registry: ModelRegistry, trained: tuple[TrainingResult, list[TrainingProgress]]
) -> None:
    result, _ = trained

    async def go_on() -> TrainingResult:
        client = await opened(registry)
        with pytest.raises(UsageError, match="rank 16"):
            await client.train_sft(ROWS[:4], lora_rank=8, parent_model_id=result.model_id)
        return await client.train_dpo(
            PAIRS[:4], adapter_name="child", parent_model_id=result.model_id
        )

    child = asyncio.run(go_on())
    assert [m.model_id for m in registry.lineage(child.model_id)] == ["child-v1", "aragora-v1"]
    agent = TinkerAgent(
        "ann", model_id=child.model_id, find_model=lambda m: registry.get(m).checkpoint
    )
    assert agent.identity().adapter == "child-v1"


def test_an_agent_speaks_with_what_was_trained_here_and_with_nothing_from_elsewhere(
    registry: ModelRegistry,
    trained: tuple[TrainingResult, list[TrainingProgress]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result, _ = trained
    monkeypatch.setenv("TINKER_MODEL_REGISTRY", str(registry.path))
    known = registry.get(result.model_id)
    agent = TinkerAgent("ann", engine="embedded", model_id=result.model_id)
    assert agent.identity().adapter_digest == known.adapter_digest
    other = ModelRegistry(tmp_path / "other.json")

    async def restore() -> str:
        client = await opened(registry)
        await client.save_checkpoint(result.model_id, tmp_path / "folder")
        elsewhere = await opened(other)
        return await elsewhere.load_checkpoint(tmp_path / "folder", adapter_name="from-a-folder")

    from_folder = asyncio.run(restore())
    other.register(replace(known, model_id="exchanged", adapter_digest="0" * 64))
    monkeypatch.setenv("TINKER_MODEL_REGISTRY", str(other.path))
    for model_id, words in ((from_folder, "let the package in"), ("exchanged", "answers with")):
        with pytest.raises(AdapterRefusedError, match=words):
            TinkerAgent("ann", engine="embedded", model_id=model_id).open()


def test_a_deleted_model_is_not_sampled(
    registry: ModelRegistry, trained: tuple[TrainingResult, list[TrainingProgress]]
) -> None:
    async def delete() -> list[str]:
        client = await opened(registry)
        result = await client.train_adversarial(
            [*ROWS[:2], *PAIRS[:2]], adapter_name="gone", epochs=1
        )
        await client.delete_model(result.model_id)
        await client.delete_model(result.model_id)
        with pytest.raises(UsageError, match="were deleted"):
            await client.sample("Say 5.", result.model_id)
        return [m.model_id for m in await client.list_models()]

    assert "gone-v1" not in asyncio.run(delete())
    assert registry.get("gone-v1").status == "archived"


def test_what_is_wrong_is_said_before_anything_is_trained(registry: ModelRegistry) -> None:
    async def misuse() -> None:
        client = TinkerClient(engine="embedded", registry=registry)
        with pytest.raises(UsageError, match="open the client first"):
            await client.sample("x")
        async with client:
            with pytest.raises(UsageError, match="it offers nano"):
                await client.train_sft(ROWS, model="llama-3.3-70b")
            with pytest.raises(UsageError, match="batch_sise"):
                await client.train_sft(ROWS, batch_sise=4)
            with pytest.raises(TrainingDataError, match="train_dpo"):
                await client.train_sft(PAIRS)

    asyncio.run(misuse())


def test_a_key_that_the_sdk_cannot_use_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINKER_API_KEY", "your-api-key")

    async def connect() -> None:
        async with TinkerClient():
            pass

    with pytest.raises(UsageError, match="begin with tml-") as caught:
        asyncio.run(connect())
    assert "your-api-key" not in str(caught.value)


def test_the_rank_of_domain_experts_is_higher() -> None:
    from aragora.training import TrainingSettings

    assert TrainingSettings().rank == 16
    assert TrainingSettings(domain="security").rank == 32
    assert TrainingSettings(domain="security", lora_rank=8).rank == 8
    assert TrainingSettings().step_records == 16


def test_a_scheduled_job_trains_and_its_state_can_be_carried_away(
    registry: ModelRegistry, tmp_path: Path
) -> None:
    async def schedule() -> tuple[Any, Any]:
        with TrainingScheduler(
            str(tmp_path / "a.sqlite3"), registry=registry, engine="embedded"
        ) as scheduler:
            job = await scheduler.schedule_sft(
                model="nano", adapter_name="job", training_data=ROWS[:8], epochs=1, job_id="one"
            )
            bad = await scheduler.schedule_sft(min_confidence=0.8, job_id="job-id")
            with pytest.raises(UsageError, match="min_confidense"):
                await scheduler.schedule_sft(min_confidense=0.8)
            with pytest.raises(UsageError, match="min_confidence"):
                await scheduler.schedule_combined(min_confidence=0.8)
            limited = await scheduler.schedule_combined(sft_export={"limit": 3}, job_id="limited")
            assert (limited.settings.sft.limit, limited.settings.sft.options) == (3, {})
            assert scheduler.cancel_job("limited")
            done = await scheduler.wait_for_job(job.job_id, timeout_s=200)
            failed = await scheduler.wait_for_job(bad.job_id, timeout_s=200)
            scheduler.save_state(tmp_path / "state.json")
            return done, failed

    done, failed = asyncio.run(schedule())
    assert (done.status, done.model_id) == (JobStatus.COMPLETED, "job-v1")
    assert registry.get("job-v1").training_run == "one"
    assert failed.status is JobStatus.FAILED
    assert "nothing to train on" in failed.error
    with TrainingScheduler(str(tmp_path / "b.sqlite3"), workers=0) as scheduler:
        assert {job.job_id for job in scheduler.load_state(tmp_path / "state.json")} == {
            "one",
            "job-id",
            "limited",
        }
        assert scheduler.load_state(tmp_path / "state.json") == []
        assert scheduler.get_job("job-id").error == failed.error
