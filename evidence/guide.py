"""Every code block and command of the integration guide works as written.

Once on the embedded engine without a key, once against a served engine with one. The guide's models
are `nano` under their names; its placeholder key, `<id>` and the folder of its checkpoint are the
reader's, and are filled in. Its placeholder key as it stands is explained, not used.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import os
import re
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Generator
from pathlib import Path
from typing import Any

from evidence._guide_text import Block, blocks, guide_path
from evidence._report import conclude

_OUR_VARIABLES = (
    "TINKER_API_KEY",
    "TINKER_BASE_URL",
    "TINKER_BASE_MODEL",
    "TINKER_MODEL_REGISTRY",
    "ARAGORA_DATABASE_URL",
)


class Reader:
    """Someone who follows the guide from its first block to its last."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: dict[str, Any] = {}
        self.seen: list[tuple[str, str, bool]] = []

    async def run(self, block: Block) -> None:
        """One block; what it prints is shown when it fails."""
        if block.language == "bash":
            for command in block.commands:
                await self._command(block, command)
        elif block.language == "python":
            await self._python(block)

    async def _command(self, block: Block, command: str) -> None:
        if command.startswith("export "):
            name, _, value = command.split("#")[0].removeprefix("export ").strip().partition("=")
            # The placeholder of a key is the reader's to fill in.
            if name != "TINKER_API_KEY":
                os.environ[name] = value.strip('"')
            self._note(block, command, True, "")
            return
        filled = command.replace("<id>", "aragora-sft-v1")
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = await asyncio.to_thread(
            subprocess.run,
            ["bash", "-c", filled],
            cwd=self.folder,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        self._note(block, command, done.returncode == 0, done.stdout + done.stderr)

    async def _python(self, block: Block) -> None:
        code = block.code.replace("/checkpoints/", f"{self.folder / 'checkpoints'}/")
        printed = io.StringIO()
        async with contextlib.AsyncExitStack() as stack:
            if block.heading == "Checkpoints":
                from aragora.training import TinkerClient

                # The block goes on inside of the client that the one before has opened.
                self.names["client"] = await stack.enter_async_context(TinkerClient())
            try:
                compiled = compile(
                    code, block.heading, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
                )
                with contextlib.redirect_stdout(printed), in_folder(self.folder):
                    result = eval(compiled, self.names)  # the guide's own code
                    if inspect.isawaitable(result):
                        await result
            # Whatever a block raises is what is looked for.
            except Exception:
                self._note(block, code, False, printed.getvalue() + traceback.format_exc())
                return
        self._note(block, code, True, printed.getvalue())

    def _note(self, block: Block, code: str, is_good: bool, output: str) -> None:
        first = next(line for line in code.splitlines() if line.strip())
        self.seen.append((block.heading, first, is_good))
        print(f"  {'works' if is_good else 'FAILS'}  {block.heading}: {first}", flush=True)
        if not is_good:
            print("\n".join(f"      {line}" for line in output.splitlines()[-12:]), flush=True)


@contextlib.contextmanager
def in_folder(folder: Path) -> Generator[None]:
    """Work in a folder, as the guide's relative file names expect."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


async def follow(text: str, folder: Path) -> list[tuple[str, str, bool]]:
    """Prepare what the guide takes for granted, and run all of its blocks in order."""
    from evidence._guide_scene import prepare, readers_names

    await prepare(folder)
    reader = Reader(folder)
    reader.names |= await readers_names()
    for block in blocks(text):
        await reader.run(block)
    scheduler = reader.names.get("scheduler")
    if scheduler is not None:
        for job in scheduler.list_jobs():
            scheduler.cancel_job(job.job_id)
        scheduler.close()
    return reader.seen


def follow_in(mode: str, text: str, guide: Path) -> None:
    """One reader in a process and homes of their own; ends in a line of what worked."""
    from evidence._guide_scene import write_aliases
    from evidence.arena_faults import start_server

    server: subprocess.Popen[str] | None = None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for variable in _OUR_VARIABLES:
            os.environ.pop(variable, None)
        os.environ["ARAGORA_HOME"] = str(folder / "aragora")
        os.environ["TENSAFE_HOME"] = str(folder / "tensafe")
        os.environ["TENSAFE_KEY_PASSPHRASE"] = "correct horse battery"
        os.environ["TINKER_ENGINE_HOME"] = str(folder / "engine")
        os.environ["TINKER_ENGINE_LOG_LEVEL"] = "warning"
        # The guide's default, a file in the working folder.
        os.environ["TINKER_MODEL_REGISTRY"] = str(folder / "model_registry.json")
        write_aliases(folder / "engine")
        try:
            if mode == "served":
                server, url, key = start_server(folder)
                os.environ["TINKER_BASE_URL"], os.environ["TINKER_API_KEY"] = url, key
            seen = asyncio.run(follow(text, folder))
        finally:
            if server is not None:
                server.terminate()
                server.wait(30)
    bad = [f"{heading}: {first}" for heading, first, is_good in seen if not is_good]
    print(f"RESULT {len(seen)} {len(bad)}", flush=True)


def explains_the_placeholder() -> bool:
    """Whether the guide's placeholder for a key leads to an explanation, and exit code 1 or 2."""
    done = subprocess.run(
        [sys.executable, "-m", "aragora.cli.training", "test-connection"],
        env={**os.environ, "TINKER_API_KEY": "your-api-key"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode in (1, 2) and "tml-" in done.stdout + done.stderr


def main() -> None:
    """Both readers, one after the other."""
    path = guide_path()
    if path is None:
        print("the guide is absent (set SHARED_DATA to the data folder beside it)")
        conclude("guide", {}, holds=False)
    text = path.read_text(encoding="utf-8")
    if sys.argv[1:2] == ["--one"]:
        follow_in(sys.argv[2], text, path)
        return
    figures: dict[str, Any] = {}
    for mode in ("embedded", "served"):
        print(f"{mode}:", flush=True)
        began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "evidence.guide", "--one", mode],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        result = None
        for line in process.stdout:
            result = re.match(r"RESULT (\d+) (\d+)", line) or result
            if not line.startswith("RESULT"):
                print(line, end="", flush=True)
        process.wait()
        ran, failed = (int(result[1]), int(result[2])) if result else (0, 1)
        figures[mode] = {"ran": ran, "failed": failed, "seconds": round(time.monotonic() - began)}
    figures["placeholder_key_explained"] = explains_the_placeholder()
    holds = figures["placeholder_key_explained"] and all(
        figures[mode]["ran"] > 0 and figures[mode]["failed"] == 0 for mode in ("embedded", "served")
    )
    conclude("guide", figures, holds=holds)


if __name__ == "__main__":
    main()
