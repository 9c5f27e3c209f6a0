"""Keeping trained models: as checkpoints on the engine, and as PEFT files in folders.

A folder holds `adapter_config.json` and `adapter_model.safetensors`, as PEFT, vLLM and llama.cpp's
converter read them, and `training_state.json`: which model this is, on which base, and where on the
engine its training goes on (the optimizer's moments never leave the engine).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from aragora.errors import TrainingError, UsageError
from aragora.training.model_metadata import ModelMetadata
from aragora.training.model_registry import ModelRegistry

if TYPE_CHECKING:
    from aragora.agents.served_model import ServedModel

STATE_FILE = "training_state.json"
CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
FORMAT = 1
# The engine keeps an upload for a day; it is sent again well before.
_UPLOAD_KEPT_S = 12 * 3600.0
_uploaded: dict[tuple[str, str, str], tuple[str, float]] = {}
ServedOf = Callable[[str | None], "ServedModel"]


@dataclass(frozen=True)
class Saved:
    """Where a model is kept: its `tinker://` path, and the folder if one was asked for."""

    checkpoint: str
    folder: Path | None


def weights_path(model: ModelMetadata, served: ServedModel) -> str:
    """The `tinker://` path to sample a registered model from; a folder is given to the engine.

    Raises UsageError when its weights were deleted, TrainingError when a folder's weights, rank or
    alpha are no longer those that were registered.
    """
    if model.checkpoint.startswith("tinker://"):
        return model.checkpoint
    if not model.checkpoint:
        raise UsageError(f"{model.model_id!r} has no weights: {model.notes or 'none were kept'}")
    folder = Path(model.checkpoint)
    digest = digest_of_weights(folder)
    if model.adapter_digest and digest != model.adapter_digest:
        raise TrainingError(
            f"{folder} no longer holds what was registered as {model.model_id!r}; load it anew "
            "with load_checkpoint"
        )
    # The weights alone don't say with which alpha they are applied.
    key = (served.connection.base_url, digest, _digest_of(folder / CONFIG_FILE))
    path, until = _uploaded.get(key, ("", 0.0))
    if time.monotonic() > until:
        shape = _shape(folder)
        if shape != (model.lora_rank or shape[0], model.lora_alpha or shape[1]):
            raise TrainingError(
                f"{folder} says rank {shape[0]} and alpha {shape[1]:g}; {model.model_id!r} was "
                f"registered with {model.lora_rank} and {model.lora_alpha}"
            )
        path = served.upload(folder)
        _uploaded[key] = (path, time.monotonic() + _UPLOAD_KEPT_S)
    return path


def digest_of_weights(folder: Path) -> str:
    """Hex SHA-256 of a PEFT folder's safetensors file; raises TrainingError without one."""
    return _digest_of(folder / WEIGHTS_FILE)


def _digest_of(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise TrainingError(
            f"{path.parent}: no {path.name} can be read: {error.strerror}"
        ) from error


def _shape(folder: Path) -> tuple[int, float]:
    """Rank and alpha of a PEFT folder; raises CheckpointError for one that can't be used."""
    from tinker_engine.models.adapter_files import read_adapter

    config = read_adapter(folder).config
    return config.rank, config.alpha


def served_digest(served: ServedModel, path: str) -> str:
    """The digest of what a `tinker://` path answers with; "" on servers that don't tell."""
    import httpx

    connection = served.connection
    if not connection.capabilities():
        return ""
    try:
        answer = httpx.get(
            f"{connection.base_url}/v1/models/{path}",
            headers={"Authorization": f"Bearer {connection.api_key}"},
            timeout=60.0,
            trust_env=False,
        )
        return str(answer.json().get("digest") or "") if answer.is_success else ""
    except (httpx.HTTPError, ValueError):
        return ""


def save(model_id: str, registry: ModelRegistry, served_of: ServedOf, folder: Path | None) -> Saved:
    """Give a model's `tinker://` path, and write its files into a new or empty folder if asked."""
    from tinker_engine.connect import download_adapter

    model = registry.get(model_id)
    served = served_of(model.base_model)
    checkpoint = weights_path(model, served)
    if folder is None:
        return Saved(checkpoint, None)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
    download_adapter(served.service_client, checkpoint, folder)
    from tensafe.files import write_json

    state = {
        "format": FORMAT,
        "model": asdict(model),
        "base_digest": served.base_digest,
        "adapter_sha256": digest_of_weights(folder),
        "checkpoint": checkpoint,
        "training_checkpoint": model.training_checkpoint,
    }
    write_json(folder / STATE_FILE, state)
    return Saved(checkpoint, folder)


def restore(path: str, registry: ModelRegistry, served_of: ServedOf, adapter_name: str) -> str:
    """The id of the model at a `tinker://` path or in a folder, registered if it wasn't."""
    known = [*registry.list_models(), *registry.list_models(status="archived")]
    if not path.startswith("tinker://"):
        return _restore_folder(Path(path), registry, served_of, adapter_name, known)
    for model in known:
        if path in (model.checkpoint, model.training_checkpoint):
            return model.model_id
    served = served_of(None)
    checkpoint, training_checkpoint = path, ""
    if "/weights/" in path:
        # Training checkpoints are not sampled from; their weights are saved as such.
        client = served.service_client.create_training_client_from_state(path).result()
        checkpoint = client.save_weights_for_sampler("restored").result().path
        training_checkpoint = path
    else:
        served.load(checkpoint)
    return registry.register_version(
        adapter_name or "restored",
        ModelMetadata(
            model_id="",
            base_model=served.name,
            adapter_name=adapter_name or "restored",
            checkpoint=checkpoint,
            training_checkpoint=training_checkpoint,
            adapter_digest=served_digest(served, checkpoint),
            notes=f"loaded from {path}",
        ),
    ).model_id


def _restore_folder(
    folder: Path,
    registry: ModelRegistry,
    served_of: ServedOf,
    adapter_name: str,
    known: list[ModelMetadata],
) -> str:
    digest = digest_of_weights(folder)
    for model in known:
        if model.adapter_digest == digest and model.checkpoint:
            return model.model_id
    state = _state(folder / STATE_FILE)
    row = cast("dict[str, Any]", state.get("model", {}))
    served = served_of(row.get("base_model"))
    if state.get("base_digest") not in (None, served.base_digest):
        raise TrainingError(
            f"{folder} was trained on another version of {served.name}; its answers there would "
            "not be its own"
        )
    rank, alpha = _shape(folder)
    path = served.upload(folder)
    name = adapter_name or str(row.get("adapter_name") or folder.name)
    return registry.register_version(
        name,
        ModelMetadata(
            model_id="",
            base_model=served.name,
            adapter_name=name,
            training_type=row.get("training_type", "sft"),
            primary_domain=str(row.get("primary_domain", "general")),
            checkpoint=str(folder.absolute()),
            # An uploaded adapter can be trained on; the engine keeps it for a day.
            training_checkpoint=path,
            lora_rank=rank,
            lora_alpha=alpha,
            adapter_digest=digest,
            training_set=str(row.get("training_set", "")),
            notes=f"loaded from {folder}",
        ),
    ).model_id


def _state(path: Path) -> dict[str, Any]:
    """A folder's training state; empty for a PEFT folder from elsewhere."""
    try:
        state: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path}: can't be read: {error}") from error
    if not isinstance(state, dict) or cast("dict[str, Any]", state).get("format") != FORMAT:
        raise TrainingError(f"{path}: not a training state of format {FORMAT}")
    return cast("dict[str, Any]", state)


def forget(model_id: str, registry: ModelRegistry, served_of: ServedOf) -> None:
    """Delete a model's checkpoints on the engine, and archive its record."""
    import tinker

    model = registry.get(model_id)
    paths = [
        path
        for path in (model.checkpoint, model.training_checkpoint)
        if path.startswith("tinker://")
    ]
    if paths:
        connection = served_of(model.base_model).connection
        rest = tinker.RestClient(base_url=connection.base_url, api_key=connection.api_key)
        for path in paths:
            try:
                rest.delete_checkpoint_from_tinker_path(path).result()
            # Gone already: by an earlier call that was interrupted, say.
            except tinker.NotFoundError:
                continue
    registry.forget_weights(model_id)
