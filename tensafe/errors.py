"""Every error tensafe raises on purpose, with the exit code its commands end with."""

from __future__ import annotations

from typing import ClassVar


class TensafeError(Exception):
    """Base of all tensafe errors; ends a command with `exit_code`."""

    exit_code: ClassVar[int] = 1


class UsageError(TensafeError):
    """An option or a configuration value is wrong: the message names it and what is allowed."""

    exit_code = 2


class DataError(TensafeError):
    """Input data can't be used: the message names file, place, what was expected, what to do."""


class NothingToTrainError(DataError):
    """After reading and curation no example with a trained token is left."""


class TeacherError(TensafeError):
    """The teacher can't be reached or refuses: the message names its URL and what to do."""


class GateRefusedError(TensafeError):
    """A quality gate said no, so nothing was packaged."""

    exit_code = 3


class VerificationError(TensafeError):
    """A package, a signature or a digest does not check out."""

    exit_code = 4


class KeyStoreError(TensafeError):
    """A signing key is missing, unencrypted, readable by others, or its passphrase is wrong."""


class ScreeningError(TensafeError):
    """A screening layer could not be run to its end; the gate counts it as not passed."""


class EvaluationError(TensafeError):
    """qa_verify could not be run to its end; the gate counts it as not passed."""


class ExportRefusedError(TensafeError):
    """A format can't express the adapter: the message names the tensor or setting, and why."""


class ParityError(TensafeError):
    """An exported file doesn't give what the package gives; nothing was left in the out folder."""


class MarketplaceError(TensafeError):
    """A marketplace can't be reached, has no such package, or refuses: the message says which."""
