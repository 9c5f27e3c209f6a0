"""The training loop that the recipes share: steps, checkpoints, validation, interruption, resuming.

What is trained on, and by which loss, is an `Objective`. A run can be killed at any moment and
resumed: its state file names the last engine checkpoint and the step to go on with, and every batch
is a pure function of (key or seed, step). A private run takes no decision from the data (no early
stop, no best checkpoint), because such a decision would itself need noise.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tinker_engine.errors import RequestError
from tinker_engine.privacy.ledger import KEPT_UPDATES
from tinker_engine.recipes.batches import Batches, EpochBatches, PoissonBatches
from tinker_engine.recipes.sft_config import SftConfig, rate_at
from tinker_engine.recipes.sft_plan import SftPlan
from tinker_engine.recipes.sft_state import SftState, read_state, write_state

if TYPE_CHECKING:
    import tinker


@dataclass(frozen=True)
class Progress:
    """One finished step, for terminals and logs. Losses are per learned token, or per pair.

    `accuracy` is the share of the step's pairs that were ranked as they should, before the step.
    In a private run `loss` is not private: it is for the run's owner alone.
    """

    step: int
    total: int
    loss: float
    learning_rate: float
    tokens_per_s: float
    eta_s: float
    epsilon: float | None = None
    validation_loss: float | None = None
    accuracy: float | None = None


@dataclass(frozen=True)
class SftResult:
    """A finished (or early stopped) run. `checkpoint` is the tinker:// path of sampler weights."""

    run_id: str
    checkpoint: str
    steps: int
    stopped: str
    history: tuple[Progress, ...]
    plan: SftPlan
    left_out_long: int


class InterruptedRunError(RequestError):
    """Ctrl-C arrived: the state was saved, and the run can be resumed from its folder."""


OnProgress = Callable[[Progress], None]


class Objective(Protocol):
    """What a run trains on: its examples by number, and their loss."""

    def prepare(self, client: tinker.TrainingClient, *, has_stepped: bool) -> None:
        """Before the first step of this process; the run may have made steps in an earlier one."""
        ...

    def submit(self, client: tinker.TrainingClient, batch: Sequence[int]) -> Any:
        """Ask for the gradient of the examples' loss sum; a future of the SDK's output."""
        ...

    def normaliser(self, batch: Sequence[int]) -> float:
        """What the loss sum of a batch is divided by for a mean: learned tokens, or examples."""
        ...

    def accuracy(self, result: Any, batch: Sequence[int]) -> float | None:
        """Share of the batch that the model ranked right, where the loss ranks."""
        ...

    def tokens(self, batch: Sequence[int]) -> int:
        """Tokens that the model reads for a batch."""
        ...

    @property
    def has_validation(self) -> bool:
        """Whether there are held-out examples."""
        ...

    def validate(self, client: tinker.TrainingClient) -> float:
        """Mean loss of the held-out examples."""
        ...


@dataclass
class _Clock:
    """Throughput and remaining time, from the steps of this process alone."""

    remaining: int
    started: float
    tokens: int = 0
    done: int = 0

    def tick(self, tokens: int) -> tuple[float, float]:
        """Count a step; gives (tokens per second, seconds left)."""
        self.tokens += tokens
        self.done += 1
        elapsed = max(time.monotonic() - self.started, 1e-9)
        return self.tokens / elapsed, elapsed / self.done * (self.remaining - self.done)


@dataclass(frozen=True)
class _Pending:
    """A submitted step: its futures (no forward for an empty draw) and its batch."""

    forward: Any
    optim: Any
    batch: tuple[int, ...]


class TrainingLoop:
    """The loop's moving parts; one instance per run of a recipe."""

    def __init__(
        self,
        service: tinker.ServiceClient,
        config: SftConfig,
        plan: SftPlan,
        objective: Objective,
        folder: Path,
        *,
        base_model: str,
        record_set: str,
        start_from: str,
        on_progress: OnProgress | None,
    ) -> None:
        self.service = service
        self.config = config
        self.plan = plan
        self.folder = folder
        self.base_model = base_model
        self.record_set = record_set
        self.start_from = start_from
        self.on_progress = on_progress
        self.private = config.privacy is not None
        self.objective = objective
        self.history: list[Progress] = []
        self.submitted = 0

    def go(self) -> SftResult:
        """Start or resume, train to the end, and leave sampler weights behind."""
        client, state = self._open()
        self.submitted = state.step
        if not state.finished:
            self.objective.prepare(client, has_stepped=state.step > 0)
        self.batches: Batches = (
            PoissonBatches(self.plan.train, self.plan.sampling_rate, state.sampling_key)
            if self.private
            else EpochBatches(self.plan.train, self.config.batch_size, self.config.seed)
        )
        if not state.finished:
            state = self._train(client, state)
        checkpoint = state.best_checkpoint
        if not checkpoint:
            checkpoint = client.save_weights_for_sampler("final").result().path
        return SftResult(
            run_id=state.run_id,
            checkpoint=checkpoint,
            steps=state.step,
            stopped=state.finished,
            history=tuple(self.history),
            plan=self.plan,
            left_out_long=0,
        )

    def _open(self) -> tuple[tinker.TrainingClient, SftState]:
        state = read_state(self.folder)
        if state is not None:
            state.check(self.config, self.plan, self.record_set, self.start_from)
            client = self.service.create_training_client_from_state_with_optimizer(
                state.checkpoint
            ).result()
            state = replace(state, run_id=client.model_id)
            if self.private and not state.finished:
                # A run takes over the ledger of the run that made its checkpoint, so the next
                # resumption has to find a checkpoint of this one, or its steps would be lost.
                state = self._save(client, state)
            return client, state
        if self.start_from:
            client = self.service.create_training_client_from_state(
                self.start_from, user_metadata=self._metadata()
            ).result()
        else:
            client = self.service.create_lora_training_client(
                base_model=self.base_model,
                rank=self.config.rank,
                seed=self.config.seed,
                user_metadata=self._metadata(),
            ).result()
        state = SftState.new(
            self.config, self.plan, self.record_set, client.model_id, self.start_from
        )
        return client, self._save(client, state)

    def _metadata(self) -> dict[str, str]:
        privacy = self.config.privacy
        if privacy is None:
            return self.config.metadata()
        return self.config.metadata() | {
            "dp_clip_norm": repr(privacy.clip_norm),
            "dp_sampling_rate": repr(self.plan.sampling_rate),
            "dp_expected_batch_size": repr(float(self.plan.lot)),
            "dp_delta": repr(self.plan.delta),
            "dp_target_epsilon": repr(privacy.epsilon),
            "dp_steps": str(self.plan.steps),
            "dp_max_epsilon": repr(privacy.epsilon),
            "dp_record_set": self.record_set,
        }

    def _train(self, client: tinker.TrainingClient, state: SftState) -> SftState:
        clock = _Clock(self.plan.steps - state.step, time.monotonic())
        try:
            pending: _Pending | None = None
            while state.step < self.plan.steps and not state.finished:
                pending = pending or self._submit(client, state.step)
                pause = self._pauses_after(state.step)
                # The next step is submitted before this one is awaited: the engine never idles.
                following = None if pause else self._submit(client, state.step + 1)
                progress = self._collect(pending, state.step, clock)
                state = replace(state, step=state.step + 1)
                if pause:
                    progress, state = self._pause(client, state, progress)
                self._publish(progress)
                pending = following
        except KeyboardInterrupt:
            # Requests of one run take effect in order, so this saves after every submitted step;
            # a gradient whose optim_step was not submitted is not part of a checkpoint.
            state = self._save(client, replace(state, step=self.submitted))
            raise InterruptedRunError(
                f"interrupted after step {state.step} of {self.plan.steps}; "
                f"the state is saved in {self.folder}"
            ) from None
        return state

    def _pauses_after(self, step: int) -> bool:
        done = step + 1
        every = self.config.checkpoint_steps
        if self.private:
            # The ledger keeps this many updates, and steps after a checkpoint get theirs again.
            every = min(every, KEPT_UPDATES)
        return done == self.plan.steps or done % every == 0 or done % self.plan.evaluate_every == 0

    def _submit(self, client: tinker.TrainingClient, step: int) -> _Pending:
        import tinker

        batch = self.batches.at(step)
        rate = rate_at(step, self.plan.steps, self.plan.learning_rate, self.config)
        # The API's loss is a sum, so a clip on the mean gradient is scaled by what it is a mean of.
        count = self.objective.normaliser(batch)
        clip = 0.0 if self.private else self.config.grad_clip_norm * count
        forward = self.objective.submit(client, batch) if batch else None
        optim = client.optim_step(tinker.AdamParams(learning_rate=rate, grad_clip_norm=clip))
        self.submitted = step + 1
        return _Pending(forward, optim, tuple(batch))

    def _collect(self, pending: _Pending, step: int, clock: _Clock) -> Progress:
        loss, accuracy = float("nan"), None
        if pending.forward is not None:
            result = pending.forward.result()
            total, batch = float(result.metrics["loss:sum"]), pending.batch
            loss = total / (len(batch) if self.private else self.objective.normaliser(batch))
            accuracy = self.objective.accuracy(result, batch)
        metrics = pending.optim.result().metrics or {}
        rate, eta = clock.tick(self.objective.tokens(pending.batch))
        return Progress(
            step=step + 1,
            total=self.plan.steps,
            loss=loss,
            learning_rate=rate_at(step, self.plan.steps, self.plan.learning_rate, self.config),
            tokens_per_s=rate,
            eta_s=eta,
            epsilon=metrics.get("privacy:epsilon"),
            accuracy=accuracy,
        )

    def _pause(
        self, client: tinker.TrainingClient, state: SftState, progress: Progress
    ) -> tuple[Progress, SftState]:
        """Validate where due and checkpoint; may set `finished`."""
        last = state.step == self.plan.steps
        if self.objective.has_validation and (last or state.step % self.plan.evaluate_every == 0):
            loss = self.objective.validate(client)
            progress = replace(progress, validation_loss=loss)
            best = state.best_loss is None or loss < state.best_loss
            path = (
                client.save_weights_for_sampler(f"best-{state.step:06d}").result().path
                if best
                else ""
            )
            state = state.evaluated(loss, path)
        if last:
            state = replace(state, finished="all steps done")
        elif state.worse_evaluations >= self.config.patience:
            state = replace(state, finished="early: the validation loss stopped falling")
        return progress, self._save(client, state)

    def _save(self, client: tinker.TrainingClient, state: SftState) -> SftState:
        """Checkpoint in the engine first, then name it in the state file."""
        name = f"step-{state.step:06d}"
        path = client.save_state(name, overwrite=True).result().path
        state = replace(state, checkpoint=path, run_id=client.model_id)
        write_state(self.folder, state)
        return state

    def _publish(self, progress: Progress) -> None:
        self.history.append(progress)
        if self.on_progress is not None:
            self.on_progress(progress)
