"""`tensafe improve`: logs and feedback in, the next version of an adapter out."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

EPILOG = """
Exit codes: 0 the next version is packaged, 3 a gate or the comparison said no.

Examples:

  tensafe improve runs/support --log traffic.jsonl --feedback ratings.jsonl

  tensafe improve runs/support --log traffic.jsonl --answers answers.yaml --out runs/a

  tensafe improve runs/support --log traffic.jsonl --teacher http://127.0.0.1:8000/v1

  tensafe improve runs/support --log traffic.jsonl --replay answers --epsilon 4 --out runs/b
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(epilog=EPILOG, help="Make the next version of an adapter from its logs.")(improve)


def improve(
    context: typer.Context,
    adapter: Annotated[
        Path, typer.Argument(help="Run folder of the current version, or the .tgsp file in it.")
    ],
    log: Annotated[
        Path, typer.Option(help="Interactions, JSONL with OpenAI-style messages and feedback.")
    ],
    feedback: Annotated[
        Path | None, typer.Option(help="More feedback, JSONL, by the interactions' id.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder of the next version [default: RUN-vN].")
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="embedded, hosted or a URL [default: see TINKER_BASE_URL].")
    ] = None,
    answers: Annotated[
        Path | None,
        typer.Option(help="YAML of all allowed answers, each with words that users have for it."),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            help="A stronger model: URL of an OpenAI-compatible API (key: TENSAFE_TEACHER_KEY) or "
            "a tinker:// path. Weak interactions are sent there."
        ),
    ] = None,
    teacher_model: Annotated[
        str | None, typer.Option(help="Model of the teacher [default: the first it lists].")
    ] = None,
    votes: Annotated[int, typer.Option(help="Samples of a majority vote.")] = 7,
    agreement: Annotated[float, typer.Option(help="Share of votes that makes an answer.")] = 0.7,
    low_confidence: Annotated[
        float, typer.Option(help="Mean token probability below which an answer is weak.")
    ] = 0.6,
    redact: Annotated[
        bool,
        typer.Option(
            "--redact",
            help="Marks such as [EMAIL] for personal data and secrets, before anything else reads "
            "the log; always where the version before was made so.",
        ),
    ] = False,
    replay: Annotated[
        str, typer.Option(help="auto, records (earlier data), answers (the adapter's own) or none.")
    ] = "auto",
    replay_share: Annotated[float, typer.Option(help="Share of the mix that is replayed.")] = 0.2,
    dp: Annotated[
        bool | None,
        typer.Option("--dp/--no-dp", help="Differential privacy [default: as the version before]."),
    ] = None,
    epsilon: Annotated[
        float | None, typer.Option(help="Privacy budget [default: as before, or what is left].")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="[default: as before]")] = None,
    epochs: Annotated[float | None, typer.Option(help="[default: as before]")] = None,
    lot: Annotated[int | None, typer.Option(help="Mean examples per private step.")] = None,
    steps: Annotated[int | None, typer.Option(help="Private steps.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of votes and batch order.")] = 0,
    max_test_items: Annotated[int, typer.Option(help="Most items asked of a test set.")] = 600,
    min_gain: Annotated[
        float, typer.Option(help="Rise on the new test set that a version needs.")
    ] = 0.02,
    max_forgetting: Annotated[
        float, typer.Option(help="Fall on the old test set that is allowed.")
    ] = 0.01,
    as_json: Annotated[bool, typer.Option("--json", help="Result as JSON on stdout.")] = False,
) -> None:
    """Parse, improve, print."""
    from tensafe.cli.train import is_given
    from tensafe.improve import improve_adapter
    from tensafe.improve.improving import improve_config
    from tensafe.pipeline.terminal import TerminalView

    options: dict[str, Any] = {
        "out": out,
        "engine": engine,
        "answers": answers,
        "teacher": teacher,
        "teacher_model": teacher_model,
        "votes": votes,
        "agreement": agreement,
        "low_confidence": low_confidence,
        "redact_pii": redact,
        "replay": replay,
        "replay_share": replay_share,
        "dp": dp,
        "epsilon": epsilon,
        "learning_rate": learning_rate,
        "epochs": epochs,
        "lot": lot,
        "steps": steps,
        "seed": seed,
        "max_test_items": max_test_items,
        "min_gain": min_gain,
        "max_forgetting": max_forgetting,
    }
    names = {"redact_pii": "redact"}
    given = {n: v for n, v in options.items() if is_given(context, names.get(n, n))}
    settings = improve_config(None, given)
    with TerminalView() as view:
        done = improve_adapter(adapter, log, feedback, config=settings, view=view)
    if as_json:
        print(json.dumps(done.to_json(), indent=2))
    sys.exit(0 if done.package else 3)
