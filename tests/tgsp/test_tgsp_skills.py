"""Packages as skills: `tensafe skill`, `tensafe choose`, and the MCP tools that read them."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from mcp import Client
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from sample_package import adapter, gates, key_pair, metadata, trusting
from typer.testing import CliRunner

from tensafe.cli import application
from tensafe.errors import DataError, UsageError, VerificationError
from tensafe.skills import mcp_tools
from tensafe.skills.chooser import choose_package
from tensafe.skills.mcp_tools import INSTRUCTIONS, ProgressView, make_server
from tensafe.skills.skill_folder import own_skill, write_skill
from tensafe.tgsp import SkillInfo, TrustStore, trust_path, write_package
from tensafe.tgsp.skill_doc import require_skill_doc

NOBODY = TrustStore({})


@pytest.fixture
def shelf(tmp_path: Path, home: Path) -> Path:
    """A folder with three packages, of which one was changed after it was signed."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    trust_path().parent.mkdir(parents=True, exist_ok=True)
    for name, description, domain in (
        ("support-routing", "Names the department for a customer's message.", "support"),
        ("parking-law", "Answers questions about parking fines and traffic law.", "law"),
        ("broken", "Answers questions about parking fines and traffic law.", "law"),
    ):
        told = metadata(
            name=name, domain=domain, skill=SkillInfo(description), skill_doc=document(name)
        )
        write_package(
            folder / f"{name}.tgsp",
            payload=adapter(), metadata=told, gates=gates(), signer=key_pair(),
        )  # fmt: skip
    broken = bytearray((folder / "broken.tgsp").read_bytes())
    broken[-1] ^= 1
    (folder / "broken.tgsp").write_bytes(broken)
    return folder


def document(name: str) -> str:
    return f"---\nname: {name}\ndescription: What {name} is for.\n---\n\n# {name}\n"


def tensafe(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(application(), list(arguments))
    if isinstance(done.exception, VerificationError):
        return done.exception.exit_code, str(done.exception)
    return done.exit_code, done.stdout


def test_own_skill_keeps_the_rules_and_names_every_trigger() -> None:
    require_skill_doc(own_skill())
    for words in ("Create a LoRA", "Create a TGSP adapter", "Turn this into a LoRA",
                  "Improve this adapter", "Train an adapter from this data",
                  "Build a LoRA for [domain]", "Fine-tune on this dataset"):  # fmt: skip
        assert words in own_skill()


def test_commands_named_in_the_skill_exist() -> None:
    from re import findall

    from typer.main import get_command

    known = set(get_command(application()).commands)  # pyright: ignore
    assert set(findall(r"`tensafe (\w+)", own_skill())) <= known


def test_skill_prints_and_writes(shelf: Path, tmp_path: Path) -> None:
    assert tensafe("skill", str(shelf / "parking-law.tgsp")) == (0, document("parking-law"))
    code, text = tensafe("skill", "--out", str(tmp_path / "skills"))
    assert code == 0
    assert Path(text.strip()) == tmp_path / "skills" / "tg-tinker" / "SKILL.md"
    code, text = tensafe("skill", str(shelf / "parking-law.tgsp"), "--json")
    assert json.loads(text)["is_trusted"] is False
    assert tensafe("skill", str(shelf / "broken.tgsp"))[0] == 4


def test_skill_of_a_stranger_is_told_to_be_one(
    shelf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["skill", str(shelf / "parking-law.tgsp"), "--out", str(tmp_path / "skills")]
    application()(args=call, standalone_mode=False)
    assert "don't trust its creator" in capsys.readouterr().err


def test_another_document_is_not_overwritten(tmp_path: Path) -> None:
    write_skill(document("a"), "a", tmp_path)
    write_skill(document("a"), "a", tmp_path)
    with pytest.raises(DataError, match="exists with another text"):
        write_skill(document("b"), "a", tmp_path)


def test_chooser_takes_what_fits_and_leaves_out_what_is_broken(shelf: Path) -> None:
    choice = choose_package("Is my parking fine lawful?", shelf, NOBODY)
    assert choice.best is not None
    assert choice.best.name == "parking-law"
    assert not choice.best.is_trusted
    assert [path.name for path, _ in choice.left_out] == ["broken.tgsp"]
    trusted = choose_package("parking", shelf, trusting(key_pair().public))
    assert trusted.best is not None
    assert trusted.best.is_trusted
    none = choose_package("compose a symphony for strings", shelf, NOBODY)
    assert none.best is None


def test_choose_says_when_none_fits(shelf: Path) -> None:
    code, text = tensafe("choose", "which department handles this message", "--folder", str(shelf))
    assert code == 0
    assert "fits" in text.splitlines()[0]
    assert "support-routing" in text.splitlines()[0]
    code, text = tensafe("choose", "compose a symphony", "--folder", str(shelf), "--json")
    assert code == 3
    assert json.loads(text)["best"] is None


@pytest.mark.parametrize("task", ["", "the of and"])
def test_task_without_words_is_refused(shelf: Path, task: str) -> None:
    with pytest.raises(UsageError, match="no word to go by"):
        choose_package(task, shelf, NOBODY)


def test_empty_and_missing_folders_are_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no \.tgsp"):
        choose_package("parking", tmp_path, NOBODY)
    with pytest.raises(UsageError, match="is no folder"):
        choose_package("parking", tmp_path / "none", NOBODY)


def test_mcp_client_reads_verifies_and_chooses(shelf: Path) -> None:
    async def drive() -> None:
        async with Client(make_server()) as client:
            assert client.instructions == INSTRUCTIONS
            skill = await client.read_resource("skill://tg-tinker")
            assert "tg-tinker" in str(skill.contents)
            good = {"package": str(shelf / "parking-law.tgsp")}
            found = await client.call_tool("verify_adapter", good)
            assert structured(found)["verdict"] == "untrusted"
            bad = await client.call_tool("verify_adapter", {"package": str(shelf / "broken.tgsp")})
            assert structured(bad)["is_intact"] is False
            read = await client.call_tool("read_skill", good)
            assert structured(read)["document"] == document("parking-law")
            refused = await client.call_tool("read_skill", {"package": str(shelf / "broken.tgsp")})
            assert refused.is_error
            chosen = await client.call_tool(
                "choose_adapter", {"task": "parking fines", "folder": str(shelf)}
            )
            assert structured(chosen)["best"] == good["package"]
            missing = await client.call_tool("analyze_data", {"data": str(shelf / "none.csv")})
            assert missing.is_error
            assert "none.csv" in str(missing.content)
            more = {"data": str(shelf), "options": {"lifetime_epsilon": 1e9}}
            refused = await client.call_tool("create_adapter", more)
            assert refused.is_error
            assert "owner's to set" in str(refused.content)
            asked = await client.call_tool("route_request", {"sentence": "Create a LoRA"})
            assert structured(asked)["trigger"] == "create_lora"

    anyio.run(drive)


def structured(answer: object) -> dict[str, object]:
    found = answer.structured_content  # type: ignore[attr-defined]
    return found.get("result", found)


class Listener:
    """Stands for a call's context; fails like a client that has gone away."""

    def __init__(self, *, is_gone: bool = False) -> None:
        self.is_gone, self.heard = is_gone, list[str]()

    async def report_progress(self, done: float, total: float | None, text: str) -> None:
        del done, total
        if self.is_gone and text == "on":
            raise anyio.ClosedResourceError
        self.heard.append(text)


def watched(run: Any, listener: Listener) -> Any:
    return mcp_tools._watched(run, cast(Context, listener))  # pyright: ignore[reportPrivateUsage]


def test_a_client_that_is_gone_ends_its_run_and_not_the_server() -> None:
    def run(view: ProgressView) -> dict[str, Any]:
        view.note("on")
        pytest.fail("the run went on")

    async def drive() -> None:
        with pytest.raises(ToolError, match="same call goes on"):
            await watched(run, Listener(is_gone=True))

    anyio.run(drive)


def test_a_run_waits_until_the_cancelled_one_has_ended() -> None:
    began, is_at_work, overlaps = threading.Event(), threading.Event(), list[bool]()
    went_on: list[bool] = []

    def slow(view: ProgressView) -> dict[str, Any]:
        is_at_work.set()
        began.set()
        try:
            time.sleep(0.5)
            view.note("on")
            went_on.append(True)
            return {}
        finally:
            is_at_work.clear()

    def again(view: ProgressView) -> dict[str, Any]:
        view.note("on")
        overlaps.append(is_at_work.is_set())
        return {}

    async def drive() -> None:
        listener = Listener()
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(watched, slow, Listener())
                await anyio.to_thread.run_sync(began.wait)
                scope.cancel()
        assert await watched(again, listener) == {}
        assert listener.heard[0] == "waits until the run before it has ended"

    anyio.run(drive)
    assert overlaps == [False]
    assert not went_on
