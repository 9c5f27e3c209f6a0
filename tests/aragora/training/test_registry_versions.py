"""Versions, deletions and promotion; the same registry in a file and in a database."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from aragora.errors import RegistryError
from aragora.training import ModelMetadata, ModelRegistry


@pytest.fixture(params=["file", "database"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> ModelRegistry:
    if request.param == "file":
        return ModelRegistry(tmp_path / "models.json")
    return ModelRegistry(f"sqlite:///{tmp_path / 'models.sqlite3'}")


def made(run: str = "", **fields: object) -> ModelMetadata:
    return ModelMetadata("", "nano", training_run=run, **fields)  # pyright: ignore


def test_a_name_gets_the_next_free_version(registry: ModelRegistry) -> None:
    named = ["aragora-v1", "aragora-v1", "aragora", "security", "aragora-v9", "aragora-v9"]
    ids = [registry.register_version(name, made()).model_id for name in named]
    assert ids == [
        "aragora-v1", "aragora-v2", "aragora-v3", "security-v1", "aragora-v9", "aragora-v10",
    ]  # fmt: skip
    again = ModelRegistry(registry._store.place) if registry.path.is_file() else registry
    assert len(again.list_models()) == 6


def test_a_training_that_is_run_twice_leaves_one_model(registry: ModelRegistry) -> None:
    first = registry.register_version("a", made("job-1", checkpoint="tinker://one"))
    second = registry.register_version("a", made("job-1", checkpoint="tinker://two"))
    assert first == second
    assert [m.checkpoint for m in registry.list_models()] == ["tinker://one"]
    # Records were taken out meanwhile: what learned from them is not the job's model.
    fewer = made("job-1", checkpoint="tinker://fewer", training_set="another")
    assert registry.register_version("a", fewer).model_id == "a-v2"
    with pytest.raises(RegistryError, match="has no model 'b-v1'"):
        registry.register_version("a", made(parent_model_id="b-v1"))


def test_figures_that_nobody_measured_promote_nothing(registry: ModelRegistry) -> None:
    registry.register(ModelMetadata("m", "nano", elo_rating=2000.0))
    with pytest.raises(RegistryError, match="never evaluated"):
        registry.promote("m")
    registry.update_metrics("m", elo_rating=1100.0, evaluation="ab-test 7")
    assert registry.promote("m").status == "promoted"


def test_registering_promotes_nothing(registry: ModelRegistry) -> None:
    for register in (registry.register, lambda m: registry.register_version("m", m)):
        with pytest.raises(RegistryError, match="as promoted"):
            register(ModelMetadata("m", "nano", status="promoted", checkpoint="tinker://a"))
    registry.register(ModelMetadata("m", "nano", checkpoint="tinker://a"))
    with pytest.raises(RegistryError, match="finite"):
        registry.update_metrics("m", elo_rating=float("nan"))
    registry.update_metrics("m", elo_rating=1100.0)
    promoted = registry.promote("m")
    assert registry.register(replace(promoted, notes="seen")).status == "promoted"
    with pytest.raises(RegistryError, match="as promoted"):
        registry.register(replace(promoted, checkpoint="tinker://other"))


def test_deleted_weights_leave_a_record(registry: ModelRegistry) -> None:
    registry.register_version("a", made(checkpoint="tinker://x", training_checkpoint="tinker://y"))
    gone = registry.forget_weights("a-v1")
    assert (gone.status, gone.checkpoint, gone.training_checkpoint) == ("archived", "", "")
    assert "deleted" in registry.get("a-v1").notes
    assert registry.list_models() == []


def test_nothing_is_stored_when_an_edit_fails(registry: ModelRegistry) -> None:
    registry.register(ModelMetadata("a", "nano"))
    before = registry.get("a")
    with pytest.raises(RegistryError):
        registry.register(ModelMetadata("b", "nano", parent_model_id="unknown"))
    assert registry.list_models() == [before]
