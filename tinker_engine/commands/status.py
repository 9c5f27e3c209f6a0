"""`tinker-engine status`: what a running server is doing, and whether it is well."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from tinker_engine.commands.settings import read_config
from tinker_engine.errors import EngineError, RequestError

_SLOW_S = 0.5
_LOW_DISK_BYTES = 2**30
_PREFIX = "/api/v1"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    is_well: bool
    told: str


def status(
    url: Annotated[
        str | None, typer.Option(help="Where the server is [TINKER_BASE_URL or this machine].")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="TOML file of settings, as for serve.")
    ] = None,
    only_health: Annotated[
        bool, typer.Option("--health", help="Only ask whether it answers; needs no key.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Show what a running server is doing, and check that it is well.

    The key comes from TINKER_ENGINE_API_KEY or TINKER_API_KEY. Exit code 1 if it doesn't answer.
    """
    settings = read_config(config)
    given = url or os.environ.get("TINKER_BASE_URL") or f"http://127.0.0.1:{settings.port}"
    address = given.rstrip("/")
    own = settings.api_key.get_secret_value() if settings.api_key else None
    key = own or os.environ.get("TINKER_API_KEY")
    if not key and not only_health:
        raise RequestError("set TINKER_ENGINE_API_KEY (or TINKER_API_KEY) to a key of the server")
    started_at = time.perf_counter()
    _get(address, "/healthz", None)
    answered_s = time.perf_counter() - started_at
    if only_health:
        typer.echo(json.dumps({"status": "ok"}) if as_json else "ok")
        return
    facts = _get(address, "/engine/status", key)
    checks = _checks(facts, answered_s)
    if as_json:
        told = [{"name": c.name, "is_well": c.is_well, "told": c.told} for c in checks]
        typer.echo(json.dumps({**facts, "url": address, "checks": told}))
    else:
        _print(address, facts, checks)


def _get(address: str, route: str, key: str | None) -> dict[str, Any]:
    import httpx

    headers = {} if key is None else {"X-API-Key": key}
    try:
        answer = httpx.get(
            f"{address}{_PREFIX}{route}", headers=headers, timeout=10, trust_env=False
        )
        if answer.is_success:
            return answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise EngineError(f"no engine answers at {address}: {error}") from error
    raise EngineError(f"{address} answered {answer.status_code}: {answer.text[:300]}")


def _checks(facts: dict[str, Any], answered_s: float) -> list[Check]:
    free = facts["disk_free_bytes"]
    found = [
        Check("answers", answered_s < _SLOW_S, f"in {answered_s * 1000:.0f} ms"),
        Check("disk space", free >= _LOW_DISK_BYTES, f"{_size(free)} free"),
    ]
    key = facts["key"]
    for name, used in (
        ("max_runs", key["runs_loaded"]),
        ("max_tokens_in_flight", key["tokens_in_flight"]),
        ("max_disk_bytes", key["disk_bytes"]),
    ):
        limit = key[name]
        if limit is not None:
            found.append(Check(name, used < limit, f"{used:,} of {limit:,} used by this key"))
    return found


def _print(address: str, facts: dict[str, Any], checks: list[Check]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    key = facts["key"]
    memory = facts["memory_bytes"]
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in (
        ("server", f"{address}, version {facts['version']}, up {_duration(facts['uptime_s'])}"),
        ("base model", facts["base_model"]),
        ("home", facts.get("home", "(told to the server's own key only)")),
        ("runs in memory", f"{facts['runs_loaded']} ({key['runs_loaded']} of this key)"),
        ("samplers", f"{facts['sampling_sessions']} ({key['sampling_sessions']} of this key)"),
        ("waiting in line", str(facts["requests_waiting"])),
        ("tokens in flight", f"{facts['tokens_in_flight']:,}"),
        ("memory", "unknown" if memory is None else _size(memory)),
        ("key", f"{key['id']}, {_size(key['disk_bytes'])} of checkpoints"),
    ):
        table.add_row(name, Text(value))
    for check in checks:
        mark = "[green]ok[/]" if check.is_well else "[yellow]look[/]"
        table.add_row(f"{mark} {check.name}", check.told)
    Console().print(table)


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02}m" if hours else f"{minutes}m {rest:02}s"
