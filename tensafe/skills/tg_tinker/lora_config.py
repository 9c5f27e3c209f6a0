"""LoRA settings by the names and defaults that users were promised."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from tensafe.errors import UsageError

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class LoraConfig:
    """Six settings, each also an option of `tensafe train`.

    `dropout`, `bias` and `task_type` have one supported value each; another is refused, not
    ignored. Fits Qwen 2.5 and Llama-family models; for others name their modules.
    """

    rank: int = 30
    alpha: float = 64
    dropout: float = 0.0
    target_modules: tuple[str, ...] | list[str] = TARGETS
    bias: str = "none"
    task_type: str = "CAUSAL_LM"

    def settings(self) -> dict[str, object]:
        """The fields under the names of `TrainConfig`.

        Raises:
            UsageError: a value is not supported; names the field and what is.
        """
        if isinstance(self.target_modules, str):
            raise UsageError("target_modules: a list of module names, such as ['q_proj', 'v_proj']")
        if not self.target_modules:
            raise UsageError("target_modules: at least one module name is needed")
        for name, supported in (("dropout", 0.0), ("bias", "none"), ("task_type", "CAUSAL_LM")):
            value = getattr(self, name)
            if value != supported:
                raise UsageError(f"{name}: {value!r} is not supported; only {supported!r} is")
        return {**asdict(self), "target_modules": tuple(self.target_modules)}
