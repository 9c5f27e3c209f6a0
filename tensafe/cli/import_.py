"""`tensafe import`: an adapter that was trained elsewhere, through the gates, as a package."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

EPILOG = """
Exit codes: 0 packaged, 3 a gate said no, 4 the file holds something other than an adapter.

The quality gate needs questions with answers that it was not trained on: --eval-data. Without
knowledge of its training, dp_budget is recorded as waived.

Examples:

  tensafe import some_lora/ --sign --name support-routing --eval-data held_out.csv

  tensafe import lora.safetensors --sign --name legal --alpha 32 --base-model ./base --eval-data qa

  tensafe import old_lora/ --allow-pickle --sign --name old --eval-data held_out.csv
"""
GATE_SAID_NO = 3


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(
        name="import",
        epilog=EPILOG,
        help="Test, screen, package and sign a LoRA adapter that was trained elsewhere.",
    )(import_)


def import_(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="LORA_DIR",
            help="PEFT folder, safetensors file, .bin or .pt, or .tgsp.",
            exists=True,
        ),
    ],
    name: Annotated[str, typer.Option(help="The adapter's name.")],
    sign: Annotated[
        bool, typer.Option("--sign", help="Sign it; there are no unsigned packages.")
    ] = False,
    eval_data: Annotated[
        Path | None, typer.Option(help="Questions with answers for the quality gate. Needed.")
    ] = None,
    train_data: Annotated[
        Path | None, typer.Option(help="What it was trained on, if you have it.")
    ] = None,
    base_model: Annotated[
        str | None, typer.Option(help="Its base: nano, a folder or hub id [the one it names].")
    ] = None,
    alpha: Annotated[
        float | None, typer.Option(help="LoRA alpha, where no settings file says it.")
    ] = None,
    allow_pickle: Annotated[
        bool,
        typer.Option("--allow-pickle", help="Load tensors, nothing else, from .bin and .pt files."),
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Folder [default: runs/NAME].")] = None,
    domain: Annotated[
        str | None, typer.Option(help="Field of knowledge [default: told from the data].")
    ] = None,
    description: Annotated[
        str | None, typer.Option(help="What it does, in a sentence, for its SKILL.md.")
    ] = None,
    skill_doc: Annotated[
        Path | None, typer.Option(help="Your own SKILL.md in place of the written one.")
    ] = None,
    license: Annotated[
        str | None, typer.Option(help="The adapter's licence, such as MIT [not stated].")
    ] = None,
    compliance: Annotated[
        list[str] | None,
        typer.Option(help="A claim you sign, such as HIPAA; nobody examines it. Repeatable."),
    ] = None,
    question_column: Annotated[
        list[str] | None, typer.Option(help="Question column(s) of the evaluation data.")
    ] = None,
    answer_column: Annotated[
        str | None, typer.Option(help="Answer column of the evaluation data.")
    ] = None,
    max_test_items: Annotated[int, typer.Option(help="Most items to answer.")] = 600,
    engine: Annotated[
        str | None, typer.Option(help="embedded or a URL [default: see TINKER_BASE_URL].")
    ] = None,
    creator: Annotated[
        str | None, typer.Option(help='"Name <email>" [default: your only key].')
    ] = None,
    passphrase_file: Annotated[
        Path | None,
        typer.Option(
            help="File with the passphrase, mode 0600 [else TENSAFE_KEY_PASSPHRASE, or ask]."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Result as JSON on stdout.")] = False,
) -> None:
    """Parse, import, print."""
    from pydantic import ValidationError

    from tensafe.errors import UsageError
    from tensafe.pipeline.import_config import ImportConfig
    from tensafe.pipeline.importing import import_adapter
    from tensafe.pipeline.packing import creator_key
    from tensafe.pipeline.terminal import TerminalView
    from tensafe.tgsp import read_custom_skill_doc

    if not sign:
        raise UsageError("packages are always signed: add --sign")
    if eval_data is None:
        raise UsageError(
            "--eval-data is missing: the quality gate (qa_verify) needs questions with answers "
            "that the adapter was not trained on, as a file or folder"
        )
    try:
        config = ImportConfig(
            source=source,
            name=name,
            eval_data=eval_data,
            train_data=train_data,
            out=out,
            domain=domain,
            description=description,
            engine=engine,
            base_model=base_model,
            alpha=alpha,
            allow_pickle=allow_pickle,
            question_columns=tuple(question_column or ()),
            answer_column=answer_column,
            compliance=tuple(compliance or ()),
            license=license,
            max_test_items=max_test_items,
        )
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-") if first["loc"] else ""
        raise UsageError(f"--{option}: {first['msg']} (got {first['input']!r})") from error
    document = read_custom_skill_doc(skill_doc) if skill_doc is not None else None
    signer = creator_key(creator, passphrase_file)
    with TerminalView() as view:
        outcome = import_adapter(config, signer, view, skill_doc=document)
    if as_json:
        print(json.dumps(outcome.to_json(), indent=2))
    sys.exit(0 if outcome.package else GATE_SAID_NO)
