"""What vLLM's implementations of the families take adapters for.

By vLLM's own page of supported models (column LoRA) and each model class's `embedding_modules`.
"""

from __future__ import annotations

COMMON_MODULES = frozenset(
    ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
)
_WITH_EMBEDDINGS = COMMON_MODULES | {"embed_tokens", "lm_head"}
# Last parts of module names by architecture; an empty set: no adapters at all.
MODULES: dict[str, frozenset[str]] = {
    "LlamaForCausalLM": _WITH_EMBEDDINGS,
    "MistralForCausalLM": _WITH_EMBEDDINGS,
    "Qwen2ForCausalLM": COMMON_MODULES,
    "Qwen3ForCausalLM": _WITH_EMBEDDINGS,
    "GemmaForCausalLM": COMMON_MODULES,
    "Gemma2ForCausalLM": COMMON_MODULES,
    "Gemma3ForCausalLM": COMMON_MODULES,
    "GPT2LMHeadModel": frozenset(),
    "GPTNeoXForCausalLM": frozenset(),
}
HIGHEST_RANK = 512
LARGEST_VOCABULARY = 258_048
