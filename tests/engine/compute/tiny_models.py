"""Tiny random models of every supported family, and independent reference gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import transformers as hf
from tokenizers import Tokenizer, models, pre_tokenizers

from tinker_engine.models.base_model import LoadedBase, freeze_base
from tinker_engine.runtime.records import PrivacyPolicy, RunSpec, TrainDatum
from tinker_engine.runtime.torch_backend import TorchBackend

VOCAB = 96
SEVEN = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
COMMON: dict[str, Any] = {
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
GPT2: dict[str, Any] = {
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
NEOX: dict[str, Any] = {k: v for k, v in COMMON.items() if k != "num_key_value_heads"}
CONFIGS: dict[str, Callable[[], Any]] = {
    "llama": lambda: hf.LlamaConfig(**COMMON),
    "mistral": lambda: hf.MistralConfig(**COMMON, head_dim=8, sliding_window=None),
    "mistral-window": lambda: hf.MistralConfig(**COMMON, head_dim=8, sliding_window=8),
    "qwen2": lambda: hf.Qwen2Config(**COMMON),
    "qwen3": lambda: hf.Qwen3Config(**COMMON, head_dim=16, tie_word_embeddings=True),
    "gemma": lambda: hf.GemmaConfig(**COMMON, head_dim=8),
    "gemma2": lambda: hf.Gemma2Config(**COMMON, head_dim=8, query_pre_attn_scalar=8),
    "gpt2": lambda: hf.GPT2Config(**GPT2),
    "gpt-neox": lambda: hf.GPTNeoXConfig(**NEOX, hidden_dropout=0.0, attention_dropout=0.0),
}


PRIVATE = PrivacyPolicy(
    clip_norm=0.7,
    sampling_rate=0.1,
    expected_batch_size=12,
    delta=1e-5,
    noise_multiplier=1.0,
    max_epsilon=100.0,
)


def word_tokenizer() -> Any:
    """Token i is the word `w<i>`, so that decoded text can be read back."""
    vocab = {f"w{i}": i for i in range(VOCAB)}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return hf.PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def tiny_base(family: str, seed: int = 0) -> LoadedBase:
    torch.manual_seed(seed)
    config = CONFIGS[family]()
    config._attn_implementation = "eager" if family == "gemma2" else "sdpa"
    model = hf.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Biases and norms start as zeros and ones, which would hide mistakes.
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
            del name
    return freeze_base(family, f"/nowhere/{family}", model, word_tokenizer(), config)


def random_data(
    count: int, seed: int = 0, low: int = 3, high: int = 20, vocab: int = VOCAB
) -> list[TrainDatum]:
    """Random tokens; about a third of the weights are zero, the rest vary."""
    rng = np.random.default_rng(seed)
    data: list[TrainDatum] = []
    for length in rng.integers(low, high + 1, count):
        tokens = rng.integers(0, vocab, length + 1)
        weights = rng.uniform(0.2, 1.5, length) * (rng.random(length) > 0.3)
        weights[-1] = 1.0
        data.append(TrainDatum(tokens[:-1], tokens[1:], weights.astype(np.float32)))
    return data


def run_spec(**changes: Any) -> RunSpec:
    fields: dict[str, Any] = {"rank": 4, "alpha": 8.0, "targets": SEVEN, "seed": 3}
    return RunSpec(**{**fields, **changes})


def randomise(backend: TorchBackend, run_id: str, seed: int = 5) -> None:
    """Give B values too, so that gradients of A aren't all zero."""
    run = backend.training_run(run_id)
    generator = torch.Generator().manual_seed(seed)
    run.values += torch.randn(run.values.shape, generator=generator) * 0.05
    run.version += 1


Loss = Callable[[torch.Tensor, TrainDatum], torch.Tensor]


def cross_entropy(logprobs: torch.Tensor, datum: TrainDatum) -> torch.Tensor:
    """Loss sum of the logprobs (T,) of a datum's targets."""
    return (-torch.from_numpy(datum.weights).double() * logprobs).sum()


def reference_gradient(
    backend: TorchBackend, run_id: str, data: Sequence[TrainDatum], loss: Loss = cross_entropy
) -> torch.Tensor:
    """Gradient of the loss sum (trainable,) by plain autograd through transformers' own model.

    The adapter is merged into the weights; with dW the weight's gradient, dB = s dW A^T and
    dA = s B^T dW. In fp64, one example at a time, without any code of the engine.
    """
    run = backend.training_run(run_id)
    layout, scale = run.layout, run.spec.alpha / run.spec.rank
    model = tiny_base(backend.base.name).model.double()
    modules = dict(model.named_modules())
    with torch.no_grad():
        for name in layout.modules:
            a, bt = _factors(run, name)
            delta = scale * (bt.t() @ a)
            weight = torch.nn.Parameter(modules[name].weight.detach().clone())
            weight += delta if isinstance(modules[name], torch.nn.Linear) else delta.t()
            modules[name].weight = weight
    for datum in data:
        logits = model(input_ids=torch.from_numpy(datum.tokens)[None]).logits[0]
        logprobs = torch.log_softmax(logits, dim=-1)
        targets = torch.from_numpy(datum.targets).reshape(len(datum.tokens), -1)
        loss(logprobs.gather(1, targets).view(datum.targets.shape), datum).backward()
    flat = torch.zeros(layout.size, dtype=torch.float64)
    for name in layout.modules:
        a, bt = _factors(run, name)
        grad = modules[name].weight.grad
        grad = grad if isinstance(modules[name], torch.nn.Linear) else grad.t()
        layout.segments[name, "B"].view(flat).copy_((scale * grad @ a.t()).t())
        layout.segments[name, "A"].view(flat).copy_(scale * bt @ grad)
    return flat[: layout.trainable]


def _factors(run: Any, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    segments = run.layout.segments
    return (
        segments[name, "A"].view(run.values).double(),
        segments[name, "B"].view(run.values).double(),
    )


def relative_error(ours: torch.Tensor, reference: torch.Tensor) -> float:
    return float((ours.double() - reference.double()).norm() / reference.double().norm())
