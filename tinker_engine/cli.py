"""The `tinker-engine` command: serve this machine's engine to others, and look at one that runs.

Results go to stdout, everything else to stderr. Options, environment variables and `EngineConfig`
have the same names. Heavy imports happen inside the commands, so that `--help` is quick.
"""

from __future__ import annotations

import ipaddress
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tinker_engine import lint_command
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
lint_command.register(app)


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
    as_json: Annotated[
        bool, typer.Option("--json", help="Print address and key as one line of JSON.")
    ] = False,
) -> None:
    """Serve the engine until it is interrupted.

    Clients send the key in TINKER_ENGINE_API_KEY; without it a random one is made and printed.
    Listening beyond this machine needs a key that was set on purpose.
    """
    config = _config(
        base_model=base_model,
        host=host,
        port=port,
        home=home,
        database_url=database_url,
        aliases=aliases,
        threads=threads,
        precision=precision,
    )
    key = _key(config)
    from tinker_engine.runtime.engine import Engine
    from tinker_engine.server.host import Host

    _log_to_stderr()
    engine = Engine.open(config)
    try:
        server = Host(engine, config.host, config.port, key)
    except BaseException:
        engine.halt()
        engine.close()
        raise
    facts = {
        "base_url": server.base_url,
        "base_model": engine.base_info.name,
        "home": str(config.home),
    }
    if config.api_key is None:
        facts["api_key"] = key
    typer.echo(json.dumps(facts) if as_json else _told(facts))
    sys.stdout.flush()
    server.run()


@app.command()
def status(
    url: Annotated[
        str | None, typer.Option(help="Where the server is [TINKER_BASE_URL or this machine].")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Show what a running server is doing; its key comes from TINKER_ENGINE_API_KEY."""
    import httpx

    config = _config()
    address = (
        url or os.environ.get("TINKER_BASE_URL") or f"http://127.0.0.1:{config.port}"
    ).rstrip("/")
    key = config.api_key.get_secret_value() if config.api_key else os.environ.get("TINKER_API_KEY")
    if not key:
        raise RequestError("set TINKER_ENGINE_API_KEY (or TINKER_API_KEY) to the server's key")
    try:
        answer = httpx.get(
            f"{address}/api/v1/engine/status",
            headers={"X-API-Key": key},
            timeout=10,
            trust_env=False,
        )
    except httpx.HTTPError as error:
        raise EngineError(f"no server answers at {address}: {error}") from error
    if not answer.is_success:
        raise EngineError(f"{address} answered {answer.status_code}: {answer.text[:300]}")
    facts: dict[str, Any] = answer.json()
    typer.echo(json.dumps(facts) if as_json else "\n".join(f"{k}: {v}" for k, v in facts.items()))


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


def _config(**given: Any) -> EngineConfig:
    from pydantic import ValidationError

    from tinker_engine.config import EngineConfig

    try:
        return EngineConfig(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        name = str(problem["loc"][0]) if problem["loc"] else "configuration"
        raise RequestError(f"{name}: {problem['msg']} (got {problem['input']!r})") from error


def _key(config: EngineConfig) -> str:
    if config.api_key is None:
        if not _is_loopback(config.host):
            raise RequestError(
                f"listening on {config.host} lets other machines in; set TINKER_ENGINE_API_KEY "
                "to a key of your own (starting with tml-) first"
            )
        from tinker_engine.server.host import new_api_key

        return new_api_key()
    key = config.api_key.get_secret_value()
    if not key.startswith("tml-") or len(key) < 20:
        raise RequestError(
            "TINKER_ENGINE_API_KEY must start with tml- (SDKs refuse others) and have at least "
            "20 characters"
        )
    return key


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
    return "\n".join(lines)


def _log_to_stderr() -> None:
    import logging

    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    for noisy in ("httpx", "alembic", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


if __name__ == "__main__":
    main()
