"""An MCP client that creates, verifies, chooses and swaps, with `tensafe mcp` as its server."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import anyio
from mcp import Client, StdioServerParameters

ROWS = 1200
SLOT = "desk"
TOOLS = {
    "route_request", "analyze_data", "create_adapter", "improve_adapter", "verify_adapter",
    "screen_load", "read_skill", "choose_adapter", "request_swap", "swap_status", "roll_back_swap",
}  # fmt: skip


class Desk:
    """A home of its own with data, a host of live slots, and what the client found."""

    def __init__(self, folder: Path, tickets: Path) -> None:
        self.folder = folder
        self.data = folder / "tickets.csv"
        self.environ = {
            **os.environ,
            "TENSAFE_HOME": str(folder / "home"),
            "TINKER_ENGINE_HOME": str(folder / "engine"),
            "TENSAFE_KEY_PASSPHRASE": secrets.token_urlsafe(24),
            "HF_HUB_OFFLINE": "1",
        }
        lines = tickets.read_bytes().splitlines(keepends=True)
        self.data.write_bytes(b"".join(lines[: ROWS + 1]))

    def start_host(self) -> subprocess.Popen[str]:
        """`tensafe serve`; gives the process once it tells its addresses."""
        command = [sys.executable, "-m", "tensafe", "serve", "--port", "0", "--json"]
        host = subprocess.Popen(
            [*command, "--home", str(self.folder / "host")],
            env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert host.stdout is not None
        json.loads(host.stdout.readline())
        return host

    def tensafe(self, *arguments: str) -> None:
        """One command, as somebody at a terminal would give it."""
        subprocess.run(
            [sys.executable, "-m", "tensafe", *arguments],
            env=self.environ, check=True, capture_output=True, text=True,
        )  # fmt: skip


async def _call(
    client: Client, tool: str, arguments: dict[str, Any], progress: Callable[..., Any] | None = None
) -> dict[str, Any]:
    answer = await client.call_tool(tool, arguments, progress_callback=progress)
    if answer.is_error:
        raise RuntimeError(f"{tool}: {answer.content}")
    found = cast("dict[str, Any]", answer.structured_content)
    return cast("dict[str, Any]", found.get("result", found))


async def drive(desk: Desk) -> dict[str, Any]:
    """Everything an agent does, over one connection; the figures."""
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "tensafe", "mcp"], env=desk.environ
    )
    figures: dict[str, Any] = {}
    async with Client(server) as client:
        figures["tools"] = sorted(tool.name for tool in (await client.list_tools()).tools)
        asked = await _call(
            client, "route_request", {"sentence": f"Train an adapter from {desk.data}"}
        )
        analysis = await _call(client, "analyze_data", {"data": asked["path"]})
        figures["examples_found"] = analysis["examples"]
        wanted = {
            "data": asked["path"],
            "name": "helpdesk-tickets",
            "out": str(desk.folder / "run"),
            "options": {"dp": False, "epochs": 4.0},
        }
        figures["cancelled_after"] = await _cancelled(client, wanted)
        steps: list[int] = []

        async def told(progress: float, total: float | None, message: str | None) -> None:
            del progress, total
            if message and message.startswith("step "):
                steps.append(int(message.split()[1].split("/")[0]))

        outcome = await _call(client, "create_adapter", wanted, told)
        figures |= {
            "resumed_at": min(steps), "steps_told": len(steps), "score": outcome["score"],
            "base_score": outcome["base_score"], "gates": outcome["gates"],
        }  # fmt: skip
        package = outcome["package"]
        verified = await _call(client, "verify_adapter", {"package": package})
        figures["verdict"] = verified["verdict"]
        skill = await _call(client, "read_skill", {"package": package})
        figures["skill"] = skill["document"]
        chosen = await _call(
            client, "choose_adapter",
            {"task": "sort a help desk's tickets", "folder": str(Path(package).parent)},
        )  # fmt: skip
        figures["chosen"] = chosen["best"] == package
        # The run's held-out side is what the slot's adapters are judged by.
        await anyio.to_thread.run_sync(
            desk.tensafe, "slot", "set", SLOT, "--held-out", str(desk.folder / "run")
        )
        swap = await _call(
            client, "request_swap",
            {"slot": SLOT, "packages": [package], "reason": "first version"},
        )  # fmt: skip
        figures["swap"] = swap["state"]
        figures["swap_figures"] = swap["figures"]
        tampered = Path(package).with_name("tampered.tgsp")
        tampered.write_bytes(_flipped(Path(package).read_bytes()))
        refused = await _call(
            client, "request_swap", {"slot": SLOT, "packages": [str(tampered)], "reason": "no"}
        )
        figures["tampered_swap"] = refused["state"]
        back = await _call(client, "roll_back_swap", {"slot": SLOT, "reason": "only a trial"})
        figures["rolled_back"] = back["state"]
        bad = await client.call_tool("verify_adapter", {"package": "no/such/file.tgsp"})
        figures["error_told"] = bool(bad.is_error) and "no/such/file.tgsp" in str(bad.content)
    return figures


async def _cancelled(client: Client, wanted: dict[str, Any]) -> int:
    """Cancel the call once some steps are told; the step it was at."""
    at = 0
    with anyio.CancelScope() as scope:

        async def stop(progress: float, total: float | None, message: str | None) -> None:
            del progress, total
            nonlocal at
            if message and message.startswith("step "):
                at = int(message.split()[1].split("/")[0])
                if at >= 10:
                    scope.cancel()

        await client.call_tool("create_adapter", wanted, progress_callback=stop)
    # The run ends at its next event, after it has saved where it stands.
    await anyio.sleep(5)
    return at


def _flipped(content: bytes) -> bytes:
    """A package with one bit of its payload changed."""
    changed = bytearray(content)
    changed[-100] ^= 1
    return bytes(changed)
