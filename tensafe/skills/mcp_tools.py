"""The work of TG Tinker as tools of the Model Context Protocol (modelcontextprotocol.io).

Each tool calls what the command of the same purpose calls, and adds nothing of its own: no tool
skips a gate, and none approves a swap, which is for a meta-agent's rules or a human's signature.
Long work runs beside the server's loop, one run at a time; it reports progress and stops when it is
cancelled, leaving a run folder that the same call goes on with.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import anyio
from anyio.from_thread import run as call_loop
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError

from tensafe.errors import TensafeError, UsageError
from tensafe.gate.records import GateRecord
from tensafe.skills.chooser import choose_package
from tensafe.skills.skill_folder import own_skill, package_skill
from tensafe.skills.tg_tinker.triggers import route
from tensafe.tgsp import Verification, load_trust, trust_path, verify_package
from tinker_engine.errors import EngineError
from tinker_engine.recipes.training_loop import Progress

_log = logging.getLogger(__name__)
# Held while a run is at work: a cancelled one ends at its next event, and until then a second in
# the same folder would write over what it saves.
_RUNNING = threading.Lock()
T = TypeVar("T")
Answer = dict[str, Any]
INSTRUCTIONS = (
    "Creates, verifies, improves and swaps LoRA adapters in signed .tgsp packages. Read the "
    "resource skill://tg-tinker first. A gate that says no is an answer, not an error: tell its "
    "reason and advice."
)


OWNERS_SETTINGS = frozenset({"lifetime_epsilon"})


class _Cancelled(KeyboardInterrupt):
    """Ends a run the way Ctrl-C does: its state is saved."""


def make_server() -> MCPServer:
    """A server with all tools, ready to run over stdio or HTTP."""
    server = MCPServer("tensafe", instructions=INSTRUCTIONS)
    for tool in (
        route_request,
        analyze_data,
        create_adapter,
        improve_adapter,
        verify_adapter,
        screen_load,
        read_skill,
        choose_adapter,
        request_swap,
        swap_status,
        roll_back_swap,
    ):
        server.tool()(tool)
    server.resource("skill://tg-tinker", mime_type="text/markdown")(tg_tinker_skill)
    return server


def tg_tinker_skill() -> str:
    """How and when to use these tools."""
    return own_skill()


async def route_request(sentence: str) -> Answer:
    """What a sentence asks of TG Tinker: trigger, action (create or improve), domain and path."""
    found = route(sentence)
    if found is None:
        return {"trigger": None}
    return {
        "trigger": found.trigger,
        "action": found.action,
        "domain": found.domain,
        "path": found.path,
    }


async def analyze_data(data: str) -> Answer:
    """Formats, volume, field of knowledge, languages, duplicates and personal data of files."""
    from tensafe.data.analysis import analyze_data as analyze

    return await _beside(lambda: analyze(Path(data)).to_json())


async def create_adapter(
    data: str,
    context: Context,
    name: str = "",
    domain: str = "",
    out: str = "",
    options: dict[str, Any] | None = None,
) -> Answer:
    """Train an adapter from a file or folder and package it, if the three gates let it through.

    `options` are settings of `tensafe train` by their names, such as {"epsilon": 4, "rank": 16}.
    {"dp": false} gives up privacy, which the package states: only its owner may decide that. The
    lifetime budget of the records can't be set here.
    """
    from tensafe.pipeline import create_adapter as create
    from tensafe.pipeline.config import TrainConfig
    from tensafe.skills.tg_tinker.settings import checked

    _require_no_owners_settings(options or {})
    given: Answer = {**(options or {}), "data": Path(data)}
    given |= {k: v for k, v in (("name", name), ("domain", domain)) if v}
    given |= {"out": Path(out)} if out else {}

    def run(view: ProgressView) -> Answer:
        outcome = create(checked(TrainConfig, given), view)
        records = {gate: vars(record) for gate, record in vars(outcome.gates).items()}
        return {**outcome.to_json(), "gate_records": json.loads(json.dumps(records, default=str))}

    return await _watched(run, context)


def _require_no_owners_settings(options: Answer) -> None:
    """An agent may spend what the records' owner allowed, and can't allow itself more."""
    taken = sorted(OWNERS_SETTINGS & set(options))
    if taken:
        raise ToolError(
            f"options: {taken[0]} is the data owner's to set, with `tensafe train` at a terminal"
        )


async def improve_adapter(
    package: str, interaction_log: str, context: Context, options: dict[str, Any] | None = None
) -> Answer:
    """Train the next version of an adapter from a log of its conversations."""
    from tensafe.skills.tg_tinker import TGTinker

    def run(view: ProgressView) -> Answer:
        found = TGTinker(view=view).improve_adapter(
            package, interaction_log, None, **(options or {})
        )
        return cast(Answer, found.to_json())

    return await _watched(run, context)


async def verify_adapter(package: str) -> Answer:
    """Hashes, signatures and the creator's standing in this machine's trust store."""
    found = await _beside(lambda: verify_package(Path(package), load_trust(trust_path())))
    return _verdict(found)


async def screen_load(package: str, base_model: str | None = None) -> Answer:
    """The seven-step load gate: may this package be loaded into the base that is running?"""

    def judge() -> Answer:
        from tensafe.gate.load_gate import judge_package
        from tensafe.gate.running import running_base
        from tinker_engine.connect import open_engine

        with open_engine(None, base_model=base_model) as connection:
            base = running_base(connection)
        report = judge_package(Path(package), base, load_trust(trust_path()))
        return cast(Answer, json.loads(report.to_json()))

    return await _beside(judge)


async def read_skill(package: str) -> Answer:
    """What a verified package says of itself."""

    def read() -> Answer:
        found = verify_package(Path(package), load_trust(trust_path()))
        view = found.require(trusted=False).view
        return {
            "name": view.name,
            "is_trusted": found.is_trusted,
            "document": package_skill(view),
        }

    return await _beside(read)


async def choose_adapter(task: str, folder: str) -> Answer:
    """Rank the packages of a folder for a task; `best` is null when none fits."""

    def choose() -> Answer:
        return cast(Answer, choose_package(task, Path(folder), load_trust(trust_path())).to_json())

    return await _beside(choose)


async def request_swap(
    slot: str, packages: list[str], reason: str, requested_by: str = "an agent over MCP"
) -> Answer:
    """Ask for a swap of a live slot: load gate, red team, then approval. It may be rejected."""

    def ask() -> Answer:
        from tensafe.gate.swap import request_swap as request

        record = request(slot, [Path(p) for p in packages], by=requested_by, reason=reason)
        return record.model_dump(mode="json")

    return await _beside(ask)


async def swap_status(swap_id: str) -> Answer:
    """Where a swap stands, with its figures and its reasons."""

    def status() -> Answer:
        from tensafe.gate.swap import swap_status as find

        return find(swap_id).model_dump(mode="json")

    return await _beside(status)


async def roll_back_swap(slot: str, reason: str, requested_by: str = "an agent over MCP") -> Answer:
    """Undo a slot's last swap."""

    def undo() -> Answer:
        from tensafe.gate.swap import roll_back

        return roll_back(slot, by=requested_by, reason=reason).model_dump(mode="json")

    return await _beside(undo)


class ProgressView:
    """Tells an MCP client of a run's events; stops the run once the client has cancelled."""

    def __init__(self, tell: Callable[[float, float | None, str], None]) -> None:
        self._tell = tell
        self._done = 0.0
        self._is_cancelled = threading.Event()

    def cancel(self) -> None:
        """End the run at its next event."""
        self._is_cancelled.set()

    def stage(self, title: str) -> None:
        """A part of the run begins."""
        self._say(title)

    def note(self, text: str) -> None:
        """One fact."""
        self._say(text)

    def progress(self, progress: Progress) -> None:
        """One training step."""
        share = progress.step / progress.total
        self._say(
            f"step {progress.step}/{progress.total}, loss {progress.loss:.3f}, "
            f"{progress.eta_s:.0f} s left ({share:.0%})"
        )

    def gate(self, record: GateRecord) -> None:
        """A gate has spoken."""
        self._say(f"{record.name}: {record.verdict}. {record.reason}")

    def _say(self, text: str) -> None:
        if self._is_cancelled.is_set():
            raise _Cancelled
        # The protocol wants a number that only grows; how many events there will be isn't known.
        self._done += 1
        self._tell(self._done, None, text)


async def _watched(run: Callable[[ProgressView], Answer], context: Context) -> Answer:
    """Long work in a thread, with progress; when the call is cancelled, it ends as after Ctrl-C."""

    def tell(done: float, total: float | None, text: str) -> None:
        try:
            call_loop(context.report_progress, done, total, text)
        except BaseException as error:
            # Nobody listens any more: the run saves where it stands and ends.
            _log.info("progress can't be told, so the run ends", exc_info=error)
            raise _Cancelled from error

    view = ProgressView(tell)
    try:
        return await _beside(partial(_alone, run, view))
    finally:
        view.cancel()


def _alone(run: Callable[[ProgressView], Answer], view: ProgressView) -> Answer:
    """The run, once no other is at work."""
    try:
        if _RUNNING.locked():
            view.note("waits until the run before it has ended")
        with _RUNNING:
            view.stage("Begins")
            return run(view)
    except _Cancelled as error:
        # As a KeyboardInterrupt it would end the whole server, where the call itself still stands.
        raise ToolError("the run ended as if cancelled; the same call goes on with it") from error


async def _beside(work: Callable[[], T]) -> T:
    """A blocking call beside the server's loop; errors that a user can mend become the answer's."""
    try:
        return await anyio.to_thread.run_sync(work, abandon_on_cancel=True)
    except (TensafeError, EngineError, UsageError) as error:
        raise ToolError(str(error)) from error


def _verdict(found: Verification) -> Answer:
    return {
        "verdict": found.verdict,
        "is_intact": found.is_intact,
        "is_trusted": found.is_trusted,
        "reason": found.why,
        "name": found.manifest.view.name if found.manifest is not None else None,
        "payload_hash": found.payload_hash,
        "checks": [
            {"name": check.name, "status": check.status, "reason": check.reason}
            for check in found.checks
        ],
    }
