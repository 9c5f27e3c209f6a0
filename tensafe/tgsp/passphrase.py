"""Where a passphrase comes from: a file, the environment, or the person at the terminal."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path

from tensafe.errors import KeyStoreError
from tensafe.files import read_private
from tensafe.tgsp.keystore import Passphrase, require_passphrase

PASSPHRASE_VARIABLE = "TENSAFE_KEY_PASSPHRASE"


def passphrase_source(file: Path | None = None) -> Passphrase:
    """A source that tries `file`, then `TENSAFE_KEY_PASSPHRASE`, then asks at the terminal.

    Asking for a new key's passphrase happens twice. With no file, no variable and no terminal the
    source raises `KeyStoreError` instead of falling back to an unencrypted key.
    """

    def ask(is_new: bool) -> str:
        if file is not None:
            return _from_file(file)
        if named := os.environ.get(PASSPHRASE_VARIABLE):
            return named
        if not sys.stdin.isatty():
            raise KeyStoreError(
                "a passphrase protects the signing key, and there is no terminal to ask for it: "
                f"set {PASSPHRASE_VARIABLE} or give --passphrase-file FILE"
            )
        return _from_terminal(is_new)

    return ask


def _from_file(file: Path) -> str:
    try:
        text = read_private(file).decode("utf-8")
    except FileNotFoundError as error:
        raise KeyStoreError(f"no passphrase file at {file}") from error
    except UnicodeDecodeError as error:
        raise KeyStoreError(f"{file} is not UTF-8 text") from error
    return text.removesuffix("\n").removesuffix("\r")


def _from_terminal(is_new: bool) -> str:
    first = getpass.getpass("Passphrase for the signing key: ")
    if is_new:
        require_passphrase(first)
        if getpass.getpass("The same again: ") != first:
            raise KeyStoreError("the two passphrases differ: nothing was stored")
    return first
