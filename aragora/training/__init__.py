"""Training from debates: which models there are, and whether one is better than another.

from aragora.training import ModelMetadata, get_registry

registry = get_registry()
registry.register(ModelMetadata(model_id="aragora-v1", base_model="nano"))
registry.get_best_for_domain("general")
"""

from __future__ import annotations

from aragora.training.ab_statistics import AnytimeTest, WinRate, power, tasks_needed, win_rate
from aragora.training.exporters import DPOExporter, GauntletExporter, SFTExporter
from aragora.training.model_registry import ModelMetadata, ModelRegistry, get_registry

__all__ = [
    "AnytimeTest",
    "DPOExporter",
    "GauntletExporter",
    "ModelMetadata",
    "ModelRegistry",
    "SFTExporter",
    "WinRate",
    "get_registry",
    "power",
    "tasks_needed",
    "win_rate",
]
