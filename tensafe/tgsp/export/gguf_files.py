"""The GGUF export: adapter, base where it can be written, and a Modelfile for Ollama."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tensafe.errors import ExportRefusedError
from tensafe.tgsp.export.gguf_adapter import read_gguf_adapter, write_gguf_adapter
from tensafe.tgsp.export.gguf_base import check_gguf_base, write_gguf_base
from tensafe.tgsp.export.gguf_layout import layout_of
from tensafe.tgsp.export.gguf_tokenizer import probe_texts, rare_probe_texts
from tensafe.tgsp.export.modelfile import modelfile
from tensafe.tgsp.export.parity import Parity, ParityCheck

if TYPE_CHECKING:
    from tensafe.tgsp.export.source import ExportSource

MODELFILE = "Modelfile"


class Remarks(NamedTuple):
    """`left_out`: files that could not be written, and why; `notes`: what differs a little."""

    left_out: dict[str, str]
    notes: tuple[str, ...] = ()


def write_gguf(source: ExportSource, folder: Path, name: str) -> Remarks:
    """Write the files; gives what was left out, and what differs, with the reasons.

    Raises:
        ExportRefusedError: the adapter itself can't be expressed; names the tensor.
    """
    layout = layout_of(source.base)
    adapter_file, base_file = f"{name}-lora.gguf", base_file_name(source)
    write_gguf_adapter(source, layout, folder / adapter_file)
    if source.view.skill_doc is not None:
        (folder / "SKILL.md").write_text(source.view.skill_doc, encoding="utf-8")
    try:
        differing = write_gguf_base(source, layout, folder / base_file)
    except ExportRefusedError as error:
        (folder / base_file).unlink(missing_ok=True)
        return Remarks({base_file: str(error), MODELFILE: f"needs {base_file}"})
    notes = (_numerals(differing),) if differing else ()
    try:
        text = modelfile(source, base_file=base_file, adapter_file=adapter_file)
    except ExportRefusedError as error:
        return Remarks({MODELFILE: str(error)}, notes)
    (folder / MODELFILE).write_text(text, encoding="utf-8")
    return Remarks({}, notes)


def check_gguf(source: ExportSource, folder: Path, parity: Parity) -> list[ParityCheck]:
    """Read the files with gguf's reader and compare; see `Parity` and `check_gguf_base`."""
    layout = layout_of(source.base)
    (adapter_file,) = folder.glob("*-lora.gguf")
    read = read_gguf_adapter(adapter_file, source, layout)
    checks = [parity.check_factors("gguf", read.factors, read.scale)]
    base = folder / base_file_name(source)
    if base.exists():
        check_gguf_base(source, layout, base)
    return checks


def base_file_name(source: ExportSource) -> str:
    """The base's file in the out folder."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", source.base.info.name.rsplit("/", 1)[-1]) + ".gguf"


def _numerals(differing: tuple[str, ...]) -> str:
    shown = ", ".join(repr(text) for text in differing[:3])
    return (
        f"llama.cpp tokenizes {len(differing)} of {len(rare_probe_texts())} texts with numerals "
        f"beyond 0 to 9 otherwise ({shown}); all {len(probe_texts())} other probe texts alike"
    )
