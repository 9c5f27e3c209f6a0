"""Direct Preference Optimisation through the SDK (arXiv 2305.18290).

The reference is the model that the run starts from: its log-probabilities are computed once, before
the first step, and kept beside the run's state. On this engine a step is one pass over chosen and
rejected answers (the loss `dpo`); on any other server it goes through `forward_backward_custom`,
with the same gradient.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tinker_engine.errors import CheckpointError, RequestError
from tinker_engine.models.adapter_files import write_atomically
from tinker_engine.recipes.chat_format import ChatFormat, ChatMessage, Rendered
from tinker_engine.recipes.dpo_config import DpoConfig, default_preference_rate
from tinker_engine.recipes.sft import datum
from tinker_engine.recipes.sft_plan import plan_run
from tinker_engine.recipes.training_loop import OnProgress, SftResult, TrainingLoop

if TYPE_CHECKING:
    import tinker

REFERENCE_FILE = "reference.npz"
# Examples of one request for reference log-probabilities.
REFERENCE_BATCH = 64
# The SDK cuts a call into requests of 5 MB, 20 bytes a token, and knows nothing of pairs: a call
# of more tokens than this could be cut between a pair's answers.
ONE_REQUEST_TOKENS = 200_000

Values = npt.NDArray[np.float32]


@dataclass(frozen=True)
class PreferencePair:
    """A prompt with two answers to it, each a list of messages in the OpenAI layout."""

    prompt: Sequence[ChatMessage]
    chosen: Sequence[ChatMessage]
    rejected: Sequence[ChatMessage]


@dataclass(frozen=True)
class _RenderedPair:
    chosen: Rendered
    rejected: Rendered

    @property
    def tokens(self) -> tuple[int, ...]:
        return (*self.chosen.tokens, *self.rejected.tokens)

    @property
    def trained_tokens(self) -> int:
        return self.chosen.trained_tokens + self.rejected.trained_tokens

    @property
    def sides(self) -> tuple[Rendered, Rendered]:
        return self.chosen, self.rejected


def run_dpo(
    service: tinker.ServiceClient,
    chat_format: ChatFormat,
    pairs: Sequence[PreferencePair],
    config: DpoConfig,
    folder: Path,
    *,
    base_model: str,
    hidden_size: int,
    record_set: str = "",
    start_from: str = "",
    has_dpo_loss: bool = False,
    on_progress: OnProgress | None = None,
) -> SftResult:
    """Train a LoRA adapter to prefer each pair's chosen answer.

    Args:
        folder: holds the state file and the reference; a folder with one in it is resumed.
        hidden_size: width of the base, for the default learning rate.
        record_set: digest of the pairs.
        start_from: `tinker://` path of the weights to start from, which are the reference as well;
            empty for a new adapter, whose reference is the base.
        has_dpo_loss: whether the server computes the loss `dpo` itself
            (`"dpo" in connection.capabilities().get("losses", ())`).

    Raises:
        RequestError: no pair has both answers within `max_length`.
        CheckpointError: the folder holds a run with other settings or data.
        InterruptedRunError: Ctrl-C; the state is saved.
    """
    if config.learning_rate is None:
        config = config.model_copy(update={"learning_rate": default_preference_rate(hidden_size)})
    rendered = [_rendered(chat_format, pair) for pair in pairs]
    kept = [
        pair
        for pair in rendered
        if all(len(s.tokens) <= config.max_length and s.trained_tokens > 0 for s in pair.sides)
    ]
    if not kept:
        raise RequestError(
            f"none of {len(rendered)} pairs has two answers within max_length="
            f"{config.max_length} tokens; raise max_length or check the rows"
        )
    plan = plan_run(config, kept, hidden_size=hidden_size)
    objective = _Preferences(kept, plan.validation, config.beta, folder, has_dpo_loss=has_dpo_loss)
    loop = TrainingLoop(
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
    return replace(loop.go(), left_out_long=len(rendered) - len(kept))


def preference_margins(
    client: tinker.SamplingClient, chat_format: ChatFormat, pairs: Sequence[PreferencePair]
) -> list[float]:
    """Log p(chosen) - log p(rejected), in nats, of each pair under a model.

    All requests are submitted before the first answer is awaited.
    """
    import tinker

    asked = [
        (
            side.weights.index(1.0),
            client.compute_logprobs(tinker.ModelInput.from_ints(list(side.tokens))),
        )
        for pair in pairs
        for side in _rendered(chat_format, pair).sides
    ]
    sums = [sum(v for v in future.result()[start:] if v is not None) for start, future in asked]
    return [sums[i] - sums[i + 1] for i in range(0, len(sums), 2)]


def _rendered(chat_format: ChatFormat, pair: PreferencePair) -> _RenderedPair:
    return _RenderedPair(
        chat_format.example([*pair.prompt, *pair.chosen]),
        chat_format.example([*pair.prompt, *pair.rejected]),
    )


class _Preferences:
    """The objective: -log sigmoid(beta (log-ratio of chosen - log-ratio of rejected)) per pair."""

    def __init__(
        self,
        pairs: Sequence[_RenderedPair],
        validation: Sequence[int],
        beta: float,
        folder: Path,
        *,
        has_dpo_loss: bool,
    ) -> None:
        held = set(validation)
        # Training pairs first, so that a batch's numbers are places; then the held-out ones.
        trained = [i for i in range(len(pairs)) if i not in held]
        self._trained = len(trained)
        self._pairs = [pairs[i] for i in (*trained, *validation)]
        self._beta = beta
        self._file = folder / REFERENCE_FILE
        self._has_dpo_loss = has_dpo_loss
        self._reference: list[Values] = []

    def prepare(self, client: tinker.TrainingClient, *, has_stepped: bool) -> None:
        """Log-probabilities of all answers under the model that the run starts from."""
        sides = [side for pair in self._pairs for side in pair.sides]
        if not has_stepped:
            # Also where a file is there: it may be another run's.
            self._reference = _reference(client, sides)
            _write_reference(self._file, self._reference)
        elif self._file.exists():
            self._reference = _read_reference(self._file, sides)
        else:
            raise CheckpointError(
                f"{self._file} is missing, so this run can't go on: the model that it started from "
                "is no longer the one in training; begin a new run in a new folder"
            )

    def submit(self, client: tinker.TrainingClient, batch: Sequence[int]) -> Any:
        """One pass where the server has the loss, and otherwise the client's own loss."""
        if self._has_dpo_loss and self.tokens(batch) <= ONE_REQUEST_TOKENS:
            data = [datum for place in batch for datum in self._signed(place)]
            # The SDK names its own losses alone; servers may have others.
            loss: Any = "dpo"
            return client.forward_backward(data, loss, {"beta": self._beta})
        data = [datum(side, mean=False) for place in batch for side in self._pairs[place].sides]
        places = list(batch)

        def loss_of(_data: Any, logprobs: Any) -> tuple[Any, dict[str, float]]:
            import torch

            margins = torch.stack(
                [
                    self._margin(logprobs[2 * k], logprobs[2 * k + 1], p)
                    for k, p in enumerate(places)
                ]
            )
            total = -torch.nn.functional.logsigmoid(margins).sum()
            return total, {"loss:sum": float(total.detach())}

        return client.forward_backward_custom(data, loss_of)

    def normaliser(self, batch: Sequence[int]) -> float:
        """Pairs."""
        return len(batch)

    def accuracy(self, result: Any, batch: Sequence[int]) -> float:
        """Share of pairs whose chosen answer gained more on the reference than the rejected one."""
        margins = self._margins(result, batch)
        return sum(margin > 0 for margin in margins) / len(margins)

    def tokens(self, batch: Sequence[int]) -> int:
        """Input positions of both answers."""
        return sum(len(self._pairs[i].tokens) - 2 for i in batch)

    @property
    def has_validation(self) -> bool:
        """Whether pairs were held out."""
        return len(self._pairs) > self._trained

    def validate(self, client: tinker.TrainingClient) -> float:
        """Mean loss of the held-out pairs."""
        places = range(self._trained, len(self._pairs))
        data = [datum(side, mean=False) for place in places for side in self._pairs[place].sides]
        result = client.forward(data, "cross_entropy").result()
        return float(np.mean(np.logaddexp(0.0, -np.array(self._margins(result, places)))))

    def _signed(self, place: int) -> list[tinker.Datum]:
        """Chosen and rejected as the loss `dpo` takes them: marks 1 and -1, and the reference."""
        import tinker

        data: list[tinker.Datum] = []
        for sign, side, reference in zip(
            (1.0, -1.0), self._pairs[place].sides, self._of(place), strict=True
        ):
            marks = np.array(side.weights[1:], dtype=np.float32) * np.float32(sign)
            data.append(
                tinker.Datum(
                    model_input=tinker.ModelInput.from_ints(list(side.tokens[:-1])),
                    loss_fn_inputs={
                        "target_tokens": tinker.TensorData.from_numpy(np.array(side.tokens[1:])),
                        "logprobs": tinker.TensorData.from_numpy(reference),
                        "advantages": tinker.TensorData.from_numpy(marks),
                    },
                )
            )
        return data

    def _of(self, place: int) -> tuple[Values, Values]:
        return self._reference[2 * place], self._reference[2 * place + 1]

    def _margins(self, result: Any, places: Sequence[int]) -> list[float]:
        found = [output["logprobs"].to_numpy() for output in result.loss_fn_outputs]
        return [
            float(self._margin(found[2 * k], found[2 * k + 1], place))
            for k, place in enumerate(places)
        ]

    def _margin(self, chosen: Any, rejected: Any, place: int) -> Any:
        """Beta times the difference of the log-ratios; arrays of numpy or torch alike."""
        gains: list[Any] = []
        for own, side, reference in zip(
            (chosen, rejected), self._pairs[place].sides, self._of(place), strict=True
        ):
            marks = np.array(side.weights[1:], dtype=np.float32)
            base = float((marks.astype(np.float64) * reference).sum())
            gains.append((own * _like(marks, own)).sum() - base)
        return self._beta * (gains[0] - gains[1])


def _like(values: Values, other: Any) -> Any:
    """The values as an array of the other's library."""
    return values if isinstance(other, np.ndarray) else other.new_tensor(values)


def _reference(client: tinker.TrainingClient, sides: Sequence[Rendered]) -> list[Values]:
    futures = [
        client.forward(
            [datum(side, mean=False) for side in sides[start : start + REFERENCE_BATCH]],
            "cross_entropy",
        )
        for start in range(0, len(sides), REFERENCE_BATCH)
    ]
    return [
        output["logprobs"].to_numpy().astype(np.float32)
        for future in futures
        for output in future.result().loss_fn_outputs
    ]


def _write_reference(path: Path, reference: Sequence[Values]) -> None:
    buffer = io.BytesIO()
    np.savez(
        buffer,
        lengths=np.array([len(values) for values in reference]),
        logprobs=np.concatenate(reference),
    )
    write_atomically(path, buffer.getvalue())


def _read_reference(path: Path, sides: Sequence[Rendered]) -> list[Values]:
    expected = [len(side.tokens) - 1 for side in sides]
    try:
        with np.load(path) as stored:
            lengths, logprobs = stored["lengths"], stored["logprobs"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"{path}: not the reference of a preference run ({error}); name a new folder"
        ) from error
    if lengths.tolist() != expected or len(logprobs) != sum(expected):
        raise CheckpointError(f"{path} belongs to other pairs; name a new folder")
    return np.split(logprobs.astype(np.float32), np.cumsum(lengths)[:-1])
