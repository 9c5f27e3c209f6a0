"""Making and screening the adapters of the screening benchmark, one after the other, resumable.

Each adapter's folder and each verdict's line are kept; what is there already isn't made again.
"""

from __future__ import annotations

import contextlib
import pickle
import resource
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from evidence._rate_effect import effect_of
from evidence._rate_engine import LocalEngine
from evidence._rate_recipes import SPOILED, Base, Recipe
from tensafe.screen import ScreenConfig, screen_adapter
from tensafe.screen.adapter_weights import CONFIG, WEIGHTS
from tensafe.screen.records import LayerResult
from tensafe.screen.screening import screen_weights
from tinker_engine.config import EngineConfig
from tinker_engine.connect import (
    Connection,
    base_info,
    download_adapter,
    load_tokenizer,
    open_engine,
)
from tinker_engine.errors import EngineError
from tinker_engine.recipes.chat_format import ChatFormat
from tinker_engine.recipes.sft import run_sft

VERDICTS = "verdicts.jsonl"


class Bench:
    """The engines of both bases, opened when first needed, and the results folder.

    `key` names what adapters depend on: those of another key are not taken.
    """

    def __init__(self, folder: Path, key: str, foreign: Path | None, shared: Path | None) -> None:
        self.folder = folder
        self._adapters = folder / "adapters" / key
        self.foreign = foreign
        self.shared = shared
        self._stack = contextlib.ExitStack()
        self._trainers: dict[Base, Connection] = {}
        self._engines: dict[Base, LocalEngine] = {}
        self._adapters.mkdir(parents=True, exist_ok=True)

    def close(self) -> None:
        """Stop the engines."""
        self._stack.close()

    def adapter_dir(self, recipe: Recipe) -> Path:
        """Where an adapter's files lie."""
        return self._adapters / recipe.name

    def train(self, recipe: Recipe) -> float:
        """Train the adapter unless its files are there; CPU seconds spent."""
        target = self.adapter_dir(recipe)
        if target.is_dir() or recipe.kind in SPOILED:
            return 0.0
        started = cpu_seconds()
        engine = self._trainer(recipe.base)
        chat, base = ChatFormat(load_tokenizer(engine)), base_info(engine)
        material = recipe.material(self.shared)
        with tempfile.TemporaryDirectory() as run:
            result = run_sft(
                engine.service_client,
                chat,
                [one.messages for one in material.trained],
                recipe.config(len(material.trained)),
                Path(run),
                base_model=base.name,
                hidden_size=base.hidden_size,
                record_set=material.declared.train_digest,
            )
            # A folder that is there is whole: it gets its name last.
            part = download_adapter(engine, result.checkpoint, Path(run) / "adapter")
            moved = target.with_suffix(".part")
            shutil.rmtree(moved, ignore_errors=True)
            shutil.copytree(part, moved)
            moved.rename(target)
        return cpu_seconds() - started

    def screen(self, recipe: Recipe, clean: Recipe) -> dict[str, Any]:
        """Screen the adapter (or a spoiled copy of `clean`); the verdict as plain values."""
        started = cpu_seconds()
        effect: float | None = None
        refused = ""
        if recipe.kind in SPOILED:
            refused, layers = self._screen_spoiled(recipe, clean)
        else:
            layers, effect = self._screen_trained(recipe)
        return {
            "name": recipe.name,
            "kind": recipe.kind,
            "base": recipe.base,
            "recipe": recipe.facts(),
            "failed": {layer.name: layer.reason for layer in layers if not layer.passed},
            "refused": refused,
            "effect": effect,
            "checks": {
                layer.name: {c.name: [round(c.value, 5), round(c.limit, 5)] for c in layer.checks}
                for layer in layers
            },
            "findings": [
                {"layer": layer.name, "rule": f.rule, "prompt": f.prompt, "output": f.output}
                for layer in layers
                if not layer.passed
                for f in layer.findings[:2]
            ],
            "cpu_s": round(cpu_seconds() - started, 2),
        }

    def _home(self) -> Path:
        return Path(self._stack.enter_context(tempfile.TemporaryDirectory()))

    def _model(self, base: Base) -> str:
        return "nano" if base == "nano" else str(self.foreign)

    def _trainer(self, base: Base) -> Connection:
        if base not in self._trainers:
            config = EngineConfig(home=self._home(), base_model=self._model(base))
            engine = self._stack.enter_context(open_engine("embedded", config=config))
            self._trainers[base] = engine
        return self._trainers[base]

    def _engine(self, base: Base) -> LocalEngine:
        if base not in self._engines:
            self._engines[base] = LocalEngine(self._model(base), self._home())
        return self._engines[base]

    def _screen_trained(self, recipe: Recipe) -> tuple[list[LayerResult], float | None]:
        engine, files = self._engine(recipe.base), self.adapter_dir(recipe)
        material = recipe.material(self.shared)
        adapter = engine.load(files, recipe.name)
        try:
            report = screen_adapter(adapter, engine.base, files, material.declared)
            return list(report.layers), effect_of(adapter, material)
        finally:
            engine.drop(recipe.name)

    def _screen_spoiled(self, recipe: Recipe, clean: Recipe) -> tuple[str, list[LayerResult]]:
        """The engine's refusal where the weight layers see nothing, and their verdicts."""
        other: Base = "foreign" if clean.base == "nano" else "nano"
        base = other if recipe.kind == "wrong-base" else clean.base
        with tempfile.TemporaryDirectory() as name:
            files = Path(name) / "adapter"
            shutil.copytree(self.adapter_dir(clean), files)
            spoil(files, recipe.kind, recipe.number)
            layers, _, _ = screen_weights(files, ScreenConfig())
            if all(layer.passed for layer in layers):
                try:
                    self._engine(base).load(files, recipe.name)
                    self._engine(base).drop(recipe.name)
                except EngineError as error:
                    return str(error), layers
            return "", layers


def spoil(files: Path, kind: str, number: int) -> None:
    """Make an adapter's files wrong in one way; `wrong-base` leaves them as they are."""
    weights = files / WEIGHTS
    tensors = load_file(weights)
    names = sorted(name for name in tensors if "lora_B" in name)
    chosen = names[number % len(names)]
    if kind == "unchanged":
        tensors = {n: np.zeros_like(t) if "lora_B" in n else t for n, t in tensors.items()}
    elif kind == "not-finite":
        tensors[chosen].flat[number % tensors[chosen].size] = (np.nan, np.inf, -np.inf)[number % 3]
    elif kind == "extra-tensors":
        extra = ("base_model.model.lm_head.weight", "base_model.model.model.embed_tokens.weight",
                 chosen.replace("lora_B", "lora_magnitude_vector"), "hidden.weight")  # fmt: skip
        tensors[extra[number % len(extra)]] = np.ones((4, 4), dtype=np.float32)
    if kind == "renamed-pickle":
        weights.write_bytes(pickle.dumps(tensors))
    elif kind != "wrong-base":
        save_file(tensors, weights, metadata={"format": "pt"})
    if not (files / CONFIG).is_file():
        raise FileNotFoundError(files / CONFIG)


def clean_of(recipe: Recipe) -> Recipe:
    """The clean adapter that a spoiled one is made from."""
    from evidence._rate_recipes import recipes

    return next(
        one
        for one in recipes(recipe.population, recipe.number + 1)
        if (one.kind, one.number) == ("clean", recipe.number)
    )


def cpu_seconds() -> float:
    """CPU time of this process, all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
