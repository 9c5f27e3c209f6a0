"""Sealed exports: files that only the holder of an age key can read.

The age format (https://age-encryption.org/v1) is what the SDK's `save_weights_external` asks for
and what tinker-cookbook's `weights.download` opens. A sealed file keeps its name with `.age` added.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinker_engine.errors import RequestError

SUFFIX = ".age"
MAX_RECIPIENTS = 10


def check_recipients(recipients: Sequence[str]) -> None:
    """Raise RequestError, naming the entry, unless every recipient is an age or SSH public key."""
    if len(recipients) > MAX_RECIPIENTS:
        raise RequestError(
            f"age_encryption_recipients has {len(recipients)} entries; at most {MAX_RECIPIENTS}"
        )
    for place, recipient in enumerate(recipients):
        _recipient(recipient, place)


def seal_files(folder: Path, recipients: Sequence[str]) -> None:
    """Encrypt every file of a folder to the recipients and remove the readable one."""
    age = _library()
    keys = [_recipient(recipient, place) for place, recipient in enumerate(recipients)]
    for file in [entry for entry in folder.iterdir() if entry.is_file()]:
        age.encrypt_file(str(file), str(file.with_name(file.name + SUFFIX)), keys)
        file.unlink()


def _library() -> Any:
    """The extension module, which ships no type information; imported when it is needed."""
    import pyrage

    return pyrage


def _recipient(text: str, place: int) -> object:
    age = _library()
    kind = age.ssh if text.startswith("ssh-") else age.x25519
    try:
        return kind.Recipient.from_str(text)
    except age.RecipientError as error:
        raise RequestError(
            f"age_encryption_recipients[{place}] is not a public key ({error}); expected age1… "
            "(from age-keygen) or an SSH public key of kind ssh-ed25519 or ssh-rsa"
        ) from error
