"""Training, sampling and keeping models through the official Tinker SDK.

    async with TinkerClient() as client:
        result = await client.train_sft(training_data=rows, adapter_name="my-adapter")
        print(await client.sample("Criticise this: …", model_id=result.model_id))

Without a key everything runs on the embedded engine; `TINKER_API_KEY`, `TINKER_BASE_URL` and
`TINKER_BASE_MODEL` name another one. Every trained model is registered, and is called by its id of
the registry from then on.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from aragora.config import AragoraConfig
from aragora.errors import TrainingError, UsageError
from aragora.memory.identity import new_id
from aragora.training.checkpoints import Saved, forget, restore, save, weights_path
from aragora.training.connection_check import ConnectionStatus, check_api_key, check_connection
from aragora.training.job_records import TrainingSettings, training_settings
from aragora.training.model_metadata import ModelMetadata
from aragora.training.model_registry import ModelRegistry, get_registry
from aragora.training.results import OnProgress, TrainingProgress, TrainingResult
from aragora.training.streaming import stream_answer
from aragora.training.training_plan import TrainingPlan, carry_out
from aragora.training.training_records import (
    Conversation,
    TrainingData,
    read_conversations,
    read_preferences,
    read_records,
)
from tinker_engine.recipes.chat_format import ChatMessage

if TYPE_CHECKING:
    from aragora.agents.served_model import ServedModel

ResultT = TypeVar("ResultT")
Prompt = str | Sequence[ChatMessage]


class _StoppedError(TrainingError):
    """The task that waits for a training was cancelled."""


class TinkerClient:
    """An async context manager over one engine.

    Args:
        base_model: base of calls that name none; None is TINKER_BASE_MODEL or the engine's own.
        engine: "embedded", "hosted", a URL, or None to choose by the environment.
        registry: where models are kept; None is `get_registry()`.
    """

    def __init__(
        self,
        base_model: str | None = None,
        *,
        engine: str | None = None,
        registry: ModelRegistry | None = None,
    ) -> None:
        self._base_model, self._engine = base_model, engine
        self.registry = registry or get_registry()
        self._is_open = False

    async def __aenter__(self) -> Self:
        """Check the key; the connection itself is made by the first call that needs it."""
        check_api_key(self._engine)
        self._is_open = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_open = False

    async def train_sft(
        self,
        training_data: TrainingData,
        model: str | None = None,
        adapter_name: str = "",
        lora_rank: int | None = None,
        learning_rate: float | None = None,
        *,
        limit: int | None = None,
        on_progress: OnProgress | None = None,
        folder: Path | str | None = None,
        **settings: Any,
    ) -> TrainingResult:
        """Supervised training on records with `messages`, or `prompt` and `completion`.

        Args:
            training_data: records, an export, or a JSONL file; preferences in it are left out.
            lora_rank: None is 16, and 32 for an expert (a `domain` other than general).
            folder: keeps the run's state; the same folder again goes on where it was interrupted.
            settings: further fields of `TrainingSettings`, such as `epochs`, `batch_size`,
                `gradient_accumulation_steps`, `domain` and `parent_model_id`.

        Raises TrainingDataError for unusable data, UsageError for a setting or a model that the
        server doesn't offer.
        """
        conversations = await asyncio.to_thread(read_conversations, training_data, limit=limit)
        plan = TrainingPlan(
            "sft",
            adapter_name,
            conversations,
            settings=_settings(settings, lora_rank=lora_rank, learning_rate=learning_rate),
        )
        return await self._train(plan, model, on_progress, folder)

    async def train_dpo(
        self,
        preference_data: TrainingData,
        model: str | None = None,
        adapter_name: str = "",
        beta: float = 0.1,
        lora_rank: int | None = None,
        learning_rate: float | None = None,
        *,
        limit: int | None = None,
        on_progress: OnProgress | None = None,
        folder: Path | str | None = None,
        **settings: Any,
    ) -> TrainingResult:
        """Preference training on records with `prompt`, `chosen` and `rejected`.

        `beta` says how closely it keeps to the reference: the weights that training starts from
        (the base, or `parent_model_id`), whose log-probabilities are computed once, before it
        begins. Otherwise as `train_sft`.
        """
        preferences = await asyncio.to_thread(read_preferences, preference_data, limit=limit)
        own = _settings(settings, lora_rank=lora_rank, learning_rate=learning_rate, beta=beta)
        plan = TrainingPlan("dpo", adapter_name, preferences=preferences, settings=own)
        return await self._train(plan, model, on_progress, folder)

    async def train_combined(
        self,
        sft_data: TrainingData,
        dpo_data: TrainingData,
        model: str | None = None,
        adapter_name: str = "",
        *,
        sft_limit: int | None = None,
        dpo_limit: int | None = None,
        on_progress: OnProgress | None = None,
        folder: Path | str | None = None,
        **settings: Any,
    ) -> TrainingResult:
        """Supervised training, then preferences on the weights it gave; registers one model."""
        plan = TrainingPlan(
            "combined",
            adapter_name,
            await asyncio.to_thread(read_conversations, sft_data, limit=sft_limit),
            await asyncio.to_thread(read_preferences, dpo_data, limit=dpo_limit),
            _settings(settings),
        )
        return await self._train(plan, model, on_progress, folder)

    async def train_adversarial(
        self,
        training_data: TrainingData,
        model: str | None = None,
        adapter_name: str = "",
        *,
        limit: int | None = None,
        on_progress: OnProgress | None = None,
        folder: Path | str | None = None,
        **settings: Any,
    ) -> TrainingResult:
        """Training on the gauntlet's findings: defences that held, then held against broken."""
        found = await asyncio.to_thread(read_records, training_data, limit=limit)
        plan = TrainingPlan(
            "adversarial",
            adapter_name,
            found.conversations,
            found.preferences,
            _settings(settings),
        )
        return await self._train(plan, model, on_progress, folder)

    async def sample(
        self,
        prompt: Prompt,
        model_id: str | None = None,
        temperature: float = 0.7,
        max_tokens: int = 256,
        *,
        model: str | None = None,
        seed: int = 0,
    ) -> str:
        """One answer of a model of the registry, of a `tinker://` path, or of the bare base."""
        served, path = await asyncio.to_thread(self._sampled_model, model_id, model)
        tokens = served.prompt_tokens(_messages(prompt))
        answer = await served.sample(
            path, tokens, seed=seed, temperature=temperature, max_tokens=max_tokens
        )
        return answer.text

    async def sample_stream(
        self,
        prompt: Prompt,
        model_id: str | None = None,
        temperature: float = 0.7,
        max_tokens: int = 256,
        *,
        model: str | None = None,
        seed: int = 0,
    ) -> AsyncIterator[str]:
        """The answer in pieces as they are made; leaving the loop ends the request."""
        served, path = await asyncio.to_thread(self._sampled_model, model_id, model)
        pieces = stream_answer(
            served,
            path,
            _messages(prompt),
            temperature=temperature,
            max_tokens=max_tokens,
            seed=seed,
        )
        async for piece in pieces:
            yield piece

    async def save_checkpoint(self, model_id: str, path: str | Path | None = None) -> str:
        """Keep a model's weights for good; gives their `tinker://` path.

        Args:
            path: a folder to write the PEFT files and the training state to as well. It must be
                new or empty.
        """
        saved = await asyncio.to_thread(self._save, model_id, path)
        return saved.checkpoint

    async def load_checkpoint(self, path: str | Path, *, adapter_name: str = "") -> str:
        """The id of the model at a `tinker://` path or in a folder; it is registered if need be.

        Raises NotFoundError or CheckpointError when there is none.
        """
        self._require_open()
        return await asyncio.to_thread(
            restore, str(path), self.registry, self._served, adapter_name
        )

    async def list_models(self, *, domain: str | None = None) -> list[ModelMetadata]:
        """The models of the registry, without archived ones."""
        return await asyncio.to_thread(self.registry.list_models, domain=domain)

    async def delete_model(self, model_id: str) -> None:
        """Delete a model's weights on the engine; the registry keeps its record, archived."""
        self._require_open()
        await asyncio.to_thread(forget, model_id, self.registry, self._served)

    async def test_connection(self) -> ConnectionStatus:
        """Connect, list what the server offers, and sample one token; says what failed."""
        return await asyncio.to_thread(check_connection, self._base_model, self._engine)

    def _save(self, model_id: str, path: str | Path | None) -> Saved:
        self._require_open()
        return save(model_id, self.registry, self._served, None if path is None else Path(path))

    async def _train(
        self,
        plan: TrainingPlan,
        model: str | None,
        on_progress: OnProgress | None,
        folder: Path | str | None,
    ) -> TrainingResult:
        self._require_open()
        place = Path(folder) if folder else AragoraConfig().home / "trainings" / new_id()
        parent = plan.settings.parent_model_id
        if parent and model is None:
            model = self.registry.get(parent).base_model

        def train(tell: OnProgress) -> TrainingResult:
            return carry_out(plan, self._served(model), place, self.registry, on_progress=tell)

        return await _followed(train, on_progress)

    def _sampled_model(
        self, model_id: str | None, model: str | None
    ) -> tuple[ServedModel, str | None]:
        self._require_open()
        if model_id is None:
            return self._served(model), None
        if model_id.startswith("tinker://"):
            return self._served(model), model_id
        known = self.registry.get(model_id)
        served = self._served(model or known.base_model)
        return served, weights_path(known, served)

    def _served(self, model: str | None) -> ServedModel:
        from aragora.agents.served_model import served_model

        chosen = model or self._base_model
        return served_model(None if chosen is None else str(chosen), self._engine)

    def _require_open(self) -> None:
        if not self._is_open:
            raise UsageError("open the client first: async with TinkerClient() as client: …")


async def _followed(
    train: Callable[[OnProgress], ResultT], on_progress: OnProgress | None
) -> ResultT:
    """Run a blocking training in a thread and give its steps to a callback in the event loop.

    When the waiting task is cancelled, the training stops at its next step.
    """
    loop = asyncio.get_running_loop()
    is_over = threading.Event()

    def tell(step: TrainingProgress) -> None:
        if is_over.is_set():
            raise _StoppedError("the training was cancelled; its folder can be resumed")
        if on_progress is not None:
            loop.call_soon_threadsafe(on_progress, step)

    running = asyncio.ensure_future(asyncio.to_thread(train, tell))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        is_over.set()
        # Nobody else waits for the thread; its end is not to be reported as forgotten.
        running.add_done_callback(lambda done: done.cancelled() or done.exception())
        raise


def _settings(given: dict[str, Any], **own: Any) -> TrainingSettings:
    return training_settings({**given, **{k: v for k, v in own.items() if v is not None}})


def _messages(prompt: Prompt) -> Conversation:
    if isinstance(prompt, str):
        if not prompt.strip():
            raise UsageError("the prompt is empty")
        return (ChatMessage(role="user", content=prompt),)
    return tuple(prompt)
