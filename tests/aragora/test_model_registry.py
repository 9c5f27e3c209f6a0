"""The model registry: what it prefers, what it refuses, and what kills and rivals can't break."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from aragora.errors import RegistryError
from aragora.training import ModelMetadata, ModelRegistry, get_registry


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    return ModelRegistry(tmp_path / "models.json")


def model(name: str, **fields: object) -> ModelMetadata:
    return ModelMetadata(
        model_id=name,
        base_model="nano",
        primary_domain="security",
        **fields,  # pyright: ignore[reportArgumentType]
    )


def test_what_was_registered_is_there_for_another_process(registry: ModelRegistry) -> None:
    registry.register(model("v1", domains=("privacy",), notes="first"))
    again = ModelRegistry(registry.path).get("v1")
    assert (again.base_model, again.domains, again.notes) == ("nano", ("privacy",), "first")
    assert not again.is_evaluated


def test_evaluated_models_come_before_newer_unevaluated_ones(registry: ModelRegistry) -> None:
    registry.register(model("old"))
    registry.update_metrics("old", elo_rating=1100)
    registry.register(model("new"))
    best = registry.get_best_for_domain("security")
    assert best is not None
    assert best.model_id == "old"
    registry.update_metrics("new", elo_rating=1250, win_rate=0.65, calibration_score=0.85)
    best = registry.get_best_for_domain("security")
    assert best is not None
    assert best.model_id == "new"
    assert registry.get_best_for_domain("cooking") is None


def test_an_unevaluated_one_is_marked_as_such(registry: ModelRegistry) -> None:
    registry.register(model("only"))
    best = registry.get_best_for_domain("security")
    assert best is not None
    assert not best.is_evaluated


def test_promotion_needs_an_evaluation_and_is_for_one(registry: ModelRegistry) -> None:
    for name in ("a", "b"):
        registry.register(model(name))
    with pytest.raises(RegistryError, match="never evaluated"):
        registry.promote("a")
    registry.update_metrics("a", win_rate=0.6)
    registry.update_metrics("b", win_rate=0.9)
    registry.promote("a")
    best = registry.get_best_for_domain("security")
    assert best is not None
    assert best.model_id == "a"
    registry.promote("b")
    assert [m.model_id for m in registry.list_models(status="promoted")] == ["b"]


def test_deprecated_and_archived_models_are_not_offered(registry: ModelRegistry) -> None:
    registry.register(model("v1", elo_rating=1500.0))
    registry.register(model("v2"))
    registry.deprecate("v1", notes="Superseded by v2")
    best = registry.get_best_for_domain("security")
    assert best is not None
    assert best.model_id == "v2"
    registry.archive("v2")
    assert registry.get_best_for_domain("security") is None
    assert [m.model_id for m in registry.list_models()] == ["v1"]
    assert registry.get("v1").notes == "Superseded by v2"


def test_lineage_goes_back_to_the_first(registry: ModelRegistry) -> None:
    registry.register(model("v1"))
    registry.register(model("v2", parent_model_id="v1"))
    registry.register(model("v3", parent_model_id="v2"))
    assert [m.model_id for m in registry.lineage("v3")] == ["v3", "v2", "v1"]
    with pytest.raises(RegistryError, match="descend from itself"):
        registry.register(model("v1", parent_model_id="v3"))
    with pytest.raises(RegistryError, match="unknown"):
        registry.register(model("v4", parent_model_id="v0"))


def test_bad_input_is_named(registry: ModelRegistry) -> None:
    registry.register(model("v1"))
    with pytest.raises(RegistryError, match=r"win_rate is 1\.5"):
        registry.update_metrics("v1", win_rate=1.5)
    with pytest.raises(RegistryError, match="it has v1"):
        registry.get("v2")
    registry.path.write_text("[]")
    with pytest.raises(RegistryError, match=str(registry.path)):
        registry.list_models()


def test_fields_of_a_later_version_are_kept(registry: ModelRegistry) -> None:
    registry.register(model("v1"))
    document = json.loads(registry.path.read_text())
    document["models"]["v1"]["carbon_kg"] = 3
    registry.path.write_text(json.dumps(document))
    registry.update_metrics("v1", win_rate=0.5)
    assert json.loads(registry.path.read_text())["models"]["v1"]["carbon_kg"] == 3


def test_the_environment_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINKER_MODEL_REGISTRY", str(tmp_path / "elsewhere.json"))
    assert get_registry().path == tmp_path / "elsewhere.json"
    assert get_registry() is get_registry()


def _register_many(path: str, first: int, count: int) -> None:
    registry = ModelRegistry(path)
    for number in range(first, first + count):
        registry.register(ModelMetadata(model_id=f"m{number}", base_model="nano"))


def test_two_processes_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    path = str(tmp_path / "models.json")
    workers = [context.Process(target=_register_many, args=(path, start, 25)) for start in (0, 100)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert len(ModelRegistry(path).list_models()) == 50


def test_a_kill_during_writes_leaves_a_whole_file(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    path = tmp_path / "models.json"
    _register_many(str(path), 0, 5)
    for round_ in range(3):
        worker = context.Process(target=_register_many, args=(str(path), 1000 * (round_ + 1), 500))
        worker.start()
        before = len(ModelRegistry(path).list_models())
        while len(ModelRegistry(path).list_models()) == before and worker.is_alive():
            time.sleep(0.01)
        os.kill(worker.pid or 0, signal.SIGKILL)
        worker.join(10)
        known = len(ModelRegistry(path).list_models())
        assert known > before
        # The lock of the dead process is gone with it.
        _register_many(str(path), 9000 + round_, 1)
        assert len(ModelRegistry(path).list_models()) == known + 1
