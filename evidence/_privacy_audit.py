"""One-run privacy audit (Steinke, Nasr, Jagielski: arXiv 2305.08846).

Each of m canaries is put into the training data or left out by a fair coin. From what the engine
releases, an attacker guesses which were in, abstaining where unsure. Many correct guesses prove a
lower bound on epsilon: Theorem 5.2 there, computed as in its appendix D.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import binom
from torch import Tensor

from tinker_engine.numerics import gradients
from tinker_engine.numerics.gradients import ClippedGradients
from tinker_engine.numerics.packing import Limits
from tinker_engine.runtime.records import AdamParams, PrivacyPolicy, RunSpec, TrainDatum
from tinker_engine.runtime.torch_backend import TorchBackend
from tinker_engine.runtime.training_pass import backward

CANARIES = 1000
GUESSES = 200  # half of them "in", half "out"
STEPS = 4
SAMPLING_RATE = 0.5
DELTA = 1e-6


@dataclass(frozen=True)
class AuditResult:
    """`correct` of `guesses` were right, which proves `epsilon_at_least` with 95% confidence."""

    guesses: int
    correct: int
    epsilon_at_least: float


def audit_p_value(m: int, guesses: int, correct: int, epsilon: float, delta: float) -> float:
    """Chance of so many correct guesses if the mechanism were (epsilon, delta)-private."""
    accuracy = 1.0 / (1.0 + np.exp(-epsilon))
    beta = float(binom.sf(correct - 1, guesses, accuracy))
    masses = binom.pmf(correct - np.arange(1, correct + 1), guesses, accuracy)
    alpha = float(np.max(np.cumsum(masses) / np.arange(1, correct + 1))) if correct else 0.0
    return min(1.0, beta + alpha * delta * 2 * m)


def epsilon_lower_bound(m: int, guesses: int, correct: int, delta: float) -> float:
    """Largest epsilon refuted at 95% confidence; 0 if none is."""
    low, high = 0.0, 20.0
    if audit_p_value(m, guesses, correct, low, delta) > 0.05:
        return 0.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        if audit_p_value(m, guesses, correct, middle, delta) < 0.05:
            low = middle
        else:
            high = middle
    return low


@contextmanager
def without_clipping() -> Generator[None]:
    """The same engine, deliberately broken: every example counts in full."""
    original = gradients.clip_factors

    def unclipped(norms: Tensor, clip_norm: float) -> Tensor:
        del clip_norm
        return torch.ones_like(norms)

    gradients.clip_factors = unclipped
    try:
        yield
    finally:
        gradients.clip_factors = original


def make_canaries(vocab_size: int, seed: int, count: int = CANARIES) -> list[TrainDatum]:
    """Random tokens with random targets: nothing but memory can predict them."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, vocab_size, (count, 7))
    weights = np.ones(6, dtype=np.float32)
    return [TrainDatum(row[:-1], row[1:], weights) for row in tokens]


def audit(
    make_backend: Callable[[], TorchBackend],
    seed: int,
    claimed_epsilon: float,
    *,
    is_clipped: bool,
) -> AuditResult:
    """Train on a random half of the canaries and attack what was released."""
    rng = np.random.default_rng(seed)
    backend = make_backend()
    canaries = make_canaries(backend.base.vocab_size, seed)
    is_in = rng.random(len(canaries)) < 0.5
    policy = PrivacyPolicy(
        clip_norm=1.0,
        sampling_rate=SAMPLING_RATE,
        expected_batch_size=SAMPLING_RATE * CANARIES / 2,
        delta=DELTA,
        target_epsilon=claimed_epsilon,
        planned_steps=STEPS,
        max_epsilon=claimed_epsilon,
    )
    targets = ("q_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    spec = RunSpec(rank=8, alpha=16.0, targets=targets, seed=seed, lora_train="B", privacy=policy)
    with tempfile.TemporaryDirectory() as folder:
        backend.create_run("audited", spec, Path(folder))
        scores = _train_and_score(backend, canaries, is_in, rng, is_clipped=is_clipped)
    order = np.argsort(-scores)
    half = GUESSES // 2
    correct = int(is_in[order[:half]].sum() + (~is_in[order[-half:]]).sum())
    bound = epsilon_lower_bound(len(canaries), GUESSES, correct, DELTA)
    return AuditResult(GUESSES, correct, bound)


def _train_and_score(
    backend: TorchBackend,
    canaries: list[TrainDatum],
    is_in: np.ndarray,
    rng: np.random.Generator,
    *,
    is_clipped: bool,
) -> np.ndarray:
    """How strongly each canary shows in the released updates, summed over steps (white box).

    A released update is a sum of canary gradients and noise: ridge regression undoes the overlaps.
    """
    run = backend.training_run("audited")
    assert run.mechanism is not None
    policy = run.mechanism.policy
    # Of a canary's share in a step: variance of the noise over that of being in the batch.
    ridge = (policy.noise_multiplier * policy.clip_norm) ** 2 / (SAMPLING_RATE / 2) / 2
    scores = np.zeros(len(canaries))
    for _ in range(STEPS):
        bound = policy.clip_norm if is_clipped else float("inf")
        parts = canary_gradients(backend, "audited", canaries, bound).double()
        digest = run.state_digest()
        batch = [c for k, c in enumerate(canaries) if is_in[k] and rng.random() < SAMPLING_RATE]
        with nullcontext() if is_clipped else without_clipping():
            backend.forward_backward("audited", batch, "cross_entropy")
        backend.optim_step("audited", AdamParams(learning_rate=1e-3))
        update = run.mechanism.stored(digest)
        assert update is not None
        released = torch.from_numpy(update).double() * policy.expected_batch_size
        overlaps = parts @ parts.t() + ridge * torch.eye(len(canaries), dtype=torch.float64)
        scores += torch.linalg.solve(overlaps, parts @ released).numpy()
    return scores


def canary_gradients(
    backend: TorchBackend, run_id: str, canaries: list[TrainDatum], bound: float
) -> Tensor:
    """What each canary adds to the sum when it is in, (m, n): its gradient, clipped to `bound`."""
    run, model = backend.training_run(run_id), backend.adapted_model(run_id)
    sink = ClippedGradients(run.layout, torch.zeros(run.layout.trainable), 1.0)
    rows = torch.zeros(len(canaries), run.layout.trainable)
    for batch in model.network.plan([len(c.tokens) for c in canaries], Limits(2048, 64)):
        sink.begin(batch.groups)
        backward(model, sink, canaries, batch)
        rows[list(batch.indices)] = sink.per_example()
    factors = torch.clamp(bound / rows.norm(dim=1, keepdim=True), max=1.0)
    return rows * factors
