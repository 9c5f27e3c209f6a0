"""The `tensafe` command: one module per subcommand, loaded when it is called for.

Results go to stdout (`--json` for machines), progress and logs to stderr. Exit codes: 0 done,
1 failed, 2 wrong usage, 3 a quality gate said no, 4 verification failed.
"""

from __future__ import annotations

import sys
from importlib import import_module

import typer

COMMANDS = (
    "init", "train", "report", "screen", "pack", "analyze", "verify", "gate", "export", "keys",
    "serve", "slot", "swap", "improve", "watch", "import_", "validate", "doctor", "publish",
    "search", "pull", "marketplace", "skill", "mcp",
)  # fmt: skip


def application() -> typer.Typer:
    """The command line with all its subcommands."""
    app = typer.Typer(
        name="tensafe",
        help="Turn data into a signed, private, tested LoRA adapter.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    for command in COMMANDS:
        import_module(f"tensafe.cli.{command}").register(app)
    return app


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; errors that a user can mend print without a traceback."""
    from tensafe.errors import TensafeError

    try:
        application()(args=arguments, prog_name="tensafe")
    except TensafeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except Exception as error:
        from tinker_engine.errors import EngineError

        if not isinstance(error, EngineError):
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
