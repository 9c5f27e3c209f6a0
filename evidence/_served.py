"""A `tinker-engine serve` process of its own on loopback, with keys made for the occasion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from evidence._train import ROOT

_CLI = (sys.executable, "-m", "tinker_engine.cli")


class Served:
    """The process while the block runs; `log` is its log file, in JSON lines."""

    def __init__(self, home: Path, *options: str) -> None:
        self.home = home
        self.log = home / "log.jsonl"
        self.base_url = ""
        self._options = options
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("TINKER_")}
        self._environment = {
            **inherited,
            "PYTHONPATH": str(ROOT),
            "TINKER_ENGINE_HOME": str(home / "state"),
        }

    def __enter__(self) -> Self:
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [*_CLI, "serve", "--port", "0", "--log-format", "json", "--json", *self._options],
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the server did not start:\n{self.log.read_text('utf-8')}")
        self.base_url = json.loads(line)["base_url"]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.communicate(timeout=60)

    def new_key(self, name: str) -> str:
        """A key of this server; before its start or while it runs."""
        made = subprocess.run(
            [*_CLI, "keys", "create", name, "--json"],
            env=self._environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(made.stdout)["api_key"]

    @property
    def process_id(self) -> int:
        """Of the server."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def tracebacks(self) -> list[str]:
        """What the server logged as unexpected."""
        lines = self.log.read_text("utf-8").splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [line["traceback"] for line in found if "traceback" in line]
