"""The `aragora` command: one module per subcommand, loaded when it is called for.

Results go to stdout (`--json` for machines), progress and logs to stderr. Exit codes: 0 done,
1 failed, 2 wrong usage, 3 a gate said no, 4 verification failed.
"""

from __future__ import annotations

import sys
from importlib import import_module

import typer

COMMANDS = (
    "debate",
    "transcript",
    "forget",
    "leaderboard",
    "gauntlet",
    "training",
    "jobs",
    "models",
    "loop",
    "ab_test",
)


def application() -> typer.Typer:
    """The command line with all its subcommands."""
    app = typer.Typer(
        name="aragora",
        help="Debates whose outcomes become training data.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    for command in COMMANDS:
        import_module(f"aragora.cli.{command}").register(app)
    return app


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; errors that a user can mend print without a traceback."""
    run(application(), "aragora", arguments)


def run(app: typer.Typer, name: str, arguments: list[str] | None = None) -> None:
    """Run an application under the rules of all commands: what its errors print and exit with."""
    from aragora.errors import AragoraError

    try:
        app(args=arguments, prog_name=name)
    except AragoraError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except Exception as error:
        from tensafe.errors import TensafeError
        from tinker_engine.errors import EngineError

        if not isinstance(error, EngineError | TensafeError):
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code if isinstance(error, TensafeError) else 1)
