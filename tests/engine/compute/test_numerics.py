"""Packing, cross-entropy, optimizer: laws that hold for any input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tinker_engine.numerics.adamw import AdamState, adamw_step, clip_gradient
from tinker_engine.numerics.adapted_linear import FrozenLinear, adapt
from tinker_engine.numerics.cross_entropy import OutputHead, head_loss
from tinker_engine.numerics.gradients import clip_factors, norm_rows
from tinker_engine.numerics.packing import Limits, plan_exact, plan_padded, split_rows
from tinker_engine.runtime.records import AdamParams

lengths = st.lists(st.integers(1, 40), min_size=1, max_size=40)


@given(lengths, st.integers(1, 80), st.integers(1, 9), st.booleans())
@settings(max_examples=80, deadline=None)
def test_every_example_lies_in_exactly_one_place(sizes, rows, examples, is_exact):
    plan = plan_exact if is_exact else plan_padded
    batches = plan(sizes, Limits(rows, examples))
    assert sorted(i for batch in batches for i in batch.indices) == list(range(len(sizes)))
    for batch in batches:
        assert len(batch.indices) <= examples
        assert batch.rows <= rows or len(batch.indices) == 1
        assert batch.rows == batch.groups[-1].stop
        k = 0
        for group in batch.groups:
            assert group.first == k
            for place in range(group.count):
                size = sizes[batch.indices[k]]
                assert batch.offsets[k] == group.start + place * group.length
                assert size == group.length if is_exact else size <= group.length
                k += 1


@given(lengths, st.integers(1, 30))
@settings(max_examples=60, deadline=None)
def test_pieces_cover_each_row_once_under_its_example(sizes, step):
    for batch in plan_exact(sizes, Limits(200, 16)):
        owner = np.full(batch.rows, -1)
        for k, (index, offset) in enumerate(zip(batch.indices, batch.offsets, strict=True)):
            owner[offset : offset + sizes[index]] = k
        for start in range(0, batch.rows, step):
            stop = min(start + step, batch.rows)
            found = np.full(stop - start, -1)
            for piece in split_rows(batch.groups, start, stop):
                for place in range(piece.count):
                    low = piece.start + place * piece.length
                    found[low : low + piece.length] = piece.first + place
            np.testing.assert_array_equal(found, owner[start:stop])


def test_padding_stays_small():
    rng = np.random.default_rng(0)
    sizes = rng.integers(32, 513, 200).tolist()
    rows = sum(batch.rows for batch in plan_padded(sizes, Limits(2048, 64)))
    assert rows < 1.1 * sum(sizes)
    assert sum(batch.rows for batch in plan_exact(sizes, Limits(2048, 64))) == sum(sizes)


@pytest.mark.parametrize("softcap", [None, 3.0])
@pytest.mark.parametrize("chunk", [5, 1000])
def test_cross_entropy_equals_torch(softcap, chunk, monkeypatch):
    monkeypatch.setattr("tinker_engine.numerics.cross_entropy.CHUNK_ELEMENTS", 16 * chunk)
    torch.manual_seed(0)
    hidden = torch.randn(40, 8, requires_grad=True)
    weight, bias = torch.randn(50, 8), torch.randn(50)
    targets, weights = torch.randint(0, 50, (40,)), torch.rand(40) * (torch.rand(40) > 0.4)
    head = OutputHead(
        adapt(FrozenLinear.single("head", weight, bias), {}, dtype=torch.float32, merge=True),
        softcap,
    )
    ours = head_loss(head, hidden.detach(), targets, weights, needs_grad=True)
    logits = hidden @ weight.t() + bias
    if softcap is not None:
        logits = torch.tanh(logits / softcap) * softcap
    losses = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    (losses * weights).sum().backward()
    assert torch.allclose(-ours.logprobs, losses, atol=1e-5)
    assert ours.grad is not None
    assert torch.allclose(ours.grad, hidden.grad, atol=1e-5)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adamw_equals_torch(decay):
    """Fifty steps whose gradients are clipped now and then."""
    torch.manual_seed(0)
    ours, theirs = torch.randn(50), torch.nn.Parameter(torch.zeros(50))
    theirs.data.copy_(ours)
    params = AdamParams(learning_rate=3e-3, beta1=0.8, beta2=0.9, eps=1e-8, weight_decay=decay)
    optimizer = torch.optim.AdamW([theirs], lr=3e-3, betas=(0.8, 0.9), eps=1e-8, weight_decay=decay)
    state = AdamState.zeros(50)
    for step in range(50):
        gradient = torch.randn(50) * (1 + step % 3)
        theirs.grad = gradient.clone()
        torch.nn.utils.clip_grad_norm_([theirs], 10.0)
        optimizer.step()
        clip_gradient(gradient, 10.0)
        adamw_step(ours, gradient, state, params)
    assert torch.allclose(ours, theirs.detach(), atol=1e-6)


def test_gradient_clipping_equals_torch():
    torch.manual_seed(0)
    parameter = torch.nn.Parameter(torch.zeros(30))
    gradient = torch.randn(30)
    parameter.grad = gradient.clone()
    norm = torch.nn.utils.clip_grad_norm_([parameter], 0.5)
    assert clip_gradient(gradient, 0.5) == pytest.approx(float(norm), rel=1e-6)
    assert torch.allclose(gradient, parameter.grad)
    before = gradient.clone()
    clip_gradient(gradient, 0.0)
    assert torch.equal(gradient, before)


def test_norms_are_exact_over_millions_of_values():
    torch.manual_seed(0)
    gradients = torch.randn(2, 32, 100_000) * 1e-3
    exact = gradients.double().square().sum(dim=(1, 2))
    rows = torch.empty(gradients.shape[:2])
    norm_rows(gradients, rows)
    assert torch.allclose(rows.double().square().sum(dim=-1), exact, rtol=1e-6)


def test_clip_factors_are_at_most_what_the_bound_allows():
    norms = torch.tensor([0.0, 0.5, 1.0, 2.0, 1e30], dtype=torch.float64)
    factors = clip_factors(norms, 1.0)
    assert torch.all(factors * norms <= 1.0)
    assert factors[:2].tolist() == [1.0, 1.0]
    assert torch.isnan(clip_factors(torch.tensor([float("inf")]).double(), 1.0)).all()
