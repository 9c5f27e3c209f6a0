"""An open connection to an engine, and what this engine offers beyond the Tinker API.

Identity of the base model, privacy records, adapter files and the tokenizer come over routes that
only this engine's server has; `Connection.capabilities` says whether they are there, and what needs
them raises UnsupportedByServerError for other servers.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import quote

from tinker_engine.errors import (
    AuthenticationError,
    CheckpointError,
    NotFoundError,
    RequestError,
    ServerUnavailableError,
    UnsupportedByServerError,
)

if TYPE_CHECKING:
    import tinker

    from tinker_engine.runtime.records import BaseInfo, BaseShape, PrivacyRecord
    from tinker_engine.server.host import Host

logger = logging.getLogger(__name__)

Kind = Literal["embedded", "hosted", "server"]
# Some answers wait in line behind a long training step.
_TIMEOUT_S = 600.0
_EXTENSIONS = "/api/v1/engine"


@dataclass
class Connection:
    """An open connection; `close()` ends its session and, if embedded, its engine."""

    kind: Kind
    service_client: tinker.ServiceClient
    base_url: str
    api_key: str = field(repr=False)
    base_model: str | None = None
    host: Host | None = field(default=None, repr=False)
    _capabilities: dict[str, Any] | None = field(default=None, repr=False)
    _is_closed: bool = field(default=False, repr=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close("success" if kind is None else "errored")

    def close(self, status: Literal["success", "errored", "interrupted"] = "success") -> None:
        """End the session and, if embedded, the engine; closing twice is harmless."""
        if self._is_closed:
            return
        self._is_closed = True
        _connections.pop(id(self.service_client), None)
        try:
            self.service_client.close(status).result(timeout=10)
        # The engine is going away in any case, and so is the session with it.
        except Exception as error:
            logger.debug("the session could not be ended: %s", error)
        if self.host is not None:
            self.host.stop()

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._is_closed

    def capabilities(self) -> dict[str, Any]:
        """What the server offers beyond the Tinker API; empty for other servers."""
        if self._capabilities is None:
            try:
                self._capabilities = _get(self, f"{_EXTENSIONS}/capabilities").json()
            except AuthenticationError:
                raise
            # Another server answers this route with some 4xx, or with something that isn't JSON.
            except (RequestError, ValueError):
                self._capabilities = {}
        assert self._capabilities is not None
        return self._capabilities


_connections: dict[int, Connection] = {}


def register(connection: Connection) -> Connection:
    """Remember which connection a ServiceClient belongs to, until it is closed."""
    _connections[id(connection.service_client)] = connection
    return connection


def connection_of(client: Connection | tinker.ServiceClient) -> Connection:
    """The connection behind a ServiceClient that `connect` or `open_engine` gave."""
    if isinstance(client, Connection):
        return client
    connection = _connections.get(id(client))
    if connection is None or connection.service_client is not client:
        raise RequestError(
            "this ServiceClient was not opened by tinker_engine.connect; open it there"
        )
    return connection


def load_tokenizer(source: Connection | tinker.ServiceClient | str) -> Any:
    """The tokenizer of a connection's base model, or of a model name or folder; works offline.

    The SDK's own lookup asks the hub for whatever the model is called, which fails for `nano`, for
    folders, and without a network.
    """
    from transformers import AutoTokenizer

    if isinstance(source, str):
        from tinker_engine.config import EngineConfig
        from tinker_engine.models.base_model import resolve_folder
        from tinker_engine.runtime.names import read_aliases, resolve

        name = resolve(source, read_aliases(EngineConfig().aliases_file))
        return AutoTokenizer.from_pretrained(resolve_folder(name), local_files_only=True)
    connection = connection_of(source)
    if connection.capabilities():
        info = base_info(connection)
        if Path(info.path).is_dir():
            return AutoTokenizer.from_pretrained(info.path, local_files_only=True)
        return load_tokenizer(info.name)
    if connection.base_model is None:
        raise RequestError(
            "name the base model: connect(..., base_model=NAME) or TINKER_BASE_MODEL"
        )
    return load_tokenizer(connection.base_model)


def base_info(client: Connection | tinker.ServiceClient) -> BaseInfo:
    """Identity of the base model that this engine serves."""
    from tinker_engine.runtime.records import BaseInfo

    connection = connection_of(client)
    _require_engine(connection, "the identity of its base model")
    return BaseInfo(**_get(connection, f"{_EXTENSIONS}/base").json())


def base_shape(client: Connection | tinker.ServiceClient) -> BaseShape:
    """The linear modules that an adapter can attach to on this engine's base model."""
    from tinker_engine.runtime.records import BaseShape

    connection = connection_of(client)
    _require_engine(connection, "the shape of its base model")
    answer = _get(connection, f"{_EXTENSIONS}/base/shape").json()
    modules = {name: (int(i), int(o)) for name, (i, o) in answer["modules"].items()}
    return BaseShape(modules, int(answer["num_experts"]))


def run_privacy(client: Connection | tinker.ServiceClient, run_id: str) -> PrivacyRecord:
    """What a private run has spent, as its ledger says; NotFoundError for a run without privacy."""
    from tinker_engine.runtime.records import PrivacyRecord

    connection = connection_of(client)
    require_privacy(connection)
    return PrivacyRecord(**_get(connection, f"{_EXTENSIONS}/runs/{quote(run_id)}/privacy").json())


def require_privacy(client: Connection | tinker.ServiceClient) -> None:
    """Raise UnsupportedByServerError unless the server trains with differential privacy."""
    connection = connection_of(client)
    if not connection.capabilities().get("privacy"):
        raise UnsupportedByServerError(
            f"{connection.base_url} does not train with differential privacy; use the embedded "
            "engine or a tinker-engine server, or train without privacy on purpose"
        )


def download_adapter(
    client: Connection | tinker.ServiceClient, path: str, destination: Path
) -> Path:
    """Fetch a checkpoint's PEFT files into a new folder; gives the folder.

    Every file is checked against its digest before the folder appears under its name. Raises
    CheckpointError when a digest differs or the folder exists, NotFoundError for an unknown path.
    """
    from tinker_engine.protocol.paths import parse_path

    connection = connection_of(client)
    _require_engine(connection, "downloads of adapter files")
    checkpoint = parse_path(path)
    if destination.exists():
        raise CheckpointError(f"{destination} exists already; choose a new folder")
    run = f"{_EXTENSIONS}/runs/{quote(checkpoint.run_id)}"
    route = f"{run}/checkpoints/{checkpoint.checkpoint_id}/files"
    listed: dict[str, dict[str, Any]] = _get(connection, route).json()["files"]
    if "adapter_model.safetensors" not in listed:
        raise CheckpointError(f"{path} holds no adapter files")
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = destination.parent / f".{destination.name}-{uuid.uuid4().hex}"
    temporary.mkdir()
    try:
        for name, facts in listed.items():
            content = _get(connection, f"{route}/{quote(name, safe='')}").content
            if hashlib.sha256(content).hexdigest() != facts["sha256"]:
                raise CheckpointError(f"{path}: {name} arrived damaged; try again")
            (temporary / name).write_bytes(content)
        temporary.rename(destination)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return destination


def upload_adapter(client: Connection | tinker.ServiceClient, folder: Path) -> str:
    """Give the engine a PEFT folder's two files; the answer is a `tinker://` path to sample from.

    The engine keeps it for a day. Raises CheckpointError for files that can't be read, and
    RequestError when the engine refuses them: not a plain LoRA adapter, or not for its base.
    """
    import base64

    connection = connection_of(client)
    _require_engine(connection, "uploads of adapter files")
    if not connection.capabilities().get("adapter_upload"):
        raise UnsupportedByServerError(
            f"{connection.base_url} takes no adapters; update it, or use the embedded engine"
        )
    try:
        config = (folder / "adapter_config.json").read_bytes()
        weights = (folder / "adapter_model.safetensors").read_bytes()
    except OSError as error:
        raise CheckpointError(f"{folder}: not a PEFT adapter folder ({error})") from error
    headers = {"X-Adapter-Config": base64.b64encode(config).decode("ascii")}
    answer = _call(connection, "POST", f"{_EXTENSIONS}/adapters", headers, weights)
    return str(answer.json()["path"])


def _require_engine(connection: Connection, what: str) -> None:
    if not connection.capabilities():
        raise UnsupportedByServerError(
            f"{connection.base_url} is not a tinker-engine server and does not offer {what}; use "
            "the embedded engine or `tinker-engine serve`"
        )


def _get(connection: Connection, route: str) -> Any:
    return _call(connection, "GET", route)


def _call(
    connection: Connection,
    method: str,
    route: str,
    headers: dict[str, str] | None = None,
    content: bytes | None = None,
) -> Any:
    import httpx

    try:
        answer = httpx.request(
            method,
            connection.base_url + route,
            headers={"X-API-Key": connection.api_key, **(headers or {})},
            content=content,
            timeout=_TIMEOUT_S,
            trust_env=False,
        )
    except httpx.HTTPError as error:
        raise ServerUnavailableError(f"{connection.base_url} does not answer: {error}") from error
    if answer.is_success:
        return answer
    message = _message(answer)
    if answer.status_code in (401, 403):
        raise AuthenticationError(f"{connection.base_url} refused the API key: {message}")
    if answer.status_code == 404:
        raise NotFoundError(message)
    if answer.status_code < 500:
        raise RequestError(message)
    raise ServerUnavailableError(message)


def _message(answer: Any) -> str:
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return f"{answer.request.url} answered {answer.status_code}"
