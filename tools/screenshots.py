"""Write docs/images from one run folder: its report in a browser, its terminal as recorded.

`terminal.svg` is a replay: the run's own events.jsonl, with its own times, through the view that
`tensafe train` prints to. `report.png` is the top of report.html in headless Chromium.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console

from tensafe.gate.records import GateRecord
from tensafe.pipeline.terminal import TerminalView
from tensafe.report import RunRecords, read_run, render_report
from tinker_engine.recipes.sft import Progress

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars",
)  # fmt: skip
PAGE_PIXELS = (1160, 1290)
COLUMNS = 112
LARGEST_BYTES = 400_000


class _Wrapping(Console):
    """Wraps long lines at its width, as a terminal does; an export would cut them."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print without `soft_wrap`."""
        options["soft_wrap"] = False
        super().print(*objects, **options)


def terminal_svg(run: RunRecords) -> str:
    """The recorded events as the terminal view shows them, in SVG without outside fonts."""
    console = _Wrapping(
        record=True, file=io.StringIO(), width=COLUMNS, highlight=False, force_terminal=False
    )
    now = float(run.events.lines[0]["time"])
    with TerminalView(console, clock=lambda: now) as view:
        for event in run.events.lines:
            now = float(event["time"])
            _show(view, event, run)
    image = console.export_svg(title="tensafe train (replay of the run's recorded events)")
    return re.sub(r"@font-face \{.*?\}\s*", "", image, flags=re.DOTALL)


def _show(view: TerminalView, event: dict[str, Any], run: RunRecords) -> None:
    fields = {name: value for name, value in event.items() if name not in ("time", "event")}
    match event["event"]:
        case "stage":
            view.stage(fields["title"])
        case "note":
            view.note(fields["text"])
        case "progress":
            loss = fields.pop("loss")
            view.progress(Progress(loss=float("nan") if loss is None else loss, **fields))
        case "gate":
            judged: GateRecord | None = getattr(run.gates, fields["name"], None)
            advice = judged.advice if judged and judged.verdict == fields["verdict"] else ()
            view.gate(GateRecord(score=0.0, threshold=0.0, advice=advice, **fields))
        case _:
            pass


def picture(page: Path, target: Path) -> None:
    """The top of an HTML file as PNG.

    Raises:
        SystemExit: no browser is installed, or it made no picture.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise SystemExit(f"none of {', '.join(BROWSERS)} is installed: install Chromium")
    width, height = PAGE_PIXELS
    with tempfile.TemporaryDirectory() as profile:
        done = subprocess.run(
            [
                browser, *FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}",
                f"--screenshot={target}", page.as_uri(),
            ],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
    if done.returncode != 0 or not target.is_file():
        raise SystemExit(f"{browser} made no picture of {page}:\n{done.stderr[-2000:]}")


def main() -> None:
    """Make both images from the run folder given as the only argument."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m tools.screenshots RUN_FOLDER")
    run = read_run(Path(sys.argv[1]))
    if not run.events.lines:
        raise SystemExit(f"{run.folder}: no recorded events to show")
    IMAGES.mkdir(parents=True, exist_ok=True)
    terminal, report = IMAGES / "terminal.svg", IMAGES / "report.png"
    terminal.write_text(terminal_svg(run), encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        page.write_text(render_report(run), encoding="utf-8")
        picture(page, report)
    for image in (terminal, report):
        size = image.stat().st_size
        print(f"{image}: {size:,} bytes")
        if size > LARGEST_BYTES:
            raise SystemExit(f"{image} is larger than {LARGEST_BYTES:,} bytes")


if __name__ == "__main__":
    main()
