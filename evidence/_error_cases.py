"""Wrong calls, the exit code that each must have, and words that its sentence must hold.

Beside the table, every command of the program is tried without its arguments, with an option that
doesn't exist, and with files that aren't there: commands that come later are tried unasked.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import typer

from tensafe.cli import application, main


@dataclass(frozen=True)
class Case:
    """Words of a call of `tensafe`, its exit code, and what its message must say."""

    call: tuple[str, ...]
    code: int
    words: str


@dataclass(frozen=True)
class Ended:
    """How a call ended; `problem` is empty when it ended as it must."""

    case: Case
    code: int | None
    message: str
    problem: str


def _imported(code: int, words: str, source: str, *more: str, data: str = "tickets.csv") -> Case:
    """A call of import by somebody who has several keys."""
    fixed = ("--sign", "--name", "brought", "--eval-data", data, "--creator", "creator")
    return Case(("import", source, *fixed, *more), code, words)


TABLE = (
    Case(("train",), 2, "--data PATH"),
    Case(("train", "--data", "nowhere.csv"), 1, "nowhere.csv"),
    Case(("train", "--data", "few.csv"), 1, "at least 20"),
    Case(("train", "--data", "tickets.csv", "--epsilon", "-1"), 2, "--epsilon"),
    Case(("train", "--data", "tickets.csv", "--bias", "all"), 2, "'none'"),
    Case(("train", "--data", "tickets.csv", "--dropout", "0.5"), 2, "--dropout"),
    Case(("train", "--data", "tickets.csv", "--question-column", "nope"), 2, "nope"),
    Case(("train", "--config", "wrong.yaml"), 2, "wrong.yaml, line 1"),
    Case(("train", "--data", "tickets.csv", "--out", "taken"), 2, "is not empty"),
    Case(("analyze", "nowhere"), 1, "nowhere"),
    Case(("init", "--domain", "law", "--name", "???"), 2, "--name"),
    Case(("init", "--domain", "law", "--name", "taken", "--out", "taken"), 2, "exists already"),
    Case(("screen", "nowhere"), 1, "no such file or folder"),
    Case(("screen", "taken"), 1, "expected a run folder"),
    Case(("screen", "broken.tgsp"), 4, "not intact"),
    Case(("screen", "support.tgsp", "--suite", "nowhere.csv"), 1, "nowhere.csv"),
    Case(("screen", "runs/support", "--data", "a.csv", "--without-training-data"), 2, "exclude"),
    Case(("pack",), 2, "--sign"),
    Case(("pack", "--sign"), 2, "run"),
    Case(("pack", "runs/refused", "--sign"), 3, "qa_verify failed"),
    Case(("pack", "runs/support", "--sign", "--creator", "<>"), 2, "Name <email>"),
    Case(("pack", "runs/support", "--sign", "--skill-doc", "few.csv"), 1, "front matter"),
    Case(("pack", "some_lora", "--sign"), 3, "no records of qa_verify"),
    Case(("verify", "broken.tgsp"), 4, ""),
    Case(("verify", "few.csv"), 4, ""),
    Case(("verify", "stranger.tgsp", "--require-trusted"), 4, ""),
    Case(("inspect", "few.csv"), 4, "magic"),
    Case(("export", "broken.tgsp", "--format", "safetensors"), 4, "not intact"),
    Case(("export", "support.tgsp", "--format", "onnx"), 2, "onnx"),
    Case(("export", "support.tgsp", "--format", "gguf", "--out", "taken"), 2, "isn't an empty"),
    Case(("export", "support.tgsp", "--format", "gguf", "--base-model", "./no"), 1, "--base-model"),
    Case(("import", "some_lora", "--name", "x"), 2, "--sign"),
    Case(("import", "some_lora", "--sign", "--name", "x"), 2, "--eval-data is missing"),
    _imported(2, "does not exist", "nowhere"),
    _imported(1, "PEFT", "taken"),
    _imported(2, "--alpha", "bare.safetensors"),
    _imported(2, "--base-model", "bare.safetensors", "--alpha", "8"),
    _imported(2, "--allow-pickle", "bare.bin"),
    _imported(4, "something other than tensors", "bare.bin", "--allow-pickle"),
    _imported(1, "at least 20", "some_lora", data="few.csv"),
    _imported(2, "is not empty", "some_lora", "--out", "taken"),
    Case(("validate", "broken.tgsp"), 4, ""),
    Case(("validate", "few.csv"), 4, ""),
    Case(("gate", "support.tgsp", "--base-model", "./no"), 1, "no such folder"),
    Case(("gate", "support.tgsp", "--engine", "teapot"), 1, "embedded, hosted or a URL"),
    Case(("gate", "support.tgsp", "--max-rank", "0"), 2, "--max-rank"),
    Case(("report", "taken"), 1, "taken"),
    Case(("keys", "new", "ada", "--passphrase-file", "nowhere"), 1, "no passphrase file"),
    Case(("keys", "new", "creator"), 1, "already"),
    Case(("keys", "export", "nobody"), 1, "no key named nobody"),
    Case(("keys", "trust", "few.csv"), 1, ""),
    Case(("keys", "revoke", "nobody"), 1, "names no creator"),
    Case(("keys", "show", "nobody"), 1, "tensafe keys list"),
    Case(("keys", "expire", "creator"), 2, "--on"),
    Case(("keys", "expire", "creator", "--on", "soon"), 1, "2027-12-31"),
    Case(("keys", "rotate", "nobody"), 1, "no key named nobody"),
    Case(("doctor", "--engine", "http://127.0.0.1:9"), 1, "TINKER_API_KEY"),
)  # fmt: skip


def generic_cases() -> Iterator[Case]:
    """Three wrong calls of every command there is."""
    for words, command in sorted(leaves(typer.main.get_command(application())).items()):
        call = tuple(words.split())
        yield Case((*call, "--no-such-option"), 2, "--no-such-option")
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        required = [p for p in command.params if p.required]
        if required:
            yield Case(call, 2, "Missing")
        files = [p for p in arguments if _is_path(p)]
        if files and files[0].required:
            given: list[str] = []
            for parameter in required:
                value = "no/such/place.tgsp" if _is_path(parameter) else "1"
                if parameter.param_type_name == "argument":
                    given.append(value)
                else:
                    kind = _annotation(parameter)
                    if isinstance(kind, type) and issubclass(kind, Enum):
                        value = str(next(iter(kind.__members__.values())).value)
                    given += [parameter.opts[0], value]
            yield Case((*call, *given), -1, "no/such/place.tgsp")


def _is_path(parameter: Any) -> bool:
    return _annotation(parameter) is Path


def _annotation(parameter: Any) -> Any:
    return parameter.type_descriptor.annotation


def leaves(command: Any, words: str = "") -> dict[str, Any]:
    """Every command that does something, by its words."""
    children = getattr(command, "commands", None)
    if not children:
        return {words: command}
    found: dict[str, Any] = {}
    for name, child in children.items():
        found |= leaves(child, f"{words} {name}".strip())
    return found


def tried(case: Case, work: Path) -> Ended:
    """Make the call in this process, in the folder `work`, and judge how it ended."""
    out, err = io.StringIO(), io.StringIO()
    here = Path.cwd()
    code: int | None = 0
    os.chdir(work)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main(list(case.call))
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else (0 if end.code is None else 1)
    except BaseException as error:
        code = None
        err.write(f"Traceback: {type(error).__name__}: {error}")
    finally:
        os.chdir(here)
    message = err.getvalue() or out.getvalue()
    return Ended(case, code, message, _problem(case, code, message, out.getvalue()))


def _problem(case: Case, code: int | None, message: str, out: str) -> str:
    if code is None:
        return "ended in a traceback"
    if case.code == -1 and code not in (1, 2, 3, 4):
        return f"exit {code}, expected one of 1 to 4"
    if case.code != -1 and code != case.code:
        return f"exit {code}, expected {case.code}"
    flat = " ".join((message + " " + out).replace("│", " ").split())
    if case.words and case.words not in flat:
        return f"doesn't say {case.words!r}"
    if "Traceback" in message:
        return "shows a traceback"
    if len(flat) < 20:
        return "says next to nothing"
    return ""
