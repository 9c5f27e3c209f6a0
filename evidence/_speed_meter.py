"""What a contender's process measures of itself: CPU time, wall time and memory; one JSON line.

Memory is the peak of the resident set above what the process held after its imports, before it
loaded anything: an idle process with the same imports.
"""

from __future__ import annotations

import json
import time
from pathlib import Path


def peak_mb() -> float:
    """Largest resident set of this program so far, in MB (Linux counts in KiB).

    Not ru_maxrss, which begins with the parent's: an idle process would look larger than it is.
    """
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    peak = next(line for line in lines if line.startswith("VmHWM:"))
    return int(peak.split()[1]) * 1024 / 1e6


class Meter:
    """Made after the imports; `start` at the first step, `report` after the last."""

    def __init__(self) -> None:
        self._idle = peak_mb()
        self._cpu = self._wall = 0.0

    def start(self) -> None:
        """Begin to count time."""
        self._cpu, self._wall = time.process_time(), time.monotonic()

    def report(self, tokens: int) -> None:
        """Print the figures of `tokens` useful tokens since `start`."""
        cpu, wall = time.process_time() - self._cpu, time.monotonic() - self._wall
        figures = {
            "tokens": tokens,
            "tokens_per_cpu_s": tokens / cpu,
            "tokens_per_s": tokens / wall,
            "memory_mb": peak_mb() - self._idle,
        }
        print(json.dumps(figures))
