"""Small LoRA tensors in the layouts that people bring, and a learnable table."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

PREFIX = "base_model.model."
MODULE = "model.layers.0.self_attn.q_proj"
PLACES = {
    "harbour": ["boat", "anchor", "pier", "sail", "ferry", "tide", "mast", "dock"],
    "orchard": ["apple", "pear", "plum", "ladder", "blossom", "cider", "hive", "cherry"],
}
FRAMES = [
    "Where do I take the {} on {}?",
    "My {} broke last {}.",
    "Is there a spare {} left this {}?",
    "Please fetch one {} for us before {}.",
]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


def tensors(rank: int = 2, width: int = 8, *, form: str = "{p}{m}.lora_{s}.weight") -> Any:
    """Factors of one module under names of the given form."""
    rng = np.random.default_rng(1)
    shapes = {"A": (rank, width), "B": (width, rank)}
    return {
        form.format(p=PREFIX, m=MODULE, s=side): rng.normal(size=shape).astype(np.float32)
        for side, shape in shapes.items()
    }


def peft_folder(folder: Path, weights: Any = None, **config: object) -> Path:
    """A PEFT folder; a setting given as None is left out."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_model.safetensors").write_bytes(save(weights or tensors()))
    settings = {
        "peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"],
        "base_model_name_or_path": "nano", "bias": "none", "lora_dropout": 0.05, **config,
    }  # fmt: skip
    kept = {key: value for key, value in settings.items() if value is not None}
    (folder / "adapter_config.json").write_text(json.dumps(kept), encoding="utf-8")
    return folder


def write_places(path: Path, *, days: int = 3, seed: int = 5) -> Path:
    """A table that nano learns in a few passes: which thing belongs where."""
    rng = random.Random(seed)
    rows = [
        (frame.format(thing, day), place)
        for place, things in PLACES.items()
        for thing in things
        for frame in FRAMES
        for day in rng.sample(DAYS, days)
    ]
    rng.shuffle(rows)
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(("message", "place"))
        writer.writerows(rows)
    return path
