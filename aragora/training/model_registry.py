"""The model registry: which adapters there are, what was measured on them, which one to use.

One JSON file, `TINKER_MODEL_REGISTRY` or `model_registry.json`, edited under a lock and replaced
whole, so that a kill or a second process leaves the old file or the new one. Unknown fields of a
later version are kept. A model that was never evaluated is offered only where no evaluated one is,
and says so.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast

from aragora.errors import RegistryError
from tensafe.files import locked, write_json

VARIABLE, DEFAULT_FILE = "TINKER_MODEL_REGISTRY", "model_registry.json"
VERSION = 1
ModelStatus = Literal["active", "promoted", "deprecated", "archived"]
TrainingType = Literal["sft", "dpo", "adversarial", "combined"]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class ModelMetadata:
    """One model. Ratings are Elo points, rates and scores lie in [0, 1].

    `evaluation` names the evaluation behind the figures (a digest or a path); `parent_model_id` is
    the version that this one continues; `checkpoint` a `tinker://` path or a folder.
    """

    model_id: str
    base_model: str
    adapter_name: str = ""
    training_type: TrainingType = "sft"
    primary_domain: str = "general"
    domains: tuple[str, ...] = ()
    checkpoint: str = ""
    adapter_digest: str = ""
    parent_model_id: str = ""
    training_set: str = ""
    elo_rating: float | None = None
    win_rate: float | None = None
    calibration_score: float | None = None
    evaluation: str = ""
    evaluated_at: str = ""
    status: ModelStatus = "active"
    notes: str = ""
    created_at: str = field(default_factory=_now)
    updated_at: str = ""

    @property
    def is_evaluated(self) -> bool:
        """Whether a figure was measured on it."""
        return any(v is not None for v in (self.elo_rating, self.win_rate, self.calibration_score))

    @property
    def is_usable(self) -> bool:
        """Neither deprecated nor archived."""
        return self.status in ("active", "promoted")


class ModelRegistry:
    """The registry in one file; every call reads what is there now.

    Raises RegistryError where the file is no registry, and for ids that it doesn't hold.
    """

    def __init__(self, path: Path | str | None = None) -> None:
        self.path = Path(path or os.environ.get(VARIABLE) or DEFAULT_FILE)

    def register(self, metadata: ModelMetadata) -> ModelMetadata:
        """Add a model, or replace what is known of it but for its creation time."""
        if not metadata.model_id.strip():
            raise RegistryError("a model needs a model_id")

        def edit(models: dict[str, ModelMetadata]) -> ModelMetadata:
            known = models.get(metadata.model_id)
            parent = metadata.parent_model_id
            if parent and parent not in models:
                raise RegistryError(f"the parent {parent!r} of {metadata.model_id!r} is unknown")
            if parent and metadata.model_id in _ancestry(models, parent):
                raise RegistryError(f"{metadata.model_id!r} can't descend from itself")
            created = known.created_at if known else metadata.created_at
            return replace(metadata, created_at=created, updated_at=_now())

        return self._edit(metadata.model_id, edit)

    def get(self, model_id: str) -> ModelMetadata:
        """One model."""
        return _known(self._read(), model_id, self.path)

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
        changes: dict[str, Any] = {**given, "evaluated_at": _now()}
        if evaluation:
            changes["evaluation"] = evaluation
        return self._change(model_id, lambda model: replace(model, **changes))

    def promote(self, model_id: str) -> ModelMetadata:
        """Make a model the first choice of its domain; the one before goes back to active.

        Raises:
            RegistryError: it was never evaluated, or is deprecated or archived.
        """

        def edit(models: dict[str, ModelMetadata]) -> ModelMetadata:
            model = _known(models, model_id, self.path)
            if not model.is_evaluated:
                raise RegistryError(
                    f"{model_id!r} was never evaluated; run an evaluation and record it with "
                    "update_metrics before it is promoted"
                )
            if not model.is_usable:
                raise RegistryError(f"{model_id!r} is {model.status}; register it anew first")
            for other in list(models.values()):
                is_same = other.primary_domain == model.primary_domain
                if other.status == "promoted" and is_same and other.model_id != model_id:
                    models[other.model_id] = replace(other, status="active", updated_at=_now())
            return replace(model, status="promoted", updated_at=_now())

        return self._edit(model_id, edit)

    def deprecate(self, model_id: str, notes: str = "") -> ModelMetadata:
        """Keep a model but offer it no longer; `notes` says why."""
        return self._change(
            model_id, lambda m: replace(m, status="deprecated", notes=notes or m.notes)
        )

    def archive(self, model_id: str) -> ModelMetadata:
        """Put a model away: it is listed only on request."""
        return self._change(model_id, lambda model: replace(model, status="archived"))

    def lineage(self, model_id: str) -> list[ModelMetadata]:
        """The model, its parent, and so on to the first version."""
        models = self._read()
        _known(models, model_id, self.path)
        return [models[name] for name in _ancestry(models, model_id)]

    def _change(
        self, model_id: str, change: Callable[[ModelMetadata], ModelMetadata]
    ) -> ModelMetadata:
        def edit(models: dict[str, ModelMetadata]) -> ModelMetadata:
            return replace(change(_known(models, model_id, self.path)), updated_at=_now())

        return self._edit(model_id, edit)

    def _edit(
        self, model_id: str, edit: Callable[[dict[str, ModelMetadata]], ModelMetadata]
    ) -> ModelMetadata:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with locked(self.path):
                document = self._document()
                models = _parsed(document, self.path)
                changed = models[model_id] = edit(models)
                kept = cast("dict[str, dict[str, Any]]", document.get("models", {}))
                document["version"] = VERSION
                document["models"] = {
                    name: {**kept.get(name, {}), **asdict(model)} for name, model in models.items()
                }
                write_json(self.path, document)
        except OSError as error:
            raise RegistryError(f"{self.path}: can't be written: {error.strerror}") from error
        return changed

    def _read(self) -> dict[str, ModelMetadata]:
        return _parsed(self._document(), self.path)

    def _document(self) -> dict[str, Any]:
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {"version": VERSION, "models": {}}
        except (OSError, UnicodeDecodeError) as error:
            raise RegistryError(f"{self.path}: can't be read: {error}") from error
        try:
            document: object = json.loads(text)
        except ValueError as error:
            raise RegistryError(f"{self.path}: not JSON ({error}); restore it") from error
        if not isinstance(document, dict):
            raise RegistryError(f"{self.path}: expected a JSON object with `models`")
        return cast("dict[str, Any]", document)


_registries: dict[Path, ModelRegistry] = {}


def get_registry(path: Path | str | None = None) -> ModelRegistry:
    """The registry of this path, `TINKER_MODEL_REGISTRY` or `model_registry.json`."""
    chosen = ModelRegistry(path)
    return _registries.setdefault(chosen.path.absolute(), chosen)


def _parsed(document: dict[str, Any], path: Path) -> dict[str, ModelMetadata]:
    known = {one.name for one in fields(ModelMetadata)}
    try:
        if document.get("version", VERSION) != VERSION:
            raise ValueError(f"version {document['version']}, expected {VERSION}")
        rows = cast("dict[str, dict[str, Any]]", document.get("models", {}))
        models: dict[str, ModelMetadata] = {}
        for name, row in rows.items():
            given: dict[str, Any] = {key: row[key] for key in known if key in row}
            given["domains"] = tuple(row.get("domains", ()))
            models[name] = ModelMetadata(**given)
        return models
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RegistryError(f"{path}: not a model registry ({error}); restore it") from error


def _known(models: dict[str, ModelMetadata], model_id: str, path: Path) -> ModelMetadata:
    model = models.get(model_id)
    if model is None:
        names = ", ".join(sorted(models)[:8]) or "none"
        raise RegistryError(f"{path} has no model {model_id!r}; it has {names}")
    return model


def _ancestry(models: dict[str, ModelMetadata], model_id: str) -> list[str]:
    names: list[str] = []
    current = model_id
    while current in models and current not in names:
        names.append(current)
        current = models[current].parent_model_id
    return names


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
