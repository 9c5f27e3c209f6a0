"""Which model an agent means, and whether the connected server has it.

Short names come from the engine's one alias table (`tinker_engine.runtime.names`), extended by the
user's alias file. Nothing is substituted: without an alias a name means itself.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from aragora.errors import ModelNotOfferedError, UsageError
from tinker_engine.config import EngineConfig
from tinker_engine.runtime.names import read_aliases, resolve

if TYPE_CHECKING:
    from tinker_engine.connection import Connection

# Of servers that offer several models, where none is named.
DEFAULT_MODEL = "llama-3.3-70b"


def aliases() -> dict[str, str]:
    """The alias table with the user's file over it."""
    return read_aliases(EngineConfig().aliases_file)


def offered_models(connection: Connection) -> list[str]:
    """Names of the models that a server says it serves."""
    import tinker

    client = tinker.RestClient(base_url=connection.base_url, api_key=connection.api_key)
    answer = client.get_server_capabilities().result()
    return [m.model_name for m in answer.supported_models if m.model_name]


def choose_model(model: str | None, connection: Connection) -> str:
    """The name to ask the server for.

    Without a model: TINKER_BASE_MODEL, else the embedded engine's own base, else `DEFAULT_MODEL`
    where it is offered. Raises UsageError when none is known, ModelNotOfferedError that lists what
    the server offers.
    """
    offered = offered_models(connection)
    table = aliases()
    wanted = model or os.environ.get("TINKER_BASE_MODEL") or None
    if wanted is None:
        if connection.base_model:
            return connection.base_model
        if len(offered) == 1:
            return offered[0]
        for name in (DEFAULT_MODEL, resolve(DEFAULT_MODEL, table)):
            if name in offered:
                return name
        raise UsageError(
            f"name a model: {connection.base_url} offers {_listed(offered)}; give model=… or set "
            "TINKER_BASE_MODEL"
        )
    target = resolve(wanted, table)
    for name in (wanted, target):
        if name in offered:
            return name
    for name in offered:
        if resolve(name, table) == target:
            return name
    where = EngineConfig().aliases_file
    named = wanted if wanted == target else f"{wanted} ({target})"
    raise ModelNotOfferedError(
        f"{connection.base_url} does not offer {named}; it offers {_listed(offered)}. Choose one "
        f'of these, point TINKER_BASE_URL at a server that has it, or write "{wanted}" = '
        f'"{offered[0] if offered else "nano"}" into {where} to use that model under this name'
    )


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:12])
    return f"{shown} and {len(names) - 12} more" if len(names) > 12 else shown or "none"
