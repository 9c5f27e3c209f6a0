"""Errors in OpenAI's layout: `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from tinker_engine.errors import EngineError, ParameterError

PREFIX = "/v1"
_TYPES = {
    HTTPStatus.FORBIDDEN: "permission_error",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
}
_CODES = {
    HTTPStatus.UNAUTHORIZED: "invalid_api_key",
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "request_too_large",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_exceeded",
}


def is_openai_path(path: str) -> bool:
    """Whether a path answers in OpenAI's layout."""
    return path == PREFIX or path.startswith(f"{PREFIX}/")


def openai_error(error: EngineError) -> dict[str, Any]:
    """The body for an engine error; clients choose their exception by the HTTP status."""
    status = HTTPStatus(error.status)
    kind = "server_error" if error.status >= 500 else _TYPES.get(status, "invalid_request_error")
    param: str | None = None
    code = _CODES.get(status)
    if isinstance(error, ParameterError):
        param, code = error.param, error.code or code
    return {"error": {"message": str(error), "type": kind, "param": param, "code": code}}
