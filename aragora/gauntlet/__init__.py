"""Attacks on agents: what breaks them, what holds, and how robust they are.

from aragora.gauntlet import GauntletSettings, run_gauntlet

report = asyncio.run(run_gauntlet(agent, memory, GauntletSettings()))
print(report.robustness, report.low, report.high)
"""

from __future__ import annotations

from aragora.gauntlet.attacks import CATEGORIES, Attack, load_attacks
from aragora.gauntlet.running import GauntletReport, GauntletSettings, report_of, run_gauntlet

__all__ = [
    "CATEGORIES",
    "Attack",
    "GauntletReport",
    "GauntletSettings",
    "load_attacks",
    "report_of",
    "run_gauntlet",
]
