"""One page about a loop: curves over versions, what was used and why, how it was measured.

One HTML file without scripts or requests; every text of a record is escaped.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

from markupsafe import Markup

from aragora.loop.comparing import gain
from aragora.loop.state import LoopState, Version
from aragora.loop.tasks import TaskSet
from tensafe.files import write_text
from tensafe.tgsp.text import visible

PAGE_NAME = "report.html"
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 466.0, 14.0, 220.0
_UNUSED = "An open circle is a version that was not used."


def write_page(state: LoopState, tasks: TaskSet, folder: Path) -> Path:
    """Write the page of a loop into its folder, and give its path."""
    path = folder / PAGE_NAME
    write_text(path, render_page(state, tasks))
    return path


def render_page(state: LoopState, tasks: TaskSet) -> str:
    """The page as HTML."""
    from jinja2 import Environment, StrictUndefined

    own = resources.files("aragora.loop") / "template"
    shared = resources.files("tensafe.report") / "template" / "report.css"
    style = shared.read_text("utf-8") + (own / "loop.css").read_text("utf-8")
    environment = Environment(
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    digest = hashlib.sha256(style.encode("utf-8")).digest()
    template = environment.from_string((own / "loop.html.j2").read_text("utf-8"))
    return template.render(
        # Safe as markup: made of this package's own files, never of a record.
        style=Markup(style),
        style_hash="sha256-" + base64.b64encode(digest).decode(),
        state=state,
        sentence=_sentence(state),
        figures=_figures(state),
        charts=_charts(state.versions),
        versions=[_row(v) for v in state.versions],
        counts={"train": len(tasks.train), "check": len(tasks.check), "test": len(tasks.test)},
        settings=[
            (name.replace("_", " "), str(value))
            for name, value in state.settings.model_dump().items()
            if value is not None
        ],
        written=datetime.now(UTC).isoformat(timespec="minutes"),
    )


def _shown(value: Any) -> Any:
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible(value)
    return value


def _sentence(state: LoopState) -> str:
    current = state.current
    ended = state.ended or "not ended yet"
    if current.number == 0:
        return f"No version became better than the base ({ended})."
    found = gain(state.versions[0].test, current.test)
    change = f"{100 * found.difference:+.1f} points of single-answer accuracy"
    return (
        f"Version {current.number} is in use: {change} over the base on held-out tasks "
        f"({100 * found.low:+.1f} to {100 * found.high:+.1f}, p = {found.p_value:.2g}; {ended})."
    )


def _figures(state: LoopState) -> list[dict[str, str]]:
    base, current = state.versions[0], state.current
    robust = [_share(v.robustness) for v in (base, current)]
    return [
        {
            "name": "Base, single answer",
            "value": _share(base.test.accuracy),
            "note": f"greedy {_share(base.test.greedy_accuracy)}",
        },
        {
            "name": f"Version {current.number}, single answer",
            "value": _share(current.test.accuracy),
            "note": f"greedy {_share(current.test.greedy_accuracy)}",
        },
        {
            "name": "Base, majority vote",
            "value": _share(base.test.majority_accuracy),
            "note": f"of {state.settings.samples} answers",
        },
        {"name": "Robustness", "value": robust[1], "note": f"base {robust[0]}"},
    ]


def _row(version: Version) -> dict[str, Any]:
    gates = version.gates or {}
    return {
        "number": version.number,
        "debates": version.debates or "",
        "rows": f"{version.sft_rows} + {version.dpo_rows}" if version.number else "",
        "single": _share(version.test.accuracy),
        "majority": _share(version.test.majority_accuracy),
        "greedy": _share(version.test.greedy_accuracy),
        "robust": _share(version.robustness),
        "gates": ", ".join(f"{name} {verdict}" for name, verdict in gates.items()),
        "used": version.used,
        "reason": version.reason,
    }


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _charts(versions: Sequence[Version]) -> list[dict[str, Any]]:
    accuracy: list[tuple[str, Callable[[Version], float | None]]] = [
        ("single answer", lambda v: v.test.accuracy),
        ("majority vote", lambda v: v.test.majority_accuracy),
        ("greedy", lambda v: v.test.greedy_accuracy),
    ]
    robust: list[tuple[str, Callable[[Version], float | None]]] = [
        ("attacks held", lambda v: v.robustness)
    ]
    charts = [_chart("Held-out accuracy", versions, accuracy)]
    if any(v.robustness is not None for v in versions):
        charts.append(_chart("Gauntlet robustness", versions, robust))
    return charts


def _chart(
    title: str,
    versions: Sequence[Version],
    series: Sequence[tuple[str, Callable[[Version], float | None]]],
) -> dict[str, Any]:
    known = [share for _, read in series for v in versions if (share := read(v)) is not None]
    # Shares; the axis begins at the tenth below the lowest, so that differences can be seen.
    low = max(0.0, int(10 * min(known) - 0.5) / 10)
    last = max(1, len(versions) - 1)

    def x(place: int) -> float:
        return round(_LEFT + 20 + place / last * (_RIGHT - _LEFT - 40), 1)

    def y(value: float) -> float:
        return round(_BOTTOM - (value - low) / (1.0 - low) * (_BOTTOM - _TOP), 1)

    drawn: list[dict[str, Any]] = []
    for place, (name, read) in enumerate(series, 1):
        points = [
            {"x": x(n), "y": y(value), "used": v.used}
            for n, v in enumerate(versions)
            if (value := read(v)) is not None
        ]
        path = "M" + "L".join(f"{p['x']} {p['y']}" for p in points)
        drawn.append({"name": name, "place": place, "points": points, "path": path})
    tenths = range(round(10 * low), 11, 1 if low >= 0.5 else 2)
    summary = "; ".join(
        f"{name}: " + ", ".join(_share(read(v)) for v in versions) for name, read in series
    )
    return {
        "title": title,
        "summary": f"{title} by version. {summary}",
        "caption": _UNUSED if any(not v.used for v in versions) else "All versions were used.",
        "y_ticks": [{"at": y(n / 10), "label": f"{10 * n}%"} for n in tenths],
        "x_ticks": [{"at": x(n), "label": str(v.number)} for n, v in enumerate(versions)],
        "series": drawn,
    }
