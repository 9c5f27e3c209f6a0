"""Settings of a run from a YAML file: the same names as `TrainConfig`, options win.

Every refusal names file, line and what is allowed. A key that is not known is an error, because a
misspelt `epsilon` would train with another budget than the one that was written down. Relative
paths are taken from the file's own folder.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tensafe.errors import DataError, UsageError
from tensafe.pipeline.config import TrainConfig

CONFIG_FILE = "tensafe.yaml"
_PATHS = ("data", "out")
_MAX_BYTES = 1024 * 1024


@dataclass(frozen=True)
class ConfigFile:
    """The values of a file, and the line (from 1) on which each stands."""

    path: Path
    values: dict[str, Any]
    lines: dict[str, int]


def train_config(file: Path | None, given: dict[str, Any]) -> TrainConfig:
    """The settings of a run: `given` (the options a user wrote) over the file over the defaults.

    Raises:
        UsageError: a key is unknown or a value is not allowed; names the file's line or option.
        DataError: the file can't be read.
    """
    read = read_config_file(file) if file is not None else None
    values = {**(read.values if read else {}), **given}
    if values.get("data") is None:
        raise UsageError(
            "nothing to learn from: give --data PATH, or --config FILE with data: in it"
        )
    try:
        return TrainConfig(**values)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else ""
        problem = f"{first['msg']} (got {first['input']!r})"
        if read is not None and key in read.lines and key not in given:
            raise UsageError(f"{file}, line {read.lines[key]}: {key}: {problem}") from error
        raise UsageError(f"--{key.replace('_', '-')}: {problem}") from error


def read_config_file(path: Path) -> ConfigFile:
    """Read a file of settings; values are checked only when a `TrainConfig` is made of them.

    Raises:
        DataError: it can't be read, or is not UTF-8.
        UsageError: it is not a YAML mapping, or a key is unknown or given twice.
    """
    import yaml

    try:
        raw = path.read_bytes()
        if len(raw) > _MAX_BYTES:
            raise DataError(
                f"{path}: larger than {_MAX_BYTES:,} bytes; this is no file of settings"
            )
        root = yaml.compose(raw.decode("utf-8-sig"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; make one with `tensafe init`") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{path}{_place(error)}: not YAML: {_problem(error)}") from error
    if root is None:
        return ConfigFile(path, {}, {})
    if not isinstance(root, yaml.MappingNode):
        raise UsageError(f"{path}, line 1: expected lines of the form `key: value`")
    values: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for key_node, value_node in root.value:
        key, line = str(key_node.value), int(key_node.start_mark.line) + 1
        _require_known(path, line, key)
        if key in lines:
            raise UsageError(f"{path}, line {line}: {key} stands on line {lines[key]} already")
        lines[key] = line
        values[key] = _value(path, line, key, value_node)
    return ConfigFile(path, values, lines)


def _require_known(path: Path, line: int, key: str) -> None:
    known = TrainConfig.model_fields
    if key in known:
        return
    near = difflib.get_close_matches(key.replace("-", "_").lower(), known, n=1, cutoff=0.5)
    advice = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"
    raise UsageError(f"{path}, line {line}: unknown key {key!r}; {advice}")


def _value(path: Path, line: int, key: str, node: Any) -> Any:
    import yaml

    loader = yaml.SafeLoader("")
    try:
        value: Any = loader.construct_object(node, deep=True)
    except yaml.YAMLError as error:
        raise UsageError(f"{path}, line {line}: {key}: {_problem(error)}") from error
    finally:
        loader.dispose()
    if isinstance(value, str) and (key in _PATHS or (key == "base_model" and value[:1] == ".")):
        return str(path.parent / Path(value).expanduser())
    return value


def _place(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return "" if mark is None else f", line {mark.line + 1}"


def _problem(error: Exception) -> str:
    return str(getattr(error, "problem", None) or error)
