"""Tiny random models of every supported family, made from transformers' configurations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers.utils.logging import disable_progress_bar

VOCAB = 96
_COMMON: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "initializer_range": 0.15,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
_GPT2: dict[str, Any] = {
    "vocab_size": VOCAB,
    "n_positions": 64,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "initializer_range": 0.15,
    "resid_pdrop": 0.0,
    "embd_pdrop": 0.0,
    "attn_pdrop": 0.0,
    "bos_token_id": None,
    "eos_token_id": None,
}
_NEOX: dict[str, Any] = {k: v for k, v in _COMMON.items() if k != "num_key_value_heads"}
# Windows shorter than the examples; caps low enough to bend the scores.
_GEMMA2: dict[str, Any] = {
    **_COMMON,
    "head_dim": 8,
    "query_pre_attn_scalar": 12,
    "sliding_window": 6,
    "attn_logit_softcapping": 2.0,
    "final_logit_softcapping": 5.0,
}
_GEMMA3: dict[str, Any] = {
    **_COMMON,
    "num_hidden_layers": 3,
    "head_dim": 8,
    "query_pre_attn_scalar": 12,
    "sliding_window": 6,
    "sliding_window_pattern": 2,
}
CONFIGS: dict[str, Callable[[], Any]] = {
    "llama": lambda: hf.LlamaConfig(**_COMMON),
    "llama-tied": lambda: hf.LlamaConfig(**_COMMON, tie_word_embeddings=True),
    "mistral": lambda: hf.MistralConfig(**_COMMON, head_dim=8, sliding_window=None),
    "mistral-window": lambda: hf.MistralConfig(**_COMMON, head_dim=8, sliding_window=8),
    "qwen2": lambda: hf.Qwen2Config(**_COMMON),
    "qwen3": lambda: hf.Qwen3Config(**_COMMON, head_dim=16, tie_word_embeddings=True),
    "gemma": lambda: hf.GemmaConfig(**_COMMON, head_dim=8),
    "gemma2": lambda: hf.Gemma2Config(**_GEMMA2),
    "gemma3": lambda: hf.Gemma3TextConfig(**_GEMMA3),
    "gpt2": lambda: hf.GPT2Config(**_GPT2),
    "gpt-neox": lambda: hf.GPTNeoXConfig(**_NEOX, hidden_dropout=0.0, attention_dropout=0.0),
}


def tiny_model(family: str, seed: int = 0) -> Any:
    """A random causal language model, the same for the same seed."""
    torch.manual_seed(seed)
    model = hf.AutoModelForCausalLM.from_config(CONFIGS[family]())
    with torch.no_grad():
        for parameter in model.parameters():
            # Biases and norms start as zeros and ones, which would hide mistakes.
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def word_tokenizer() -> Any:
    """Token i is the word `w<i>`, so that decoded text can be read back."""
    vocab = {f"w{i}": i for i in range(VOCAB)}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return hf.PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def save_tiny_model(family: str, folder: Path) -> str:
    """A folder that `load_base` takes; gives its name."""
    disable_progress_bar()
    tiny_model(family).save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return str(folder)
