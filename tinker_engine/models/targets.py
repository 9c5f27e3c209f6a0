"""Which linear modules of a model a LoRA run trains.

Targets are module-name suffixes, matched as PEFT does (whole name or after a dot). The names that
Llama-like models use (`q_proj` ... `down_proj`) stand for "all attention" and "all MLP" linear
modules: where a family names them otherwise, a whole group is mapped by where its modules sit.
`lm_head` stands for the output head, whatever its name. A head that shares its weight with the
embeddings gets an adapter of its own: embeddings stay as they are (PEFT's default as well).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from tinker_engine.errors import ModelLoadError

ATTENTION_GROUP = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP_GROUP = ("gate_proj", "up_proj", "down_proj")
UNEMBED = "lm_head"


def is_linear(module: nn.Module) -> bool:
    """Whether a module is a weight matrix that LoRA can adapt."""
    return isinstance(module, nn.Linear | Conv1D)


def linear_modules(model: nn.Module) -> dict[str, nn.Module]:
    """All linear modules by full name, in the model's own order."""
    return {name: module for name, module in model.named_modules() if is_linear(module)}


def suffix_matches(name: str, suffix: str) -> bool:
    """PEFT's rule: the whole name, or its end after a dot."""
    return name == suffix or name.endswith("." + suffix)


def resolve_targets(model: nn.Module, targets: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """Suffixes as they apply to this model, and the full names of the modules they match.

    Raises ModelLoadError for an empty list, for a suffix that matches no linear module, and for
    one that matches nothing after mapping a whole group to the family's own names.
    """
    if not targets:
        raise ModelLoadError("no LoRA targets given; name at least one, such as q_proj")
    linears = list(linear_modules(model))
    suffixes: list[str] = []
    for target in dict.fromkeys(targets):
        if any(suffix_matches(name, target) for name in linears):
            suffixes.append(target)
            continue
        mapped = _map_head(model) if target == UNEMBED else _map_group(model, target, targets)
        if mapped is None:
            raise ModelLoadError(
                f"LoRA target {target!r} matches no linear module of this model; "
                f"it has: {', '.join(_leaf_suffixes(linears))}"
            )
        suffixes.extend(mapped)
    suffixes = sorted(dict.fromkeys(suffixes))
    names = [n for n in linears if any(suffix_matches(n, s) for s in suffixes)]
    return tuple(suffixes), names


def _map_head(model: nn.Module) -> list[str] | None:
    """The output head by its full name; None where it is no linear module."""
    head = _output_head(model)
    return next(([n] for n, module in linear_modules(model).items() if module is head), None)


def _map_group(model: nn.Module, target: str, targets: Sequence[str]) -> list[str] | None:
    """The family's names for a group of which `target` is one; None where none can stand in."""
    for group, is_attention in ((ATTENTION_GROUP, True), (MLP_GROUP, False)):
        if target not in group:
            continue
        # A single q_proj on a model with a fused c_attn would silently train k and v as well.
        if not set(group) <= set(targets):
            return None
        own = _block_linears(model, attention=is_attention)
        if not own:
            return None
        known = {leaf for leaf in group if any(suffix_matches(n, leaf) for n in own)}
        rest = [n for n in own if n.rsplit(".", 1)[-1] not in known]
        return _two_part_suffixes(rest)
    return None


def _block_linears(model: nn.Module, *, attention: bool) -> list[str]:
    """Linear modules inside decoder blocks that sit in the attention part, or outside of it."""
    names: list[str] = []
    attention_roots = [
        name
        for name, module in model.named_modules()
        if "attention" in type(module).__name__.lower()
    ]
    head = _output_head(model)
    for name, module in linear_modules(model).items():
        in_block = any(part.isdigit() for part in name.split("."))
        if not in_block or module is head:
            continue
        in_attention = any(name.startswith(root + ".") for root in attention_roots)
        if in_attention == attention:
            names.append(name)
    return names


def _output_head(model: nn.Module) -> nn.Module | None:
    get_head = getattr(model, "get_output_embeddings", None)
    return cast("nn.Module | None", get_head()) if callable(get_head) else None


def _two_part_suffixes(names: Iterable[str]) -> list[str]:
    """`attn.c_proj` rather than `c_proj`, which some families also use in the MLP."""
    return sorted({".".join(name.split(".")[-2:]) for name in names})


def _leaf_suffixes(names: Iterable[str]) -> list[str]:
    return sorted({name.rsplit(".", 1)[-1] for name in names})


def linear_shape(modules: Mapping[str, nn.Module], name: str) -> tuple[int, int]:
    """(in, out) of a linear module."""
    module = modules.get(name)
    if module is None:
        raise ModelLoadError(f"the base model has no linear module {name!r}")
    weight = cast(Tensor, module.weight)
    rows, columns = int(weight.shape[0]), int(weight.shape[1])
    return (columns, rows) if isinstance(module, nn.Linear) else (rows, columns)
