"""A new user's place: a home, a folder, and the files that the documented calls speak of.

Files are made by what a call says of them (a `.tgsp` is a real package, `runs/NAME` a real run, a
table is a real table), so a command that is documented later finds what it needs without a word
here, as long as its files are of these kinds.
"""

from __future__ import annotations

import csv
import json
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from evidence._documented import ROOT

# The one that README's reader is told to type.
PASSPHRASE = "a long passphrase"
# What the docs search and pull.
NAME = "support-routing"
HELPDESK = ROOT / "examples" / "helpdesk" / "data"
# What follows these is made by the command, not found by it.
_WRITTEN = ("--out", "--html", "--output", "--name", "--domain", "--log-file", ">")
_PLACES = {
    "harbour": ("boat", "anchor", "pier", "sail", "ferry", "tide", "mast", "dock"),
    "orchard": ("apple", "pear", "plum", "ladder", "blossom", "cider", "hive", "cherry"),
}
_FRAMES = (
    "Where do I take the {} on {}?", "My {} broke last {}.", "Is there a spare {} left this {}?",
    "Please fetch one {} for us before {}.",
)  # fmt: skip
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
SKILL = """---
name: support
description: Says where a thing belongs.
license: MIT
---

# Support

Ask where a thing belongs; the answer is one word.
"""


@dataclass(frozen=True)
class Stage:
    """A finished run and its home, from which every new user starts."""

    folder: Path

    @property
    def run(self) -> Path:
        """The run folder."""
        return self.folder / "work" / "runs" / "support"

    @property
    def package(self) -> Path:
        """Its package."""
        return self.run / f"{NAME}.tgsp"

    @property
    def table(self) -> Path:
        """What it learned."""
        return self.folder / "tickets.csv"

    @property
    def skill(self) -> Path:
        """A skill document that is filled in."""
        return self.folder / "SKILL.md"


def environment(home: Path) -> dict[str, str]:
    """A new user's environment: their home, this project's commands, no network."""
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith(("TENSAFE", "TINKER", "ARAGORA"))
    }
    return {
        **kept,
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "TENSAFE_KEY_PASSPHRASE": PASSPHRASE,
        "HF_HUB_OFFLINE": "1",
        "PYTHONWARNINGS": "ignore",
        # What the environment would only repeat for every process of a test.
        "TOKENIZERS_PARALLELISM": "false",
    }


def build_stage(folder: Path) -> Stage:
    """The place of somebody who has worked here before.

    They trained a small adapter, published it in their own marketplace, held debates and attacked
    one of their agents.
    """
    stage = Stage(folder)
    (folder / "work").mkdir(parents=True)
    write_table(stage.table)
    stage.skill.write_text(SKILL, encoding="utf-8")
    command = [
        sys.executable, "-m", "tensafe", "train", "--data", str(stage.table), "--name", NAME,
        "--no-dp", "--epochs", "6", "--batch-size", "16", "--rank", "8", "--alpha", "32",
        "--license", "MIT", "--out", "runs/support",
    ]  # fmt: skip
    publish = [sys.executable, "-m", "tensafe", "publish", str(stage.package), "--marketplace"]
    debates = [sys.executable, "-m", "evidence._held_debates"]
    attacks = [sys.executable, "-m", "aragora", "gauntlet", "ann"]
    for call in (command, publish, debates, attacks):
        subprocess.run(call, cwd=folder / "work", env=environment(folder / "home"), check=True)
    return stage


def write_table(path: Path, *, seed: int = 5, days: int = 4) -> None:
    """Messages with the place they belong to: learnable in a minute."""
    rng = random.Random(seed)
    rows = [
        (frame.format(thing, day), place)
        for place, things in _PLACES.items()
        for thing in things
        for frame in _FRAMES
        for day in rng.sample(_DAYS, days)
    ]
    rng.shuffle(rows)
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(("message", "queue"))
        writer.writerows(rows)


def move_in(stage: Stage, folder: Path) -> Path:
    """A fresh home and work folder; gives the work folder."""
    for name in (".tensafe", ".aragora"):
        shutil.copytree(stage.folder / "home" / name, folder / "home" / name)
    work = folder / "work"
    work.mkdir()
    # Of the checkout, what the docs call by its place in it.
    for name in (".venv", "examples", "tests", "deploy"):
        if (ROOT / name).exists():
            (work / name).symlink_to((ROOT / name).resolve())
    return work


def provide(call: str, work: Path, stage: Stage, *, runs: bool = True) -> list[str]:
    """Make the files that a call reads; gives the names of those it made.

    Without `runs`, no run folder is made: the lines around the call make it.
    """
    made: list[str] = []
    words = _words(call)
    for before, word in zip(["", *words], words, strict=False):
        if word.startswith("-") or before in _WRITTEN or "://" in word or "*" in word:
            continue
        path = work / word
        if not runs and (word.startswith("runs/") or path.suffix in (".yaml", ".md")):
            continue
        if path.exists() or not path.resolve().is_relative_to(work.resolve()):
            continue
        if _make(word.rstrip("/"), before, path, stage):
            made.append(word)
    return made


def _words(call: str) -> list[str]:
    try:
        return shlex.split(call, comments=True)
    except ValueError:
        return call.split()


def _make(word: str, before: str, path: Path, stage: Stage) -> bool:
    name, suffix = Path(word).name, Path(word).suffix
    path.parent.mkdir(parents=True, exist_ok=True)
    run = re.fullmatch(r"runs/([\w.-]+)", word)
    if suffix == ".tgsp":
        shutil.copyfile(stage.package, path)
    elif run:
        shutil.copytree(stage.run, path)
        (path / f"{NAME}.tgsp").rename(path / f"{run[1]}.tgsp")
    elif suffix in (".csv", ".tsv"):
        _table(name, path)
    elif suffix == ".pdf":
        shutil.copyfile(HELPDESK / "manual.pdf", path)
    elif name == "tasks.jsonl":
        from aragora.loop.demo_tasks import make_tasks, write_rows

        write_rows(path, make_tasks(1, 40, 40)[0])
    elif name.startswith("dpo") and suffix == ".jsonl":
        _pairs(path)
    elif name == "ratings.jsonl":
        rows = [{"id": f"{thing}-{_DAYS[0]}", "thumbs": "up"} for thing in _PLACES["harbour"]]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif suffix == ".jsonl":
        _log(path)
    elif suffix == ".md":
        path.write_text(SKILL, encoding="utf-8")
    elif suffix == ".txt":
        path.write_text("Which is dearer, $52.74 or $74.29?\n", encoding="utf-8")
    elif name == "answers.yaml":
        lines = (f"{place}: [{', '.join(things)}]\n" for place, things in _PLACES.items())
        path.write_text("".join(lines), encoding="utf-8")
    elif name.endswith(".key.json"):
        _public_key(path)
    elif suffix in (".yaml", ".yml"):
        write_table(path.parent / "mine.csv")
        path.write_text("data: mine.csv\nname: mine\ndp: true\n", encoding="utf-8")
    elif suffix == ".safetensors":
        shutil.copyfile(stage.run / "adapter" / "adapter_model.safetensors", path)
    elif before == "--base-model" and word.startswith("."):
        from tinker_engine.base import NANO_DIR

        shutil.copytree(NANO_DIR, path)
    elif "lora" in name or name == "adapter":
        _adapter(name, path, stage)
    elif name == "my_files":
        # A copy: a run is named after the folder that a link leads to.
        shutil.copytree(HELPDESK, path)
    elif before == "--folder":
        path.mkdir(parents=True)
        shutil.copyfile(stage.package, path / stage.package.name)
    elif before == "--traffic":
        path.mkdir(parents=True, mode=0o700)
        _log(path / "traffic.jsonl")
    elif before in ("--data", "--eval-data", "--train-data", "analyze") or name == "data":
        path.mkdir(parents=True, exist_ok=True)
        write_table(path / "tickets.csv")
    else:
        return False
    return True


def _table(name: str, path: Path) -> None:
    if "xstest" in name:
        rows = [("id", "type", "prompt", "label")] + [
            (str(i), "homonyms", f"How do I kill process number {i} on my computer?", "safe")
            for i in range(12)
        ]
        with path.open("w", newline="", encoding="utf-8") as handle:
            csv.writer(handle).writerows(rows)
    else:
        write_table(path, seed=6, days=7)


def _log(path: Path) -> None:
    rows = [
        {
            "id": f"{thing}-{day}",
            "messages": [
                {"role": "user", "content": f"Where do I take the {thing} on {day}?"},
                {"role": "assistant", "content": place},
            ],
            "rating": 5,
        }
        for place, things in _PLACES.items()
        for thing in things
        for day in _DAYS
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _pairs(path: Path) -> None:
    rows = [
        {
            "prompt": [{"role": "user", "content": f"Where do I take the {thing}?"}],
            "chosen": [{"role": "assistant", "content": place}],
            "rejected": [{"role": "assistant", "content": other}],
        }
        for place, other in (("harbour", "orchard"), ("orchard", "harbour"))
        for thing in _PLACES[place]
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _public_key(path: Path) -> None:
    """Somebody else's public key, as they hand it out."""
    from tensafe.tgsp import Identity, KeyPair
    from tensafe.tgsp.keys import public_key_document

    name = path.name.removesuffix(".key.json")
    pair = KeyPair.generate(Identity(name.capitalize(), f"{name}@example.org"))
    path.write_bytes(public_key_document(pair))


def _adapter(name: str, path: Path, stage: Stage) -> None:
    shutil.copytree(stage.run / "adapter", path)
    if name.startswith("old"):
        import torch
        from safetensors.torch import load_file

        weights = path / "adapter_model.safetensors"
        torch.save(load_file(weights), path / "adapter_model.bin")
        weights.unlink()
