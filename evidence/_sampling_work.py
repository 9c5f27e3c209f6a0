"""What every contender samples: prompts, the adapter on disk, and the base as GGUF."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evidence import _speed_model as setting

PROMPT, NEW = 64, 48
BATCHES = (1, 8, 32)


def prompts(batch: int, seed: int) -> list[list[int]]:
    """Token ids of a batch of prompts."""
    import numpy as np

    rng = np.random.default_rng(seed)
    return rng.integers(2, setting.VOCAB, (batch, PROMPT)).tolist()


def build(folder: Path) -> None:
    """The base with its adapter in `adapter/`, in PEFT layout."""
    import torch

    from tinker_engine.config import EngineConfig
    from tinker_engine.models import load_base
    from tinker_engine.runtime.records import RunSpec
    from tinker_engine.runtime.torch_backend import TorchBackend

    setting.build(folder, 4)
    backend = TorchBackend(load_base(str(folder)), EngineConfig())
    spec = RunSpec(setting.RANK, float(setting.ALPHA), setting.TARGETS, seed=0)
    backend.create_run("run", spec, folder / "ledger")
    run = backend.training_run("run")
    generator = torch.Generator().manual_seed(1)
    run.values += torch.randn(run.values.shape, generator=generator) * 0.02
    (folder / "adapter").mkdir()
    backend.save_adapter("run", folder / "adapter")
    path = folder / "adapter" / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**config, "base_model_name_or_path": str(folder)}))


def write_gguf(folder: Path) -> None:
    """`base-bf16.gguf`: matrices in bf16, norms in fp32, no tokenizer."""
    import gguf
    import numpy as np
    from safetensors.numpy import load_file

    writer: Any = gguf.GGUFWriter(folder / "base-bf16.gguf", "llama")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_rope_dimension_count(config["hidden_size"] // heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("no_vocab")
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    for name, tensor in load_file(folder / "model.safetensors").items():
        values = tensor.astype(np.float32)
        for part, count in (("q_proj", heads), ("k_proj", kv_heads)):
            if part in name:
                # llama.cpp turns neighbours, transformers the two halves of a head.
                split = values.reshape(count, 2, -1, config["hidden_size"])
                values = np.ascontiguousarray(split.swapaxes(1, 2)).reshape(values.shape)
        kind = gguf.GGMLQuantizationType.BF16 if values.ndim > 1 else None
        data = gguf.quants.quantize(values, kind) if kind is not None else values
        writer.add_tensor(names.get_name(name, (".weight",)), data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
