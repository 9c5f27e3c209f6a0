"""One page per run: everything a run folder's records say, in one HTML file without scripts.

from pathlib import Path
from tensafe.report import write_report

print(write_report(Path("runs/tickets")))  # runs/tickets/report.html
"""

from __future__ import annotations

from tensafe.report.page import render_report, write_report
from tensafe.report.records import RunRecords, read_run

__all__ = ["RunRecords", "read_run", "render_report", "write_report"]
