"""Who debates well, and who knows how sure to be: ratings, calibration, leaderboards.

from aragora.ranking import leaderboard

for place in leaderboard(memory):
    print(place.agent, place.elo, place.brier)
"""

from __future__ import annotations

from aragora.ranking.bradley_terry import bradley_terry
from aragora.ranking.calibration import CalibrationReport, calibration_report
from aragora.ranking.elo import expected_score, multi_way
from aragora.ranking.leaderboard import LeaderboardEntry, head_to_head, leaderboard
from aragora.ranking.rating import rate_debate

__all__ = [
    "CalibrationReport",
    "LeaderboardEntry",
    "bradley_terry",
    "calibration_report",
    "expected_score",
    "head_to_head",
    "leaderboard",
    "multi_way",
    "rate_debate",
]
