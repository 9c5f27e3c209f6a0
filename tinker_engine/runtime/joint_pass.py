"""Requests of several runs in one forward and backward pass over one copy of the base.

The frozen products run over the rows of all runs at once; each run's adapter, head, loss and
gradients see its own rows alone. So a run's result doesn't depend on who else is in the pass, but
for rounding, and what isn't finite in one run stays there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from tinker_engine.errors import EngineError
from tinker_engine.numerics.network import Network, Share
from tinker_engine.numerics.packing import Limits, Microbatch, part_of
from tinker_engine.runtime.losses import LOSSES
from tinker_engine.runtime.records import LossOutput
from tinker_engine.runtime.training_pass import (
    Accumulation,
    AdaptedModel,
    BatchRows,
    batch_rows,
    hidden_loss,
    limits_of,
)


@dataclass(frozen=True)
class Member:
    """One run's request, with the run's model adapted without merging."""

    total: Accumulation
    model: AdaptedModel


@dataclass(frozen=True)
class _Part:
    """A member's examples in a microbatch: as one of their own, and their place in the whole."""

    member: Member
    batch: Microbatch
    rows: slice
    inputs: BatchRows


def accumulate_jointly(members: Sequence[Member], rows: int) -> list[LossOutput | EngineError]:
    """What `accumulate` gives each member on its own; a member's error touches no other.

    All models share network and dtype. Where something else is raised, no run has been changed.
    """
    network = members[0].model.network
    owners = [k for k, member in enumerate(members) for _ in member.total.data]
    lengths = [len(datum.tokens) for member in members for datum in member.total.data]
    limits = [limits_of(member.total.run, rows, member.model.dtype) for member in members]
    joint = Limits(rows, min(limit.examples for limit in limits))
    for batch in network.plan(lengths, joint, owners, _units(members)):
        _one_pass(network, batch, _parts(members, batch, owners))
    return [_finished(member.total) for member in members]


def _units(members: Sequence[Member]) -> list[int]:
    """The number of the example that each datum of all members belongs to."""
    units: list[int] = []
    for member in members:
        size = len(member.total.data)
        own = LOSSES[member.total.loss].units(size) or range(size)
        first = units[-1] + 1 if units else 0
        units += [first + unit for unit in own]
    return units


def _parts(members: Sequence[Member], batch: Microbatch, owners: Sequence[int]) -> list[_Part]:
    starts = [0]
    for member in members:
        starts.append(starts[-1] + len(member.total.data))
    parts: list[_Part] = []
    for owner, places in groupby(range(len(batch.indices)), lambda k: owners[batch.indices[k]]):
        first, *rest = places
        part = part_of(batch, first, first + 1 + len(rest))
        own = Microbatch(
            tuple(index - starts[owner] for index in part.indices),
            part.offsets,
            part.groups,
            part.rows,
        )
        start = batch.offsets[first]
        member = members[owner]
        inputs = batch_rows(member.total.data, own)
        parts.append(_Part(member, own, slice(start, start + own.rows), inputs))
    return parts


def _one_pass(network: Network, batch: Microbatch, parts: Sequence[_Part]) -> None:
    for part in parts:
        part.member.total.begin(part.batch)
    adapted = network.join(
        [Share(part.member.model.adapted, part.rows, part.member.total.sink) for part in parts]
    )
    tokens = torch.cat([part.inputs.tokens for part in parts])
    # Which sink doesn't matter: that there is one says that this pass has a way back.
    hidden = network.hidden(adapted, tokens, batch, parts[0].member.total.sink)
    upstream = torch.empty_like(hidden)
    logprobs = [_loss(part, hidden.detach(), upstream) for part in parts]
    if hidden.requires_grad:
        hidden.backward(upstream)
    for part, found in zip(parts, logprobs, strict=True):
        part.member.total.take(part.batch, found)


def _loss(part: _Part, hidden: Tensor, upstream: Tensor) -> Tensor:
    """Logprobs of one member's rows; the gradient there goes to `upstream` (all rows, D)."""
    total = part.member.total
    result = hidden_loss(
        part.member.model,
        hidden[part.rows],
        part.inputs,
        total.data,
        part.batch,
        total.loss,
        total.sink,
    )
    assert result.grad is not None
    upstream[part.rows] = result.grad
    return result.logprobs


def _finished(total: Accumulation) -> LossOutput | EngineError:
    try:
        return total.finish()
    except EngineError as error:
        return error
