"""Every error the engine raises on purpose.

`category` is the Tinker failure category ("user" or "server"); `status` is the HTTP status that a
synchronous route answers. Messages say what was expected and what the caller can do.
"""

from __future__ import annotations

from typing import ClassVar, Literal


class EngineError(Exception):
    """Base of all engine errors."""

    category: ClassVar[Literal["user", "server"]] = "server"
    status: ClassVar[int] = 500
    retry_after_s: ClassVar[int | None] = None


class RequestError(EngineError):
    """The request can't be served as it is: change it and send it again."""

    category = "user"
    status = 400


class NotFoundError(RequestError):
    """A named run, checkpoint, sampler or model does not exist on this server."""

    status = 404


class ParameterError(RequestError):
    """One field of a request is wrong or can't be served; `param` names it, `code` says how."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code


class UnknownModelError(ParameterError, NotFoundError):
    """A model, checkpoint or live slot that a request names is not served here."""

    def __init__(self, message: str) -> None:
        super().__init__(message, param="model", code="model_not_found")


class ConflictingRetryError(RequestError):
    """An idempotency key came again with another payload (422, so that SDKs do not retry)."""

    status = 422


class AuthenticationError(RequestError):
    """The API key is missing or unknown."""

    status = 401


class QuotaError(RequestError):
    """The key may not use that much; the message has the numbers, and waiting does not help."""

    status = 403


class TooManyTokensError(RequestError):
    """The key's requests in flight use up its tokens; wait until some are finished."""

    status = 429
    retry_after_s = 1


class ModelLoadError(RequestError):
    """A base model can't be loaded, or a LoRA target matches none of its modules."""


class CheckpointError(RequestError):
    """A checkpoint is incomplete, fails its digest, or belongs to another base model."""


class AdmissionError(RequestError):
    """An adapter's admission is missing, malformed, or names another adapter; nothing changed."""

    status = 403


class SlotConflictError(RequestError):
    """A live slot points elsewhere than its caller believed; look again and decide anew."""

    status = 409


class PrivacyPolicyError(RequestError):
    """A privacy policy is missing a field, not finite, or out of range."""


class PrivacyBudgetExceededError(RequestError):
    """The next private step would spend more than the run's budget; nothing was released."""

    status = 403


class NonFiniteError(RequestError):
    """A loss or gradient is NaN or infinite; the step was not applied."""


class ServerUnavailableError(EngineError):
    """The engine is shutting down or could not start."""

    status = 503


class StorageError(EngineError):
    """The disk or the database refused a write; nothing was changed: free space and send it again.

    507, which SDKs retry for a few minutes.
    """

    status = 507


class RequestTooLargeError(RequestError):
    """Serving the request would take more memory than there is; split it."""

    status = 413


class UnsupportedByServerError(EngineError):
    """The connected server lacks something the caller asked for (such as privacy)."""

    category = "user"
    status = 400
