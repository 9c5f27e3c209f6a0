"""The Backend on torch: one frozen base model shared by any number of runs and samplers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, cast

import torch

from tinker_engine.config import EngineConfig
from tinker_engine.errors import (
    CheckpointError,
    EngineError,
    NotFoundError,
    PrivacyPolicyError,
    RequestError,
)
from tinker_engine.models.adapter_files import AdapterConfig, read_adapter, write_adapter
from tinker_engine.models.base_model import LoadedBase
from tinker_engine.models.generic_network import GenericNetwork
from tinker_engine.models.llama_network import make_llama_network
from tinker_engine.models.targets import linear_modules, linear_shape, resolve_targets
from tinker_engine.models.training_memory import activation_budget, plain_rows
from tinker_engine.numerics.adamw import AdamState
from tinker_engine.numerics.lora import (
    LoraLayout,
    initial_parameters,
    module_factors,
)
from tinker_engine.numerics.network import Network
from tinker_engine.numerics.precision import DTYPES, auto_dtype
from tinker_engine.privacy import (
    Ledger,
    NoiseSource,
    PrivateMechanism,
    SecureNoise,
    resolve_policy,
)
from tinker_engine.runtime.adapted_base import adapted_base
from tinker_engine.runtime.joint_pass import Member, accumulate_jointly
from tinker_engine.runtime.losses import LOSSES
from tinker_engine.runtime.memory import ModelSize, check_memory, limit_to, training_bytes
from tinker_engine.runtime.records import (
    AdamParams,
    BaseInfo,
    BaseShape,
    LossName,
    LossOutput,
    Precision,
    PrivacyRecord,
    RunSpec,
    SampleRequest,
    SampleResult,
    StepResult,
    TrainDatum,
    TrainRequest,
)
from tinker_engine.runtime.run_checkpoint import SavedRun, read_checkpoint, write_checkpoint
from tinker_engine.runtime.run_progress import (
    read_progress,
    reopen_ledger,
    take_up,
    write_progress,
)
from tinker_engine.runtime.sample_batch import Ticket
from tinker_engine.runtime.sample_watch import Watch
from tinker_engine.runtime.torch_samplers import TorchSamplers
from tinker_engine.runtime.training_pass import (
    Accumulation,
    AdaptedModel,
    accumulate,
    check_data,
    evaluate,
)
from tinker_engine.runtime.training_run import TrainingRun, factors, flat_values, start_from

logger = logging.getLogger(__name__)

# Rows x width x layers of a microbatch: what is kept for the backward pass grows with it, while
# products gain nothing from more than a few hundred rows.
MICROBATCH_VALUES = 2 << 20
FEWEST_ROWS, MOST_ROWS = 512, 2048


class TorchBackend:
    """Implements `tinker_engine.runtime.backend.Backend` on the CPU.

    `noise` makes the noise source of a private run; anything but the default is for tests.
    """

    def __init__(
        self,
        base: LoadedBase,
        config: EngineConfig | None = None,
        *,
        noise: Callable[[], NoiseSource] = SecureNoise,
    ) -> None:
        self._config = config or EngineConfig()
        check_device(self._config.device)
        threads = self._config.threads or (1 if self._config.deterministic else None)
        if threads is not None:
            torch.set_num_threads(threads)
        limit_to(self._config.memory_limit_bytes)
        self._base = base
        self.network: Network = make_network(base)
        budget = self._config.activation_bytes or activation_budget()
        self.network.recompute_rows = plain_rows(base, budget)
        self._noise = noise
        self._runs: dict[str, TrainingRun] = {}
        self._samplers = TorchSamplers(base, self.network, self._config)
        self._bound: tuple[str, int, AdaptedModel] | None = None
        self._unmerged: dict[str, tuple[int, AdaptedModel]] = {}
        self._rows = self._config.microbatch_tokens or _training_rows(base)

    @property
    def base(self) -> BaseInfo:
        return self._base.info

    def shape(self) -> BaseShape:
        modules = linear_modules(self._base.model)
        config = cast(Any, self._base.model).config
        return BaseShape({name: linear_shape(modules, name) for name in modules}, _experts(config))

    @property
    def tokenizer(self) -> Any:
        return self._base.tokenizer

    # Runs

    def create_run(
        self, run_id: str, spec: RunSpec, ledger_dir: Path, start: Path | None = None
    ) -> RunSpec:
        run = self._new_run(spec)
        if start is not None:
            start_from(run, read_adapter(start))
        if spec.privacy is not None:
            policy = resolve_policy(spec.privacy)
            run.mechanism = PrivateMechanism(policy, Ledger.open(ledger_dir), self._noise())
            run.clear_gradients()
        self._put_run(run_id, run)
        return run.spec

    def restore_run(
        self, run_id: str, checkpoint: Path, ledger_dir: Path, *, with_optimizer: bool
    ) -> RunSpec:
        saved = read_checkpoint(checkpoint)
        run = self._new_run(saved.spec)
        if saved.policy is not None:
            ledger = Ledger.open(ledger_dir)
            run.mechanism = PrivateMechanism(saved.policy, ledger, self._noise())
        self._load(run, saved, with_optimizer=with_optimizer)
        self._put_run(run_id, run)
        return saved.spec

    def load_into(self, run_id: str, checkpoint: Path, *, with_optimizer: bool) -> None:
        run, saved = self.training_run(run_id), read_checkpoint(checkpoint)
        _check_same_adapter(run.spec, saved.spec)
        if (run.mechanism is None) != (saved.policy is None):
            raise PrivacyPolicyError(
                "a private checkpoint can only be loaded into a private run, and one trained "
                "without privacy only into a run without it: its ledger would not cover it"
            )
        self._load(run, saved, with_optimizer=with_optimizer)

    def save_progress(self, run_id: str, file: Path) -> None:
        write_progress(file, self.training_run(run_id), self.base.digest)

    def restore_progress(self, run_id: str, file: Path, ledger_dir: Path) -> RunSpec:
        progress = read_progress(file)
        if progress.base_digest != self.base.digest:
            raise CheckpointError(
                f"run {run_id} belongs to base {progress.base_digest[:12]}, "
                f"this engine runs {self.base.name} ({self.base.digest[:12]})"
            )
        run = self._new_run(progress.spec)
        if progress.policy is not None:
            ledger = reopen_ledger(progress, ledger_dir)
            run.mechanism = PrivateMechanism(progress.policy, ledger, self._noise())
        take_up(run, progress)
        self._put_run(run_id, run)
        return progress.spec

    def drop_run(self, run_id: str) -> None:
        run = self._runs.pop(run_id, None)
        if self._bound is not None and self._bound[0] == run_id:
            self._bound = None
        self._unmerged.pop(run_id, None)
        if run is not None and run.mechanism is not None:
            run.mechanism.ledger.close()

    def forward(self, run_id: str, data: Sequence[TrainDatum], loss: LossName) -> LossOutput:
        self._check(data, loss, layers=1, has_way_back=False)
        return evaluate(self.adapted_model(run_id), data, self._rows, loss)

    def forward_backward(
        self, run_id: str, data: Sequence[TrainDatum], loss: LossName
    ) -> LossOutput:
        turns = self.forward_backward_in_turns(TrainRequest(run_id, data, loss))
        while True:
            try:
                next(turns)
            except StopIteration as end:
                return cast(LossOutput, end.value)

    @property
    def joint_rows(self) -> int:
        return self._rows

    def forward_backward_in_turns(self, request: TrainRequest) -> Generator[None, None, LossOutput]:
        run = self.training_run(request.run_id)
        self._check(request.data, request.loss, layers=self._kept_layers(run))
        # Asked for anew each time: between turns another run's weights may be the merged ones.
        return accumulate(
            lambda: self.adapted_model(request.run_id),
            run,
            request.data,
            self._rows,
            request.loss,
        )

    def forward_backward_jointly(
        self, requests: Sequence[TrainRequest]
    ) -> list[LossOutput | EngineError]:
        results: dict[int, LossOutput | EngineError] = {}
        members: dict[torch.dtype, dict[int, Member]] = {}
        for place, request in enumerate(requests):
            try:
                member = self._member(request)
            except EngineError as error:
                results[place] = error
            else:
                members.setdefault(member.model.dtype, {})[place] = member
        for group in members.values():
            results.update(
                zip(group, accumulate_jointly(list(group.values()), self._rows), strict=True)
            )
        return [results[place] for place in range(len(requests))]

    def optim_step(
        self, run_id: str, params: AdamParams, *, is_repeated: bool = False
    ) -> StepResult:
        return self.training_run(run_id).step(params, is_repeated=is_repeated)

    def save_state(self, run_id: str, folder: Path) -> None:
        run = self.training_run(run_id)
        write_checkpoint(folder, run, self.base.digest, self._adapter_config(run))

    def save_adapter(self, run_id: str, folder: Path) -> str:
        run = self.training_run(run_id)
        return write_adapter(folder, self._adapter_config(run), factors(run.layout, run.values))

    def privacy(self, run_id: str) -> PrivacyRecord | None:
        run = self.training_run(run_id)
        return run.mechanism.record(run.spec) if run.mechanism is not None else None

    # Samplers

    def create_sampler(self, sampler_id: str, adapter: Path | None) -> str | None:
        return self._samplers.create(sampler_id, adapter)

    def drop_sampler(self, sampler_id: str) -> None:
        self._samplers.drop(sampler_id)

    def begin_sample(self, sampler_id: str, request: SampleRequest, watch: Watch) -> Ticket:
        return self._samplers.begin(sampler_id, request, watch)

    def step_samples(self) -> list[tuple[object, SampleResult | Exception]]:
        return self._samplers.step()

    def sampling_figures(self) -> dict[str, float | None]:
        return self._samplers.figures()

    def sample(self, sampler_id: str, requests: Sequence[SampleRequest]) -> list[SampleResult]:
        """Answer requests at once, beside the running batch; the first error is raised."""
        return self._samplers.answer(sampler_id, requests)

    def encode_stop(self, text: str) -> tuple[int, ...]:
        return tuple(self._base.tokenizer.encode(text, add_special_tokens=False))

    # Inside

    def _new_run(self, spec: RunSpec) -> TrainingRun:
        if spec.rank < 1 or not spec.alpha > 0:
            raise RequestError(
                f"rank and lora_alpha must be above 0, not {spec.rank}, {spec.alpha}"
            )
        targets, names = resolve_targets(self._base.model, spec.targets)
        modules = linear_modules(self._base.model)
        shapes = {name: linear_shape(modules, name) for name in names}
        layout = LoraLayout.of(shapes, spec.rank, trains_a=spec.lora_train == "both")
        values = initial_parameters(layout, spec.seed)
        return TrainingRun(spec, targets, layout, values, AdamState.zeros(layout.trainable))

    def _put_run(self, run_id: str, run: TrainingRun) -> None:
        if run_id in self._runs:
            raise RequestError(f"run {run_id!r} exists already")
        self._runs[run_id] = run

    def training_run(self, run_id: str) -> TrainingRun:
        """State of a run; raises NotFoundError for an unknown id."""
        run = self._runs.get(run_id)
        if run is None:
            raise NotFoundError(f"no training run {run_id!r} on this engine")
        return run

    def _load(self, run: TrainingRun, saved: SavedRun, *, with_optimizer: bool) -> None:
        if saved.base_digest != self.base.digest:
            raise CheckpointError(
                f"the checkpoint belongs to base {saved.base_digest[:12]}, "
                f"this engine runs {self.base.name} ({self.base.digest[:12]})"
            )
        try:
            values = flat_values(run.layout, saved.adapter.factors)
        except (KeyError, RuntimeError) as error:
            raise CheckpointError(
                f"the checkpoint's adapter doesn't fit this run: {error}"
            ) from error
        if len(saved.adam.first) != run.layout.trainable:
            raise CheckpointError("the checkpoint's optimizer doesn't fit this run")
        # The ledger comes first: weights must not arrive without what was paid for them.
        if run.mechanism is not None:
            _inherit(run.mechanism.ledger, saved)
            run.paid = run.mechanism.steps
        run.values = values
        run.adam = saved.adam if with_optimizer else AdamState.zeros(run.layout.trainable)
        run.version += 1
        run.clear_gradients()

    def _check(
        self, data: Sequence[TrainDatum], loss: LossName, *, layers: int, has_way_back: bool = True
    ) -> None:
        if loss not in LOSSES:
            raise RequestError(f"loss {loss!r} is unknown; this engine has {', '.join(LOSSES)}")
        check_data(data, self.base.vocab_size, self.base.max_context)
        # Two bytes a value is the least that any precision keeps.
        size = ModelSize(layers, self.base.hidden_size, hidden_bytes=2)
        # Only a gradient needs the data of one example at the same time.
        together = LOSSES[loss].together if has_way_back else 1
        check_memory(training_bytes(data, size, self._rows, together=together))

    def _kept_layers(self, run: TrainingRun) -> int:
        """Layers whose input a way back needs, however it is computed."""
        is_head_alone = all(name == self._base.head_name for name in run.layout.modules)
        return 1 if is_head_alone else layer_count(self._base)

    def adapted_model(self, run_id: str) -> AdaptedModel:
        """The model at a run's present parameters, made once per step."""
        run = self.training_run(run_id)
        if self._bound is not None and self._bound[:2] == (run_id, run.version):
            return self._bound[2]
        self._bound = None
        loras = module_factors(run.layout, run.values, run.spec.alpha)
        model = adapted_base(
            self._base, self.network, loras, self._training_dtype(run.spec.precision)
        )
        self._bound = (run_id, run.version, model)
        return model

    def _member(self, request: TrainRequest) -> Member:
        run = self.training_run(request.run_id)
        self._check(request.data, request.loss, layers=self._kept_layers(run))
        known = self._unmerged.get(request.run_id)
        if known is None or known[0] != run.version:
            loras = module_factors(run.layout, run.values, run.spec.alpha)
            dtype = self._training_dtype(run.spec.precision)
            known = (
                run.version,
                adapted_base(self._base, self.network, loras, dtype, can_merge=False),
            )
            self._unmerged[request.run_id] = known
        return Member(Accumulation(run, request.data, request.loss), known[1])

    def _training_dtype(self, precision: Precision) -> torch.dtype:
        asked = self._config.precision if precision == "auto" else precision
        return auto_dtype(self.base.hidden_size) if asked == "auto" else DTYPES[asked]

    def _adapter_config(self, run: TrainingRun) -> AdapterConfig:
        modules = linear_modules(self._base.model)
        transposed = {not isinstance(modules[n], torch.nn.Linear) for n in run.layout.modules}
        return AdapterConfig(
            self.base.name, run.spec.rank, run.spec.alpha, run.targets, transposed == {True}
        )


def check_device(device: str) -> None:
    """Raises RequestError for a device that torch doesn't see here, or that isn't the CPU."""
    if device in ("auto", "cpu"):
        return
    is_there = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    if not is_there[device]():
        raise RequestError(
            f"device {device!r}: torch {torch.__version__} finds none on this machine; set device "
            "to cpu"
        )
    raise RequestError(
        f"device {device!r}: torch finds it, but this version computes on the CPU alone; set "
        "device to cpu"
    )


def make_network(base: LoadedBase) -> Network:
    """The fastest exact way this engine has to run a base."""
    return make_llama_network(base) or GenericNetwork(base)


def _training_rows(base: LoadedBase) -> int:
    """Rows of a training microbatch, unless the configuration says otherwise."""
    values = base.info.hidden_size * layer_count(base)
    return min(MOST_ROWS, max(FEWEST_ROWS, MICROBATCH_VALUES // values))


def layer_count(base: LoadedBase) -> int:
    """Layers of a base, 1 where its configuration doesn't say."""
    return int(getattr(cast(Any, base.model).config, "num_hidden_layers", None) or 1)


def _experts(config: Any) -> int:
    """Experts of a layer, by the names that model families give them; 0 when dense."""
    for name in ("num_experts", "num_local_experts", "n_routed_experts"):
        count = getattr(config, name, None)
        if isinstance(count, int) and count > 0:
            return count
    return 0


def _check_same_adapter(ours: RunSpec, theirs: RunSpec) -> None:
    for name in ("rank", "alpha", "targets", "lora_train"):
        if getattr(ours, name) != getattr(theirs, name):
            raise CheckpointError(
                f"the checkpoint has {name} {getattr(theirs, name)!r}, "
                f"this run {getattr(ours, name)!r}"
            )


def _inherit(ledger: Ledger, saved: SavedRun) -> None:
    """Bring over everything the source run has spent, what came after the checkpoint included.

    Raises CheckpointError when the source's ledger is missing or lacks the checkpoint's events:
    what was released after the checkpoint would then be released again, and not counted.
    """
    path = _source_ledger(ledger.path, saved.ledger_path)
    if path == ledger.path:
        ledger.merge(saved.events)
        return
    if path is None or not path.is_file():
        raise CheckpointError(
            f"privacy ledger {path} of the run that made the checkpoint is missing, so what it "
            "spent after the checkpoint is not known; restore the file, or train anew"
        )
    source = Ledger.open(path.parent)
    try:
        known = {event.event_id for event in source.events}
        if not all(event.event_id in known for event in saved.events):
            raise CheckpointError(
                f"privacy ledger {path} of the run that made the checkpoint lacks events of the "
                "checkpoint: it was rolled back or replaced; restore the file, or train anew"
            )
        # From the ledger and not from the checkpoint, which has the events without their updates.
        ledger.merge(source.events, source)
    finally:
        source.close()


def _source_ledger(own: Path, recorded: Path | None) -> Path | None:
    """Where the source's ledger is: beside this run's, where the home was moved or copied."""
    if recorded is None:
        return None
    beside = own.parents[2].joinpath(*recorded.parts[-3:])
    return beside if beside.is_file() else recorded
