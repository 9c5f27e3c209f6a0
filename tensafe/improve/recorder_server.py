"""The recorder on a listening socket, in a thread of this process."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Generator
from types import TracebackType
from typing import Self

import uvicorn

from tensafe.errors import TensafeError, UsageError
from tensafe.improve.recorder import Recorder, recording_app

_START_TIMEOUT_S = 30.0
LOOPBACK = "127.0.0.1"


class RecorderServer:
    """A context manager; `url` is where clients find `/v1` while the block runs.

    Raises UsageError when the port is taken.
    """

    def __init__(
        self, upstream: str, recorder: Recorder, *, address: str = LOOPBACK, port: int = 0
    ) -> None:
        listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address, port))
        except OSError as error:
            listener.close()
            raise UsageError(
                f"can't listen on {address} port {port}: {error.strerror or error}; choose another"
            ) from error
        listener.listen(128)
        host, bound = listener.getsockname()[:2]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{bound}"
        self._server = _Quiet(
            uvicorn.Config(
                recording_app(upstream, recorder),
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                date_header=False,
                timeout_graceful_shutdown=2,
            )
        )
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name="tensafe-recorder", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise TensafeError("the recorder did not start")
            time.sleep(0.01)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.should_exit = True
        self._thread.join(10)


class _Quiet(uvicorn.Server):
    """Leaves signals to the program that it runs in."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield
