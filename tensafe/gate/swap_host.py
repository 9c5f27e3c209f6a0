"""A process that serves live slots: the engine, its HTTP server, and the desk with its control API.

Everything that can move a slot is in this one process, so nothing that was not examined by it
enters. Others reach it through the control API, whose address and key stand in `control.json`,
readable by the owner alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import socket
import threading
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tensafe.errors import TensafeError, UsageError
from tensafe.files import write_private
from tensafe.gate.swap_client import CONTROL_FILE
from tensafe.gate.swap_desk import SwapDesk
from tensafe.gate.swap_flow import Notify, quiet
from tensafe.gate.swap_records import ApprovalMode
from tensafe.gate.swap_store import SwapStore
from tensafe.tgsp.canonical import canonical_json
from tensafe.tgsp.keystore import tensafe_home, trust_path
from tensafe.tgsp.trust import load_trust

if TYPE_CHECKING:
    import uvicorn

    from tinker_engine.connect import Connection
    from tinker_engine.runtime.engine import Engine
    from tinker_engine.server.host import Host

_START_TIMEOUT_S = 30.0
LOOPBACK = "127.0.0.1"


def swaps_home(home: Path | None = None) -> Path:
    """The folder of swaps under a tensafe home."""
    return (home or tensafe_home()) / "swaps"


class ControlServer:
    """The control API on a thread of its own; `control.json` exists while it answers."""

    def __init__(self, desk: SwapDesk, address: str, port: int) -> None:
        import uvicorn

        from tensafe.gate.swap_routes import control_app

        self._file = desk.store.home / CONTROL_FILE
        self._socket = _listening(address, port)
        self._key = os.environ.get("TENSAFE_CONTROL_KEY") or secrets.token_urlsafe(32)
        if len(self._key) < 20:
            raise UsageError("TENSAFE_CONTROL_KEY has to have at least 20 characters")
        host, bound = self._socket.getsockname()[:2]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{bound}"
        config = uvicorn.Config(
            control_app(desk, self._key), log_config=None, access_log=False, lifespan="off",
            server_header=False, timeout_graceful_shutdown=2,
        )  # fmt: skip
        self._server = _quiet_server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="tensafe-control", daemon=True
        )

    def start(self) -> None:
        """Serve; returns when requests are accepted.

        Raises:
            TensafeError: it did not start.
        """
        self._thread.start()
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise TensafeError("the control API did not start")
            time.sleep(0.005)
        write_private(
            self._file,
            canonical_json({"url": self.url, "key": self._key, "process": os.getpid()}) + b"\n",
        )

    def stop(self) -> None:
        """Stop serving."""
        with contextlib.suppress(FileNotFoundError):
            self._file.unlink()
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(10)


class SwapHost:
    """Desk and control API beside an engine that is being served."""

    def __init__(
        self,
        engine: Engine,
        server: Host,
        *,
        home: Path | None = None,
        approval: ApprovalMode = "meta_agent",
        approvers: Sequence[str] = (),
        control_address: str = LOOPBACK,
        control_port: int = 0,
        notify: Notify = quiet,
    ) -> None:
        """Take the folder of swaps for this process.

        Raises:
            UsageError: another host has it, or the control port is taken.
        """
        store = SwapStore(swaps_home(home))
        self._lock = _owned(store.home)
        trust_file = trust_path(home)
        self.desk = SwapDesk(
            engine,
            lambda: _connection(server),
            store,
            lambda: load_trust(trust_file),
            approval=approval,
            approvers=approvers,
            notify=notify,
        )
        self.control = ControlServer(self.desk, control_address, control_port)

    def start(self) -> list[str]:
        """Check what is live, go on with open swaps, take requests; gives damaged slots."""
        damaged = self.desk.open()
        self.control.start()
        return damaged

    def stop(self) -> None:
        """Take no more requests; an examination at hand is run again at the next start."""
        self.control.stop()
        self.desk.close()
        os.close(self._lock)


@contextlib.contextmanager
def hosting(
    engine: Engine,
    server: Host,
    *,
    home: Path | None = None,
    approval: ApprovalMode = "meta_agent",
    approvers: Sequence[str] = (),
    notify: Notify = quiet,
) -> Generator[SwapHost]:
    """A host around a server that runs already, for programs and tests."""
    host = SwapHost(
        engine, server, home=home, approval=approval, approvers=approvers, notify=notify
    )
    host.start()
    try:
        yield host
    finally:
        host.stop()


def _connection(server: Host) -> Connection:
    """The SDK's way to the engine of this very process, for red teams."""
    import tinker

    from tinker_engine.connect import Connection
    from tinker_engine.connection import register

    service = tinker.ServiceClient(base_url=server.base_url, api_key=server.api_key)
    return register(
        Connection(
            kind="server",
            service_client=service,
            base_url=server.base_url,
            api_key=server.api_key,
            base_model=server.engine.base_info.name,
        )
    )


def _owned(home: Path) -> int:
    descriptor = os.open(home / "host.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise UsageError(f"another host of slots uses {home}; stop it first") from error
    return descriptor


def _listening(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
    except OSError as error:
        listener.close()
        raise UsageError(
            f"can't listen on {address} port {port} for control: {error.strerror or error}"
        ) from error
    listener.listen(128)
    return listener


def _quiet_server(config: uvicorn.Config) -> uvicorn.Server:
    """A server that leaves signals to the engine's."""
    import uvicorn

    class Quiet(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Generator[None]:
            yield

    return Quiet(config)
