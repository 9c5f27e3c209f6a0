"""The base models that a marketplace takes adapters for, as files: facts, no weights.

A file holds what the load gate has to know of a base (names, digests, modules), as the engine
that runs it states it. So the service itself needs neither engine nor weights.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from tensafe.errors import DataError
from tensafe.files import write_json
from tensafe.gate.load_records import RunningBase

_BASE = TypeAdapter(RunningBase)


def read_base(path: Path) -> RunningBase:
    """The facts in a file.

    Raises:
        DataError: it can't be read, or doesn't hold them.
    """
    try:
        return _BASE.validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    except ValidationError as error:
        raise DataError(
            f"{path} does not hold the facts of a base model: write it with `tensafe marketplace "
            "base --out FILE`"
        ) from error


def write_base(path: Path, base: RunningBase) -> None:
    """Write the facts to a file.

    Raises:
        DataError: it can't be written.
    """
    try:
        write_json(path, _BASE.dump_python(base, mode="json"))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
