"""What the service refuses, each with its HTTP status and a word that clients can act on."""

from __future__ import annotations

from typing import ClassVar

from tensafe.errors import MarketplaceError


class RefusedError(MarketplaceError):
    """Base of all refusals: `status` is HTTP's, `category` stays the same between versions."""

    status: ClassVar[int] = 400
    category: ClassVar[str] = "bad_request"


class NotFoundError(RefusedError):
    """There is no such package, version, creator or upload."""

    status, category = 404, "not_found"


class ProofError(RefusedError):
    """The request isn't signed as it has to be."""

    status, category = 401, "bad_proof"


class UnknownKeyError(RefusedError):
    """The key is not registered here, or can't be because registration is closed."""

    status, category = 403, "unknown_key"


class RevokedKeyError(RefusedError):
    """The key was revoked here."""

    status, category = 403, "revoked_key"


class NotYoursError(RefusedError):
    """The name or version is another creator's."""

    status, category = 403, "not_yours"


class ConflictError(RefusedError):
    """It is there already and can't be changed."""

    status, category = 409, "conflict"


class TooLargeError(RefusedError):
    """More bytes than the service takes."""

    status, category = 413, "too_large"


class TooManyError(RefusedError):
    """More requests than the service takes."""

    status, category = 429, "too_many"


class RejectedError(RefusedError):
    """The package was judged and kept out; `report` is the load gate's, as JSON text."""

    status, category = 422, "rejected"

    def __init__(self, message: str, report: str) -> None:
        super().__init__(message)
        self.report = report
