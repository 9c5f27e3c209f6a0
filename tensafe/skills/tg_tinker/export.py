"""Packages to plain LoRA formats, and plain LoRA adapters to packages."""

from __future__ import annotations

from pathlib import Path
from typing import cast, get_args

from tensafe.errors import UsageError
from tensafe.pipeline.events import View
from tensafe.pipeline.import_config import ImportConfig
from tensafe.pipeline.importing import ImportOutcome, import_adapter
from tensafe.skills.tg_tinker.settings import checked
from tensafe.tgsp import KeyPair, load_trust, trust_path
from tensafe.tgsp.export import ExportReport, Format, export_package

__all__ = ["ExportReport", "ImportOutcome", "export_tgsp", "import_lora"]


def export_tgsp(
    tgsp_path: Path | str,
    format: str = "safetensors",
    *,
    out: Path | None = None,
    base_model: str | None = None,
) -> ExportReport:
    """Write a package's adapter as safetensors, pytorch or gguf, checked against the package.

    Raises:
        UsageError: another format, or the base has to be named.
        VerificationError, ExportRefusedError, ParityError: nothing was written.
    """
    if format not in get_args(Format):
        raise UsageError(f"format {format!r}: expected one of {', '.join(get_args(Format))}")
    return export_package(
        Path(tgsp_path),
        cast(Format, format),
        load_trust(trust_path()),
        out=out,
        base_model=base_model,
    )


def import_lora(
    lora_path: Path | str,
    name: str,
    eval_data: Path | str,
    signing_key: KeyPair,
    view: View,
    **settings: object,
) -> ImportOutcome:
    """Bring a PEFT folder or weights file through the gates into a package.

    `settings` are further fields of `ImportConfig`, such as `base_model` or `alpha`.

    Raises:
        UsageError: a setting is wrong, or something is missing that only you know.
        DataError, VerificationError: adapter or data can't be used.
    """
    given = {"source": lora_path, "name": name, "eval_data": eval_data, **settings}
    return import_adapter(checked(ImportConfig, given), signing_key, view)
