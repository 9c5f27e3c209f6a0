"""The files of a new adapter project: settings, data folder, skill document, README.

The settings file is written from `TrainConfig` itself, so that it can't lack an option. Nothing
that exists is overwritten.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tensafe.errors import UsageError
from tensafe.files import write_text
from tensafe.pipeline.config import TrainConfig
from tensafe.pipeline.config_file import CONFIG_FILE
from tensafe.tgsp.skill_doc import TO_FILL_IN, skill_name
from tensafe.tgsp.text import is_shown

MAX_TEXT = 100
_GROUPS = (
    ("data", "What is learned, and where the run is kept"),
    ("rank", "The adapter and its training"),
    ("dp", "Privacy; the unit is one example after curation"),
    ("qa_threshold", "Tests, gates and the signature"),
)


@dataclass(frozen=True)
class Project:
    """A new project's files."""

    folder: Path
    config: Path
    data: Path
    skill: Path
    readme: Path


def create_project(*, domain: str, name: str, folder: Path | None) -> Project:
    """Make the folder (default: the skill name, here) with all files in it.

    Raises:
        UsageError: domain or name can't be used, or the folder exists and is not empty.
    """
    for option, text in (("--domain", domain), ("--name", name)):
        if not text.strip() or len(text) > MAX_TEXT or not all(is_shown(c) for c in text):
            raise UsageError(f"{option}: one line of 1 to {MAX_TEXT} visible characters")
    skill = _skill_name(name)
    folder = folder if folder is not None else Path(skill)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists already: name another folder with --out")
    project = Project(
        folder, folder / CONFIG_FILE, folder / "data", folder / "SKILL.md", folder / "README.md"
    )
    write_text(project.data / ".gitkeep", "")
    write_text(project.config, settings_text(domain=domain, name=name, run=f"runs/{skill}"))
    write_text(project.skill, _skill_text(domain, name, skill))
    write_text(project.readme, _readme_text(domain, name, skill))
    write_text(folder / ".gitignore", "runs/\nscreened/\n")
    return project


def settings_text(*, domain: str, name: str, run: str) -> str:
    """A file of settings with every option, its default and its meaning."""
    own: dict[str, Any] = {"data": "data", "out": run, "name": name, "domain": domain}
    lines = [
        "# Settings of `tensafe train --config tensafe.yaml`. Options on the command line win.",
        "# Relative paths start at this file's folder. null means: chosen by the program.",
    ]
    headings = dict(_GROUPS)
    for key, field in TrainConfig.model_fields.items():
        if key in headings:
            lines += ["", f"# {headings[key]}."]
        value = own.get(key, None if field.is_required() else field.default)
        lines.append(f"{key}: {_yaml(value)}  # {field.description}")
    return "\n".join(lines) + "\n"


def _yaml(value: Any) -> str:
    """JSON is YAML; a tuple is a list."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def _skill_name(name: str) -> str:
    from tensafe.errors import DataError

    try:
        return skill_name(name)
    except DataError as error:
        raise UsageError(f"--name: {error}") from error


def _skill_text(domain: str, name: str, skill: str) -> str:
    description = (
        f"Answers requests of the {domain} domain with the {name} adapter. Use it when a request "
        f"belongs to {domain} and resembles what the adapter was trained on."
    )
    # The reference parser ends the front matter at the first "---", wherever it stands.
    while "---" in description:
        description = description.replace("---", "--")
    return f"""---
name: {skill}
description: {json.dumps(description, ensure_ascii=False)}
---

# {name}

## When to use

{TO_FILL_IN} the requests this adapter is for, in your own words. -->

## Capabilities

{TO_FILL_IN} what it does; scores and privacy stand in the package beside this text. -->

## Input and output

{TO_FILL_IN} what a request looks like, and what comes back. -->

## Limits

{TO_FILL_IN} what it was not made for. -->
"""


def _readme_text(domain: str, name: str, skill: str) -> str:
    return f"""# {name}

A LoRA adapter for the {domain} domain.

| file | what for |
|---|---|
| `data/` | what the adapter learns: PDF, CSV, TSV, JSONL, JSON, TXT, Markdown, Parquet |
| `{CONFIG_FILE}` | every setting of the training, with its default |
| `SKILL.md` | your own description for the package; without it one is written from the figures |

```bash
tensafe analyze data/                      # what is in the data, and how it is understood
tensafe train --config {CONFIG_FILE}       # train, test, screen; sign when all gates pass
tensafe screen runs/{skill}                # screen again, with your own suites if you like
tensafe pack --sign --creator "Your Name <you@example.org>" --skill-doc SKILL.md
tensafe verify runs/{skill}/*.tgsp
```

`tensafe pack` refuses a run whose gate said no, a `SKILL.md` with parts still to fill in, and one
that quotes the data.
"""
