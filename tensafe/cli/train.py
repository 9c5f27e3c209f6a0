"""`tensafe train`: data in, signed adapter out (or the gate's reasons why not)."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

EXAMPLES = """
Examples:

  tensafe train --data ./my_corpus --rank 30 --alpha 64

  tensafe train --data tickets.csv --question-column message --answer-column queue --epsilon 4

  tensafe train --data intents.csv --no-dp --epochs 6

  tensafe train --config tensafe.yaml --epsilon 4    # options win over the file

  tensafe train --data handbook.pdf --teacher http://127.0.0.1:8000/v1 --no-prose

  tensafe train --data ./my_corpus --out runs/a    # the same again resumes a killed run
"""

# Options that are named otherwise than the settings they give.
_FIELDS = {"question_column": "question_columns"}


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(epilog=EXAMPLES, help="Train, test, screen and package an adapter from data.")(
        train
    )


def train(
    context: typer.Context,
    data: Annotated[
        Path | None, typer.Option(help="File or folder: PDF CSV TSV JSONL JSON TXT MD Parquet.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML file of settings, as `tensafe init` writes it.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder [default: runs/NAME].")] = None,
    name: Annotated[str | None, typer.Option(help="Adapter name [default: from the data].")] = None,
    domain: Annotated[
        str | None,
        typer.Option(help="Field of knowledge [default: told from the data]."),
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="embedded, hosted or a URL [default: see TINKER_BASE_URL].")
    ] = None,
    base_model: Annotated[
        str | None, typer.Option(help="nano, a model folder or a hub id.")
    ] = None,
    question_column: Annotated[
        list[str] | None, typer.Option(help="Column(s) with the question; repeatable.")
    ] = None,
    answer_column: Annotated[str | None, typer.Option(help="Column with the answer.")] = None,
    prose: Annotated[bool, typer.Option(help="Also learn passages without a question.")] = True,
    teacher: Annotated[
        str | None,
        typer.Option(
            help="URL of an OpenAI-compatible API (key: TENSAFE_TEACHER_KEY) that writes pairs "
            "from prose. Passages are sent there."
        ),
    ] = None,
    teacher_model: Annotated[
        str | None, typer.Option(help="Model of the teacher [default: the first it lists].")
    ] = None,
    redact: Annotated[
        bool, typer.Option("--redact", help="Marks such as [EMAIL] for personal data and secrets.")
    ] = False,
    data_license: Annotated[
        str | None, typer.Option(help="License of the data, for its card [default: unknown].")
    ] = None,
    rank: Annotated[int, typer.Option(help="LoRA rank.")] = 30,
    alpha: Annotated[float, typer.Option(help="LoRA alpha.")] = 64.0,
    dropout: Annotated[float, typer.Option(help="LoRA dropout; only 0.0 is supported.")] = 0.0,
    target_modules: Annotated[
        str | None, typer.Option(help="Comma-separated module names [default: all seven].")
    ] = None,
    bias: Annotated[str, typer.Option(help="LoRA bias; only none is supported.")] = "none",
    task_type: Annotated[
        str, typer.Option(help="LoRA task type; only CAUSAL_LM is supported.")
    ] = "CAUSAL_LM",
    seed: Annotated[int, typer.Option(help="Seed of weights and batch order.")] = 0,
    learning_rate: Annotated[
        float | None, typer.Option(help="Peak AdamW rate [default: by the base's width].")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Examples per step without privacy.")] = 32,
    epochs: Annotated[float, typer.Option(help="Passes over the data without privacy.")] = 4.0,
    max_length: Annotated[int, typer.Option(help="Longest example in tokens.")] = 1024,
    checkpoint_steps: Annotated[
        int, typer.Option(help="Steps between checkpoints; privately 64 at most.")
    ] = 25,
    dp: Annotated[
        bool, typer.Option("--dp/--no-dp", help="Differential privacy; the unit is one example.")
    ] = True,
    epsilon: Annotated[float, typer.Option(help="Privacy budget of this run.")] = 8.0,
    delta: Annotated[float | None, typer.Option(help="[default: min(1e-5, 1/n^1.1)]")] = None,
    clip_norm: Annotated[float, typer.Option(help="Bound on one example's gradient.")] = 0.2,
    lot: Annotated[int | None, typer.Option(help="Mean examples per private step.")] = None,
    steps: Annotated[int | None, typer.Option(help="Private steps.")] = None,
    lora_train: Annotated[str, typer.Option(help="Under noise: B (A stays random) or both.")] = "B",
    lifetime_epsilon: Annotated[
        float, typer.Option(help="Budget of these records over all released packages.")
    ] = 8.0,
    max_test_items: Annotated[int, typer.Option(help="Most held-out items to answer.")] = 2000,
    license: Annotated[
        str | None, typer.Option(help="The adapter's licence, such as MIT [not stated].")
    ] = None,
    compliance: Annotated[
        list[str] | None,
        typer.Option(help="A claim you sign, such as HIPAA; nobody examines it. Repeatable."),
    ] = None,
    creator: Annotated[str, typer.Option(help="Name of the signing key.")] = "local",
    as_json: Annotated[bool, typer.Option("--json", help="Result as JSON on stdout.")] = False,
) -> None:
    """Parse, call the pipeline, print."""
    from tensafe.pipeline import create_adapter
    from tensafe.pipeline.config_file import train_config
    from tensafe.pipeline.terminal import TerminalView

    options: dict[str, Any] = {
        "data": data,
        "out": out,
        "name": name,
        "domain": domain,
        "engine": engine,
        "base_model": base_model,
        "question_column": tuple(question_column or ()),
        "answer_column": answer_column,
        "prose": prose,
        "teacher": teacher,
        "teacher_model": teacher_model,
        "redact_pii": redact,
        "data_license": data_license,
        "rank": rank,
        "alpha": alpha,
        "dropout": dropout,
        "target_modules": tuple(part.strip() for part in (target_modules or "").split(",")),
        "bias": bias,
        "task_type": task_type,
        "seed": seed,
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "epochs": epochs,
        "max_length": max_length,
        "checkpoint_steps": checkpoint_steps,
        "dp": dp,
        "epsilon": epsilon,
        "delta": delta,
        "clip_norm": clip_norm,
        "lot": lot,
        "steps": steps,
        "lora_train": lora_train,
        "lifetime_epsilon": lifetime_epsilon,
        "max_test_items": max_test_items,
        "license": license,
        "compliance": tuple(compliance or ()),
        "creator": creator,
    }
    given = {
        _FIELDS.get(option, option): value
        for option, value in options.items()
        if is_given(context, option)
    }
    settings = train_config(config, given)
    with TerminalView() as view:
        outcome = create_adapter(settings, view)
    if as_json:
        print(json.dumps(outcome.to_json(), indent=2))
    sys.exit(0 if outcome.package else 3)


def is_given(context: typer.Context, option: str) -> bool:
    """Whether the user wrote the option, so that it wins over a file's line."""
    source = context.get_parameter_source(option)
    return source is not None and source.name in ("COMMANDLINE", "ENVIRONMENT")
