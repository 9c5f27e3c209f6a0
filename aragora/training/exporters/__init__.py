"""Training data out of debates: every row is real text of a real debate, and says which.

from aragora.training.exporters import SFTExporter

rows = SFTExporter().export(min_confidence=0.8, limit=1000)
print(rows.report.explain())
"""

from __future__ import annotations

from aragora.training.exporters.base import Exporter
from aragora.training.exporters.dpo_exporter import DPOExporter
from aragora.training.exporters.gauntlet_exporter import GauntletExporter
from aragora.training.exporters.options import (
    DPOOptions,
    ExportOptions,
    GauntletOptions,
    SFTOptions,
)
from aragora.training.exporters.rows import ExportReport, TrainingRows
from aragora.training.exporters.sft_exporter import SFTExporter

__all__ = [
    "DPOExporter",
    "DPOOptions",
    "ExportOptions",
    "ExportReport",
    "Exporter",
    "GauntletExporter",
    "GauntletOptions",
    "SFTExporter",
    "SFTOptions",
    "TrainingRows",
]
