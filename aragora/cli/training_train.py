"""`aragora training train-…`: train on debates, or on files that were exported before."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aragora.cli.options import Database, Json

if TYPE_CHECKING:
    from aragora.training.results import TrainingProgress, TrainingResult
    from aragora.training.tinker_client import TinkerClient

_END = """
Without --data the records are exported from the debates in the database. The trained model is
registered; its id is printed. After Ctrl-C the same command with --resume FOLDER goes on.
"""
SFT_EPILOG = f"""
Examples:

  aragora training train-sft --limit 1000

  aragora training train-sft --data sft_data.jsonl --adapter-name aragora-v1 --domain security
{_END}"""
DPO_EPILOG = f"""
Examples:

  aragora training train-dpo --beta 0.1

  aragora training train-dpo --data dpo_data.jsonl --parent aragora-sft-v1
{_END}"""
COMBINED_EPILOG = f"""
Examples:

  aragora training train-combined --adapter-name aragora-v1

  aragora training train-combined --sft-data sft_data.jsonl --dpo-data dpo_data.jsonl
{_END}"""
ADVERSARIAL_EPILOG = f"""
Examples:

  aragora training train-adversarial --parent aragora-v1
{_END}"""

Model = Annotated[
    str | None, typer.Option(help="Base model [default: TINKER_BASE_MODEL, or the engine's].")
]
AdapterName = Annotated[str, typer.Option(help="What the model is called; a version is added.")]
Data = Annotated[
    Path | None, typer.Option(help="JSONL file in place of an export.", exists=True, dir_okay=False)
]
Limit = Annotated[int | None, typer.Option(help="Most records.", min=1)]
Rank = Annotated[
    int | None, typer.Option(help="LoRA rank [default: 16, with a --domain 32].", min=1)
]
Rate = Annotated[
    float | None, typer.Option(help="Peak learning rate [default: by the base's width].")
]
Epochs = Annotated[float, typer.Option(help="Passes over the records.")]
DpoEpochs = Annotated[float, typer.Option(help="Passes over the preferences.")]
Beta = Annotated[float, typer.Option(help="How closely training keeps to the reference.")]
Batch = Annotated[int, typer.Option(help="Records per batch.", min=1)]
Accumulation = Annotated[int, typer.Option(help="Batches per step.", min=1)]
Domain = Annotated[str, typer.Option(help="What the model is for; exports only this domain.")]
Parent = Annotated[str, typer.Option(help="Model to go on from, in place of the bare base.")]
Seed = Annotated[int, typer.Option(help="Seed of weights and batches.")]
Resume = Annotated[Path | None, typer.Option(help="Folder of a training to go on with.")]
MinConfidence = Annotated[float, typer.Option(help="Least confidence of an outcome.")]
MinSuccess = Annotated[float, typer.Option(help="Least success of a pattern.")]
MinElo = Annotated[float, typer.Option(help="Least rating difference; 0 asks for none.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the group."""
    app.command("train-sft", epilog=SFT_EPILOG, help="Train on what won and what helped.")(
        train_sft
    )
    app.command("train-dpo", epilog=DPO_EPILOG, help="Train on pairs of answers.")(train_dpo)
    app.command("train-combined", epilog=COMBINED_EPILOG, help="SFT, then DPO on its result.")(
        train_combined
    )
    app.command(
        "train-adversarial", epilog=ADVERSARIAL_EPILOG, help="Train on what the gauntlet found."
    )(train_adversarial)


def train_sft(
    model: Model = None,
    adapter_name: AdapterName = "",
    data: Data = None,
    limit: Limit = None,
    min_confidence: MinConfidence = 0.8,
    min_success_rate: MinSuccess = 0.7,
    lora_rank: Rank = None,
    learning_rate: Rate = None,
    epochs: Epochs = 3.0,
    batch_size: Batch = 4,
    gradient_accumulation_steps: Accumulation = 4,
    domain: Domain = "general",
    parent: Parent = "",
    seed: Seed = 0,
    resume: Resume = None,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Export unless a file is given, train, print."""
    rows = data or _exported(
        "sft",
        database,
        domain,
        limit,
        min_confidence=min_confidence,
        min_success_rate=min_success_rate,
    )
    settings = _settings(locals())

    async def train(client: TinkerClient, folder: Path) -> TrainingResult:
        return await client.train_sft(
            rows,
            model,
            adapter_name,
            lora_rank,
            learning_rate,
            limit=limit,
            on_progress=_show,
            folder=folder,
            epochs=epochs,
            **settings,
        )

    _run(train, resume, as_json)


def train_dpo(
    model: Model = None,
    adapter_name: AdapterName = "",
    beta: Beta = 0.1,
    data: Data = None,
    limit: Limit = None,
    min_elo_diff: MinElo = 100.0,
    lora_rank: Rank = None,
    learning_rate: Rate = None,
    epochs: DpoEpochs = 1.0,
    batch_size: Batch = 4,
    gradient_accumulation_steps: Accumulation = 4,
    domain: Domain = "general",
    parent: Parent = "",
    seed: Seed = 0,
    resume: Resume = None,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Export unless a file is given, train, print."""
    rows = data or _exported("dpo", database, domain, limit, min_elo_difference=min_elo_diff)
    settings = _settings(locals())

    async def train(client: TinkerClient, folder: Path) -> TrainingResult:
        return await client.train_dpo(
            rows,
            model,
            adapter_name,
            beta,
            lora_rank,
            learning_rate,
            limit=limit,
            on_progress=_show,
            folder=folder,
            dpo_epochs=epochs,
            **settings,
        )

    _run(train, resume, as_json)


def train_combined(
    model: Model = None,
    adapter_name: AdapterName = "",
    beta: Beta = 0.1,
    sft_data: Data = None,
    dpo_data: Data = None,
    sft_limit: Limit = None,
    dpo_limit: Limit = None,
    min_confidence: MinConfidence = 0.8,
    min_success_rate: MinSuccess = 0.7,
    min_elo_diff: MinElo = 100.0,
    lora_rank: Rank = None,
    learning_rate: Rate = None,
    epochs: Epochs = 3.0,
    dpo_epochs: DpoEpochs = 1.0,
    batch_size: Batch = 4,
    gradient_accumulation_steps: Accumulation = 4,
    domain: Domain = "general",
    parent: Parent = "",
    seed: Seed = 0,
    resume: Resume = None,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Export what isn't given as a file, train twice, print."""
    conversations = sft_data or _exported(
        "sft",
        database,
        domain,
        sft_limit,
        min_confidence=min_confidence,
        min_success_rate=min_success_rate,
    )
    pairs = dpo_data or _exported(
        "dpo", database, domain, dpo_limit, min_elo_difference=min_elo_diff
    )
    settings = _settings(locals())

    async def train(client: TinkerClient, folder: Path) -> TrainingResult:
        return await client.train_combined(
            conversations,
            pairs,
            model,
            adapter_name,
            sft_limit=sft_limit,
            dpo_limit=dpo_limit,
            on_progress=_show,
            folder=folder,
            beta=beta,
            lora_rank=lora_rank,
            learning_rate=learning_rate,
            epochs=epochs,
            dpo_epochs=dpo_epochs,
            **settings,
        )

    _run(train, resume, as_json)


def train_adversarial(
    model: Model = None,
    adapter_name: AdapterName = "",
    beta: Beta = 0.1,
    data: Data = None,
    limit: Limit = None,
    lora_rank: Rank = None,
    learning_rate: Rate = None,
    epochs: Epochs = 3.0,
    dpo_epochs: DpoEpochs = 1.0,
    batch_size: Batch = 4,
    gradient_accumulation_steps: Accumulation = 4,
    parent: Parent = "",
    seed: Seed = 0,
    resume: Resume = None,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Export unless a file is given, train, print."""
    rows = data or _exported("gauntlet", database, "general", limit)
    settings = _settings({**locals(), "domain": "general"})

    async def train(client: TinkerClient, folder: Path) -> TrainingResult:
        return await client.train_adversarial(
            rows,
            model,
            adapter_name,
            limit=limit,
            on_progress=_show,
            folder=folder,
            beta=beta,
            lora_rank=lora_rank,
            learning_rate=learning_rate,
            epochs=epochs,
            dpo_epochs=dpo_epochs,
            **settings,
        )

    _run(train, resume, as_json)


def _settings(values: dict[str, Any]) -> dict[str, Any]:
    """The options that every training has, by their names in `TrainingSettings`."""
    return {
        "batch_size": values["batch_size"],
        "gradient_accumulation_steps": values["gradient_accumulation_steps"],
        "domain": values["domain"],
        "parent_model_id": values["parent"],
        "seed": values["seed"],
    }


def _exported(
    kind: str, database: str | None, domain: str, limit: int | None, **options: Any
) -> list[Any]:
    """Rows from the debates; exit code 1, with what each filter removed, when there are none."""
    from aragora.training.exporters import DPOExporter, GauntletExporter, SFTExporter

    exporter = {"sft": SFTExporter, "dpo": DPOExporter, "gauntlet": GauntletExporter}[kind]
    if domain != "general":
        options["domains"] = (domain,)
    rows = exporter(database).export(register=True, limit=limit, **options)
    print(rows.report.explain(), file=sys.stderr)
    if not rows:
        print(
            "nothing to train on: loosen the filters above, hold debates first, or give --data",
            file=sys.stderr,
        )
        raise SystemExit(1)
    print(f"training set {rows.training_set_id}", file=sys.stderr)
    return rows


def _run(
    train: Callable[[TinkerClient, Path], Awaitable[TrainingResult]],
    resume: Path | None,
    as_json: bool,
) -> None:
    import asyncio

    from aragora.config import AragoraConfig
    from aragora.memory.identity import new_id
    from aragora.training.tinker_client import TinkerClient

    folder = resume or AragoraConfig().home / "trainings" / new_id()

    async def go() -> TrainingResult:
        async with TinkerClient() as client:
            return await train(client, folder)

    try:
        result = asyncio.run(go())
    except KeyboardInterrupt:
        print(f"stopped; go on with --resume {folder}", file=sys.stderr)
        raise SystemExit(1) from None
    if as_json:
        print(json.dumps(result.to_json()))
        return
    long = f", {result.left_out_long} too long" if result.left_out_long else ""
    print(
        f"{result.model_id}: rank {result.lora_rank} on {result.base_model}, {result.steps} steps, "
        f"{result.records} records{long}"
    )
    print(result.checkpoint)


def _show(step: TrainingProgress) -> None:
    every = max(1, step.total // 20)
    if step.step % every and step.step != step.total:
        return
    share = "" if step.accuracy is None else f"  preferred {step.accuracy:.0%}"
    print(
        f"{step.stage} {step.step}/{step.total}  loss {step.loss:.3f}{share}  "
        f"{step.tokens_per_s:,.0f} tokens/s  {step.eta_s:.0f} s left",
        file=sys.stderr,
    )
