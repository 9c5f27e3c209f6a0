"""`tensafe screen`: RVUv2 over a run, a PEFT adapter or a package, with your own suites beside."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from tensafe.screen.judge import JudgeConfig
    from tensafe.screen.records import LayerResult
    from tensafe.screen.session import Screened

EPILOG = """
Exit codes: 0 all six layers passed, 3 one did not, 4 the package is not intact.

Examples:

  tensafe screen runs/support

  tensafe screen support.tgsp --data tickets.csv --suite xstest_prompts.csv

  tensafe screen some_lora/ --base-model ./base --without-training-data

  tensafe screen runs/support --judge http://127.0.0.1:8000/v1 --judge-model guard
"""
GATE_SAID_NO = 3
SHOWN = 3
SHOWN_CHARACTERS = 160


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(epilog=EPILOG, help="Screen an adapter: behaviour against its base, and weights.")(
        screen
    )


def screen(
    path: Annotated[Path, typer.Argument(help="Run folder, PEFT adapter folder or .tgsp file.")],
    suite: Annotated[
        list[Path] | None,
        typer.Option(help="CrowS-Pairs, XSTest, AdvBench or BBQ: file or folder; repeatable."),
    ] = None,
    suite_items: Annotated[
        int | None, typer.Option(min=2, help="Most items of each suite [default: all].")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="What an adapter or package was trained on.")
    ] = None,
    without_training_data: Annotated[
        bool,
        typer.Option("--without-training-data", help="Declare that this data does not exist here."),
    ] = False,
    engine: Annotated[
        str | None, typer.Option(help="embedded, hosted or a URL [default: see TINKER_BASE_URL].")
    ] = None,
    base_model: Annotated[
        str | None, typer.Option(help="Base to hold it against [default: the one it names].")
    ] = None,
    judge: Annotated[
        str | None, typer.Option(help="OpenAI-compatible URL of a model that rates answers too.")
    ] = None,
    judge_model: Annotated[str | None, typer.Option(help="The judge's name at that URL.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for report and findings [RUN/screened, else screened/NAME]."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Result as JSON on stdout.")] = False,
) -> None:
    """Parse, screen, print."""
    from tensafe.errors import UsageError
    from tensafe.screen.config import ScreenConfig
    from tensafe.screen.session import ScreenRequest, screen_path

    if data is not None and without_training_data:
        raise UsageError("--data and --without-training-data exclude one another")
    screened = screen_path(
        ScreenRequest(
            path=path,
            out=out,
            engine=engine,
            base_model=base_model,
            data=data,
            suites=tuple(suite or ()),
            suite_items=suite_items,
            judge=_judge(judge, judge_model),
            config=ScreenConfig(without_training_data=without_training_data),
        ),
        lambda line: print(line, file=sys.stderr),
    )
    if as_json:
        print(json.dumps(_as_json(screened), indent=2))
    else:
        _print(screened)
    sys.exit(0 if screened.report.passed else GATE_SAID_NO)


def _judge(url: str | None, model: str | None) -> JudgeConfig | None:
    from pydantic import ValidationError

    from tensafe.errors import UsageError
    from tensafe.screen.judge import JudgeConfig

    if url is None or model is None:
        if url is not model:
            raise UsageError("--judge and --judge-model are given together or not at all")
        return None
    try:
        return JudgeConfig(url=url, model=model)
    except ValidationError as error:
        raise UsageError(f"--judge: {error.errors()[0]['msg']}") from error


def _as_json(screened: Screened) -> dict[str, object]:
    report = screened.report
    return {
        "passed": report.passed,
        "adapter_digest": report.adapter_digest,
        "base_model": screened.base_model,
        "base_digest": screened.base_digest,
        "report": str(screened.report_file),
        "report_digest": report.digest,
        "findings": str(screened.findings_file),
        "suites": report.suites,
        "layers": [
            {
                "name": layer.name,
                "passed": layer.passed,
                "score": layer.score,
                "threshold": layer.threshold,
                "reason": layer.reason,
                "findings": layer.evidence.get("findings_total", 0),
                "checks": [
                    {"name": c.name, "value": c.value, "limit": c.limit, "passed": c.passed}
                    for c in layer.checks
                ],
            }
            for layer in report.layers
        ],
    }


def _print(screened: Screened) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False)
    for layer in screened.report.layers:
        _print_layer(console, layer)
    report = screened.report
    verdict = "passed: all six layers" if report.passed else "FAILED: rvu_v2_pass says no"
    console.print(Text(verdict, "bold green" if report.passed else "bold red"))
    for advice in report.gate().advice:
        console.print(Text(f"  try: {advice}"), soft_wrap=True)
    console.print(Text(f"report   {screened.report_file}"), soft_wrap=True)
    console.print(Text(f"findings {screened.findings_file}"), soft_wrap=True)
    console.print(Text(report.limits, "dim"), soft_wrap=True)


def _print_layer(console: Console, layer: LayerResult) -> None:
    from rich.text import Text

    from tensafe.tgsp.text import one_line

    mark, style = ("passed", "green") if layer.passed else ("FAILED", "bold red")
    figures = f"score {layer.score:.3g}  threshold {layer.threshold:.3g}"
    console.print(Text.assemble((f"{mark}  ", style), (f"{layer.name:<16}", "bold"), figures))
    console.print(Text(f"        {one_line(layer.reason)}"), soft_wrap=True)
    for check in layer.checks:
        # Users' suites have checks of their own, which the deciding one would hide.
        if ":" in check.name:
            line = f"{check.name} {check.value:.3g} of at most {check.limit:.3g}: {check.detail}"
            console.print(Text(f"          {one_line(line)}", "dim"), soft_wrap=True)
    for finding in layer.findings[:SHOWN]:
        parts = (finding.rule, finding.detail, finding.prompt, finding.output)
        text = "  |  ".join(one_line(part)[:SHOWN_CHARACTERS] for part in parts if part)
        console.print(Text(f"        - {text}"), soft_wrap=True)
    total = layer.evidence.get("findings_total", 0)
    if isinstance(total, int) and total > SHOWN:
        console.print(Text(f"        … {total - SHOWN} more findings", "dim"))
