"""Every error aragora raises on purpose, with the exit code its commands end with."""

from __future__ import annotations

from typing import ClassVar


class AragoraError(Exception):
    """Base of all aragora errors; ends a command with `exit_code`."""

    exit_code: ClassVar[int] = 1


class UsageError(AragoraError):
    """An option or a setting is wrong: the message names it and what is allowed."""

    exit_code = 2


class ModelNotOfferedError(UsageError):
    """The server doesn't offer the model: the message lists what it does offer."""


class AgentError(AragoraError):
    """An agent could not answer: its provider refused, or its answer can't be used."""


class MemoryStoreError(AragoraError):
    """The database can't be opened, or what was asked of it contradicts what it holds."""


class NoSuchRecordError(UsageError):
    """A debate, agent, run or subject by that name is not in the database."""


class AdapterRefusedError(AragoraError):
    """An adapter was not admitted to an agent's set; the agent keeps the one it had."""

    exit_code = 3


class DebateError(AragoraError):
    """A debate can't start or go on: the message says which part of its setting is impossible."""


class RegistryError(AragoraError):
    """The model registry can't be read or written, or doesn't hold what was asked for."""


class TrainingDataError(AragoraError):
    """Training records can't be used: the message names the file or record and what it needs."""


class TrainingError(AragoraError):
    """A training could not be run to its end."""


class JobError(AragoraError):
    """A job can't be scheduled, read or changed as asked."""
