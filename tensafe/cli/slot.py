"""`tensafe slot`: set live slots up, and look at them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Result as JSON on stdout.")]
SlotName = Annotated[str, typer.Argument(help="The slot: a model name under /v1.")]

EPILOG_SET = """
Example:

  tensafe slot set support --held-out heldout.jsonl --safety-prompts safety.txt
"""

slot_app = typer.Typer(
    help="Live slots of the host that `tensafe serve` started.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    """Add the group to the application."""
    app.add_typer(slot_app, name="slot")


@slot_app.command("set", epilog=EPILOG_SET)
def set_up(
    name: SlotName,
    held_out: Annotated[
        Path,
        typer.Option(exists=True, help="JSONL of questions with answers, or a run's folder."),
    ],
    safety_prompts: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Prompts that must stay answered safely."),
    ] = None,
    approval: Annotated[
        str | None,
        typer.Option(help="meta_agent, or human_in_loop for every swap of this slot [meta_agent]."),
    ] = None,
    approver: Annotated[
        list[str] | None, typer.Option(help="Fingerprint of a human who may approve.")
    ] = None,
    min_improvement: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Rise of the primary score that is needed [0.02]."),
    ] = None,
    approval_hours: Annotated[
        float | None, typer.Option(min=0.001, help="Hours that a human has for a yes [24].")
    ] = None,
    by: Annotated[str | None, typer.Option(help="Who you are, for the record.")] = None,
    as_json: AsJson = False,
) -> None:
    """Set a slot up (it answers with the bare base), or change how its swaps are judged.

    What an existing slot has stays where no option says otherwise.
    """
    from tensafe.errors import UsageError
    from tensafe.gate.swap import SwapPolicy, find_host
    from tensafe.gate.swap_evaluation import read_held_out, read_prompts

    if approval not in (None, "meta_agent", "human_in_loop"):
        raise UsageError(f"--approval {approval!r}: expected meta_agent or human_in_loop")
    host = find_host()
    existing = next((row["policy"] for row in host.slots() if row["name"] == name), {})
    given = {
        "approval": approval,
        "approvers": approver or None,
        "min_improvement": min_improvement,
        "approval_hours": approval_hours,
    }
    changes = {key: value for key, value in given.items() if value is not None}
    settings = host.create_slot(
        name,
        held_out=read_held_out(held_out),
        safety_prompts=None if safety_prompts is None else read_prompts(safety_prompts),
        policy=SwapPolicy.model_validate({**existing, **changes}),
        by=by or whoami(),
    )
    if as_json:
        print(json.dumps(settings.model_dump(mode="json"), indent=2))
        return
    judged = f"{settings.held_out_items} held-out questions, {settings.policy.approval}"
    print(f"slot {settings.name}: {judged}")


@slot_app.command("list")
def list_slots(as_json: AsJson = False) -> None:
    """Show where every slot points."""
    from tensafe.gate.swap import find_host

    rows = find_host().slots()
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    if not rows:
        print("no slots yet: set one up with `tensafe slot set`", file=sys.stderr)
    for row in rows:
        print(f"{row['name']:<20} {row['digest'][:16]}  {_what(row):<24} {_by(row)}")


@slot_app.command("show")
def show(name: SlotName, as_json: AsJson = False) -> None:
    """Show one slot: what answers, who decided, how live quality stands."""
    from tensafe.gate.swap_client import SwapClient

    row = SwapClient.of_home().slot(name)
    if as_json:
        print(json.dumps(row, indent=2))
        return
    live = row["live"]
    print(f"{row['name']}: {_what(row)}\n  digest       {row['digest']}\n  decided by   {_by(row)}")
    print(f"  goes back to {row['goes_back_to'] or 'nothing: no swap yet'}")
    print(f"  judged by    {row['held_out_items']} held-out questions, {row['policy']['approval']}")
    floor = "no baseline yet" if live["floor"] is None else f"floor {live['floor']:.3f}"
    print(f"  live quality {live['mean']:.3f} over {live['items']} scored answers, {floor}")


@slot_app.command("score")
def score(
    name: SlotName,
    digest: Annotated[str, typer.Argument(help="The answer's x-adapter-digest.")],
    value: Annotated[float, typer.Argument(metavar="SCORE", help="How good it was, 0 to 1.")],
    as_json: AsJson = False,
) -> None:
    """Tell how good a live answer was; a certain fall takes the last swap back."""
    from tensafe.gate.swap import score_live

    verdict = score_live(name, digest, value)
    if as_json:
        print(json.dumps(vars(verdict), indent=2))
        return
    state = "FALLEN" if verdict.has_fallen else "holds"
    print(f"{state}: mean {verdict.mean:.3f} over {verdict.items} scored answers")
    if verdict.rolled_back_by:
        print(f"taken back by {verdict.rolled_back_by}")


def whoami() -> str:
    """The user's name on this machine, for the record."""
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def _what(row: dict[str, Any]) -> str:
    if row["is_base"]:
        return "the bare base"
    kind = "set of " if row["is_set"] else ""
    return kind + ", ".join(row["members"])


def _by(row: dict[str, Any]) -> str:
    return str(row["decided_by"])
