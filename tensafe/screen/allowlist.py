"""The allowlist layer: nothing in the adapter but the LoRA tensors that its configuration names."""

from __future__ import annotations

from collections import defaultdict
from typing import cast

from tensafe.screen.adapter_weights import DTYPES, AdapterWeights
from tensafe.screen.config import ScreenConfig
from tensafe.screen.records import Check, Finding, LayerResult, judged

_TASKS = ("CAUSAL_LM",)
# PEFT options that change what the tensors mean or what is loaded beside them.
_FORBIDDEN_OPTIONS = (
    "use_dora", "use_qalora", "lora_bias", "modules_to_save", "layer_replication",
    "trainable_token_indices", "target_parameters", "alora_invocation_tokens", "auto_mapping",
    "rank_pattern", "alpha_pattern", "loftq_config", "eva_config", "corda_config", "arrow_config",
    "megatron_config",
)  # fmt: skip
# Files that run code when loaded, or hold weights that this screening does not read.
_REFUSED_FILES = (
    ".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".py", ".so",
    ".safetensors", ".gguf",
)  # fmt: skip


def allowlist(weights: AdapterWeights, config: ScreenConfig) -> LayerResult:
    """One check: the number of things that are not allowed, each of them a finding."""
    findings = [
        *_config_findings(weights, config),
        *_tensor_findings(weights),
        *_shape_findings(weights),
        *_file_findings(weights),
    ]
    check = Check(
        "not_allowed",
        float(len(findings)),
        0.0,
        findings[0].rule + ": " + findings[0].detail
        if findings
        else f"{len(weights.pairs)} LoRA pairs, nothing else",
    )
    evidence: dict[str, object] = {
        "pairs": len(weights.pairs),
        "rank": weights.rank,
        "alpha": weights.alpha,
        "dtypes": sorted({entry.dtype for entry in weights.entries}),
        "parameters": sum(pair.a.size + pair.b.size for pair in weights.pairs),
        "unmatched_targets": _unmatched_targets(weights),
    }
    return judged("allowlist", [check], findings, evidence, shown=config.shown_findings)


def _note(rule: str, detail: str) -> Finding:
    return Finding(rule, prompt="", output="", detail=detail)


def _config_findings(weights: AdapterWeights, config: ScreenConfig) -> list[Finding]:
    limits, declared = config.weights, weights.config
    notes: list[Finding] = []
    if declared.get("peft_type") != "LORA":
        notes.append(_note("configuration", f"peft_type is {declared.get('peft_type')!r}"))
    if declared.get("task_type") not in _TASKS:
        notes.append(_note("configuration", f"task_type is {declared.get('task_type')!r}"))
    if declared.get("bias", "none") != "none":
        notes.append(_note("configuration", f"bias is {declared.get('bias')!r}"))
    if not 1 <= weights.rank <= limits.max_rank:
        notes.append(
            _note("configuration", f"rank {declared.get('r')!r} is not in 1..{limits.max_rank}")
        )
    if not 0.0 < weights.scale <= limits.max_scale:
        notes.append(
            _note(
                "configuration",
                f"alpha / rank {weights.scale:g} is not in (0, {limits.max_scale:g}]",
            )
        )
    if not _targets(weights):
        notes.append(_note("configuration", "target_modules names no module"))
    notes.extend(
        _note("configuration", f"option {option} is set")
        for option in _FORBIDDEN_OPTIONS
        if declared.get(option)
    )
    return notes


def _targets(weights: AdapterWeights) -> list[str]:
    targets = weights.config.get("target_modules")
    if not isinstance(targets, list):
        return []
    return [name for name in cast("list[object]", targets) if isinstance(name, str) and name]


def _is_target(module: str, targets: list[str]) -> bool:
    return any(module == name or module.endswith("." + name) for name in targets)


def _unmatched_targets(weights: AdapterWeights) -> list[str]:
    """Declared targets without tensors: PEFT writes names that match nothing in some bases."""
    modules = [pair.module for pair in weights.pairs]
    return [t for t in _targets(weights) if not any(_is_target(m, [t]) for m in modules)]


def _tensor_findings(weights: AdapterWeights) -> list[Finding]:
    targets = _targets(weights)
    notes = [_note("unexpected tensor", name) for name in weights.unpaired]
    notes.extend(_note("not finite", name) for name in weights.not_finite)
    notes.extend(
        _note("dtype", f"{entry.name} is {entry.dtype}")
        for entry in weights.entries
        if entry.dtype not in DTYPES
    )
    for pair in weights.pairs:
        if not _is_target(pair.module, targets):
            notes.append(_note("undeclared module", f"{pair.module} is no target module"))
        if pair.a.shape[0] != weights.rank:
            notes.append(
                _note("rank", f"{pair.module} has rank {pair.a.shape[0]}, not {weights.rank}")
            )
    if not weights.pairs and not weights.not_finite:
        notes.append(_note("no tensors", "the file holds no LoRA pair"))
    return notes


def _shape_findings(weights: AdapterWeights) -> list[Finding]:
    """Modules of one name have one shape in every layer, as in any transformer stack."""
    shapes: dict[str, set[tuple[int, int]]] = defaultdict(set)
    for pair in weights.pairs:
        shapes[pair.module.rsplit(".", 1)[-1]].add((pair.b.shape[0], pair.a.shape[1]))
    return [
        _note("shape", f"{name} has {len(found)} different shapes: {sorted(found)}")
        for name, found in sorted(shapes.items())
        if len(found) > 1
    ]


def _file_findings(weights: AdapterWeights) -> list[Finding]:
    return [
        _note("file", f"{name} may run code or hold other weights")
        for name in weights.other_files
        if name.lower().endswith(_REFUSED_FILES)
    ]
