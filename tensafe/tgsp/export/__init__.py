"""A package's adapter in other formats, each compared with the package before it is shown.

from pathlib import Path
from tensafe.tgsp import load_trust, trust_path
from tensafe.tgsp.export import export_package

report = export_package(Path("support.tgsp"), "gguf", load_trust(trust_path()))
print(report.folder, max(check.max_difference for check in report.checks))
"""

from __future__ import annotations

from tensafe.tgsp.export.exporting import FORMATS, ExportReport, Format, export_package
from tensafe.tgsp.export.parity import ParityCheck

__all__ = ["FORMATS", "ExportReport", "Format", "ParityCheck", "export_package"]
