"""`tinker-engine keys`: API keys of one home, made, listed, replaced and revoked.

They work on the database, whether a server runs or not; a running one follows within two seconds.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tinker_engine.commands.settings import read_config

if TYPE_CHECKING:
    from tinker_engine.storage.api_keys import ApiKey, ApiKeys

_DAY_S = 24 * 3600

keys = typer.Typer(
    name="keys", help="API keys: each owns what is made with it.", no_args_is_help=True
)

Home = Annotated[Path | None, typer.Option(help="The engine's home [~/.tinker-engine].")]
DatabaseUrl = Annotated[
    str | None, typer.Option(help="SQLAlchemy URL; SQLite under the home by default.")
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="TOML file of settings, as for serve.")
]
ExpiresDays = Annotated[
    float | None, typer.Option(min=0.001, help="Days after which the key stops working.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose key it is, for you to recognise.")],
    expires_days: ExpiresDays = None,
    max_runs: Annotated[
        int | None, typer.Option(min=1, help="Runs it may have in memory [the server's limit].")
    ] = None,
    max_tokens_in_flight: Annotated[
        int | None, typer.Option(min=1, help="Tokens of its unfinished requests together.")
    ] = None,
    max_disk_bytes: Annotated[
        int | None, typer.Option(min=1, help="Disk space of its checkpoints.")
    ] = None,
    home: Home = None,
    database_url: DatabaseUrl = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it: this once, as only its digest is kept."""
    from tinker_engine.runtime.callers import Limits

    with _stored(config, home, database_url) as stored:
        limits = Limits(max_runs, max_tokens_in_flight, max_disk_bytes)
        key, secret = stored.create(name, expires_at=_expiry(expires_days), limits=limits)
    _print_secret(key.id, name, secret, as_json=as_json)


@keys.command("list")
def list_keys(
    home: Home = None,
    database_url: DatabaseUrl = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show all keys: when made, last used and ending, and their own limits."""
    with _stored(config, home, database_url) as stored:
        found = stored.all()
    if as_json:
        typer.echo(json.dumps([_facts(key) for key in found]))
    elif not found:
        typer.echo("no keys; make one with `tinker-engine keys create NAME`")
    else:
        _print_table(found)


@keys.command()
def revoke(
    who: Annotated[str, typer.Argument(help="Id or name of the key.")],
    home: Home = None,
    database_url: DatabaseUrl = None,
    config: ConfigFile = None,
) -> None:
    """Let a key in no more. What was made with it stays; `rotate` gives it a new secret."""
    with _stored(config, home, database_url) as stored:
        key = stored.find(who)
        stored.revoke(key.id)
    typer.echo(f"revoked {key.id} ({key.name}); a running server follows within two seconds")


@keys.command()
def rotate(
    who: Annotated[str, typer.Argument(help="Id or name of the key.")],
    expires_days: ExpiresDays = None,
    home: Home = None,
    database_url: DatabaseUrl = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Give a key a new secret, and take the old one away; it still owns what it owned."""
    with _stored(config, home, database_url) as stored:
        key = stored.find(who)
        secret = stored.replace_secret(key.id, expires_at=_expiry(expires_days))
    _print_secret(key.id, key.name, secret, as_json=as_json)


@contextmanager
def _stored(config: Path | None, home: Path | None, database_url: str | None) -> Generator[ApiKeys]:
    from tinker_engine.storage.api_keys import ApiKeys
    from tinker_engine.storage.database import Database

    settings = read_config(config, home=home, database_url=database_url)
    database = Database(settings.resolved_database_url)
    database.migrate()
    try:
        yield ApiKeys(database)
    finally:
        database.close()


def _expiry(days: float | None) -> float | None:
    return None if days is None else time.time() + days * _DAY_S


def _print_secret(key_id: str, name: str, secret: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"id": key_id, "name": name, "api_key": secret}))
        return
    typer.echo(f"key {key_id} of {name}; it is not shown again:", err=True)
    typer.echo(secret)


def _facts(key: ApiKey) -> dict[str, Any]:
    facts = dataclasses.asdict(key)
    del facts["digest"]
    limits = facts.pop("limits")
    return {**facts, "state": key.state, **limits}


def _print_table(found: list[ApiKey]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for column in ("id", "name", "state", "made", "last used", "expires", "limits"):
        table.add_column(column, overflow="fold")
    for key in found:
        own = key.limits
        named = (("runs", own.max_runs), ("tokens", own.max_tokens_in_flight))
        named = (*named, ("bytes", own.max_disk_bytes))
        limits = ", ".join(f"{v:,} {n}" for n, v in named if v is not None) or "the server's"
        times = (key.created_at, key.last_used_at, key.expires_at)
        days = [_day(at) for at in times]
        table.add_row(*map(Text, (key.id, key.name, key.state, *days, limits)))
    Console().print(table)


def _day(at: float | None) -> str:
    if at is None:
        return "never"
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")
