"""Sampling on torch: models made ready to sample from, and the one running batch of all of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tinker_engine.config import EngineConfig
from tinker_engine.errors import CheckpointError, NotFoundError, RequestError
from tinker_engine.models.adapter_files import read_adapter
from tinker_engine.models.base_model import LoadedBase
from tinker_engine.models.generic_network import frozen_linear
from tinker_engine.models.targets import linear_modules, linear_shape
from tinker_engine.numerics.adapted_linear import adapt
from tinker_engine.numerics.lora import LoraFactors, LoraLayout, module_factors
from tinker_engine.numerics.network import Network
from tinker_engine.numerics.precision import DTYPES, auto_dtype
from tinker_engine.runtime.adapted_base import adapted_base
from tinker_engine.runtime.agreement import Agreement
from tinker_engine.runtime.prefix_cache import PrefixCache
from tinker_engine.runtime.records import SampleRequest, SampleResult
from tinker_engine.runtime.sample_batch import SampleBatch, Ticket
from tinker_engine.runtime.sample_models import SampledModel, SampledWeights
from tinker_engine.runtime.sample_watch import Watch
from tinker_engine.runtime.sampler import TextRules
from tinker_engine.runtime.training_pass import AdaptedModel
from tinker_engine.runtime.training_run import flat_values

logger = logging.getLogger(__name__)

BARE = "base"


class TorchSamplers:
    """All samplers of one base; the backend's sampling half, on the compute thread alone."""

    def __init__(self, base: LoadedBase, network: Network, config: EngineConfig) -> None:
        self._base = base
        self._network = network
        self._config = config
        self._head = frozen_linear(base.head_name, base.head)
        self._samplers: dict[str, SampledModel] = {}
        self._bare: AdaptedModel | None = None
        self._weights = SampledWeights()
        self._prefixes = PrefixCache(config.prefix_memory_bytes)
        self._agreement = Agreement()
        self._batch = self._new_batch()

    def create(self, sampler_id: str, adapter: Path | None) -> str | None:
        """A sampler on a PEFT folder, or on the bare base; gives the weights' digest.

        Raises RequestError for an id in use, CheckpointError for an adapter that doesn't fit.
        """
        if sampler_id in self._samplers:
            raise RequestError(f"sampler {sampler_id!r} exists already")
        if adapter is None:
            self._samplers[sampler_id] = self._sampled(BARE, None, {})
            return None
        files = read_adapter(adapter)
        modules = linear_modules(self._base.model)
        layout = LoraLayout.of(
            {n: linear_shape(modules, n) for n in files.factors}, files.config.rank, trains_a=False
        )
        try:
            values = flat_values(layout, files.factors)
        except RuntimeError as error:
            raise CheckpointError(
                f"adapter {adapter} doesn't fit {self._base.info.name}: {error}"
            ) from error
        loras = module_factors(layout, values, files.config.alpha)
        # Another alpha makes another model of the same weights.
        key = f"{files.digest}:{files.config.alpha / files.config.rank}"
        self._samplers[sampler_id] = self._sampled(key, files.digest, loras)
        return files.digest

    def drop(self, sampler_id: str) -> None:
        """Forget a sampler; its running rows go on."""
        self._samplers.pop(sampler_id, None)

    def begin(self, sampler_id: str, request: SampleRequest, watch: Watch) -> Ticket:
        """Put a request into the running batch; raises NotFoundError or RequestError."""
        return self._batch.add(self._sampler(sampler_id), request, watch)

    def step(self) -> list[tuple[object, SampleResult | Exception]]:
        """One step of the running batch; gives what ended with it."""
        try:
            ended = self._batch.step()
        # Nobody may be left waiting for rows that can't be computed any more.
        except Exception as error:
            logger.exception("a sampling step failed")
            ended = self._batch.abandon(error)
        for ticket, outcome in ended:
            if isinstance(outcome, SampleResult):
                self._compare(ticket, outcome)
        return list(ended)

    def figures(self) -> dict[str, float | None]:
        """What the engine's status tells of sampling."""
        return {
            "sampling_rows": self._batch.row_count,
            "prefix_bytes": self._prefixes.size_bytes,
            "prefix_tokens_reused": self._prefixes.reused_tokens,
            "largest_logprob_gap": self._agreement.largest_gap,
        }

    def answer(self, sampler_id: str, requests: Sequence[SampleRequest]) -> list[SampleResult]:
        """Answer requests at once, beside the running batch; the first error is raised."""
        model, batch = self._sampler(sampler_id), self._new_batch()
        tickets: list[Ticket] = []
        for index, request in enumerate(requests):
            try:
                tickets.append(batch.add(model, request, Watch()))
            except RequestError as error:
                raise RequestError(f"request {index}: {error}") from error
        answers: dict[Ticket, SampleResult] = {}
        while batch.is_busy:
            for ticket, outcome in batch.step():
                if isinstance(outcome, Exception):
                    raise outcome
                answers[ticket] = outcome
        return [answers[ticket] for ticket in tickets]

    def _sampler(self, sampler_id: str) -> SampledModel:
        sampler = self._samplers.get(sampler_id)
        if sampler is None:
            raise NotFoundError(f"no sampler {sampler_id!r} on this engine")
        return sampler

    def _sampled(
        self, key: str, digest: str | None, loras: Mapping[str, LoraFactors]
    ) -> SampledModel:
        """A model to sample from; all of them share one copy of the base's weights."""
        dtype, head = self._sampling_dtype, self._head
        if self._bare is None:
            self._bare = adapted_base(self._base, self._network, {}, dtype)
        beside = self._bare
        if loras:
            bare = self._bare
            adapted = self._network.adapt(loras, dtype=dtype, merge=False, shared=bare.adapted)
            linear = adapt(head, loras, dtype=dtype, merge=False, shared=bare.head.linear)
            beside = AdaptedModel(self._network, adapted, replace(bare.head, linear=linear), dtype)
        size = sum(f.a.shape[1] * f.bt.shape[1] for f in loras.values()) * dtype.itemsize
        return SampledModel(key, digest, beside, lambda: self._merged(loras, dtype), size)

    def _merged(self, loras: Mapping[str, LoraFactors], dtype: torch.dtype) -> AdaptedModel:
        """A copy of the weights with the factors in it; where there are none, the base's own."""
        assert self._bare is not None
        bare = self._bare
        adapted = self._network.adapt(loras, dtype=dtype, merge=True, shared=bare.adapted)
        head = frozen_linear(self._base.head_name, self._base.head)
        linear = adapt(head, loras, dtype=dtype, merge=True, shared=bare.head.linear)
        return AdaptedModel(self._network, adapted, replace(bare.head, linear=linear), dtype)

    def _new_batch(self) -> SampleBatch:
        rules = TextRules(
            max_context=self._base.info.max_context,
            vocab_size=self._base.info.vocab_size,
            end_ids=end_ids(self._base),
            decode=lambda tokens: str(self._base.tokenizer.decode(tokens)),
        )
        limit = self._config.sample_memory_bytes
        decoder = partial(self._network.decoder, self._sampling_dtype)
        return SampleBatch(rules, decoder, self._weights, self._prefixes, limit)

    def _compare(self, ticket: Ticket, result: SampleResult) -> None:
        key, prompt, sequence = ticket.model.key, ticket.request.prompt, result.sequences[0]
        if self._agreement.wants(key, prompt, sequence):
            (model,) = self._weights.of([ticket.model]).values()
            self._agreement.compare(key, model, prompt, sequence)

    @property
    def _sampling_dtype(self) -> torch.dtype:
        asked = self._config.precision
        if asked != "auto":
            return DTYPES[asked]
        # Elsewhere only adapted modules would be rounded, which gains nothing.
        is_whole = self._network.mixes_adapters
        return auto_dtype(self._base.info.hidden_size) if is_whole else torch.float32


def end_ids(base: LoadedBase) -> frozenset[int]:
    """Tokens after which the base's own generation settings end a text."""
    ids: Any = getattr(getattr(base.model, "generation_config", None), "eos_token_id", None)
    if ids is None:
        ids = base.tokenizer.eos_token_id
    if ids is None:
        return frozenset()
    return frozenset(ids if isinstance(ids, list) else [ids])
