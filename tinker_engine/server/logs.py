"""Log lines of a server: for people, or one JSON object each; never what users send.

What a library or a failure says may quote a request, so the text of an exception is left out unless
the level is `debug`: its type and the places it passed through stay.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, Literal

# Fields of a request's line; a record carries them as attributes of these names.
FIELDS = ("request_id", "key", "method", "route", "status", "seconds")
REQUESTS = "tinker_engine.requests"
_QUIET = ("httpx", "alembic", "uvicorn.access")


def log_to_stderr(
    form: Literal["human", "json"], level: Literal["debug", "info", "warning"]
) -> None:
    """Send this process's log to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    is_private = level != "debug"
    handler.setFormatter(JsonLines(is_private) if form == "json" else HumanLines(is_private))
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.getLogger(REQUESTS).setLevel(level.upper())
    for noisy in _QUIET:
        logging.getLogger(noisy).setLevel(logging.WARNING)


class _PrivateFormatter(logging.Formatter):
    """Writes exceptions without their text."""

    def __init__(self, is_private: bool) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")
        self._is_private = is_private

    def formatException(self, ei: Any) -> str:  # noqa: N802 (logging's own name)
        """The traceback; without the exceptions' texts if it must not quote anybody."""
        if not self._is_private:
            return super().formatException(ei)
        lines: list[str] = []
        error: BaseException | None = ei[1]
        while error is not None:
            lines.append(f"{type(error).__module__}.{type(error).__qualname__}")
            lines += [
                f"  {frame.filename}:{frame.lineno} in {frame.name}"
                for frame in traceback.extract_tb(error.__traceback__)
            ]
            error = error.__cause__ or error.__context__
        return "\n".join(lines)


class HumanLines(_PrivateFormatter):
    """Time, level, logger and message; a request's fields follow as `name=value`."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """The line without the traceback."""
        fields = " ".join(f"{name}={value}" for name, value in _fields(record).items())
        return " ".join(filter(None, (super().formatMessage(record), fields)))


class JsonLines(_PrivateFormatter):
    """One JSON object a line: `time` (UTC), `level`, `logger`, `message`, a request's fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        content: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            content["traceback"] = self.formatException(record.exc_info)
        return json.dumps(content, default=str)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
