"""`tensafe watch`: the continuous loop, and a recorder in front of the engine for it."""

from __future__ import annotations

import json
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tensafe.improve.loop import LoopReport
    from tensafe.improve.loop_config import LoopConfig

EPILOG = """
Nothing is recorded unless --consent says so, and what is recorded is redacted first.

Exit codes: 0 the loop ended at a limit or was told to stop, 1 a step failed (start it again: it
goes on there).

Examples:

  tensafe watch runs/support --traffic traffic/    # makes versions, swaps none

  tensafe watch runs/desk --slot desk --port 8300 --upstream http://127.0.0.1:8200 --consent header

  tensafe watch --out watch/support --status

  tensafe watch --out watch/support --pause

  tensafe watch --out watch/support --resume

  tensafe watch --out watch/support --stop
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(
        epilog=EPILOG, help="Watch live traffic and improve an adapter from it, until a limit."
    )(watch)


def watch(
    context: typer.Context,
    adapter: Annotated[
        Path | None, typer.Argument(help="Run folder of the version that is live.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the loop [default: watch/NAME of the run].")
    ] = None,
    slot: Annotated[
        str | None, typer.Option(help="Live slot whose traffic is recorded and that is swapped.")
    ] = None,
    traffic: Annotated[
        Path | None,
        typer.Option(help="Folder of recorded traffic, or a JSONL file [default: OUT/traffic]."),
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Record here, in front of --upstream; 0 takes a free port.")
    ] = None,
    address: Annotated[str, typer.Option(help="Address that the recorder listens on.")] = (
        "127.0.0.1"
    ),
    upstream: Annotated[
        str | None, typer.Option(help="The engine that answers [default: TINKER_BASE_URL].")
    ] = None,
    consent: Annotated[
        str, typer.Option(help="off, header (x-consent-to-learning: yes) or all.")
    ] = "off",
    sample_rate: Annotated[float, typer.Option(help="Share of the traffic that is stored.")] = 1.0,
    min_examples: Annotated[
        int, typer.Option(help="Weak interactions that a cycle begins with.")
    ] = 100,
    poll: Annotated[float, typer.Option(help="Seconds between looks.")] = 15.0,
    max_versions: Annotated[int, typer.Option(help="Versions that go live.")] = 5,
    max_cycles: Annotated[int, typer.Option(help="Trainings, refused ones included.")] = 20,
    max_hours: Annotated[float, typer.Option(help="Hours since the loop first began.")] = 24.0,
    max_train_minutes: Annotated[float, typer.Option(help="Minutes spent in trainings.")] = 240.0,
    max_epsilon: Annotated[float, typer.Option(help="Privacy of all versions together.")] = 8.0,
    patience: Annotated[int, typer.Option(help="Cycles in a row without a version live.")] = 2,
    engine: Annotated[
        str | None, typer.Option(help="Where it trains: embedded, hosted or a URL.")
    ] = None,
    answers: Annotated[
        Path | None, typer.Option(help="YAML of all allowed answers, with users' words for each.")
    ] = None,
    teacher: Annotated[
        str | None, typer.Option(help="A stronger model; weak interactions are sent there.")
    ] = None,
    replay: Annotated[str, typer.Option(help="auto, records, answers or none.")] = "auto",
    replay_share: Annotated[float, typer.Option(help="Share of the mix that is replayed.")] = 0.2,
    dp: Annotated[
        bool | None, typer.Option("--dp/--no-dp", help="[default: as the version before]")
    ] = None,
    epsilon: Annotated[float | None, typer.Option(help="Privacy budget of each version.")] = None,
    epochs: Annotated[float | None, typer.Option(help="[default: as before]")] = None,
    max_test_items: Annotated[int, typer.Option(help="Most items asked of a test set.")] = 600,
    pause: Annotated[bool, typer.Option("--pause", help="Pause the loop in --out.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Let it go on.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="End it after what it is doing.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Say where it stands.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Result as JSON on stdout.")] = False,
) -> None:
    """Parse, run or steer the loop, print."""
    from tensafe.cli.train import is_given
    from tensafe.errors import UsageError
    from tensafe.files import private_folder
    from tensafe.improve.improving import improve_config
    from tensafe.improve.loop_control import steer

    if pause or resume or stop or status:
        if out is None or sum((pause, resume, stop, status)) > 1:
            raise UsageError("give --out FOLDER with one of --pause --resume --stop --status")
        _print(steer(out, pause=pause, resume=resume, stop=stop), as_json=as_json)
        return
    if adapter is None:
        raise UsageError("name the run folder of the version that is live")
    options: dict[str, Any] = {
        "engine": engine,
        "answers": answers,
        "teacher": teacher,
        "replay": replay,
        "replay_share": replay_share,
        "dp": dp,
        "epsilon": epsilon,
        "epochs": epochs,
        "max_test_items": max_test_items,
    }
    improving = improve_config(None, {n: v for n, v in options.items() if is_given(context, n)})
    config = _checked(
        slot=slot,
        min_examples=min_examples,
        poll_s=poll,
        max_versions=max_versions,
        max_cycles=max_cycles,
        max_hours=max_hours,
        max_train_minutes=max_train_minutes,
        max_epsilon=max_epsilon,
        patience=patience,
        improve=improving,
    )
    folder = out or Path("watch") / adapter.resolve().name
    # First of all: what is made on the way to the traffic's folder would get the usual mode.
    private_folder(folder)
    source = traffic or folder / "traffic"
    with ExitStack() as stack:
        if port is not None:
            url = _record(stack, source, slot, upstream, address, port, consent, sample_rate)
            print(f"recording {slot} at {url}/v1 (consent: {consent})", file=sys.stderr)
        _print(_run(adapter, source, config, folder), as_json=as_json)


def _run(adapter: Path, source: Path, config: LoopConfig, folder: Path) -> LoopReport:
    from tensafe.improve.loop import continuous_improve
    from tensafe.pipeline.terminal import TerminalView

    with TerminalView() as view:
        return continuous_improve(adapter, source, config, folder=folder, view=view)


def _record(
    stack: ExitStack,
    source: Path,
    slot: str | None,
    upstream: str | None,
    address: str,
    port: int,
    consent: str,
    sample_rate: float,
) -> str:
    from pydantic import ValidationError

    from tensafe.errors import UsageError
    from tensafe.improve.loop_config import RecordingConfig
    from tensafe.improve.recorder import Recorder
    from tensafe.improve.recorder_server import RecorderServer
    from tensafe.improve.traffic import TrafficStore

    upstream = upstream or os.environ.get("TINKER_BASE_URL")
    if upstream is None or slot is None:
        raise UsageError("--port records one slot of one engine: give --slot and --upstream")
    given: dict[str, Any] = {"consent": consent, "sample_rate": sample_rate}
    try:
        recording = RecordingConfig(**given)
    except ValidationError as error:
        raise UsageError(_first(error)) from error
    recorder = Recorder(TrafficStore(source), recording, slot)
    return stack.enter_context(RecorderServer(upstream, recorder, address=address, port=port)).url


def _checked(**fields: Any) -> LoopConfig:
    from pydantic import ValidationError

    from tensafe.errors import UsageError
    from tensafe.improve.loop_config import LoopConfig

    try:
        return LoopConfig(**fields)
    except ValidationError as error:
        raise UsageError(_first(error)) from error


def _first(error: Any) -> str:
    first = error.errors()[0]
    option = str(first["loc"][0]).removesuffix("_s").replace("_", "-")
    return f"--{option}: {first['msg']} (got {first['input']!r})"


def _print(report: LoopReport, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(report.to_json(), indent=2))
        return
    state = report.state
    print(f"{state.phase}: cycle {state.cycle}, {state.versions} versions live")
    print(f"current   {state.adapter}")
    if state.why_stopped:
        print(f"stopped   {state.why_stopped}")
    print(f"decisions {report.folder / 'decisions.log'}")
