"""Loading a base model: the built-in `nano`, a folder, or a hub id.

A base is frozen, in evaluation mode, on the CPU, in fp32. Files on this machine are used first;
the network is reached only for a hub id that isn't in the local cache.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from tinker_engine.errors import ModelLoadError
from tinker_engine.models.digests import base_digest, text_digest, tokenizer_digest
from tinker_engine.models.hub_cache import HUB_PATTERNS, cached_folder
from tinker_engine.numerics.library_caches import bound_library_caches
from tinker_engine.runtime.records import BaseInfo

WEIGHT_FILES = ("*.safetensors", "pytorch_model*.bin")


@dataclass(frozen=True)
class LoadedBase:
    """A frozen causal language model with its tokenizer and identity.

    `backbone(input_ids=...)` gives the last hidden states (B, T, D); `head_weight` (V, D) and
    `head_bias` (V,) turn them into logits, squashed by `logit_softcap` where the family does so.
    """

    info: BaseInfo
    model: nn.Module
    tokenizer: Any
    backbone: nn.Module
    head: nn.Module
    head_name: str
    logit_softcap: float | None

    @property
    def head_weight(self) -> Tensor:
        return cast(Tensor, self.head.weight)

    @property
    def head_bias(self) -> Tensor | None:
        return cast("Tensor | None", getattr(self.head, "bias", None))


def resolve_folder(name: str) -> Path:
    """Folder that holds the model's files.

    Raises ModelLoadError for an unknown name, or a folder without a model in it.
    """
    if name == "nano":
        from tinker_engine.base import NANO_DIR

        folder = NANO_DIR
    elif Path(name).expanduser().is_dir():
        folder = Path(name).expanduser().resolve()
    elif name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise ModelLoadError(
            f"base model {name!r}: no such folder; give `nano`, a folder with config.json and "
            "weights, or a hub id such as owner/name"
        )
    else:
        folder = _hub_folder(name)
    if not (folder / "config.json").is_file():
        raise ModelLoadError(f"base model {name!r}: {folder} has no config.json")
    if not any(any(folder.glob(pattern)) for pattern in WEIGHT_FILES):
        raise ModelLoadError(f"base model {name!r}: {folder} has no weight files (*.safetensors)")
    return folder


def _hub_folder(name: str) -> Path:
    from huggingface_hub import snapshot_download

    if cached := cached_folder(name):
        return cached
    try:
        return Path(snapshot_download(name, allow_patterns=list(HUB_PATTERNS)))
    # The hub client raises a dozen unrelated classes for "not there" and "no network".
    except Exception as error:
        raise ModelLoadError(
            f"base model {name!r} is neither in the local cache nor could it be fetched: {error}"
        ) from error


def load_base(name: str) -> LoadedBase:
    """Load, freeze and identify a base model.

    Raises ModelLoadError when files are missing or broken, or when the model isn't a causal
    language model whose logits are a linear map of its last hidden states.
    """
    folder = resolve_folder(name)
    disable_progress_bar()
    try:
        config = cast(Any, AutoConfig.from_pretrained(folder, local_files_only=True))
        model, report = _load_weights(folder)
        tokenizer = cast(Any, AutoTokenizer.from_pretrained(folder, local_files_only=True))
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelLoadError(
            f"base model {name!r} can't be loaded from {folder}: {error}"
        ) from error
    # transformers fills what is missing with random numbers and goes on.
    if report["missing_keys"] or report["mismatched_keys"]:
        missing = sorted(map(str, [*report["missing_keys"], *report["mismatched_keys"]]))
        raise ModelLoadError(
            f"base model {name!r}: weights in {folder} are incomplete or of the wrong shape, "
            f"such as {missing[0]}"
        )
    return freeze_base(name, str(folder), model, tokenizer, config)


def _load_weights(folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The model in fp32, and what transformers says about its keys."""
    load = cast(Any, AutoModelForCausalLM).from_pretrained
    model, report = load(
        folder,
        local_files_only=True,
        dtype=torch.float32,
        output_loading_info=True,
    )
    return cast(nn.Module, model), cast("dict[str, Any]", report)


def freeze_base(name: str, path: str, model: nn.Module, tokenizer: Any, config: Any) -> LoadedBase:
    """Freeze an instantiated model and work out its identity; see `load_base`."""
    bound_library_caches()
    model.eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    head = cast(Any, model).get_output_embeddings()
    if head is None:
        raise ModelLoadError(f"base model {name!r} has no language-model head")
    head_name = next((n for n, module in model.named_modules() if module is head), "")
    folder = Path(path)
    info = BaseInfo(
        name=_identity_name(name),
        path=path,
        architecture=type(model).__name__,
        digest=base_digest(_unique_state(model), _settings(folder, config)),
        tokenizer_digest=tokenizer_digest(folder),
        chat_template_digest=text_digest(getattr(tokenizer, "chat_template", None)),
        max_context=_max_context(config),
        vocab_size=int(head.weight.shape[0]),
        hidden_size=int(head.weight.shape[1]),
    )
    base = LoadedBase(
        info=info,
        model=model,
        tokenizer=tokenizer,
        backbone=cast(Any, model).base_model,
        head=head,
        head_name=head_name,
        logit_softcap=getattr(config, "final_logit_softcapping", None),
    )
    _check_head(base)
    return base


def _identity_name(name: str) -> str:
    """A folder goes by its last part, so that identities don't carry a machine's paths."""
    folder = Path(name).expanduser()
    return folder.resolve().name if name != "nano" and folder.is_dir() else name


def _settings(folder: Path, config: Any) -> dict[str, Any]:
    """config.json as it is on disk: what the library makes of it may change with its version."""
    path = folder / "config.json"
    if path.is_file():
        return cast("dict[str, Any]", json.loads(path.read_text(encoding="utf-8")))
    return cast("dict[str, Any]", config.to_dict())


def _unique_state(model: nn.Module) -> dict[str, Tensor]:
    """Parameters by first name; tied weights count once and buffers can be recomputed."""
    return dict(model.named_parameters(remove_duplicate=True))


def _max_context(config: Any) -> int:
    for field in ("max_position_embeddings", "n_positions", "max_sequence_length"):
        value = getattr(config, field, None)
        if isinstance(value, int) and value > 0:
            return value
    raise ModelLoadError("the model's config.json states no context length")


def _check_head(base: LoadedBase) -> None:
    """Make sure hidden states and head alone give the model's logits (families differ)."""
    tokens = torch.arange(4)[None] % base.info.vocab_size
    with torch.inference_mode():
        whole = cast(Any, base.model)(input_ids=tokens).logits[0]
        hidden = cast(Any, base.backbone)(input_ids=tokens).last_hidden_state[0]
        logits = nn.functional.linear(hidden, base.head_weight, base.head_bias)
        if base.logit_softcap is not None:
            logits = torch.tanh(logits / base.logit_softcap) * base.logit_softcap
    if not torch.allclose(whole.float(), logits.float(), atol=1e-3, rtol=1e-3):
        raise ModelLoadError(
            f"{base.info.architecture} computes its logits in a way this engine doesn't know; "
            "supported families: Llama, Qwen2, Qwen3, Mistral, Gemma, GPT-2, GPT-NeoX"
        )
