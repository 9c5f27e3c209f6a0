"""Whether PEFT and vLLM load an adapter folder: tensor names, shapes and configuration.

Both libraries are lenient where it hurts: PEFT leaves out tensors that it can't place and says so
in a warning at most; vLLM ignores what it doesn't know of the configuration and scales by
lora_alpha / r all the same. So everything is an error here that would load as something else.
Values are not looked at. The rules are those of PEFT 0.21 (LoraConfig, set_peft_model_state_dict)
and of vLLM (PEFTHelper, LoRAModel.from_local_checkpoint, LoRAModelManager), read, not run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from safetensors import SafetensorError, safe_open

from tinker_engine.errors import CheckpointError
from tinker_engine.models.adapter_files import CONFIG_FILE, PREFIX, WEIGHTS_FILE
from tinker_engine.models.module_shapes import ModuleShapes
from tinker_engine.models.targets import suffix_matches
from tinker_engine.models.vllm_support import (
    COMMON_MODULES,
    HIGHEST_RANK,
    LARGEST_VOCABULARY,
    MODULES,
)

Profile = Literal["peft", "vllm"]
Level = Literal["error", "unsure", "note"]
Verdict = Literal["loads", "fails", "unsure"]
PROFILES: tuple[Profile, ...] = get_args(Profile)

_KEY = re.compile(r"^(?P<module>.+)\.(?P<part>lora_[AB]\.weight|lora_embedding_[AB])$")
_DEFAULT_KEY = re.compile(r"(\.lora_(?:embedding_)?[AB])\.default(\.weight)?$")
_NAMED_KEY = re.compile(r"\.lora_(?:embedding_)?[AB]\.(?!weight$|bias$)[^.]+(?:\.weight)?$")
# PEFT features beyond a plain LoRA of linear modules; their tensors have other names or meanings.
_OTHER_FEATURES = (
    "layer_replication", "target_parameters", "trainable_token_indices", "arrow_config",
    "use_bdlora", "use_qalora", "ensure_weight_tying", "alora_invocation_tokens",
)  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """What one library makes of one tensor (`place` is its key) or setting.

    `error`: doesn't load, or loads as something else. `unsure`: needs the base, or a newer version.
    """

    profile: Profile
    level: Level
    place: str
    problem: str


@dataclass(frozen=True)
class LintReport:
    """All findings for one folder; `has_base`: names and sizes were compared with a base."""

    folder: str
    profiles: tuple[Profile, ...]
    findings: tuple[Finding, ...]
    has_base: bool

    def verdict(self, profile: Profile) -> Verdict:
        """`fails` with any error, `unsure` with anything unsettled or without a base."""
        levels = {f.level for f in self.findings if f.profile == profile}
        if "error" in levels:
            return "fails"
        return "loads" if self.has_base and "unsure" not in levels else "unsure"


def lint_adapter(
    folder: Path, base: ModuleShapes | None = None, profiles: Sequence[Profile] = PROFILES
) -> LintReport:
    """Look at adapter_config.json and the header of adapter_model.safetensors.

    Raises CheckpointError when one of them is missing or can't be read at all.
    """
    adapter = _read(folder)
    findings: list[Finding] = []
    for profile in profiles:
        rules = _Rules(profile, adapter, base)
        rules.check()
        findings.extend(rules.findings)
    return LintReport(str(folder), tuple(profiles), tuple(findings), base is not None)


def stated_base(folder: Path) -> str:
    """Name of the base that the adapter was made for, as its configuration says; "" for none."""
    return str(_read(folder).setting("base_model_name_or_path") or "")


@dataclass(frozen=True)
class _Adapter:
    """The raw configuration, and shapes of the tensors by key."""

    config: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]

    def setting(self, name: str) -> Any:
        return self.config.get(name)


def _read(folder: Path) -> _Adapter:
    config_path, weights_path = folder / CONFIG_FILE, folder / WEIGHTS_FILE
    for path in (config_path, weights_path):
        if not path.is_file():
            raise CheckpointError(f"{folder} has no {path.name}; an adapter folder has both files")
    try:
        config: object = json.loads(config_path.read_text(encoding="utf-8"))
        with safe_open(weights_path, framework="numpy") as file:
            shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"adapter folder {folder} can't be read: {error}") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{config_path}: expected a JSON object")
    return _Adapter(cast("dict[str, Any]", config), shapes)


class _Rules:
    """One library's rules for one adapter; `findings` grows."""

    def __init__(self, profile: Profile, adapter: _Adapter, base: ModuleShapes | None) -> None:
        self._profile: Profile = profile
        self._adapter = adapter
        self._base = base
        self.findings: list[Finding] = []

    def check(self) -> None:
        """Settings first: without rank and targets nothing else can be judged."""
        if not self._check_settings():
            return
        if self._profile == "vllm":
            self._check_vllm_settings()
        modules: dict[str, dict[str, tuple[int, ...]]] = {}
        for key, shape in sorted(self._adapter.shapes.items()):
            match = _KEY.match(self._plain_name(key))
            if match is None or not key.startswith(PREFIX):
                self._check_other_key(key)
            else:
                modules.setdefault(match["module"], {})[match["part"]] = shape
        if not modules:
            self._add("error", WEIGHTS_FILE, "holds no LoRA tensor")
        for module, parts in modules.items():
            self._check_module(module, parts)
            if self._profile == "peft":
                self._check_peft_target(module)
            else:
                self._check_vllm_module(module)
        if self._profile == "peft":
            self._check_untrained(set(modules))

    def _plain_name(self, key: str) -> str:
        """The key without prefix, and for PEFT without the adapter name that it would add."""
        if self._profile == "peft" and _DEFAULT_KEY.search(key):
            self._add("note", key, "carries the adapter name `default`; saved keys don't")
            key = _DEFAULT_KEY.sub(r"\1\2", key)
        return key.removeprefix(PREFIX)

    def _add(self, level: Level, place: str, problem: str) -> None:
        self.findings.append(Finding(self._profile, level, place, problem))

    def _check_settings(self) -> bool:
        config = self._adapter.config
        before = len(self.findings)
        if config.get("peft_type") != "LORA":
            self._add("error", "peft_type", f"is {config.get('peft_type')!r}; expected LORA")
        rank, alpha, targets = (config.get(k) for k in ("r", "lora_alpha", "target_modules"))
        if not isinstance(rank, int) or isinstance(rank, bool) or rank < 1:
            self._add("error", "r", f"is {rank!r}; expected a whole number above 0")
        if not isinstance(alpha, int | float) or isinstance(alpha, bool):
            self._add("error", "lora_alpha", f"is {alpha!r}; expected a number")
        if not targets or not isinstance(targets, list | str):
            self._add("error", "target_modules", f"is {targets!r}; expected names of modules")
        for name in _OTHER_FEATURES:
            if config.get(name):
                self._add("unsure", name, "is set: beyond a plain LoRA, not checked here")
        return len(self.findings) == before or not any(f.level == "error" for f in self.findings)

    def _check_vllm_settings(self) -> None:
        setting = self._adapter.setting
        if setting("modules_to_save"):
            self._add("error", "modules_to_save", "vLLM takes LoRA factors alone, no whole modules")
        if setting("use_dora"):
            self._add("error", "use_dora", "vLLM has no DoRA")
        if setting("bias") not in (None, "none"):
            self._add("error", "bias", "vLLM takes no adapter biases")
        for name in ("rank_pattern", "alpha_pattern"):
            if setting(name):
                self._add("error", name, "vLLM ignores it and scales by lora_alpha / r everywhere")
        if setting("r") > HIGHEST_RANK:
            self._add(
                "error", "r", f"is {setting('r')}; vLLM's --max-lora-rank ends at {HIGHEST_RANK}"
            )

    def _check_other_key(self, key: str) -> None:
        config = self._adapter.config
        if not key.startswith(PREFIX):
            self._add("error", key, f"doesn't start with {PREFIX!r}, so no module is found for it")
        elif _NAMED_KEY.search(key):
            self._add("error", key, "carries an adapter's name; saved keys end in lora_A.weight")
        elif "lora_magnitude_vector" in key:
            if self._profile == "vllm" or not config.get("use_dora"):
                self._add("error", key, "belongs to DoRA; vLLM has none, PEFT needs use_dora")
        elif key.endswith("lora_B.bias"):
            if self._profile == "vllm" or not config.get("lora_bias"):
                self._add("error", key, "is an adapter bias; vLLM has none, PEFT needs lora_bias")
        elif not self._is_saved_module(key):
            self._add("error", key, "is no LoRA factor, and no setting makes room for it")

    def _is_saved_module(self, key: str) -> bool:
        module = key.removeprefix(PREFIX).rsplit(".", 1)[0]
        saved = cast("list[str]", self._adapter.setting("modules_to_save") or [])
        has_bias = key.endswith(".bias") and self._adapter.setting("bias") in ("all", "lora_only")
        return self._profile == "peft" and (
            has_bias or any(suffix_matches(module, name) for name in saved)
        )

    def _check_module(self, module: str, parts: dict[str, tuple[int, ...]]) -> None:
        """A pair of two-dimensional factors of the stated rank that fits the base's module."""
        is_embedding = any("embedding" in part for part in parts)
        names = ("lora_embedding_A", "lora_embedding_B") if is_embedding else (
            "lora_A.weight", "lora_B.weight",
        )  # fmt: skip
        a, b = (parts.get(name) for name in names)
        place = f"{PREFIX}{module}"
        if a is None or b is None or len(parts) != 2:
            missing = names[0] if a is None else names[1]
            self._add("error", place, f"has {', '.join(sorted(parts))} without {missing}")
            return
        rank = self._rank(module)
        sizes = self._sizes(module, is_embedding=is_embedding)
        width_in, width_out = sizes or (a[-1], b[0])
        for name, shape, expected in (
            (names[0], a, (rank, width_in)),
            (names[1], b, (width_out, rank)),
        ):
            if shape != expected:
                source = "r and the base" if sizes else "r"
                self._add(
                    "error",
                    f"{place}.{name}",
                    f"has shape {list(shape)}; by {source} it must be {list(expected)}",
                )

    def _sizes(self, module: str, *, is_embedding: bool) -> tuple[int, int] | None:
        """(in, out) by the base; None without one, or where it has no such module."""
        if self._base is None:
            return None
        found = (self._base.embeddings if is_embedding else self._base.linears).get(module)
        if found is None:
            self._add(
                "error",
                f"{PREFIX}{module}",
                f"{self._base.architecture} has no such "
                f"{'embedding' if is_embedding else 'linear module'}",
            )
        return found

    def _rank(self, module: str) -> int:
        patterns = cast("dict[str, int]", self._adapter.setting("rank_pattern") or {})
        for pattern, rank in patterns.items():
            # PEFT's rule (get_pattern_key): the end of the name, or all of it.
            if re.match(rf"(.*\.)?({pattern})$", module):
                return rank
        return cast(int, self._adapter.setting("r"))

    def _is_target(self, module: str) -> bool:
        """PEFT's rule: a text is a pattern for the whole name, a list names ends of it."""
        targets = cast("list[str] | str", self._adapter.setting("target_modules"))
        if targets == "all-linear":
            base = self._base
            return base is None or (module in base.linears and module != base.head)
        if isinstance(targets, str):
            return re.fullmatch(targets, module) is not None
        return any(suffix_matches(module, target) for target in targets)

    def _check_peft_target(self, module: str) -> None:
        if not self._is_target(module):
            self._add(
                "error",
                f"{PREFIX}{module}",
                "target_modules doesn't name it: PEFT would leave the tensors out with a warning",
            )
        base = self._base
        if base is not None and base.ties_head and module == base.head:
            self._add(
                "note",
                f"{PREFIX}{module}",
                "the base ties its head to the embeddings: the adapter changes the head alone, "
                "and merging it would change both",
            )

    def _check_untrained(self, modules: set[str]) -> None:
        """Targets without tensors stay as they are; targets that can't be adapted stop PEFT."""
        if self._base is None:
            return
        limits = ("layers_to_transform", "exclude_modules", "layers_pattern")
        if any(self._adapter.setting(name) for name in limits):
            return
        for name in sorted((self._base.linears.keys() | self._base.embeddings.keys()) - modules):
            if self._is_target(name):
                self._add("note", f"{PREFIX}{name}", "is a target but has no tensors: unchanged")
        for name in sorted(self._base.others):
            if name and self._is_target(name):
                self._add("error", name, "target_modules names it, and PEFT can't adapt it")

    def _check_vllm_module(self, module: str) -> None:
        leaf, place = module.rsplit(".", 1)[-1], f"{PREFIX}{module}"
        base = self._base
        known = MODULES.get(base.architecture) if base is not None else None
        if base is None or known is None:
            if leaf not in COMMON_MODULES:
                self._add("unsure", place, "depends on the base; name it with --base-model")
            return
        if not known:
            self._add("error", place, f"vLLM takes no LoRA adapters for {base.architecture}")
        elif leaf not in known:
            advice = "; train with train_unembed=False" if leaf == "lm_head" else ""
            self._add("error", place, f"vLLM's {base.architecture} takes none for {leaf}{advice}")
        elif leaf == "lm_head":
            vocabulary = base.linears.get(module, (0, 0))[1]
            if vocabulary > LARGEST_VOCABULARY:
                self._add("error", place, f"vLLM's limit for it is {LARGEST_VOCABULARY} words")
            if base.architecture == "Qwen3ForCausalLM":
                self._add("unsure", place, "needs a vLLM with LoRA on Qwen3's output embedding")
