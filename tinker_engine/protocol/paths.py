"""`tinker://` paths and the names of runs and checkpoints.

A path is `tinker://{run_id}/weights/{name}` (training state),
`tinker://{run_id}/sampler_weights/{name}` (weights alone) or
`tinker://{run_id}/external_weights/{name}` (weights alone, for download). Names are
checked here once, so that the storage room can join them to folders without looking again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from tinker_engine.errors import RequestError

CheckpointKind = Literal["weights", "sampler_weights", "external_weights"]

_SCHEME = "tinker://"
_KINDS: dict[str, CheckpointKind] = {
    "weights": "weights",
    "sampler_weights": "sampler_weights",
    "external_weights": "external_weights",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
UPLOAD_PREFIX = "upload-"
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}(:train:[0-9]{1,9})?")


@dataclass(frozen=True)
class CheckpointPath:
    """One saved checkpoint; `str()` gives the `tinker://` form."""

    run_id: str
    kind: CheckpointKind
    name: str

    def __str__(self) -> str:
        return f"{_SCHEME}{self.run_id}/{self.kind}/{self.name}"

    @property
    def checkpoint_id(self) -> str:
        """The id that the REST routes use: `weights/{name}` or `sampler_weights/{name}`."""
        return f"{self.kind}/{self.name}"

    @property
    def is_upload(self) -> bool:
        """Whether it is an adapter that came from outside, of which no ledger is known here."""
        return self.run_id.startswith(UPLOAD_PREFIX) and ":" not in self.run_id


def parse_path(path: str) -> CheckpointPath:
    """Read a `tinker://` path.

    Raises RequestError with the expected form when scheme, kind, run id or name are wrong.
    """
    parts = path.removeprefix(_SCHEME).split("/")
    if not path.startswith(_SCHEME) or len(parts) != 3:
        raise RequestError(
            f"{path!r} is not a checkpoint path; expected tinker://RUN_ID/weights/NAME "
            "or tinker://RUN_ID/sampler_weights/NAME"
        )
    return checkpoint_path(parts[0], f"{parts[1]}/{parts[2]}")


def checkpoint_path(run_id: str, checkpoint_id: str) -> CheckpointPath:
    """Read the REST form: a run id and `weights/NAME` or `sampler_weights/NAME`."""
    kind_text, _, name = checkpoint_id.partition("/")
    kind = _KINDS.get(kind_text)
    if kind is None:
        raise RequestError(
            f"checkpoint kind {kind_text!r} is not served here; expected one of {', '.join(_KINDS)}"
        )
    return CheckpointPath(check_run_id(run_id), kind, check_name(name))


def check_name(name: str) -> str:
    """Give the checkpoint name back if it is safe as a folder name, else raise RequestError."""
    if not _NAME.fullmatch(name):
        raise RequestError(
            f"checkpoint name {name!r} is not allowed; use 1 to 128 letters, digits, '.', '_' or "
            "'-', starting with a letter or digit"
        )
    return name


def check_run_id(run_id: str) -> str:
    """Give the run id back if it has the form this server hands out, else raise RequestError."""
    if not _RUN_ID.fullmatch(run_id):
        raise RequestError(f"{run_id!r} is not a run id of this server (SESSION:train:NUMBER)")
    return run_id


def run_folder_name(run_id: str) -> str:
    """Folder name of a run: its id with colons replaced, which Windows folders cannot hold."""
    return check_run_id(run_id).replace(":", "-")
