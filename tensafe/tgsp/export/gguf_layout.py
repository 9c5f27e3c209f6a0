"""How llama.cpp names and orders the weights of each supported family.

Owns the two things in which GGUF differs from transformers: tensor names (gguf's own map) and the
order of the rows of q and k in Llama-like models, whose rotary embedding pairs neighbouring rows
in llama.cpp and rows half a head apart in transformers. Everything else keeps its place; Conv1D
weights (GPT-2) are turned to (out, in), which leaves LoRA's factors as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from tensafe.errors import ExportRefusedError

if TYPE_CHECKING:
    from tinker_engine.models.base_model import LoadedBase

FloatArray = npt.NDArray[np.float32]
# transformers' model_type -> llama.cpp's architecture, and whether q and k rows are reordered.
FAMILIES = {
    "llama": ("llama", True),
    "mistral": ("llama", True),
    "qwen2": ("qwen2", False),
    "qwen3": ("qwen3", False),
    "gpt2": ("gpt2", False),
}
_REORDERED = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}


@dataclass(frozen=True)
class GgufLayout:
    """Names and row order for one base; `settings` is its transformers configuration."""

    arch: str
    settings: Any
    reorders: bool
    is_tied: bool
    names: Any

    def tensor_name(self, name: str) -> str:
        """The GGUF name of a transformers weight such as `model.norm.weight`.

        Raises:
            ExportRefusedError: names the tensor that llama.cpp has no place for.
        """
        found = cast("str | None", self.names.get_name(name, try_suffixes=(".weight", ".bias")))
        if found is None:
            raise ExportRefusedError(
                f"tensor {name}: llama.cpp's architecture {self.arch} has no place for it"
            )
        if found == "output.weight" and self.is_tied:
            raise ExportRefusedError(
                f"tensor {name}: this base shares its output weights with its embeddings, so "
                "llama.cpp has no output tensor that an adapter could change; train without it"
            )
        return found

    def to_gguf(self, name: str, rows: FloatArray) -> FloatArray:
        """Rows (out, ...) of a weight, bias or B factor of module `name` in llama.cpp's order."""
        heads = self._heads(name)
        if heads is None:
            return rows
        half = rows.shape[0] // heads // 2
        pairs = rows.reshape(heads, 2, half, *rows.shape[1:])
        return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(rows.shape))

    def from_gguf(self, name: str, rows: FloatArray) -> FloatArray:
        """`to_gguf` undone."""
        heads = self._heads(name)
        if heads is None:
            return rows
        half = rows.shape[0] // heads // 2
        pairs = rows.reshape(heads, half, 2, *rows.shape[1:])
        return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(rows.shape))

    def _heads(self, name: str) -> int | None:
        parts = name.split(".")
        setting = next((_REORDERED[part] for part in parts if part in _REORDERED), None)
        if not self.reorders or setting is None:
            return None
        return int(getattr(self.settings, setting))


def layout_of(base: LoadedBase) -> GgufLayout:
    """The layout for a base.

    Raises:
        ExportRefusedError: its family isn't supported.
    """
    import gguf

    from tinker_engine.models.adapter_logits import base_settings

    settings = base_settings(base)
    family = FAMILIES.get(str(settings.model_type))
    if family is None:
        raise ExportRefusedError(
            f"GGUF export knows the families {', '.join(FAMILIES)}, not "
            f"{settings.model_type!r}; use --format safetensors, or llama.cpp's own converter on it"
        )
    arch, reorders = family
    number = next(n for n, name in gguf.MODEL_ARCH_NAMES.items() if name == arch)
    names = gguf.get_tensor_name_map(number, int(settings.num_hidden_layers))
    embeddings = cast(Any, base.model).get_input_embeddings()
    return GgufLayout(arch, settings, reorders, base.head.weight is embeddings.weight, names)
