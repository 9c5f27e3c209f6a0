"""Exporting a package: verify, write beside the out folder, compare, and only then show it.

Owns the order of things. Files are written into a hidden folder; it takes the out folder's name
after every parity check held, so an out folder is complete and checked, or isn't there.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tensafe.errors import DataError, UsageError
from tensafe.files import sync_folder, write_json
from tensafe.tgsp.export.gguf_files import Remarks, check_gguf, write_gguf
from tensafe.tgsp.export.parity import Parity, ParityCheck
from tensafe.tgsp.export.peft_files import (
    NO_PEFT,
    check_pytorch,
    check_safetensors,
    has_peft,
    write_pytorch,
    write_safetensors,
)
from tensafe.tgsp.export.source import ExportSource, load_source, read_verified
from tensafe.tgsp.reader import package_digest
from tensafe.tgsp.trust import TrustStore
from tensafe.tgsp.verification import VERDICTS

Format = Literal["safetensors", "pytorch", "gguf"]
FORMATS: tuple[Format, ...] = ("safetensors", "pytorch", "gguf")
REPORT_FILE = "export.json"


@dataclass(frozen=True)
class ExportReport:
    """What an export came to; `remarks` say what could not be written, and why."""

    folder: Path
    format: Format
    files: tuple[str, ...]
    checks: tuple[ParityCheck, ...]
    remarks: Remarks
    statement: str
    payload_hash: str
    package_digest: str
    base: str

    def to_json(self) -> dict[str, object]:
        """For `--json` and export.json; the folder is not in the latter, which may be moved."""
        return {
            "format": self.format,
            "files": list(self.files),
            "parity": [check.to_json() for check in self.checks],
            "left_out": self.remarks.left_out,
            "notes": list(self.remarks.notes),
            "package": self.statement,
            "package_digest": self.package_digest,
            "payload_hash": self.payload_hash,
            "base_weights": self.base,
        }


def export_package(
    path: Path,
    format: Format,
    trust: TrustStore,
    *,
    out: Path | None = None,
    base_model: str | None = None,
    require_trusted: bool = False,
) -> ExportReport:
    """Write a package's adapter in another format, checked against the package.

    `out` (default: beside the package, NAME-FORMAT) must not exist or be empty. `base_model` is a
    folder or hub id; packages on the built-in base don't need it.

    Raises:
        VerificationError: the package, or the base it is put on, does not check out.
        ExportRefusedError: the format can't express it; names the tensor.
        ParityError: a file read back computes something else. Nothing is left then.
        UsageError, DataError: the out folder or the base can't be used.
    """
    out = out or path.with_name(f"{path.stem}-{format}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists and isn't an empty folder: give another with --out")
    verified = read_verified(path, trust, require_trusted=require_trusted)
    source = load_source(path, verified, base_model)
    digest = package_digest(path)
    with _staged(out) as folder:
        remarks = _write(source, format, folder)
        checks = _check(source, format, folder)
        report = ExportReport(
            out,
            format,
            tuple(sorted({file.name for file in folder.iterdir()} | {REPORT_FILE})),
            tuple(checks),
            remarks,
            VERDICTS[source.verdict],
            source.view.integrity.payload_hash,
            digest,
            source.base.info.digest,
        )
        write_json(folder / REPORT_FILE, report.to_json())
    return report


def _write(source: ExportSource, format: Format, folder: Path) -> Remarks:
    name = re.sub(r"[^A-Za-z0-9._-]", "-", source.view.name)
    if format == "gguf":
        return write_gguf(source, folder, name)
    (write_safetensors if format == "safetensors" else write_pytorch)(source, folder, name)
    return Remarks({}, () if has_peft() else (NO_PEFT,))


def _check(source: ExportSource, format: Format, folder: Path) -> list[ParityCheck]:
    parity = Parity(source)
    check = {"safetensors": check_safetensors, "pytorch": check_pytorch, "gguf": check_gguf}
    return check[format](source, folder, parity)


@contextmanager
def _staged(out: Path) -> Generator[Path]:
    """A hidden folder that becomes `out` when the block ends without error, and else is removed."""
    folder = out.with_name(f".{out.name}.{secrets.token_hex(6)}.partial")
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise DataError(f"{folder}: can't make the folder: {error.strerror}") from error
    try:
        yield folder
        for file in folder.iterdir():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
        os.replace(folder, out)
        sync_folder(out.parent)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise DataError(f"{out}: can't write the export: {error.strerror or error}") from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
