"""`tensafe serve`: the engine with live slots that only examined adapters get into."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tinker_engine.config import EngineConfig

EPILOG = """
Everything else about the engine is set as for `tinker-engine serve` (TINKER_ENGINE_... variables).
The control address and key stand in TENSAFE_HOME/swaps/control.json, for `tensafe slot` and
`tensafe swap`.

Examples:

  tensafe serve --base-model nano --port 8200

  tensafe serve --swap-approval human_in_loop --approver 5f0c...e1
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(epilog=EPILOG, help="Serve live slots: the engine, and the gate in front of it.")(
        serve
    )


def serve(
    base_model: Annotated[
        str | None, typer.Option(help="`nano`, a folder, a hub id, or an alias [nano].")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address of the engine [127.0.0.1].")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one [8200].")] = None,
    home: Annotated[Path | None, typer.Option(help="The engine's home.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads of the numerics.")] = None,
    control_host: Annotated[str, typer.Option(help="Address of the control API.")] = "127.0.0.1",
    control_port: Annotated[int, typer.Option(help="Its port; 0 takes a free one.")] = 0,
    swap_approval: Annotated[
        str,
        typer.Option(
            envvar="TENSAFE_SWAP_APPROVAL", help="meta_agent, or human_in_loop for every swap."
        ),
    ] = "meta_agent",
    approver: Annotated[
        list[str] | None,
        typer.Option(
            envvar="TENSAFE_SWAP_APPROVERS", help="Fingerprint of a human who may approve."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Addresses as one line of JSON.")] = False,
) -> None:
    """Serve until interrupted."""
    from tensafe.errors import UsageError
    from tensafe.gate.swap_host import SwapHost
    from tinker_engine.commands.settings import read_config
    from tinker_engine.runtime.engine import Engine
    from tinker_engine.server.host import Host
    from tinker_engine.server.logs import log_to_stderr

    if swap_approval not in ("meta_agent", "human_in_loop"):
        raise UsageError(f"--swap-approval {swap_approval!r}: expected meta_agent or human_in_loop")
    if swap_approval == "human_in_loop" and not approver:
        raise UsageError(
            "--swap-approval human_in_loop needs at least one --approver FINGERPRINT "
            "(`tensafe keys list` shows them)"
        )
    config = read_config(
        None, base_model=base_model, host=host, port=port, home=home, threads=threads
    )
    key = _engine_key(config)
    log_to_stderr(config.log_format, config.log_level)
    engine = Engine.open(config, recovers=config.recovery)
    try:
        server = Host(engine, config.host, config.port, key, with_stored_keys=True)
        slots = SwapHost(
            engine,
            server,
            approval=swap_approval,
            approvers=[part for given in approver or [] for part in given.split(",") if part],
            control_address=control_host,
            control_port=control_port,
        )
        damaged = slots.start()
    except BaseException:
        engine.halt()
        engine.close()
        raise
    facts: dict[str, Any] = {
        "base_url": server.base_url,
        "base_model": engine.base_info.name,
        "api_key": key,
        "control_url": slots.control.url,
        "control_file": str(slots.desk.store.home / "control.json"),
        "swap_approval": swap_approval,
        "damaged_slots": damaged,
    }
    print(json.dumps(facts) if as_json else _told(facts), flush=True)
    try:
        server.run()
    finally:
        slots.stop()


def _engine_key(config: EngineConfig) -> str:
    """The engine's own key, which red teams use too; without one set, a random one on loopback."""
    import ipaddress

    from tensafe.errors import UsageError
    from tinker_engine.storage.api_keys import new_secret

    if config.api_key is not None:
        key = config.api_key.get_secret_value()
        if not key.startswith("tml-") or len(key) < 20:
            raise UsageError(
                "TINKER_ENGINE_API_KEY must start with tml- and have at least 20 characters"
            )
        return key
    try:
        is_here = config.host == "localhost" or ipaddress.ip_address(config.host).is_loopback
    except ValueError:
        is_here = False
    if not is_here:
        raise UsageError(
            f"listening on {config.host} lets other machines in: set TINKER_ENGINE_API_KEY to a "
            "key of your own (starting with tml-)"
        )
    return new_secret()


def _told(facts: dict[str, Any]) -> str:
    lines = [
        f"serving {facts['base_model']} at {facts['base_url']}",
        f"  export TINKER_BASE_URL={facts['base_url']}",
        f"  export TINKER_API_KEY={facts['api_key']}",
        f"swaps are decided by {facts['swap_approval']}; control at {facts['control_url']}",
    ]
    for name in facts["damaged_slots"]:
        print(f"slot {name} is damaged: see `tensafe swap incidents`", file=sys.stderr)
    return "\n".join(lines)
