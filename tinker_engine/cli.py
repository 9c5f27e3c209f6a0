"""The `tinker-engine` command: serve this machine's engine to others, and look at one that runs.

Results go to stdout, everything else to stderr. Options, environment variables and `EngineConfig`
have the same names. Heavy imports happen inside the commands, so that `--help` is quick.
"""

from __future__ import annotations

import ipaddress
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tinker_engine.commands import lint
from tinker_engine.commands.keys import keys
from tinker_engine.commands.settings import read_config
from tinker_engine.commands.status import status
from tinker_engine.errors import EngineError, RequestError

if TYPE_CHECKING:
    from tinker_engine.config import EngineConfig

EXIT_FAILED, EXIT_USAGE = 1, 2

app = typer.Typer(
    name="tinker-engine",
    help="The Tinker training API on your own machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(keys)
app.command()(status)
lint.register(app)


@app.callback()
def _commands() -> None:
    """The Tinker training API on your own machine."""


@app.command()
def serve(
    base_model: Annotated[
        str | None, typer.Option(help="`nano`, a folder, a hub id, or an alias of one of them.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on [127.0.0.1].")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one [8200].")] = None,
    home: Annotated[
        Path | None, typer.Option(help="Folder of database, runs and checkpoints.")
    ] = None,
    database_url: Annotated[
        str | None, typer.Option(help="SQLAlchemy URL; SQLite under the home by default.")
    ] = None,
    aliases: Annotated[
        Path | None, typer.Option(help="TOML file of `name = target` lines for model names.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads of the numerics.")] = None,
    precision: Annotated[
        str | None, typer.Option(help="auto, fp32 or bf16 for the frozen base.")
    ] = None,
    max_runs: Annotated[
        int | None, typer.Option(help="Runs that one key may have in memory.")
    ] = None,
    max_tokens_in_flight: Annotated[
        int | None, typer.Option(help="Tokens of one key's unfinished requests together.")
    ] = None,
    max_disk_bytes: Annotated[
        int | None, typer.Option(help="Disk space of one key's checkpoints.")
    ] = None,
    metrics_open: Annotated[
        bool | None,
        typer.Option("--metrics-open", help="Answer /metrics without a key; on loopback only."),
    ] = None,
    log_format: Annotated[
        str | None, typer.Option(help="human, or json for one object a line [human].")
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(help="debug (may quote requests), info or warning [info].")
    ] = None,
    config_file: Annotated[
        Path | None,
        typer.Option("--config", help="TOML file of settings; options and environment win."),
    ] = None,
    deterministic: Annotated[
        bool | None,
        typer.Option(
            "--deterministic",
            help="Compute every training request alone: equal ones give equal bits.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print address and key as one line of JSON.")
    ] = False,
) -> None:
    """Serve the engine until it is interrupted.

    Clients send a key of `tinker-engine keys create`, or the one in TINKER_ENGINE_API_KEY; where
    there is neither, a random one is made and printed. Listening beyond this machine needs a key
    that was set on purpose.
    """
    config = read_config(
        config_file,
        base_model=base_model,
        host=host,
        port=port,
        home=home,
        database_url=database_url,
        aliases=aliases,
        threads=threads,
        precision=precision,
        max_runs=max_runs,
        max_tokens_in_flight=max_tokens_in_flight,
        max_disk_bytes=max_disk_bytes,
        metrics_open=metrics_open,
        log_format=log_format,
        log_level=log_level,
        deterministic=deterministic,
    )
    if config.metrics_open and not _is_loopback(config.host):
        raise RequestError(
            f"metrics_open would show /metrics to other machines on {config.host}; leave it out "
            "and let the monitor send a key (Authorization: Bearer)"
        )
    key = _own_key(config, has_stored=_has_stored_keys(config))
    from tinker_engine.runtime.engine import Engine
    from tinker_engine.server.host import Host
    from tinker_engine.server.logs import log_to_stderr

    log_to_stderr(config.log_format, config.log_level)
    engine = Engine.open(config, recovers=config.recovery)
    try:
        server = Host(engine, config.host, config.port, key, with_stored_keys=True)
    except BaseException:
        engine.halt()
        engine.close()
        raise
    facts = {
        "base_url": server.base_url,
        "base_model": engine.base_info.name,
        "home": str(config.home),
    }
    if config.api_key is None and key is not None:
        facts["api_key"] = key
    typer.echo(json.dumps(facts) if as_json else _told(facts))
    sys.stdout.flush()
    server.run()


def main() -> None:
    """Run the command line; engine errors print as one line, without a traceback."""
    try:
        app()
    except RequestError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(EXIT_USAGE)
    except EngineError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(EXIT_FAILED)


def _own_key(config: EngineConfig, *, has_stored: bool) -> str | None:
    """The key that the server itself is given; None when those in the database are enough."""
    if config.api_key is not None:
        key = config.api_key.get_secret_value()
        if not key.startswith("tml-") or len(key) < 20:
            raise RequestError(
                "TINKER_ENGINE_API_KEY must start with tml- (SDKs refuse others) and have at least "
                "20 characters"
            )
        return key
    if has_stored:
        return None
    if not _is_loopback(config.host):
        raise RequestError(
            f"listening on {config.host} lets other machines in; make a key first with "
            "`tinker-engine keys create NAME`, or set TINKER_ENGINE_API_KEY to one of your own "
            "(starting with tml-)"
        )
    from tinker_engine.storage.api_keys import new_secret

    return new_secret()


def _has_stored_keys(config: EngineConfig) -> bool:
    """Whether the database has a key that works; what can't be read is reported later."""
    from tinker_engine.storage.api_keys import ApiKeys
    from tinker_engine.storage.database import Database

    if config.database_url is None and not config.database_file.exists():
        return False
    database = Database(config.resolved_database_url)
    try:
        database.migrate()
        return any(key.state == "active" for key in ApiKeys(database).all())
    finally:
        database.close()


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _told(facts: dict[str, str]) -> str:
    lines = [
        f"serving {facts['base_model']} at {facts['base_url']} (home {facts['home']})",
        "clients set:",
        f"  export TINKER_BASE_URL={facts['base_url']}",
    ]
    if "api_key" in facts:
        lines.append(f"  export TINKER_API_KEY={facts['api_key']}")
    else:
        lines.append(
            "  export TINKER_API_KEY=...   # TINKER_ENGINE_API_KEY, or a key of `keys list`"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
