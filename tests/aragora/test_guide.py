"""The integration guide: names, options and calls are those of the program.

`make evidence NAME=guide` runs all of it; here every block is compiled, its imports are made, its
calls are bound to the signatures they meet, and every command's options are parsed.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import typer

from evidence._guide_text import Block, blocks


@pytest.fixture(scope="module")
def guide(shared_data: Path) -> list[Block]:
    path = shared_data.parent / "guides" / "aragora-tinker-guide.md"
    if not path.is_file():
        pytest.skip("the guide is absent")
    return blocks(path.read_text(encoding="utf-8"))


def parsed(block: Block) -> ast.Module:
    tree = compile(
        block.code,
        block.heading,
        "exec",
        flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST,
    )
    assert isinstance(tree, ast.Module)
    return tree


def imported(blocks: list[Block]) -> dict[str, Any]:
    """What all blocks import, by name; each from where the guide imports it."""
    names: dict[str, Any] = {}
    for block in blocks:
        for node in ast.walk(parsed(block)):
            if isinstance(node, ast.ImportFrom):
                assert node.module is not None
                module = importlib.import_module(node.module)
                for alias in node.names:
                    names[alias.name] = getattr(module, alias.name)
    return names


def test_everything_is_imported_from_where_the_guide_imports_it(guide: list[Block]) -> None:
    names = imported([b for b in guide if b.language == "python"])
    assert {"TinkerClient", "TrainingScheduler", "TinkerAgent", "Arena"} <= set(names)


def test_every_call_fits_the_signature_that_it_meets(guide: list[Block]) -> None:
    python = [block for block in guide if block.language == "python"]
    names = imported(python)
    kinds = {
        "client": "TinkerClient",
        "scheduler": "TrainingScheduler",
        "evaluator": "TinkerEvaluator",
        "agent": "TinkerAgent",
        "arena": "Arena",
    }
    bound = 0
    for block in python:
        for node in ast.walk(parsed(block)):
            if not isinstance(node, ast.Call):
                continue
            target: Any = None
            place: list[Any] = []
            if isinstance(node.func, ast.Name):
                target = names.get(node.func.id)
            elif isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
                owner = names.get(kinds.get(node.func.value.id, ""))
                if node.func.value.id == "registry":
                    owner = names["ModelRegistry"]
                target = None if owner is None else getattr(owner, node.func.attr)
                place = [None]
            if target is None or not callable(target):
                continue
            given = {k.arg: None for k in node.keywords if k.arg}
            inspect.signature(target).bind(*place, *[None for _ in node.args], **given)
            bound += 1
    assert bound >= 25


def test_every_command_is_known_with_its_options(guide: list[Block]) -> None:
    from aragora.cli import application
    from aragora.cli.training import group

    whole, part = (typer.main.get_command(a) for a in (application(), group()))
    known = 0
    for block in guide:
        for line in block.commands if block.language == "bash" else ():
            words = shlex.split(line.replace("<id>", "some-id").split(" #")[0])
            if words[:3] == ["python", "-m", "aragora.cli.training"]:
                command, rest = part, words[3:]
            elif words[0] == "aragora":
                command, rest = whole, words[1:]
            else:
                assert words[0] == "export"
                continue
            while isinstance(command, click.Group) or hasattr(command, "commands"):
                command = command.commands[rest.pop(0)]  # type: ignore[attr-defined]
            if rest != ["--help"]:
                command.make_context(command.name or "", list(rest))
            known += 1
    assert known >= 18


def test_defaults_are_those_of_the_guide() -> None:
    from aragora.agents.models import DEFAULT_MODEL
    from aragora.training import TrainingSettings
    from aragora.training.model_registry import DEFAULT_FILE, VARIABLE

    settings = TrainingSettings()
    assert (settings.rank, settings.batch_size, settings.gradient_accumulation_steps) == (16, 4, 4)
    assert TrainingSettings(domain="security").rank == 32
    assert (DEFAULT_MODEL, VARIABLE, DEFAULT_FILE) == (
        "llama-3.3-70b",
        "TINKER_MODEL_REGISTRY",
        "model_registry.json",
    )
