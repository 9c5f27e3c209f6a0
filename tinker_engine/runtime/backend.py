"""The seam between the server (which owns ids, futures and the database) and the numerics.

The server calls a backend from one worker thread at a time. A backend owns tensors and the files
it is told to write; it knows nothing of HTTP, keys or sessions.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, Protocol

from tinker_engine.errors import EngineError
from tinker_engine.runtime.records import (
    AdamParams,
    BaseInfo,
    BaseShape,
    LossName,
    LossOutput,
    PrivacyRecord,
    RunSpec,
    SampleRequest,
    SampleResult,
    StepResult,
    TrainDatum,
    TrainRequest,
)
from tinker_engine.runtime.sample_watch import Watch


class Backend(Protocol):
    """One base model with any number of LoRA runs and samplers on it."""

    @property
    def base(self) -> BaseInfo:
        """Identity of the base model that every run and sampler here shares."""
        ...

    def shape(self) -> BaseShape:
        """The linear modules of the base, and whether it has experts."""
        ...

    @property
    def tokenizer(self) -> Any:
        """The base's tokenizer (transformers), for the compute thread alone; others copy it."""
        ...

    def create_run(
        self, run_id: str, spec: RunSpec, ledger_dir: Path, start: Path | None = None
    ) -> RunSpec:
        """Start a run with A random (seeded) and B zero, or from the PEFT folder `start`.

        The spec that is given back names the digest of what was started from.

        A private run keeps its ledger and stored updates durably under `ledger_dir`.
        Raises ModelLoadError when a target matches nothing, PrivacyPolicyError for a bad policy,
        CheckpointError when rank, alpha or targets of `start` are others.
        """
        ...

    def restore_run(
        self, run_id: str, checkpoint: Path, ledger_dir: Path, *, with_optimizer: bool
    ) -> RunSpec:
        """Make a run from a training checkpoint folder; a private one brings its ledger along."""
        ...

    def load_into(self, run_id: str, checkpoint: Path, *, with_optimizer: bool) -> None:
        """Load a checkpoint into an existing run; its spec must match, its ledger is merged in.

        Raises CheckpointError on a mismatch; loading a private checkpoint into a run without
        a privacy policy is refused.
        """
        ...

    def save_progress(self, run_id: str, file: Path) -> None:
        """Write the run's whole state, accumulated gradients included, to a file of its own.

        Raises StorageError when the disk refuses it.
        """
        ...

    def restore_progress(self, run_id: str, file: Path, ledger_dir: Path) -> RunSpec:
        """Make a run from a state that `save_progress` wrote; bit for bit the same.

        Raises CheckpointError when the file is damaged or belongs to another base.
        """
        ...

    def drop_run(self, run_id: str) -> None:
        """Free the run's memory; its ledger stays on disk."""
        ...

    def forward(self, run_id: str, data: Sequence[TrainDatum], loss: LossName) -> LossOutput:
        """Loss and logprobs without gradients."""
        ...

    def forward_backward(
        self, run_id: str, data: Sequence[TrainDatum], loss: LossName
    ) -> LossOutput:
        """As `forward`, and add the gradient of the loss sum to the run's accumulator.

        In a private run each datum's gradient is clipped to `clip_norm` before it is added.
        """
        ...

    @property
    def joint_rows(self) -> int:
        """Tokens from which on a request fills passes of its own and gains nothing by company."""
        ...

    def forward_backward_in_turns(self, request: TrainRequest) -> Generator[None, None, LossOutput]:
        """`forward_backward` that yields after each microbatch, for others to get their turn.

        The run must not be changed until it has ended.
        """
        ...

    def forward_backward_jointly(
        self, requests: Sequence[TrainRequest]
    ) -> list[LossOutput | EngineError]:
        """`forward_backward` for several runs at once; each result or error is one run's own.

        At most one request a run. Results equal those of each alone, to rounding. Where anything
        is raised, no run was changed.
        """
        ...

    def optim_step(
        self, run_id: str, params: AdamParams, *, is_repeated: bool = False
    ) -> StepResult:
        """Apply AdamW to the accumulated gradient and clear it.

        A private run adds noise, divides by the expected batch size, and records the event
        durably before the update is applied. Raises PrivacyBudgetExceededError before anything
        is drawn. Without any forward_backward before it, a private step applies pure noise (an
        empty Poisson batch); a non-private step without gradients is a RequestError.

        A step that `is_repeated` was done to its end before: a private run takes the update that
        its ledger holds, and raises CheckpointError rather than release a second one.
        """
        ...

    def save_state(self, run_id: str, folder: Path) -> None:
        """Write a complete training checkpoint (PEFT files, optimizer, step, spec, ledger)."""
        ...

    def save_adapter(self, run_id: str, folder: Path) -> str:
        """Write PEFT files alone; gives the hex SHA-256 of adapter_model.safetensors."""
        ...

    def privacy(self, run_id: str) -> PrivacyRecord | None:
        """What the run has spent; None for a run without privacy."""
        ...

    def create_sampler(self, sampler_id: str, adapter: Path | None) -> str | None:
        """Load a PEFT folder (None: the bare base) for sampling; gives the adapter digest."""
        ...

    def drop_sampler(self, sampler_id: str) -> None:
        """Free a sampler's memory."""
        ...

    def begin_sample(self, sampler_id: str, request: SampleRequest, watch: Watch) -> object:
        """Take a request into the running batch; gives what `step_samples` will call it.

        It leaves the batch at the next step once it is cancelled. Each result is independent of
        its neighbours. Raises RequestError for a request that can never be answered.
        """
        ...

    def step_samples(self) -> list[tuple[object, SampleResult | Exception]]:
        """One more token for every row of the running batch; the requests that ended by it.

        An error stands for one request alone, unless the step itself could not be computed.
        """
        ...

    def sampling_figures(self) -> dict[str, float | None]:
        """What the running batch is at, and the largest gap between sampler and trainer."""
        ...

    def encode_stop(self, text: str) -> tuple[int, ...]:
        """Token ids of a stop string, for reporting; matching is done on decoded text."""
        ...
