"""Several A/B tests of one agent as one report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from aragora.ranking.calibration import calibration_report
from aragora.training.evaluator_records import ABTestResult, elo_of_rate


def benchmark_report(agent: str, results: Sequence[ABTestResult]) -> dict[str, Any]:
    """Figures over all baselines; every task and every baseline counts the same."""
    by_task: dict[str, list[float]] = {}
    for result in results:
        for trial in result.trials:
            if trial.score is not None:
                by_task.setdefault(result.texts[trial.task], []).append(trial.score)
    overall = math.fsum(r.fine_tuned_win_rate for r in results) / len(results)
    tasks = max(r.rates.tasks for r in results)
    known = [a for r in results if (a := r.accuracy(0)) is not None]
    observed = [pair for r in results for pair in r.observations(0)]
    return {
        "agent": agent,
        "overall_win_rate": overall,
        "overall_elo_gain": elo_of_rate(overall, tasks),
        "accuracy": math.fsum(known) / len(known) if known else None,
        "by_task": {text: sum(v) / len(v) for text, v in by_task.items()},
        "by_baseline": {r.baseline: r.figures() for r in results},
        "calibration": asdict(calibration_report(observed)) if observed else None,
        "cost": {
            "usd": math.fsum(sum(t.cost_usd) for r in results for t in r.trials),
            "agent_tokens": sum(t.tokens[0] for r in results for t in r.trials),
            "baseline_tokens": sum(t.tokens[1] for r in results for t in r.trials),
            "judge_tokens": sum(t.judge_tokens for r in results for t in r.trials),
            "seconds": math.fsum(r.ended_at - r.started_at for r in results),
        },
        "warnings": [r.warning for r in results if r.warning],
    }
