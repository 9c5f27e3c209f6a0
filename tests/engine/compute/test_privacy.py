"""Policy, noise, accountant, ledger and mechanism of private runs."""

from __future__ import annotations

import math
import random
import shutil
import sqlite3
from dataclasses import replace

import dp_accounting
import numpy as np
import pytest
import scipy.stats
import torch
from dp_accounting import pld
from tiny_models import PRIVATE, random_data, tiny_base

from evidence._privacy_audit import audit_p_value, epsilon_lower_bound
from evidence._privacy_kills import kill_repeatedly
from tinker_engine.config import EngineConfig
from tinker_engine.errors import (
    CheckpointError,
    NonFiniteError,
    PrivacyBudgetExceededError,
    PrivacyPolicyError,
)
from tinker_engine.privacy import Ledger, PrivateMechanism, SecureNoise, resolve_policy
from tinker_engine.privacy.accountant import DISCRETIZATION, calibrate_noise, epsilon_spent
from tinker_engine.privacy.ledger import KEPT_UPDATES
from tinker_engine.runtime.records import AdamParams, PrivacyPolicy
from tinker_engine.runtime.torch_backend import TorchBackend


class SeededNoise:
    """Repeatable noise, which nothing but a test may use; counts what was drawn."""

    def __init__(self) -> None:
        self.draws = 0
        self._generator = np.random.default_rng(0)

    def normal(self, size: int) -> np.ndarray:
        self.draws += 1
        return self._generator.standard_normal(size)


class NoNoise(SeededNoise):
    def normal(self, size: int) -> np.ndarray:
        self.draws += 1
        return np.zeros(size)


ALTERATIONS = (
    "DELETE FROM events WHERE seq = 2",
    """UPDATE events SET body = replace(body, '"clip_norm":0.7', '"clip_norm":0.1')""",
    "UPDATE events SET hash = '0' WHERE seq = 2",
    "UPDATE events SET seq = 9 WHERE seq = 1",
)


def library_epsilon(sigma: float, rate: float, steps: int, delta: float, grid: float) -> float:
    accountant = pld.PLDAccountant(value_discretization_interval=grid)
    step = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(sigma))
    accountant.compose(step, steps)
    return accountant.get_epsilon(delta)


@pytest.mark.parametrize(
    "change",
    [
        {"clip_norm": 0.0},
        {"clip_norm": float("nan")},
        {"clip_norm": float("inf")},
        {"clip_norm": True},
        {"sampling_rate": 0.0},
        {"sampling_rate": 1.01},
        {"sampling_rate": float("nan")},
        {"expected_batch_size": -1.0},
        {"delta": 0.0},
        {"delta": 1.0},
        {"delta": float("nan")},
        {"noise_multiplier": 0.0},
        {"noise_multiplier": float("inf")},
        {"noise_multiplier": None},
        {"max_epsilon": float("inf")},
        {"target_epsilon": 4.0},
        {"noise_multiplier": None, "target_epsilon": 4.0},
        {"noise_multiplier": None, "target_epsilon": 4.0, "planned_steps": 0},
        {"noise_multiplier": None, "target_epsilon": 4.0, "planned_steps": 2.5},
        {"noise_multiplier": None, "target_epsilon": float("nan"), "planned_steps": 2},
        {"noise_multiplier": None, "target_epsilon": 101.0, "planned_steps": 2},
    ],
)
def test_unsound_policies_are_refused(change):
    with pytest.raises(PrivacyPolicyError):
        resolve_policy(replace(PRIVATE, **change))


@pytest.mark.parametrize(
    ("target", "rate", "steps"), [(8.0, 0.05, 70), (1.0, 1.0, 3), (0.5, 0.2, 40)]
)
def test_calibrated_noise_just_meets_the_target(target, rate, steps):
    sigma = calibrate_noise(target, 1e-5, rate, steps)
    assert epsilon_spent({(sigma, rate): steps}, 1e-5) <= target
    assert epsilon_spent({(0.995 * sigma, rate): steps}, 1e-5) > target


@pytest.mark.parametrize(
    ("sigma", "rate", "steps"), [(0.8, 0.05, 1), (1.1, 0.02, 300), (5.0, 1.0, 10), (2.0, 0.5, 30)]
)
def test_epsilon_equals_the_librarys(sigma, rate, steps):
    ours = epsilon_spent({(sigma, rate): steps}, 1e-5)
    assert ours == pytest.approx(
        library_epsilon(sigma, rate, steps, 1e-5, DISCRETIZATION), rel=1e-9
    )
    finer = library_epsilon(sigma, rate, steps, 1e-5, 1e-4)
    assert finer - 1e-6 <= ours <= finer * (1 + 1e-3)


def test_different_mechanisms_compose():
    accountant = pld.PLDAccountant(value_discretization_interval=DISCRETIZATION)
    for sigma, rate, steps in ((1.0, 0.1, 4), (2.0, 0.3, 5)):
        step = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(sigma))
        accountant.compose(step, steps)
    ours = epsilon_spent({(1.0, 0.1): 4, (2.0, 0.3): 5}, 1e-5)
    assert ours == pytest.approx(accountant.get_epsilon(1e-5), rel=1e-6)
    assert epsilon_spent({}, 1e-5) == 0.0


def test_secure_noise_is_standard_normal():
    noise = SecureNoise()
    draws = noise.normal(200_001)
    assert draws.shape == (200_001,)
    assert np.isfinite(draws).all()
    assert scipy.stats.kstest(draws, "norm").pvalue > 1e-6
    assert abs(np.corrcoef(draws[:100_000], draws[100_000:200_000])[0, 1]) < 0.02
    assert not np.array_equal(noise.normal(10), noise.normal(10))


def make_mechanism(folder, noise=None, **changes) -> PrivateMechanism:
    policy = resolve_policy(replace(PRIVATE, **changes))
    return PrivateMechanism(policy, Ledger.open(folder), noise or SeededNoise())


def test_release_adds_noise_of_the_stated_size(ledger_dir):
    mechanism = make_mechanism(ledger_dir, SecureNoise(), noise_multiplier=1.7)
    total = np.linspace(-1, 1, 100_000)
    update = mechanism.release("state", total)
    noise = update * PRIVATE.expected_batch_size - total
    expected = 1.7 * PRIVATE.clip_norm
    statistic = (noise**2).sum() / expected**2
    low, high = scipy.stats.chi2.ppf([1e-6, 1 - 1e-6], len(total))
    assert low < statistic < high
    assert abs(noise.mean()) < 6 * expected / math.sqrt(len(total))


def test_same_state_gets_the_same_update_and_pays_once(ledger_dir):
    mechanism = make_mechanism(ledger_dir)
    first = mechanism.release("a", np.ones(50))
    assert np.array_equal(mechanism.release("a", np.zeros(50)), first)
    assert mechanism.steps == 1
    spent = mechanism.epsilon()
    second = mechanism.release("b", np.ones(50))
    assert not np.array_equal(first, second)
    assert mechanism.steps == 2
    assert mechanism.epsilon() > spent
    mechanism.ledger.close()
    again = make_mechanism(ledger_dir)
    assert np.array_equal(again.release("a", np.zeros(50)), first)
    assert again.epsilon() == mechanism.epsilon()


def test_budget_is_refused_before_anything_is_drawn(ledger_dir):
    one_step = epsilon_spent({(1.0, 0.1): 1}, 1e-5)
    two_steps = epsilon_spent({(1.0, 0.1): 2}, 1e-5)
    noise = SeededNoise()
    mechanism = make_mechanism(ledger_dir, noise, max_epsilon=(one_step + two_steps) / 2)
    mechanism.release("a", np.ones(5))
    digest = mechanism.ledger.digest
    with pytest.raises(PrivacyBudgetExceededError, match="nothing was released"):
        mechanism.release("b", np.ones(5))
    assert noise.draws == 1
    assert mechanism.ledger.digest == digest
    # What was paid for can still be had.
    mechanism.release("a", np.ones(5))


def test_sum_that_is_not_finite_is_refused(ledger_dir):
    mechanism = make_mechanism(ledger_dir)
    with pytest.raises(NonFiniteError):
        mechanism.release("a", np.array([1.0, math.nan]))
    assert mechanism.steps == 0


def test_altered_ledgers_are_refused(ledger_dir):
    mechanism = make_mechanism(ledger_dir)
    for state in "abc":
        mechanism.release(state, np.ones(5))
    mechanism.ledger.close()
    for number, statement in enumerate(ALTERATIONS):
        copy = ledger_dir.with_name(f"altered{number}")
        shutil.copytree(ledger_dir, copy)
        execute(copy, statement)
        with pytest.raises(CheckpointError, match="chain"):
            Ledger.open(copy)
    execute(ledger_dir, "UPDATE updates SET content = zeroblob(20)")
    ledger = Ledger.open(ledger_dir)
    with pytest.raises(CheckpointError, match="digest"):
        ledger.stored_update("a")
    (ledger_dir / "ledger.sqlite").write_bytes(b"not a database, but long enough to be looked at")
    with pytest.raises(CheckpointError, match="opened"):
        Ledger.open(ledger_dir)


def execute(folder, statement: str) -> None:
    db = sqlite3.connect(folder / "ledger.sqlite")
    db.execute(statement)
    db.commit()
    db.close()


def test_two_writers_do_not_fork_a_ledger(ledger_dir):
    first, second = make_mechanism(ledger_dir), make_mechanism(ledger_dir)
    first.release("a", np.ones(5))
    with pytest.raises(CheckpointError, match="can't be written"):
        second.release("b", np.ones(5))


def test_old_updates_are_dropped_and_events_kept(ledger_dir):
    mechanism = make_mechanism(ledger_dir, max_epsilon=1e6)
    for step in range(KEPT_UPDATES + 3):
        mechanism.release(str(step), np.ones(5))
    assert mechanism.steps == KEPT_UPDATES + 3
    assert mechanism.stored("2") is None
    assert mechanism.stored("3") is not None


def test_private_step_equals_clipped_mean_without_noise(make_backend, make_spec, tmp_path):
    """With the noise set to zero, what is applied is AdamW on the clipped sum over the lot size."""
    backend = make_backend(noise=NoNoise)
    backend.create_run("r", make_spec(privacy=PRIVATE, lora_train="B"), tmp_path / "l")
    run = backend.training_run("r")
    backend.forward_backward("r", random_data(5), "cross_entropy")
    expected = run.accumulator / PRIVATE.expected_batch_size
    digest = run.state_digest()
    backend.optim_step("r", AdamParams())
    stored = run.mechanism.stored(digest)
    assert torch.allclose(torch.from_numpy(stored).double(), expected, atol=1e-9)


def test_empty_batches_are_steps_of_pure_noise(make_backend, make_spec, tmp_path):
    backend = make_backend()
    backend.create_run("r", make_spec(privacy=PRIVATE), tmp_path / "l")
    before = backend.training_run("r").values.clone()
    result = backend.optim_step("r", AdamParams())
    assert result.metrics["privacy:steps"] == 1
    assert result.metrics["owner:batch_size"] == 0
    assert result.metrics["privacy:epsilon"] == pytest.approx(
        epsilon_spent({(1.0, 0.1): 1}, PRIVATE.delta)
    )
    assert not torch.equal(backend.training_run("r").values, before)


def test_frozen_a_never_changes(make_backend, make_spec, tmp_path):
    backend = make_backend()
    backend.create_run("r", make_spec(privacy=PRIVATE, lora_train="B"), tmp_path / "l")
    run = backend.training_run("r")
    a_before = run.values[run.layout.trainable :].clone()
    for _ in range(2):
        backend.forward_backward("r", random_data(5), "cross_entropy")
        backend.optim_step("r", AdamParams(weight_decay=0.1))
    assert torch.equal(run.values[run.layout.trainable :], a_before)


def test_refused_step_leaves_the_run_as_it_is(make_backend, make_spec, tmp_path):
    policy = replace(
        PRIVATE, noise_multiplier=None, target_epsilon=3.0, planned_steps=2, max_epsilon=3.0
    )
    backend = make_backend()
    backend.create_run("r", make_spec(privacy=policy), tmp_path / "l")
    for _ in range(2):
        backend.optim_step("r", AdamParams())
    state = backend.training_run("r").state_digest()
    with pytest.raises(PrivacyBudgetExceededError):
        backend.optim_step("r", AdamParams())
    assert backend.training_run("r").state_digest() == state
    record = backend.privacy("r")
    assert record is not None
    assert (record.steps, record.planned_steps) == (2, 2)
    assert 2.9 < record.epsilon <= 3.0


def test_killed_processes_leave_nothing_unpaid(tmp_path):
    def make_backend() -> TorchBackend:
        torch.set_num_threads(1)
        return TorchBackend(tiny_base("llama"), EngineConfig(precision="fp32"))

    report = kill_repeatedly(make_backend, random_data(20), tmp_path, 4, random.Random(0))
    assert report.holds


def test_audit_bounds_follow_the_paper():
    # Nothing but chance proves nothing; all right among 100 guesses proves a lot.
    assert epsilon_lower_bound(1000, 100, 50, 0.0) == 0.0
    all_right = epsilon_lower_bound(1000, 100, 100, 0.0)
    accuracy = 1 / (1 + math.exp(-all_right))
    assert accuracy**100 == pytest.approx(0.05, rel=1e-2)
    assert epsilon_lower_bound(1000, 100, 100, 1e-4) < all_right
    assert audit_p_value(1000, 100, 0, 1.0, 1e-5) == 1.0


def test_policy_defaults_are_the_documented_ones():
    policy = PrivacyPolicy(1.0, 0.1, 10.0, 1e-5, noise_multiplier=1.0)
    assert policy.max_epsilon == 8.0


def test_the_ledger_states_what_the_accounting_rests_on(ledger_dir):
    mechanism = make_mechanism(ledger_dir)
    mechanism.release("a", np.ones(5))
    (event,) = mechanism.ledger.events
    for part in (
        "Poisson",
        "at most once a batch",
        "advantages and logprobs of a datum depend on it",
    ):
        assert part in event.declared
