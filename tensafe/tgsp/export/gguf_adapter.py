"""The adapter as a llama.cpp LoRA in GGUF, written and read back.

Factors are stored in fp32 as `<weight>.lora_a` (rank, in) and `<weight>.lora_b` (out, rank), with
`adapter.lora.alpha`; llama.cpp scales by alpha / rank.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from tensafe.errors import ParityError
from tensafe.tgsp.export.gguf_layout import FloatArray, GgufLayout

if TYPE_CHECKING:
    from torch import Tensor

    from tensafe.tgsp.export.source import ExportSource


class ReadAdapter(NamedTuple):
    """Factors under transformers' module names and row order, and alpha / rank."""

    factors: dict[str, tuple[Tensor, Tensor]]
    scale: float


def write_gguf_adapter(source: ExportSource, layout: GgufLayout, path: Path) -> None:
    """Write the LoRA file.

    Raises:
        ExportRefusedError: names the tensor that the format can't express.
    """
    import gguf

    tensors: dict[str, FloatArray] = {}
    for module, (a, b) in source.factors.items():
        name = layout.tensor_name(f"{module}.weight")
        tensors[f"{name}.lora_a"] = a.contiguous().numpy()
        tensors[f"{name}.lora_b"] = layout.to_gguf(module, b.contiguous().numpy())
    writer = cast(Any, gguf.GGUFWriter)(path, layout.arch)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(source.config.alpha))
    writer.add_name(source.view.name)
    writer.add_description(source.view.skill.description)
    writer.add_chat_template(source.chat.template)
    writer.add_string("tensafe.payload_hash", source.view.integrity.payload_hash)
    writer.add_string("tensafe.base_weights", source.base.info.digest)
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    finish(writer)


def read_gguf_adapter(path: Path, source: ExportSource, layout: GgufLayout) -> ReadAdapter:
    """Read a LoRA file with gguf's reader.

    Raises:
        ParityError: it doesn't hold the modules that the package has.
    """
    import gguf
    import torch

    reader = cast(Any, gguf.GGUFReader)(path)
    stored = {tensor.name: np.array(tensor.data) for tensor in reader.tensors}
    alpha = float(reader.get_field(gguf.Keys.Adapter.LORA_ALPHA).contents())
    factors: dict[str, tuple[Tensor, Tensor]] = {}
    for module in source.factors:
        name = layout.tensor_name(f"{module}.weight")
        a, b = stored.pop(f"{name}.lora_a", None), stored.pop(f"{name}.lora_b", None)
        if a is None or b is None:
            raise ParityError(f"{path.name}: {name} is missing; nothing was exported")
        factors[module] = (
            torch.from_numpy(a),
            torch.from_numpy(layout.from_gguf(module, b)),
        )
    if stored:
        raise ParityError(f"{path.name}: unexpected tensor {min(stored)}; nothing was exported")
    ranks = {int(a.shape[0]) for a, _ in factors.values()}
    return ReadAdapter(factors, alpha / ranks.pop())


def finish(writer: Any) -> None:
    """Put a GGUF writer's parts on disk."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
