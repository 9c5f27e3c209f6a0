"""Running a marketplace with uvicorn, in a thread of this process or in the foreground."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import uvicorn

from tensafe.errors import MarketplaceError
from tensafe.gate.load_records import LoadPolicy, RunningBase
from tensafe.marketplace.service.app import create_app
from tensafe.marketplace.service.config import MarketConfig
from tensafe.marketplace.service.market import Market

_START_TIMEOUT_S = 30.0


class MarketHost:
    """One marketplace behind one listening socket; as a context manager it serves from a thread."""

    def __init__(
        self,
        config: MarketConfig,
        bases: Sequence[RunningBase],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        policy: LoadPolicy | None = None,
        proxies: str = "",
    ) -> None:
        """Listen and open the marketplace; `proxies` are the addresses of believed proxies.

        Raises:
            MarketplaceError: the port is taken, or folder or database can't be used.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._socket = socket.create_server((host, port), family=family, backlog=512)
        except OSError as error:
            raise MarketplaceError(
                f"can't listen on {host}:{port}: {error.strerror or error}; give another --port"
            ) from error
        bound = self._socket.getsockname()
        self.url = f"http://{f'[{bound[0]}]' if ':' in bound[0] else bound[0]}:{bound[1]}"
        try:
            self.market = Market.open(config, bases, self.url, policy)
        except BaseException:
            self._socket.close()
            raise
        self._server = uvicorn.Server(
            uvicorn.Config(
                create_app(self.market),
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                timeout_graceful_shutdown=5,
                proxy_headers=bool(proxies),
                forwarded_allow_ips=proxies or None,
            )
        )
        self._thread: threading.Thread | None = None

    def run(self) -> None:
        """Serve until a signal ends it; requests at hand are finished."""
        try:
            self._server.run([self._socket])
        finally:
            self.market.close()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="marketplace", daemon=True
        )
        self._thread.start()
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise MarketplaceError("the marketplace did not start")
            time.sleep(0.01)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(timeout=10)
        self.market.close()
