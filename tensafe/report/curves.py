"""Training curves as geometry for inline SVG. Pure functions; text and colour are the page's.

Coordinates are in the units of a fixed viewBox, origin at the top left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

WIDTH, HEIGHT = 480.0, 240.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 14.0, 14.0, 34.0
MOST_POINTS = 240
# First to lowest loss beyond which the axis is logarithmic.
LOG_FROM = 15.0
# What lies further below the first loss stands on the floor of a logarithmic axis.
LOG_REACH = 1e-6

Point = tuple[float, float]


@dataclass(frozen=True)
class Tick:
    """A place on an axis and its label."""

    at: float
    label: str


@dataclass(frozen=True)
class Line:
    """A path through the data; `kind` is the class that the page styles."""

    kind: str
    path: str


@dataclass(frozen=True)
class Plot:
    """One plot. `limit` is a horizontal line, such as a budget; `summary` is its text for ears."""

    title: str
    summary: str
    caption: str
    x_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    marks: tuple[Point, ...] = ()
    limit: Tick | None = None
    width: float = WIDTH
    height: float = HEIGHT
    left: float = LEFT
    right: float = WIDTH - RIGHT
    top: float = TOP
    bottom: float = HEIGHT - BOTTOM


def ticks(high: float, *, count: int = 4) -> list[float]:
    """Round values from 0 up to and not beyond `high`, about `count` of them."""
    # A fourth of the smallest float is 0, which has no logarithm.
    raw = high / count
    if not (math.isfinite(high) and raw > 0):
        return [0.0]
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(s * power for s in (1.0, 2.0, 2.5, 5.0, 10.0) if s * power >= raw * 0.999)
    return [round(i * step, 12) for i in range(math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten, with their triples, from `low` to `high`."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    values = [round(m * 10.0**p, 12) for p in powers for m in (1, 3)]
    return [v for v in values if low <= v <= high]


def bucketed(points: Sequence[Point], most: int = MOST_POINTS) -> tuple[list[Point], int]:
    """At most `most` points, each the mean of `size` neighbours; also gives `size`."""
    size = max(1, -(-len(points) // most))
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    means = [
        (math.fsum(x for x, _ in g) / len(g), math.fsum(y for _, y in g) / len(g)) for g in groups
    ]
    return means, size


def rolling_median(points: Sequence[Point], reach: int) -> list[Point]:
    """Each point's y becomes the median of itself and its neighbours up to `reach` steps away.

    Near an end the reach shrinks on both sides alike, so that a steep start isn't flattened.
    """
    smooth: list[Point] = []
    for i, (x, _) in enumerate(points):
        near = min(reach, i, len(points) - 1 - i)
        smooth.append((x, median(y for _, y in points[i - near : i + near + 1])))
    return smooth


@dataclass(frozen=True)
class Scale:
    """Maps data into the plot's frame: x from 0 to `x_high`, y from `y_low` to `y_high`.

    With a `y_low` above 0 the vertical axis is logarithmic.
    """

    x_high: float
    y_high: float
    y_low: float = 0.0

    def x(self, value: float) -> float:
        """Horizontal coordinate."""
        return round(LEFT + value / self.x_high * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        """Vertical coordinate; larger values are higher up, and none lies below the frame."""
        if self.y_low > 0:
            value = max(value, self.y_low)
            part = math.log(value / self.y_low) / math.log(self.y_high / self.y_low)
        else:
            part = value / self.y_high
        return round(HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM), 1)

    def path(self, points: Sequence[Point]) -> str:
        """SVG path data through the points."""
        places = [f"{self.x(x):g} {self.y(y):g}" for x, y in points]
        return "M" + "L".join(places) if places else ""

    def x_ticks(self) -> tuple[Tick, ...]:
        """Labelled places on the horizontal axis, whole numbers."""
        whole = [v for v in ticks(self.x_high, count=5) if v == int(v)]
        return tuple(Tick(self.x(v), f"{int(v):,}") for v in whole)

    def y_ticks(self) -> tuple[Tick, ...]:
        """Labelled places on the vertical axis."""
        values = log_ticks(self.y_low, self.y_high) if self.y_low > 0 else ticks(self.y_high)
        return tuple(Tick(self.y(v), f"{v:g}") for v in values)


def loss_plot(
    losses: Sequence[Point], validation: Sequence[Point], *, unit: str, is_private: bool
) -> Plot | None:
    """Training loss per step, its rolling median, and the validation losses; None without data."""
    if not losses:
        return None
    shown, size = bucketed(losses)
    reach = len(shown) // 30
    smooth = rolling_median(shown, reach)
    values = [y for _, y in (*shown, *validation)]
    least = min((y for _, y in (*smooth, *validation) if y > 0), default=0.0)
    least = max(least, smooth[0][1] * LOG_REACH)
    # A loss that falls far would lie flat on a linear axis for most of the run.
    is_log = least > 0 and smooth[0][1] / least > LOG_FROM
    scale = Scale(
        max(x for x, _ in losses), max(values) * 1.05 or 1.0, least / 1.5 if is_log else 0.0
    )
    raw = (Line("raw", scale.path(shown)),) if reach else ()
    first, last = smooth[0][1], smooth[-1][1]
    each = "each step" if size == 1 else f"mean of {size} steps"
    caption = f"Line: {each}"
    if reach:
        around = (2 * reach + 1) * size
        caption = f"Thin line: {each}; thick line: median of {around} steps around"
    if validation:
        caption += "; dots: validation loss, from training examples set aside"
    if is_private:
        caption += ". These losses are not private: they are for you alone"
    return Plot(
        title=f"Loss {unit}" + (" (log scale)" if is_log else ""),
        summary=f"Loss falls from {first:.3f} to {last:.3f} over {len(losses)} steps."
        if last < first
        else f"Loss goes from {first:.3f} to {last:.3f} over {len(losses)} steps.",
        caption=caption + ".",
        x_label="step",
        x_ticks=scale.x_ticks(),
        y_ticks=scale.y_ticks(),
        lines=(*raw, Line("smooth", scale.path(smooth))),
        marks=tuple((scale.x(x), scale.y(y)) for x, y in validation),
    )


def epsilon_plot(spent: Sequence[Point], *, budget: float) -> Plot | None:
    """Privacy spent after each step under the run's budget; None without a private step."""
    if not spent:
        return None
    shown, _ = bucketed(spent)
    shown[-1] = spent[-1]
    scale = Scale(max(x for x, _ in spent), max(budget, max(y for _, y in spent)) * 1.1)
    return Plot(
        title="Privacy spent (epsilon)",
        summary=f"Epsilon reaches {spent[-1][1]:.3f} of a budget of {budget:g} "
        f"after {len(spent)} steps.",
        caption="What the ledger says after each step; dashed: the budget of this run.",
        x_label="step",
        x_ticks=scale.x_ticks(),
        y_ticks=scale.y_ticks(),
        lines=(Line("smooth", scale.path(shown)),),
        limit=Tick(scale.y(budget), f"budget {budget:g}"),
    )
