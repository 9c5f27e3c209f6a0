"""The base model itself as GGUF in fp32, with its tokenizer and chat template.

Written where llama.cpp computes exactly what the base computes: a supported family, plain or
frequency-scaled rotary positions, full attention, and a byte-level BPE tokenizer. Anything else is
refused with the reason; the adapter can still be used with a GGUF of the base from elsewhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from tensafe.errors import ExportRefusedError, ParityError
from tensafe.tgsp.export.gguf_adapter import finish
from tensafe.tgsp.export.gguf_layout import FloatArray, GgufLayout
from tensafe.tgsp.export.gguf_tokenizer import GgufVocabulary, gguf_vocabulary

if TYPE_CHECKING:
    from tensafe.tgsp.export.source import ExportSource

ROPE_FACTORS = "rope_freqs.weight"
# Rope types that are a fixed factor per frequency and nothing else.
_SCALED_ROPE = ("default", "linear", "llama3")


def write_gguf_base(source: ExportSource, layout: GgufLayout, path: Path) -> tuple[str, ...]:
    """Write the base; gives texts with rare numerals that llama.cpp tokenizes otherwise.

    Raises:
        ExportRefusedError: llama.cpp would compute or tokenize something else; says what.
    """
    import gguf

    vocabulary = gguf_vocabulary(source.base)
    tensors = gguf_tensors(source, layout)
    writer = cast(Any, gguf.GGUFWriter)(path, layout.arch)
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(source.base.info.name)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(source.base.info.max_context)
    writer.add_vocab_size(source.base.info.vocab_size)
    writer.add_string("tensafe.base_weights", source.base.info.digest)
    if layout.arch == "gpt2":
        _add_gpt2(writer, layout.settings)
    else:
        _add_llama_like(writer, layout.settings)
    _add_tokenizer(writer, vocabulary, source.chat.template)
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    finish(writer)
    return vocabulary.differing


def check_gguf_base(source: ExportSource, layout: GgufLayout, path: Path) -> int:
    """Read the base back: every tensor of the model is there, bit for bit; gives their number.

    Raises:
        ParityError: names the tensor that is missing or differs.
    """
    import gguf

    from tinker_engine.models.adapter_logits import base_tensors

    reader = cast(Any, gguf.GGUFReader)(path)
    stored = {tensor.name: tensor.data for tensor in reader.tensors}
    expected = base_tensors(source.base)
    for name, weight in expected.items():
        gguf_name = layout.tensor_name(name)
        data = stored.pop(gguf_name, None)
        rows = weight.float().numpy()
        if data is not None and _is_turned(layout, name):
            data = data.T
        if data is None or not np.array_equal(layout.from_gguf(name, np.array(data)), rows):
            raise ParityError(f"{path.name}: {gguf_name} is missing or differs from {name}")
    stored.pop(ROPE_FACTORS, None)
    if stored:
        raise ParityError(f"{path.name}: unexpected tensor {min(stored)}")
    return len(expected)


def gguf_tensors(source: ExportSource, layout: GgufLayout) -> dict[str, FloatArray]:
    """All weights by GGUF name, in llama.cpp's order and orientation."""
    from tinker_engine.models.adapter_logits import base_tensors

    tensors: dict[str, FloatArray] = {}
    factors = _rope_factors(source, layout)
    if factors is not None:
        tensors[ROPE_FACTORS] = factors
    for name, weight in base_tensors(source.base).items():
        rows = weight.float().contiguous().numpy()
        if _is_turned(layout, name):
            rows = np.ascontiguousarray(rows.T)
        tensors[layout.tensor_name(name)] = layout.to_gguf(name, rows)
    return tensors


def _is_turned(layout: GgufLayout, name: str) -> bool:
    """Whether transformers stores this weight as (in, out): GPT-2's Conv1D modules."""
    return layout.arch == "gpt2" and name.endswith(
        ("c_attn.weight", "c_proj.weight", "c_fc.weight")
    )


def _rope_factors(source: ExportSource, layout: GgufLayout) -> FloatArray | None:
    """What llama.cpp divides each frequency by (head size / 2,); None where that is 1."""
    if layout.arch == "gpt2":
        return None
    rope = cast(Any, source.base.backbone).rotary_emb
    settings: dict[str, Any] = layout.settings.rope_parameters
    kind = settings.get("rope_type", "default")
    if kind == "default":
        return None
    if kind not in _SCALED_ROPE or layout.arch != "llama":
        raise ExportRefusedError(f"rotary positions of type {kind!r} aren't written for GGUF")
    frequencies = rope.inv_freq.double().numpy()
    exponents = np.arange(len(frequencies)) / len(frequencies)
    return (float(settings["rope_theta"]) ** -exponents / frequencies).astype(np.float32)


def _add_llama_like(writer: Any, settings: Any) -> None:
    if getattr(settings, "sliding_window", None):
        raise ExportRefusedError(
            f"attention over a window of {settings.sliding_window} tokens isn't written for GGUF"
        )
    if settings.hidden_act != "silu":
        raise ExportRefusedError(f"llama.cpp has SiLU for this family, not {settings.hidden_act}")
    heads = int(settings.num_attention_heads)
    head_size = int(getattr(settings, "head_dim", None) or settings.hidden_size // heads)
    writer.add_embedding_length(settings.hidden_size)
    writer.add_block_count(settings.num_hidden_layers)
    writer.add_feed_forward_length(settings.intermediate_size)
    writer.add_head_count(heads)
    writer.add_head_count_kv(settings.num_key_value_heads)
    writer.add_key_length(head_size)
    writer.add_value_length(head_size)
    writer.add_rope_dimension_count(head_size)
    writer.add_rope_freq_base(float(settings.rope_parameters["rope_theta"]))
    writer.add_layer_norm_rms_eps(settings.rms_norm_eps)


def _add_gpt2(writer: Any, settings: Any) -> None:
    # llama.cpp's gpt2 has the tanh approximation, 1/sqrt(head size), and nothing per layer.
    if settings.activation_function not in ("gelu_new", "gelu_pytorch_tanh"):
        raise ExportRefusedError(
            f"llama.cpp's gpt2 has gelu_new, this base {settings.activation_function}"
        )
    if not settings.scale_attn_weights or settings.scale_attn_by_inverse_layer_idx:
        raise ExportRefusedError("this base scales attention in a way llama.cpp's gpt2 doesn't")
    writer.add_embedding_length(settings.n_embd)
    writer.add_block_count(settings.n_layer)
    writer.add_feed_forward_length(settings.n_inner or 4 * settings.n_embd)
    writer.add_head_count(settings.n_head)
    writer.add_layer_norm_eps(settings.layer_norm_epsilon)


def _add_tokenizer(writer: Any, vocabulary: GgufVocabulary, template: str) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(list(vocabulary.tokens))
    writer.add_token_types(list(vocabulary.types))
    writer.add_token_merges(list(vocabulary.merges))
    writer.add_eos_token_id(vocabulary.eos_id)
    writer.add_bos_token_id(vocabulary.bos_id)
    # The engine trains on the template's text as it is.
    writer.add_add_bos_token(False)
    writer.add_chat_template(template)
