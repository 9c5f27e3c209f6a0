"""Running the application with uvicorn, in a thread of this process or in the foreground."""

from __future__ import annotations

import contextlib
import gc
import signal
import socket
import sys
import threading
import time
from collections.abc import Generator

import uvicorn

from tinker_engine.errors import ServerUnavailableError
from tinker_engine.runtime.engine import Engine
from tinker_engine.server.app import create_app
from tinker_engine.server.keyring import Keyring

_START_TIMEOUT_S = 30.0
_KEEP_ALIVE_S = 120
_BACKLOG = 4096
_SWITCH_S = 0.001
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Host:
    """One engine behind one listening socket. `start` runs it in a daemon thread.

    Requests need `api_key` or, with `with_stored_keys`, one of the engine's database.
    """

    def __init__(
        self,
        engine: Engine,
        host: str,
        port: int,
        api_key: str | None,
        *,
        with_stored_keys: bool = False,
    ) -> None:
        self.engine = engine
        self.api_key = api_key or ""
        self._keys = Keyring(
            () if api_key is None else (api_key,),
            engine.api_keys if with_stored_keys else None,
            engine.config.limits,
        )
        self._socket = _listen(host, port)
        bound_host, bound_port = self._socket.getsockname()[:2]
        self.base_url = f"http://{_url_host(bound_host)}:{bound_port}"
        self._server = _Server(
            engine,
            uvicorn.Config(
                create_app(engine, self._keys),
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                date_header=False,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=2,
                backlog=_BACKLOG,
            ),
        )
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Serve from a daemon thread; returns when requests are accepted."""
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="tinker-engine-http", daemon=True
        )
        self._thread.start()
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise ServerUnavailableError("the engine's server did not start")
            time.sleep(0.002)

    def run(self) -> None:
        """Serve in the foreground until a signal ends it, then stop the engine.

        The job at hand is finished; clients are told to try again, which the next server on this
        home answers.
        """
        # The compute thread holds the interpreter between short tensor operations; the others get
        # their turn five times as often, so that answers stay quick.
        sys.setswitchinterval(_SWITCH_S)
        # What the libraries made while loading stays for ever. Left to the collector, it would be
        # walked through every now and then, which stops all threads for half a second.
        gc.collect()
        gc.freeze()
        self._server.pauses = True
        try:
            self._server.run([self._socket])
        finally:
            self.engine.halt()
            self._close()

    def stop(self) -> None:
        """Stop the engine and serving; who waits for a result is still told that it won't come."""
        self.engine.halt()
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(timeout=10)
        self._close()

    def _close(self) -> None:
        self._keys.close()
        self.engine.close()


class _Server(uvicorn.Server):
    """Lets go of held polls when a signal ends it, instead of cutting their connections."""

    def __init__(self, engine: Engine, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._engine = engine
        self.pauses = False

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """As uvicorn's own, which would end the process by the signal before the engine stopped."""
        if not self.pauses or threading.current_thread() is not threading.main_thread():
            with super().capture_signals():
                yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in _STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self.pauses:
            self._engine.pause()
        await super().shutdown(sockets)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio switches Nagle's algorithm off only for sockets that name their protocol; with it on,
    # every answer would wait 40 ms for an acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ServerUnavailableError(
            f"can't listen on {host} port {port}: {error.strerror or error}; choose another port"
        ) from error
    listener.listen(_BACKLOG)
    return listener


def _url_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
