"""An A/B test as one page: the win rate with its interval, and every task's mean as a bar."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from importlib import resources
from pathlib import Path

from aragora.training.evaluator_records import ABTestResult
from tensafe.files import write_text
from tensafe.tgsp.text import visible

_MOST_TASKS = 200


def write_ab_page(result: ABTestResult, path: Path) -> None:
    """Write the page; every text of a task or an agent is escaped."""
    write_text(path, render_ab_page(result))


def render_ab_page(result: ABTestResult) -> str:
    """The page as HTML, without scripts or requests."""
    shared = resources.files("tensafe.report") / "template" / "report.css"
    style = shared.read_text("utf-8") + _STYLE
    digest = base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    title = _text(f"{result.fine_tuned} against {result.baseline}")
    low, high = result.interval.low, result.interval.high
    verdict = "significant" if result.is_significant else "not significant"
    warning = f'<p class="note">{_text(result.warning)}</p>' if result.warning else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>A/B test: {title}</title>
<style>{style}</style>
</head>
<body>
<header>
<p class="kind">A/B test</p>
<h1>{title}</h1>
<p class="verdict">Win rate {result.fine_tuned_win_rate:.1%} ({low:.1%} to {high:.1%}), p = \
{result.p_value:.3g}: {verdict} at {result.alpha:g}. {result.rates.tasks} tasks, \
{result.rates.trials} trials, {result.draws:.0%} draws, {result.mode}.</p>
{warning}
<figure class="rate">{_scale(result)}
<figcaption>Win rate and its interval; the dashed line is an even match.</figcaption></figure>
</header>
<main><section>
<h2>By task</h2>
<div class="scroll"><table>
<thead><tr><th scope="col">task</th><th scope="col" class="n">trials</th>\
<th scope="col" class="n">win rate</th><th scope="col" class="bar"></th></tr></thead>
<tbody>{_rows(result)}</tbody>
</table></div>
</section></main>
</body>
</html>
"""


def _text(value: str) -> str:
    return escape(visible(value))


def _scale(result: ABTestResult) -> str:
    def x(share: float) -> float:
        return round(20 + 440 * share, 1)

    low, high = x(result.interval.low), x(result.interval.high)
    ticks = "".join(
        f'<line class="grid" x1="{x(n / 4)}" x2="{x(n / 4)}" y1="10" y2="44"/>'
        f'<text x="{x(n / 4)}" y="62" text-anchor="middle">{25 * n}%</text>'
        for n in range(5)
    )
    return (
        f'<svg viewBox="0 0 480 68" role="img" aria-label="Win rate '
        f'{result.fine_tuned_win_rate:.1%}">{ticks}'
        f'<line class="even" x1="{x(0.5)}" x2="{x(0.5)}" y1="6" y2="48"/>'
        f'<line class="span" x1="{low}" x2="{high}" y1="27" y2="27"/>'
        f'<circle class="dot" cx="{x(result.fine_tuned_win_rate)}" cy="27" r="5"/></svg>'
    )


def _rows(result: ABTestResult) -> str:
    scores: dict[str, list[float]] = {}
    for trial in result.trials:
        if trial.score is not None:
            scores.setdefault(trial.task, []).append(trial.score)
    means = sorted(scores, key=lambda key: -sum(scores[key]) / len(scores[key]))
    rows: list[str] = []
    for key in means[:_MOST_TASKS]:
        rate = sum(scores[key]) / len(scores[key])
        words = " ".join(result.texts[key].split())
        shown = words if len(words) <= 100 else f"{words[:100]}…"
        rows.append(
            f'<tr><th scope="row" dir="auto">{_text(shown)}</th>'
            f'<td class="n">{len(scores[key])}</td><td class="n">{rate:.0%}</td><td class="bar">'
            '<svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
            f'<rect class="track" width="100" height="8"/>'
            f'<rect class="fill" width="{round(100 * rate, 1)}" height="8"/></svg></td></tr>'
        )
    left = len(means) - _MOST_TASKS
    if left > 0:
        rows.append(f'<tr><td colspan="4" class="muted">and {left} more tasks</td></tr>')
    return "".join(rows)


_STYLE = """
.rate svg { max-width: 30rem; }
.even { stroke: var(--muted); stroke-dasharray: 4 3; }
.span { stroke: var(--accent); stroke-width: 3; }
.dot { fill: var(--accent); }
"""
