"""From options, environment and a file to one configuration.

An option wins over the environment, the environment over the file, the file over the defaults.
"""

from __future__ import annotations

import difflib
import os
import stat
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinker_engine.errors import RequestError

if TYPE_CHECKING:
    from tinker_engine.config import EngineConfig

ENVIRONMENT = "TINKER_ENGINE_"
_OTHERS_MAY_READ = stat.S_IRGRP | stat.S_IROTH


def read_config(file: Path | None = None, **given: Any) -> EngineConfig:
    """The configuration; `given` are options, those that are None were not given.

    Raises RequestError that names the field, and the file if the value came from there.
    """
    from pydantic import ValidationError

    from tinker_engine.config import EngineConfig

    named = file or _file_of_environment()
    of_file = {} if named is None else _read_file(named, EngineConfig)
    options = {name: value for name, value in given.items() if value is not None}
    below = {
        name: value
        for name, value in of_file.items()
        if name not in options and not os.environ.get(ENVIRONMENT + name.upper())
    }
    try:
        return EngineConfig(**below, **options)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        name = str(problem["loc"][0]) if problem["loc"] else "configuration"
        place = f"{named}: {name}" if name in below else name
        # A key must not end up in a terminal's history or in a log.
        got = "" if name == "api_key" else f" (got {problem['input']!r})"
        raise RequestError(f"{place}: {problem['msg']}{got}") from error


def _file_of_environment() -> Path | None:
    name = os.environ.get(f"{ENVIRONMENT}CONFIG")
    return Path(name) if name else None


def _read_file(file: Path, model: type[EngineConfig]) -> dict[str, Any]:
    try:
        content = tomllib.loads(file.read_text("utf-8"))
        mode = file.stat().st_mode
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RequestError(f"{file} can't be read as TOML: {error}") from error
    for name in content:
        if name not in model.model_fields:
            near = difflib.get_close_matches(name, model.model_fields, 1)
            advice = f"did you mean {near[0]}?" if near else "docs/operating.md lists the fields"
            raise RequestError(f"{file}: there is no setting {name!r}; {advice}")
    if "api_key" in content and mode & _OTHERS_MAY_READ and os.name != "nt":
        raise RequestError(
            f"{file} holds api_key and others may read it; `chmod 600 {file}`, or give the key as "
            f"{ENVIRONMENT}API_KEY, or make keys with `tinker-engine keys create`"
        )
    return content
