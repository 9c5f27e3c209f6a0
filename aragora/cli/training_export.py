"""`aragora training export-…` and `stats`: training files out of stored debates."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aragora.cli.options import Database, Json

if TYPE_CHECKING:
    from aragora.training.exporters import Exporter
    from aragora.training.exporters.writing import Export

_END = """
Rows hold the words of real debates and say which. Held-out debates, benchmark items, repetitions
and rows with personal data are left out; what each filter removed is printed. A card stands beside
each file. Exit code 1: there was nothing to export.
"""
SFT_EPILOG = f"""
Examples:

  aragora training export-sft -o sft_data.jsonl --min-confidence 0.8

  aragora training export-sft -o new.jsonl --replay sft_data.jsonl --since 2026-06-01
{_END}"""
DPO_EPILOG = f"""
Examples:

  aragora training export-dpo -o dpo_data.jsonl --min-elo-diff 100

  aragora training export-dpo -o pairs.parquet --min-elo-diff 0 --no-calibration
{_END}"""
GAUNTLET_EPILOG = f"""
Examples:

  aragora training export-gauntlet -o gauntlet.jsonl

  aragora training export-gauntlet -o gauntlet.jsonl --domain jailbreak --no-defense-training

Pairs go to a second file, gauntlet.pairs.jsonl.
{_END}"""
ALL_EPILOG = f"""
Examples:

  aragora training export-all -d training_data/
{_END}"""
STATS_EPILOG = """
Examples:

  aragora training stats

  aragora training stats --json
"""

Domain = Annotated[
    list[str] | None, typer.Option(help="Only this domain; may be repeated.", show_default=False)
]
Split = Annotated[
    list[str] | None,
    typer.Option(help="Splits to use; may be repeated [default: train, none].", show_default=False),
]
Since = Annotated[str | None, typer.Option(help="From this day or time on (UTC).")]
Until = Annotated[str | None, typer.Option(help="Before this day or time (UTC).")]
Limit = Annotated[int | None, typer.Option(help="Most rows.", min=1)]
After = Annotated[str, typer.Option(help="Go on behind this id, which the last page printed.")]
Pii = Annotated[str, typer.Option(help="Rows with personal data: drop, redact or keep.")]
Benchmark = Annotated[
    list[Path] | None,
    typer.Option(help="File whose items are left out; may be repeated.", exists=True),
]
ReplayFile = Annotated[
    list[Path] | None,
    typer.Option("--replay", help="Earlier export to mix in; may be repeated.", exists=True),
]
ReplayShare = Annotated[float, typer.Option(help="Share of earlier rows.", min=0, max=0.99)]
Near = Annotated[float, typer.Option(help="Similarity of near-repetitions; 1 keeps them.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the group."""
    app.command("export-sft", epilog=SFT_EPILOG, help="Winning answers, critiques, patterns.")(
        export_sft
    )
    app.command("export-dpo", epilog=DPO_EPILOG, help="Pairs of answers to the same prompt.")(
        export_dpo
    )
    app.command("export-gauntlet", epilog=GAUNTLET_EPILOG, help="Attacks and what held.")(
        export_gauntlet
    )
    app.command("export-all", epilog=ALL_EPILOG, help="All three kinds, into a folder.")(export_all)
    app.command("stats", epilog=STATS_EPILOG, help="What the database holds to train on.")(stats)


def export_sft(
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")] = Path(
        "sft_data.jsonl"
    ),
    min_confidence: Annotated[float, typer.Option(help="Least confidence of an outcome.")] = 0.8,
    min_success_rate: Annotated[float, typer.Option(help="Least success of a pattern.")] = 0.7,
    debates: Annotated[bool, typer.Option(help="Answers that won.")] = True,
    patterns: Annotated[bool, typer.Option(help="Issues with what mends them.")] = True,
    critiques: Annotated[bool, typer.Option(help="Critiques that helped.")] = True,
    experts: Annotated[bool, typer.Option(help="Answers of experts.")] = True,
    domain: Domain = None,
    split: Split = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = None,
    after: After = "",
    pii: Pii = "drop",
    near_duplicates: Near = 0.9,
    benchmark: Benchmark = None,
    replay: ReplayFile = None,
    replay_share: ReplayShare = 0.2,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Parse, export, print."""
    from aragora.training.exporters import SFTExporter

    given: dict[str, Any] = {
        "min_confidence": min_confidence,
        "min_success_rate": min_success_rate,
        "include_debates": debates,
        "include_patterns": patterns,
        "include_critiques": critiques,
        "include_experts": experts,
        **_shared(locals()),
    }
    _finish([SFTExporter(database).write(output, **given)], as_json)


def export_dpo(
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")] = Path(
        "dpo_data.jsonl"
    ),
    min_elo_diff: Annotated[
        float, typer.Option(help="Least rating difference; 0 asks for none.", min=0)
    ] = 100.0,
    min_confidence: Annotated[float, typer.Option(help="Least confidence of an outcome.")] = 0.0,
    head_to_head: Annotated[bool, typer.Option(help="Winner against loser.")] = True,
    calibration: Annotated[bool, typer.Option(help="Well against badly calibrated.")] = True,
    domain_specific: Annotated[bool, typer.Option(help="Expert against non-expert.")] = True,
    domain: Domain = None,
    split: Split = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = None,
    after: After = "",
    pii: Pii = "drop",
    near_duplicates: Near = 0.9,
    benchmark: Benchmark = None,
    replay: ReplayFile = None,
    replay_share: ReplayShare = 0.2,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Parse, export, print."""
    from aragora.training.exporters import DPOExporter

    given: dict[str, Any] = {
        "min_elo_difference": min_elo_diff,
        "min_confidence": min_confidence,
        "include_head_to_head": head_to_head,
        "include_calibration": calibration,
        "include_domain_specific": domain_specific,
        **_shared(locals()),
    }
    _finish([DPOExporter(database).write(output, **given)], as_json)


def export_gauntlet(
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")] = Path(
        "gauntlet_data.jsonl"
    ),
    attack_patterns: Annotated[bool, typer.Option(help="Attacks with what held.")] = True,
    defense_training: Annotated[bool, typer.Option(help="Held against broken, as pairs.")] = True,
    agent: Annotated[
        list[str] | None, typer.Option(help="Only runs against this agent; may be repeated.")
    ] = None,
    domain: Annotated[
        list[str] | None, typer.Option(help="Only this category; may be repeated.")
    ] = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = None,
    after: After = "",
    pii: Pii = "drop",
    near_duplicates: Near = 0.9,
    benchmark: Benchmark = None,
    replay: ReplayFile = None,
    replay_share: ReplayShare = 0.2,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Parse, export, print."""
    from aragora.training.exporters import GauntletExporter

    given: dict[str, Any] = {
        "include_attack_patterns": attack_patterns,
        "include_defense_training": defense_training,
        "agents": tuple(agent or ()),
        **_shared(locals()),
    }
    _finish([GauntletExporter(database).write(output, **given)], as_json)


def export_all(
    output_dir: Annotated[
        Path, typer.Option("--output-dir", "-d", help="Folder to write to.")
    ] = Path("training_data"),
    min_confidence: Annotated[float, typer.Option(help="SFT: least confidence.")] = 0.8,
    min_success_rate: Annotated[float, typer.Option(help="SFT: least success.")] = 0.7,
    min_elo_diff: Annotated[float, typer.Option(help="DPO: rating difference.", min=0)] = 100.0,
    domain: Domain = None,
    split: Split = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int | None, typer.Option(help="Most rows of each kind.", min=1)] = None,
    pii: Pii = "drop",
    near_duplicates: Near = 0.9,
    benchmark: Benchmark = None,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Parse, export each kind, print."""
    from aragora.memory import Memory
    from aragora.training.exporters import DPOExporter, GauntletExporter, SFTExporter

    shared = _shared(locals())
    with Memory.open(database) as memory:
        kinds: list[tuple[Exporter[Any], str, dict[str, Any]]] = [
            (
                SFTExporter(memory),
                "sft_data.jsonl",
                {"min_confidence": min_confidence, "min_success_rate": min_success_rate},
            ),
            (DPOExporter(memory), "dpo_data.jsonl", {"min_elo_difference": min_elo_diff}),
            # Its domains are categories of attacks: the domains of debates say nothing of them.
            (GauntletExporter(memory), "gauntlet_data.jsonl", {"domains": ()}),
        ]
        made = [
            exporter.write(output_dir / name, **{**shared, **given})
            for exporter, name, given in kinds
        ]
    _finish(made, as_json)


def stats(database: Database = None, as_json: Json = False) -> None:
    """Print what there is, and what the exporters would make of it with their defaults."""
    from aragora.memory import Memory
    from aragora.training.exporters.stocktaking import take_stock

    with Memory.open(database) as memory:
        stock = take_stock(memory)
    if as_json:
        print(json.dumps(asdict(stock)))
    else:
        print("\n".join(stock.lines()))


def _shared(values: dict[str, Any]) -> dict[str, Any]:
    """The options that all kinds have, by their names in `ExportOptions`."""
    given: dict[str, Any] = {
        "domains": tuple(values.get("domain") or ()),
        "splits": tuple(values.get("split") or ()) or None,
        "since": values["since"],
        "until": values["until"],
        "limit": values["limit"],
        "after": values.get("after"),
        "pii": values["pii"],
        "near_duplicates": values["near_duplicates"],
        "benchmarks": tuple(values["benchmark"] or ()),
        "replay": tuple(values.get("replay") or ()),
        "replay_share": values.get("replay_share"),
    }
    return {name: value for name, value in given.items() if value is not None}


def _finish(made: list[Export], as_json: bool) -> None:
    if as_json:
        print(json.dumps([_told(export) for export in made]))
    for export in made:
        print(export.report.explain(), file=sys.stderr)
        if export.report.next_after is not None:
            print(f"  more with --after {export.report.next_after}", file=sys.stderr)
        if not as_json:
            for file in export.files:
                print(f"{file.path}: {file.rows:,} rows, card {file.card.name}")
    if not any(export.files for export in made):
        print("nothing to export: loosen the filters above, or hold debates first", file=sys.stderr)
        raise SystemExit(1)


def _told(export: Export) -> dict[str, Any]:
    files = [
        {**asdict(file), "path": str(file.path), "card": str(file.card)} for file in export.files
    ]
    return {**asdict(export.report), "files": files}
