"""The model registry: which adapters there are, what was measured on them, which one to use.

One JSON file (`TINKER_MODEL_REGISTRY` or `model_registry.json`), or a database when a URL is given
in its place. It is edited by one at a time and replaced whole, so that a kill or a second process
leaves the old state or the new one. A model that was never evaluated is offered only where no
evaluated one is, and says so.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from aragora.errors import RegistryError
from aragora.training.model_metadata import (
    Documents,
    ModelMetadata,
    ModelStatus,
    TrainingType,
    from_document,
    now,
)
from aragora.training.registry_store import RegistryFile, RegistryStore, RegistryTable

__all__ = ["ModelMetadata", "ModelRegistry", "ModelStatus", "TrainingType", "get_registry"]

VARIABLE, DEFAULT_FILE = "TINKER_MODEL_REGISTRY", "model_registry.json"


class ModelRegistry:
    """The registry in one file or database; every call reads what is there now.

    Raises RegistryError where it is no registry, and for ids that it doesn't hold.
    """

    def __init__(self, path: Path | str | None = None) -> None:
        given = str(path or os.environ.get(VARIABLE) or DEFAULT_FILE)
        self.path = Path(given)
        self._store: RegistryStore = (
            RegistryTable(given) if "://" in given else RegistryFile(self.path)
        )

    def register(self, metadata: ModelMetadata) -> ModelMetadata:
        """Add a model, or replace what is known of it but for its creation time.

        Raises RegistryError for a promoted one, unless these very weights were promoted before.
        """
        if not metadata.model_id.strip():
            raise RegistryError("a model needs a model_id")

        def edit(models: dict[str, ModelMetadata]) -> ModelMetadata:
            known = models.get(metadata.model_id)
            _check_status(metadata, known)
            parent = metadata.parent_model_id
            if parent and parent not in models:
                raise RegistryError(f"the parent {parent!r} of {metadata.model_id!r} is unknown")
            if parent and metadata.model_id in _ancestry(models, parent):
                raise RegistryError(f"{metadata.model_id!r} can't descend from itself")
            created = known.created_at if known else metadata.created_at
            return replace(metadata, created_at=created, updated_at=now())

        return self._edit(metadata.model_id, edit)

    def register_version(self, stem: str, metadata: ModelMetadata) -> ModelMetadata:
        """Add a model under the first free id `stem-vN`; `stem` itself when it ends so and is free.

        A `training_run` that has registered a model of the same `training_set` gets that one again,
        so that a job which is run twice leaves one model. On other records (debates were deleted
        meanwhile) it is another model.
        """
        stem, given = _split(stem.strip())
        if not stem:
            raise RegistryError("a model needs a name")

        def edit(models: dict[str, ModelMetadata]) -> ModelMetadata:
            for model in models.values():
                if (
                    metadata.training_run
                    and model.training_run == metadata.training_run
                    and model.training_set == metadata.training_set
                ):
                    return model
            _check_status(metadata, None)
            if metadata.parent_model_id:
                _known(models, metadata.parent_model_id, self._store.place)
            number = given
            while f"{stem}-v{number}" in models:
                number += 1
            return replace(metadata, model_id=f"{stem}-v{number}", updated_at=now())

        return self._edit("", edit)

    def get(self, model_id: str) -> ModelMetadata:
        """One model."""
        return _known(self._read(), model_id, self._store.place)

    def list_models(
        self, *, status: ModelStatus | None = None, domain: str | None = None
    ) -> list[ModelMetadata]:
        """Models by id; all but the archived ones unless a status is asked for."""
        return [
            model
            for _, model in sorted(self._read().items())
            if (model.status == status if status else model.status != "archived")
            and (domain is None or _serves(model, domain))
        ]

    def get_best_for_domain(self, domain: str) -> ModelMetadata | None:
        """The best usable model of a domain; None when there is none.

        A promoted one comes first, then evaluated ones by Elo, win rate and calibration, then
        those never evaluated (`is_evaluated` is False), the newest first.
        """
        usable = [m for m in self._read().values() if m.is_usable and _serves(m, domain)]
        return max(usable, key=_standing, default=None)

    def update_metrics(
        self,
        model_id: str,
        *,
        elo_rating: float | None = None,
        win_rate: float | None = None,
        calibration_score: float | None = None,
        evaluation: str = "",
    ) -> ModelMetadata:
        """Record what an evaluation measured; what is not given stays."""
        if elo_rating is not None and not math.isfinite(elo_rating):
            raise RegistryError(f"elo_rating is {elo_rating}; expected a finite number")
        for name, value in (("win_rate", win_rate), ("calibration_score", calibration_score)):
            if value is not None and not 0.0 <= value <= 1.0:
                raise RegistryError(f"{name} is {value}; expected a number from 0 to 1")
        given = {
            name: value
            for name, value in (
                ("elo_rating", elo_rating),
                ("win_rate", win_rate),
                ("calibration_score", calibration_score),
            )
            if value is not None
        }
        if not given:
            raise RegistryError("give at least one of elo_rating, win_rate, calibration_score")
        changes: dict[str, Any] = {**given, "evaluated_at": now()}
        if evaluation:
            changes["evaluation"] = evaluation
        return self._change(model_id, lambda model: replace(model, **changes))

    def promote(self, model_id: str) -> ModelMetadata:
        """Make a model the first choice of its domain; the one before goes back to active.

        Raises:
            RegistryError: it was never evaluated, or is deprecated or archived.
        """

        def edit(models: dict[str, ModelMetadata]) -> ModelMetadata:
            model = _known(models, model_id, self._store.place)
            if not (model.is_evaluated and model.evaluated_at):
                raise RegistryError(
                    f"{model_id!r} was never evaluated; run an evaluation and record it with "
                    "update_metrics before it is promoted"
                )
            if not model.is_usable:
                raise RegistryError(f"{model_id!r} is {model.status}; register it anew first")
            for other in list(models.values()):
                is_same = other.primary_domain == model.primary_domain
                if other.status == "promoted" and is_same and other.model_id != model_id:
                    models[other.model_id] = replace(other, status="active", updated_at=now())
            return replace(model, status="promoted", updated_at=now())

        return self._edit(model_id, edit)

    def deprecate(self, model_id: str, notes: str = "") -> ModelMetadata:
        """Keep a model but offer it no longer; `notes` says why."""
        return self._change(
            model_id, lambda m: replace(m, status="deprecated", notes=notes or m.notes)
        )

    def archive(self, model_id: str) -> ModelMetadata:
        """Put a model away: it is listed only on request."""
        return self._change(model_id, lambda model: replace(model, status="archived"))

    def forget_weights(self, model_id: str) -> ModelMetadata:
        """Archive a model whose weights were deleted; what was known of it stays."""
        notes = f"its weights were deleted {now()}"
        return self._change(
            model_id,
            lambda m: replace(
                m, status="archived", checkpoint="", training_checkpoint="", notes=notes
            ),
        )

    def lineage(self, model_id: str) -> list[ModelMetadata]:
        """The model, its parent, and so on to the first version."""
        models = self._read()
        _known(models, model_id, self._store.place)
        return [models[name] for name in _ancestry(models, model_id)]

    def _change(
        self, model_id: str, change: Callable[[ModelMetadata], ModelMetadata]
    ) -> ModelMetadata:
        def edit(models: dict[str, ModelMetadata]) -> ModelMetadata:
            return replace(change(_known(models, model_id, self._store.place)), updated_at=now())

        return self._edit(model_id, edit)

    def _edit(
        self, model_id: str, edit: Callable[[dict[str, ModelMetadata]], ModelMetadata]
    ) -> ModelMetadata:
        def change(documents: Documents) -> ModelMetadata:
            models = _parsed(documents, self._store.place)
            changed = edit(models)
            models[model_id or changed.model_id] = changed
            for name, model in models.items():
                documents[name] = {**documents.get(name, {}), **_document(model)}
            return changed

        return self._store.edit(change)

    def _read(self) -> dict[str, ModelMetadata]:
        return _parsed(self._store.read(), self._store.place)


_registries: dict[str, ModelRegistry] = {}


def get_registry(path: Path | str | None = None) -> ModelRegistry:
    """The registry of this path or URL, `TINKER_MODEL_REGISTRY` or `model_registry.json`."""
    given = str(path or os.environ.get(VARIABLE) or DEFAULT_FILE)
    key = given if "://" in given else str(Path(given).absolute())
    if key not in _registries:
        _registries[key] = ModelRegistry(given)
    return _registries[key]


def _document(model: ModelMetadata) -> dict[str, Any]:
    return {**asdict(model), "domains": list(model.domains)}


def _parsed(documents: Documents, place: str) -> dict[str, ModelMetadata]:
    try:
        return {name: from_document(row) for name, row in documents.items()}
    except (TypeError, ValueError) as error:
        raise RegistryError(f"{place}: not a model registry ({error}); restore it") from error


def _check_status(metadata: ModelMetadata, known: ModelMetadata | None) -> None:
    """Refuse what would be promoted without having been evaluated."""
    if metadata.status == "promoted" and (
        known is None or known.status != "promoted" or _weights(known) != _weights(metadata)
    ):
        raise RegistryError(
            f"{metadata.model_id or metadata.adapter_name!r} can't be registered as promoted: "
            "register it as active, record its evaluation with update_metrics, and promote it"
        )


def _weights(model: ModelMetadata) -> tuple[str, str, str]:
    return model.base_model, model.checkpoint, model.adapter_digest


def _known(models: dict[str, ModelMetadata], model_id: str, place: str) -> ModelMetadata:
    model = models.get(model_id)
    if model is None:
        names = ", ".join(sorted(models)[:8]) or "none"
        raise RegistryError(f"{place} has no model {model_id!r}; it has {names}")
    return model


def _ancestry(models: dict[str, ModelMetadata], model_id: str) -> list[str]:
    names: list[str] = []
    current = model_id
    while current in models and current not in names:
        names.append(current)
        current = models[current].parent_model_id
    return names


def _split(name: str) -> tuple[str, int]:
    """A name without its version, and the version to try first."""
    stem, mark, number = name.rpartition("-v")
    if mark and stem and number.isdecimal() and len(number) <= 6:
        return stem, int(number)
    return name, 1


def _serves(model: ModelMetadata, domain: str) -> bool:
    return domain == model.primary_domain or domain in model.domains


def _standing(model: ModelMetadata) -> tuple[bool, bool, float, float, float, str]:
    def figure(value: float | None) -> float:
        return float("-inf") if value is None else value

    return (
        model.status == "promoted",
        model.is_evaluated,
        figure(model.elo_rating),
        figure(model.win_rate),
        figure(model.calibration_score),
        model.created_at,
    )
