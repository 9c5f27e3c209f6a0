"""Supervised fine-tuning through the SDK, with or without differential privacy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinker_engine.errors import RequestError
from tinker_engine.recipes.chat_format import ChatFormat, ChatMessage, Rendered
from tinker_engine.recipes.sft_config import SftConfig
from tinker_engine.recipes.sft_plan import plan_run
from tinker_engine.recipes.training_loop import (
    InterruptedRunError,
    OnProgress,
    Progress,
    SftResult,
    TrainingLoop,
)

if TYPE_CHECKING:
    import tinker

__all__ = ["InterruptedRunError", "OnProgress", "Progress", "SftResult", "datum", "run_sft"]


def run_sft(
    service: tinker.ServiceClient,
    chat_format: ChatFormat,
    conversations: Sequence[Sequence[ChatMessage]],
    config: SftConfig,
    folder: Path,
    *,
    base_model: str,
    hidden_size: int,
    record_set: str = "",
    start_from: str = "",
    on_progress: OnProgress | None = None,
) -> SftResult:
    """Train a LoRA adapter on conversations, with the loss on each one's last turn.

    Args:
        folder: holds the state file; a folder with one in it is resumed.
        hidden_size: width of the base, for the default learning rate.
        record_set: digest of the training records, declared to the engine's ledger.
        start_from: `tinker://` path of weights that are trained on, in place of fresh ones; their
            rank, alpha and targets must be those of `config`, and the moments begin anew. A
            private run can start from an uploaded adapter alone: a training checkpoint keeps its
            own policy.

    Raises:
        RequestError: no example has a learned token within `max_length`.
        CheckpointError: the folder holds a run with other settings or data.
        InterruptedRunError: Ctrl-C; the state is saved.
    """
    rendered = [chat_format.example(conversation) for conversation in conversations]
    kept = [r for r in rendered if len(r.tokens) <= config.max_length and r.trained_tokens > 0]
    if not kept:
        raise RequestError(
            f"none of {len(rendered)} examples has a learned token within max_length="
            f"{config.max_length} tokens; raise max_length or check the column mapping"
        )
    plan = plan_run(config, kept, hidden_size=hidden_size)
    objective = _Answers(kept, plan.validation, private=config.privacy is not None)
    run = TrainingLoop(
        service,
        config,
        plan,
        objective,
        folder,
        base_model=base_model,
        record_set=record_set,
        start_from=start_from,
        on_progress=on_progress,
    )
    return replace(run.go(), left_out_long=len(rendered) - len(kept))


def datum(rendered: Rendered, *, mean: bool) -> Any:
    """The SDK's datum of one example: inputs and targets shifted by one.

    With `mean` the weights are 1/(learned tokens): the example's loss is its own mean, so that a
    clip norm means the same for short and long answers, and no normaliser couples examples.
    """
    import tinker

    weight = 1.0 / rendered.trained_tokens if mean else 1.0
    shape = [len(rendered.tokens) - 1]
    return tinker.Datum(
        model_input=tinker.ModelInput.from_ints(list(rendered.tokens[:-1])),
        loss_fn_inputs={
            "target_tokens": tinker.TensorData(
                data=list(rendered.tokens[1:]), dtype="int64", shape=shape
            ),
            "weights": tinker.TensorData(
                data=[w * weight for w in rendered.weights[1:]], dtype="float32", shape=shape
            ),
        },
    )


class _Answers:
    """The objective: cross-entropy of each conversation's answer."""

    def __init__(
        self, rendered: Sequence[Rendered], validation: Sequence[int], *, private: bool
    ) -> None:
        held = set(validation)
        self._train = [r for i, r in enumerate(rendered) if i not in held]
        self._data = [datum(r, mean=private) for r in self._train]
        self._validation = [rendered[i] for i in validation]

    def prepare(self, client: tinker.TrainingClient, *, has_stepped: bool) -> None:
        """Nothing to do."""
        del client, has_stepped

    def submit(self, client: tinker.TrainingClient, batch: Sequence[int]) -> Any:
        """One request of the whole batch."""
        return client.forward_backward([self._data[i] for i in batch], "cross_entropy")

    def normaliser(self, batch: Sequence[int]) -> float:
        """Learned tokens."""
        return sum(self._train[i].trained_tokens for i in batch)

    def accuracy(self, result: Any, batch: Sequence[int]) -> None:
        """Nothing is ranked."""
        del result, batch

    def tokens(self, batch: Sequence[int]) -> int:
        """Input positions."""
        return sum(len(self._train[i].tokens) - 1 for i in batch)

    @property
    def has_validation(self) -> bool:
        """Whether conversations were held out."""
        return bool(self._validation)

    def validate(self, client: tinker.TrainingClient) -> float:
        """Mean loss per learned token of the held-out conversations."""
        result = client.forward(
            [datum(r, mean=False) for r in self._validation], "cross_entropy"
        ).result()
        return float(result.metrics["loss:sum"]) / sum(r.trained_tokens for r in self._validation)
