"""The one door to every model: a `tinker.ServiceClient` for the engine that is at hand.

`connect()` takes the first of: its `engine` argument; `TINKER_BASE_URL` (any Tinker-compatible
server); `TINKER_API_KEY` alone (hosted Tinker); else the embedded engine, which is this package's
server in this very process, on loopback, gone when the process ends.

    with open_engine() as connection:
        training = connection.service_client.create_lora_training_client("nano", rank=8)
        tokenizer = load_tokenizer(connection)

Importing this module is cheap: tinker (and with it torch) is imported on the first connection.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from tinker_engine.connection import (
    Connection,
    Kind,
    base_info,
    base_shape,
    connection_of,
    download_adapter,
    load_tokenizer,
    register,
    require_privacy,
    run_privacy,
    upload_adapter,
)
from tinker_engine.errors import RequestError

if TYPE_CHECKING:
    import tinker

    from tinker_engine.config import EngineConfig

__all__ = [
    "Connection",
    "base_info",
    "base_shape",
    "connect",
    "connection_of",
    "download_adapter",
    "load_tokenizer",
    "open_engine",
    "require_privacy",
    "run_privacy",
    "upload_adapter",
]

HOSTED_URL = "https://tinker.thinkingmachines.dev/services/tinker-prod"
LOOPBACK = "127.0.0.1"
_PROXY_VARIABLES = frozenset({"http_proxy", "https_proxy", "all_proxy"})
_shared: dict[str, Connection] = {}
_shared_lock = threading.Lock()


def connect(
    engine: str | None = None,
    *,
    base_model: str | None = None,
    config: EngineConfig | None = None,
) -> tinker.ServiceClient:
    """A ServiceClient for the engine at hand; an embedded engine is shared by the whole process.

    `engine` is "embedded", "hosted" or a URL; `base_model` and `config` concern the embedded
    engine. Raises ServerUnavailableError, ModelLoadError, or RequestError for a bad argument.
    """
    kind, _ = _choose(engine)
    if kind != "embedded":
        connection = open_engine(engine, base_model=base_model, config=config)
        _close_at_exit(connection)
        return connection.service_client
    config = _configured(config, base_model)
    key = config.model_dump_json()
    with _shared_lock:
        connection = _shared.get(key)
        if connection is None or connection.is_closed:
            connection = _shared[key] = open_engine("embedded", config=config)
            _close_at_exit(connection)
    return connection.service_client


def open_engine(
    engine: str | None = None,
    *,
    base_model: str | None = None,
    config: EngineConfig | None = None,
) -> Connection:
    """As `connect`, but gives a Connection of one's own that can be closed."""
    kind, url = _choose(engine)
    if kind == "embedded":
        return register(_open_embedded(_configured(config, base_model)))
    return register(_open_remote(kind, url, base_model))


def _close_at_exit(connection: Connection) -> None:
    # Plain atexit handlers run after Python has shut its thread pools, which the SDK needs in order
    # to end its session; concurrent.futures itself uses this earlier hook.
    register_early: Callable[[Callable[[], None]], object] = getattr(
        threading, "_register_atexit", atexit.register
    )
    register_early(connection.close)


def _choose(engine: str | None) -> tuple[Kind, str]:
    if engine == "embedded":
        return "embedded", ""
    if engine == "hosted":
        return "hosted", HOSTED_URL
    if engine is not None:
        if not engine.startswith(("http://", "https://")):
            raise RequestError(
                f"engine {engine!r} is not known; expected embedded, hosted or a URL (http://…)"
            )
        return "server", engine
    if url := os.environ.get("TINKER_BASE_URL"):
        return "server", url
    if os.environ.get("TINKER_API_KEY"):
        return "hosted", HOSTED_URL
    return "embedded", ""


def _configured(config: EngineConfig | None, base_model: str | None) -> EngineConfig:
    from tinker_engine.config import EngineConfig

    config = config or EngineConfig()
    return config if base_model is None else config.model_copy(update={"base_model": base_model})


def _open_embedded(config: EngineConfig) -> Connection:
    import tinker

    from tinker_engine.runtime.engine import Engine
    from tinker_engine.server.host import Host
    from tinker_engine.storage.api_keys import new_secret

    engine = Engine.open(config)
    try:
        host = Host(engine, LOOPBACK, 0, new_secret())
        host.start()
    except BaseException:
        engine.halt()
        engine.close()
        raise
    _keep_loopback_off_proxies()
    client = tinker.ServiceClient(base_url=host.base_url, api_key=host.api_key)
    return Connection(
        kind="embedded",
        service_client=client,
        base_url=host.base_url,
        api_key=host.api_key,
        base_model=engine.base_info.name,
        host=host,
    )


def _keep_loopback_off_proxies() -> None:
    """Exempt 127.0.0.1 from the proxies of this process, which could not reach it anyway.

    The SDK takes proxies from the environment alone, and would retry for minutes.
    """
    if not any(name.lower() in _PROXY_VARIABLES for name in os.environ):
        return
    for name in ("NO_PROXY", "no_proxy"):
        hosts = os.environ.get(name, "")
        if LOOPBACK not in hosts.split(","):
            os.environ[name] = f"{hosts},{LOOPBACK}" if hosts else LOOPBACK


def _open_remote(kind: Kind, url: str, base_model: str | None) -> Connection:
    import tinker

    key = os.environ.get("TINKER_API_KEY", "")
    if not key:
        raise RequestError(f"set TINKER_API_KEY to a key of {url} (it starts with tml-)")
    return Connection(
        kind=kind,
        service_client=tinker.ServiceClient(base_url=url, api_key=key),
        base_url=url.rstrip("/"),
        api_key=key,
        base_model=base_model or os.environ.get("TINKER_BASE_MODEL"),
    )
