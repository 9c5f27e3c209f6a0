"""`aragora loop`: debates that make better debaters, measured on held-out tasks."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aragora.cli.options import Json

if TYPE_CHECKING:
    from aragora.loop import LoopState

EPILOG = """
Examples:

  aragora loop --tasks tasks.jsonl --rounds 3 --protocol weigh

  aragora loop --tasks tasks.jsonl --rounds 5 --protocol weigh    # goes on after 3

A line of the task file is {"task": ..., "split": "train"} or {"task": ..., "answer": ..., "split":
"held_out"}. Exit code 3: no version became better than the base.
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(epilog=EPILOG, help="Debate, train, measure, gate and swap in, round after round.")(
        loop
    )


def loop(
    tasks: Annotated[Path, typer.Option(help="JSONL file of tasks.", exists=True, dir_okay=False)],
    rounds: Annotated[int, typer.Option(help="Most rounds.", min=1)] = 3,
    out: Annotated[
        Path, typer.Option(help="Folder of the loop; one that holds a loop goes on.")
    ] = Path("loop"),
    agents: Annotated[int, typer.Option(help="Debaters, all of one version.", min=2)] = 4,
    protocol: Annotated[str, typer.Option(help="A protocol's name, or a .toml file.")] = "debate",
    model: Annotated[str | None, typer.Option(help="Base model [default: the engine's].")] = None,
    temperature: Annotated[
        float, typer.Option(help="Of debaters, and of the single answers measured.")
    ] = 1.0,
    samples: Annotated[int, typer.Option(help="Answers per held-out task.", min=1)] = 4,
    min_confidence: Annotated[
        float, typer.Option(help="Least confidence of an outcome to be learned.", min=0, max=1)
    ] = 0.8,
    pii: Annotated[
        str, typer.Option(help="Training rows with personal data: drop, redact or keep.")
    ] = "drop",
    epochs: Annotated[float, typer.Option(help="Passes over answers that won.")] = 3.0,
    dpo_epochs: Annotated[float, typer.Option(help="Passes over pairs; 0 leaves DPO out.")] = 1.0,
    learning_rate: Annotated[
        float | None,
        typer.Option(help="Peak rate of SFT and DPO alike [default: each by the base's width]."),
    ] = None,
    replay: Annotated[float, typer.Option(help="Share of earlier rows.", min=0, max=0.9)] = 0.2,
    patience: Annotated[
        int, typer.Option(help="Rounds without a better version after which to stop.", min=1)
    ] = 2,
    parts: Annotated[
        int | None, typer.Option(help="Deal the training tasks into so many [default: rounds].")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything.", min=0)] = 0,
    engine: Annotated[
        str | None, typer.Option(help="embedded, hosted or a URL [default: by TINKER_*].")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run or resume a loop, write its page, print its figures."""
    from pydantic import ValidationError

    from aragora.errors import UsageError
    from aragora.loop import LoopSettings, read_tasks, run_loop
    from aragora.loop.page import write_page

    given: dict[str, Any] = {
        "rounds": rounds, "parts": parts, "agents": agents, "protocol": protocol, "model": model,
        "temperature": temperature, "samples": samples, "min_confidence": min_confidence,
        "pii": pii, "epochs": epochs, "dpo_epochs": dpo_epochs, "learning_rate": learning_rate,
        "replay": replay, "patience": patience, "seed": seed,
    }  # fmt: skip
    try:
        settings = LoopSettings.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"--{str(first['loc'][0]).replace('_', '-')}: {first['msg']}") from error
    listed = read_tasks(tasks)
    try:
        state = run_loop(
            listed, settings, out, engine=engine, tell=lambda line: print(line, file=sys.stderr)
        )
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        raise SystemExit(1) from None
    page = write_page(state, listed, out)
    print(page, file=sys.stderr)
    if as_json:
        print(json.dumps(figures_of(state)))
    else:
        print(table_of(state))
    raise SystemExit(0 if state.current.number > 0 else 3)


def figures_of(state: LoopState) -> dict[str, Any]:
    """What `--json` prints."""
    from aragora.loop.comparing import gain

    return {
        "base_model": state.base_model,
        "ended": state.ended,
        "current": state.current.number,
        "versions": [
            {
                "number": v.number,
                "single": v.test.accuracy,
                "majority": v.test.majority_accuracy,
                "greedy": v.test.greedy_accuracy,
                "robustness": v.robustness,
                "used": v.used,
                "gates": v.gates,
                "reason": v.reason,
                "package": v.package,
            }
            for v in state.versions
        ],
        "gain": gain(state.versions[0].test, state.current.test).to_json(),
    }


def table_of(state: LoopState) -> str:
    """The versions as a table for the terminal."""
    from aragora.loop.comparing import gain

    lines = ["version  single  majority  greedy  robustness  used"]
    for v in state.versions:
        robust = "" if v.robustness is None else f"{v.robustness:.1%}"
        lines.append(
            f"{v.number:>7}  {v.test.accuracy:>6.1%}  {v.test.majority_accuracy:>8.1%}  "
            f"{v.test.greedy_accuracy:>6.1%}  {robust:>10}  {'yes' if v.used else 'no'}"
        )
    found = gain(state.versions[0].test, state.current.test)
    lines.append(
        f"version {state.current.number} against the base: {found.difference:+.1%} "
        f"({found.low:+.1%} to {found.high:+.1%}), p = {found.p_value:.2g}; {state.ended}"
    )
    return "\n".join(lines)
