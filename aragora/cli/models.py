"""`aragora models`: trained models, what was measured on them, which one to use."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from aragora.cli.options import Json

if TYPE_CHECKING:
    from aragora.training.model_metadata import ModelMetadata
    from aragora.training.model_registry import ModelRegistry

EPILOG = """
Examples:

  aragora models list --domain security

  aragora models best security

  aragora models promote aragora-v2
"""
ModelId = Annotated[str, typer.Argument(help="The model's id.")]
Registry = Annotated[
    str | None,
    typer.Option(help="File or SQLAlchemy URL [default: TINKER_MODEL_REGISTRY]."),
]


def register(app: typer.Typer) -> None:
    """Add the group to the application."""
    group = typer.Typer(
        name="models",
        help="Trained models, what was measured on them, which one to use.",
        epilog=EPILOG,
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.command("list", help="Models by id, without archived ones.")(list_models)
    group.command("show", help="One model, and what it descends from.")(show)
    group.command("best", help="The model to use for a domain; exit code 1 without one.")(best)
    group.command("promote", help="Make an evaluated model the first choice of its domain.")(
        promote
    )
    group.command("deprecate", help="Offer a model no longer.")(deprecate)
    group.command("archive", help="Put a model away.")(archive)
    app.add_typer(group)


def list_models(
    domain: Annotated[str | None, typer.Option(help="Only models for this domain.")] = None,
    status: Annotated[
        str | None, typer.Option(help="active, promoted, deprecated or archived.")
    ] = None,
    registry: Registry = None,
    as_json: Json = False,
) -> None:
    """Print one line per model."""
    from aragora.errors import UsageError
    from aragora.training.model_metadata import STATUSES

    if status is not None and status not in STATUSES:
        raise UsageError(f"status {status!r} is not known; expected {', '.join(STATUSES)}")
    models = _registry(registry).list_models(
        domain=domain,
        status=status,  # pyright: ignore[reportArgumentType]
    )
    print_models(models, as_json=as_json)


def show(model_id: ModelId, registry: Registry = None, as_json: Json = False) -> None:
    """Print a model."""
    opened = _registry(registry)
    model, line = opened.get(model_id), opened.lineage(model_id)
    if as_json:
        print(json.dumps({**asdict(model), "lineage": [m.model_id for m in line]}))
        return
    for name, value in asdict(model).items():
        if value not in (None, "", ()):
            print(f"{name:<20} {value}")
    if len(line) > 1:
        print(f"{'lineage':<20} {' <- '.join(m.model_id for m in line)}")


def best(
    domain: Annotated[str, typer.Argument(help="The domain.")] = "general",
    registry: Registry = None,
    as_json: Json = False,
) -> None:
    """Print the best model's id."""
    found = _registry(registry).get_best_for_domain(domain)
    if as_json:
        print(json.dumps(None if found is None else asdict(found)))
    elif found is None:
        print(f"no model for {domain}")
    else:
        print(f"{found.model_id}{'' if found.is_evaluated else '  (never evaluated)'}")
    raise SystemExit(1 if found is None else 0)


def promote(model_id: ModelId, registry: Registry = None) -> None:
    """Promote a model."""
    done = _registry(registry).promote(model_id)
    print(f"{done.model_id} is the first choice for {done.primary_domain}")


def deprecate(
    model_id: ModelId,
    notes: Annotated[str, typer.Option(help="Why.")] = "",
    registry: Registry = None,
) -> None:
    """Deprecate a model."""
    print(f"{_registry(registry).deprecate(model_id, notes=notes).model_id} is deprecated")


def archive(model_id: ModelId, registry: Registry = None) -> None:
    """Archive a model."""
    print(f"{_registry(registry).archive(model_id).model_id} is archived")


def print_models(models: list[ModelMetadata], *, as_json: bool) -> None:
    """One line per model, or all of it as JSON."""
    if as_json:
        print(json.dumps([asdict(model) for model in models]))
        return
    if not models:
        print("no models yet; train one with `aragora training train-sft`")
        return
    print(f"{'model':<28} {'base':<20} {'trained':<11} {'domain':<12} {'Elo':>6}  status")
    for m in models:
        elo = "-" if m.elo_rating is None else f"{m.elo_rating:.0f}"
        mark = m.status if m.is_evaluated else f"{m.status}, never evaluated"
        print(
            f"{m.model_id:<28} {m.base_model:<20} {m.training_type:<11} {m.primary_domain:<12} "
            f"{elo:>6}  {mark}"
        )


def _registry(path: str | None) -> ModelRegistry:
    from aragora.training.model_registry import get_registry

    return get_registry(path)
