"""The run as a person sees it in a terminal: on stderr, with a bar, rate, loss, epsilon and ETA."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar
from rich.text import Text

from tensafe.gate.records import GateRecord
from tinker_engine.recipes.sft import Progress

STYLES = {"passed": "bold green", "failed": "bold red", "waived": "bold yellow"}
LINES_WITHOUT_TERMINAL = 10


class TerminalView:
    """A context manager; without a terminal (a log, CI) it prints plain lines now and then."""

    def __init__(
        self, console: Console | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start at the time that `clock` gives in seconds; a replay brings its own."""
        self.console = console or Console(stderr=True, highlight=False)
        self._bar: Bar | None = None
        self._clock = clock
        self._started = clock()

    def __enter__(self) -> TerminalView:
        """Start the clock."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the terminal tidy."""
        self._close_bar()

    def stage(self, title: str) -> None:
        """A heading with the time since the start."""
        self._close_bar()
        elapsed = self._clock() - self._started
        self.console.print(
            Text.assemble((f"{elapsed:6.1f}s  ", "dim"), (title, "bold")), soft_wrap=True
        )

    def note(self, text: str) -> None:
        """An indented line."""
        self.console.print(Text(f"         {text}"), soft_wrap=True)

    def progress(self, progress: Progress) -> None:
        """Move the bar, or print a line every tenth of the way where there is no terminal."""
        if not self.console.is_terminal:
            every = max(1, progress.total // LINES_WITHOUT_TERMINAL)
            if progress.step % every == 0 or progress.step == progress.total:
                self.note(_line(progress))
            return
        if self._bar is None:
            self._bar = Bar(
                TextColumn("         "),
                BarColumn(bar_width=24),
                TextColumn("{task.description}"),
                console=self.console,
            )
            self._bar.start()
            self._bar.add_task("", total=progress.total)
        self._bar.update(
            self._bar.task_ids[0], completed=progress.step, description=_line(progress)
        )

    def gate(self, record: GateRecord) -> None:
        """Verdict, reason and, on a failure, what to try."""
        self._close_bar()
        self.console.print(
            Text.assemble(
                "         ",
                (f"{record.verdict:<7}", STYLES[record.verdict]),
                (f"{record.name:<12}", "bold"),
                record.reason,
            ),
            soft_wrap=True,
        )
        if record.verdict == "failed":
            for advice in record.advice:
                self.console.print(Text(f"           try: {advice}"), soft_wrap=True)

    def _close_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _line(progress: Progress) -> str:
    parts = [
        f"step {progress.step}/{progress.total}",
        f"loss {progress.loss:.3f}",
        f"{progress.tokens_per_s:,.0f} tokens/s",
    ]
    if progress.validation_loss is not None:
        parts.insert(2, f"validation {progress.validation_loss:.3f}")
    if progress.epsilon is not None:
        parts.append(f"epsilon {progress.epsilon:.2f}")
    parts.append(f"{progress.eta_s:.0f}s left")
    return "  ".join(parts)
