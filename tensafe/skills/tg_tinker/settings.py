"""Settings that a caller gives by name, checked as the command line checks its options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from tensafe.errors import UsageError

Model = TypeVar("Model", bound=BaseModel)


def checked(kind: type[Model], fields: Mapping[str, object]) -> Model:
    """The settings of a component, with wrong ones refused by name.

    Raises:
        UsageError: a field is unknown or its value is not allowed.
    """
    try:
        return kind.model_validate(dict(fields))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{name}: {first['msg']} (got {first['input']!r})") from error
