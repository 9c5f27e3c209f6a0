"""`tensafe watch` as a process of its own: started, killed without warning, started again."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_URL = re.compile(r"at (http://\S+)/v1")
_START_S = 300.0


class WatchProcess:
    """One run of the command; its stderr goes to a log file."""

    def __init__(self, arguments: list[str], environ: dict[str, str], log: Path) -> None:
        self._log = log.open("a")
        self._path = log
        self._seen = log.stat().st_size
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tensafe", "watch", *arguments],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def recorder(self) -> str:
        """Where its recorder listens; waits until it says so."""
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and self.process.poll() is None:
            with self._path.open() as file:
                file.seek(self._seen)
                found = _URL.search(file.read())
            if found:
                return found[1]
            time.sleep(0.2)
        raise RuntimeError(f"the watch did not start:\n{self._path.read_text()[-2000:]}")

    def kill_when(self, is_time: Callable[[], bool], limit_s: float) -> bool:
        """SIGKILL it at a moment of its work; False when that never came."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline and self.process.poll() is None:
            if is_time():
                self.process.kill()
                self.process.communicate()
                return True
            time.sleep(0.05)
        return False

    def end(self, limit_s: float) -> tuple[int, dict[str, Any]]:
        """Wait for its own end; gives exit code and the JSON that it printed."""
        try:
            out, _ = self.process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, _ = self.process.communicate()
        return self.process.returncode, json.loads(out) if out.strip() else {}
