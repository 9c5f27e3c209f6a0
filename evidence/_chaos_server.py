"""A server that can be killed and started again at the same address, in a forked process.

Forked from a process that has imported everything, because each of many lives would otherwise begin
with seconds of imports; what runs is what `tinker-engine serve` runs.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
import traceback
from pathlib import Path

import httpx
from pydantic import SecretStr

from tinker_engine.config import EngineConfig
from tinker_engine.runtime.engine import Engine
from tinker_engine.server.host import Host

KEY = "tml-" + "chaos" * 6
_START_TIMEOUT_S = 120.0


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ChaosServer:
    """One home and one address over many lives of a server."""

    def __init__(self, home: Path, memory_limit_bytes: int | None = None) -> None:
        self.home = home
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._memory_limit_bytes = memory_limit_bytes
        self._process: int | None = None
        self.http = httpx.Client(
            base_url=f"{self.url}/api/v1", headers={"X-API-Key": KEY}, timeout=60, trust_env=False
        )

    def start(self) -> None:
        """Begin a life; returns when it answers."""
        self._process = os.fork()
        if self._process == 0:
            self._serve()
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline:
            try:
                if self.http.get("/healthz").is_success:
                    return
            except httpx.HTTPError:
                pass
            if os.waitpid(self._process, os.WNOHANG)[0]:
                break
            time.sleep(0.02)
        raise RuntimeError(f"the server did not start; see {self.home / 'server.log'}")

    def end(self, number: signal.Signals) -> int:
        """End this life by a signal; gives the wait status."""
        assert self._process is not None
        os.kill(self._process, number)
        _, status = os.waitpid(self._process, 0)
        self._process = None
        return status

    def close(self) -> None:
        """Kill it if it lives."""
        if self._process is not None:
            self.end(signal.SIGKILL)
        self.http.close()

    def _serve(self) -> None:
        try:
            self.home.mkdir(parents=True, exist_ok=True)
            log = os.open(self.home / "server.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 2)
            logging.basicConfig(level=logging.INFO, force=True)
            logging.getLogger("httpx").setLevel(logging.WARNING)
            config = EngineConfig(
                home=self.home,
                threads=1,
                precision="fp32",
                deterministic=True,
                api_key=SecretStr(KEY),
                memory_limit_bytes=self._memory_limit_bytes,
            )
            engine = Engine.open(config, recovers=True)
            Host(engine, "127.0.0.1", self.port, KEY).run()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
