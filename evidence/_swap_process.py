"""A host of slots in a process of its own: `tensafe serve`, or one that kills itself at a step."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from evidence._train import ROOT
from tensafe.gate.swap_client import SwapClient

ARMED = "the one to be killed"
KEY = "tml-only-for-this-claim-of-swaps"


class SlotsProcess:
    """A served engine under `folder`; `kill_at` is `before:STEP` or `after:STEP` of a swap."""

    def __init__(self, folder: Path, *options: str, kill_at: str = "") -> None:
        self._folder = folder
        self._options = options
        self._kill_at = kill_at
        self.facts: dict[str, Any] = {}
        self._process: subprocess.Popen[str] | None = None

    @property
    def home(self) -> Path:
        """The tensafe home."""
        return self._folder / "tensafe"

    @property
    def client(self) -> SwapClient:
        """The control API."""
        return SwapClient.of_home(self.home)

    def __enter__(self) -> Self:
        module = ["evidence._swap_process", self._kill_at] if self._kill_at else ["tensafe"]
        command = [
            sys.executable, "-W", "ignore", "-m", *module, "serve", "--port", "0", "--json",
            "--threads", "1", "--home", str(self._folder / "engine"), *self._options,
        ]  # fmt: skip
        environ = {
            **os.environ,
            "TENSAFE_HOME": str(self.home),
            "TINKER_ENGINE_API_KEY": KEY,
            "TINKER_ENGINE_LOG_LEVEL": "warning",
        }
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the host of slots did not start: {self._process.wait()}")
        self.facts = json.loads(line)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end(signal.SIGTERM)

    def end(self, number: int) -> int:
        """Send a signal unless it has ended, and wait for its end; gives the exit status."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(number)
        try:
            return self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def wait_for_death(self, seconds: float) -> int:
        """Wait until it killed itself; gives the exit status."""
        assert self._process is not None
        return self._process.wait(seconds)


def die_at(point: str) -> None:
    """Make this process kill itself at a step of a swap that `ARMED` asked for.

    `before` is when the step is written down and not yet logged, `after` when it was told.
    """
    from tensafe.gate.audit_log import AuditLog
    from tensafe.gate.swap_flow import SwapFlow

    when, step = point.split(":")
    append, told = AuditLog.append, SwapFlow.tell

    def before(self: AuditLog, event: str, facts: Any) -> Any:
        if when == "before" and event == step and facts["by"] == ARMED:
            os.kill(os.getpid(), signal.SIGKILL)
        return append(self, event, facts)

    def after(self: SwapFlow, name: str, record: Any) -> None:
        told(self, name, record)
        if when == "after" and name == step and record.requested_by == ARMED:
            os.kill(os.getpid(), signal.SIGKILL)

    AuditLog.append = before
    SwapFlow.tell = after


if __name__ == "__main__":
    die_at(sys.argv[1])
    from tensafe.cli import main

    main(sys.argv[2:])
