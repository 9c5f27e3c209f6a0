"""`aragora training`: training data from debates, and training on it.

Also runs as `python -m aragora.cli.training`. One module per part; each registers its commands in
the group.
"""

from __future__ import annotations

from importlib import import_module

import typer

PARTS = ("training_export", "training_train", "training_models")


def group() -> typer.Typer:
    """The group with all its commands."""
    commands = typer.Typer(
        name="training",
        help="Training data from debates, and training on it.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    for part in PARTS:
        import_module(f"aragora.cli.{part}").register(commands)
    return commands


def register(app: typer.Typer) -> None:
    """Add the group to the application."""
    app.add_typer(group())


def main(arguments: list[str] | None = None) -> None:
    """Run the group as a program of its own."""
    from aragora.cli import run

    run(group(), "aragora training", arguments)


if __name__ == "__main__":
    main()
