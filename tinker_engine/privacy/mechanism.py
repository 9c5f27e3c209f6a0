"""The one door through which a private run's gradients leave: noise, budget, ledger."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import numpy.typing as npt

from tinker_engine.errors import (
    CheckpointError,
    NonFiniteError,
    PrivacyBudgetExceededError,
)
from tinker_engine.privacy.accountant import (
    ACCOUNTANT,
    Mechanism,
    accountant_version,
    epsilon_spent,
)
from tinker_engine.privacy.ledger import Ledger, LedgerEvent, new_event_id
from tinker_engine.privacy.noise import NoiseSource
from tinker_engine.privacy.policy import ResolvedPolicy
from tinker_engine.runtime.records import STARTED_FROM, FloatArray, PrivacyRecord, RunSpec

# What the accounting rests on and the engine can't observe.
DECLARED = (
    "batches drawn by Poisson sampling at the declared rate; each datum at most once a batch; "
    "weights, advantages and logprobs of a datum depend on it alone, not on other data"
)


class PrivateMechanism:
    """Gaussian mechanism of one run, with its ledger.

    Each released update is (sum of clipped gradients + N(0, (sigma * C)^2)) / expected batch size
    (DP-SGD, arXiv 1607.00133, with the batch size replaced by its public expectation).
    """

    def __init__(self, policy: ResolvedPolicy, ledger: Ledger, noise: NoiseSource) -> None:
        self.policy = policy
        self.ledger = ledger
        self._noise = noise

    @property
    def steps(self) -> int:
        """Events paid for, inherited ones included."""
        return len(self.ledger.events)

    def epsilon(self, *, further_steps: int = 0) -> float:
        """Epsilon spent so far, or after some more steps under this policy."""
        counts: Counter[Mechanism] = Counter(
            (event.noise_multiplier, event.sampling_rate) for event in self.ledger.events
        )
        counts[self.policy.noise_multiplier, self.policy.sampling_rate] += further_steps
        return epsilon_spent(counts, self.policy.delta)

    def stored(self, state_digest: str) -> FloatArray | None:
        """The update already released for this state, if any."""
        return self.ledger.stored_update(state_digest)

    def released(self, state_digest: str) -> FloatArray:
        """The update of a step that was done before; never a new one.

        Raises CheckpointError when the ledger doesn't hold it: the state isn't the one it was then.
        """
        update = self.stored(state_digest)
        if update is None:
            raise CheckpointError(
                f"the ledger {self.ledger.path} holds no update for this state, so the step can't "
                "be repeated, and a second one must not be released; continue from the last "
                "checkpoint"
            )
        return update

    def place(self, state_digest: str) -> int:
        """Events up to the last one for this state; 0 if there is none."""
        return max(
            (
                number
                for number, event in enumerate(self.ledger.events, 1)
                if event.state_digest == state_digest
            ),
            default=0,
        )

    def release(self, state_digest: str, clipped_sum: npt.NDArray[np.float64]) -> FloatArray:
        """Noised mean gradient (n,) for the state with this digest, paid for and durable.

        A state that was asked for before gets the update it got then, whatever the sum is now.
        Raises PrivacyBudgetExceededError before any noise is drawn, NonFiniteError for a sum that
        isn't finite; in both cases nothing is recorded.
        """
        stored = self.stored(state_digest)
        if stored is not None:
            return stored
        self._check_budget()
        if not np.isfinite(clipped_sum).all():
            raise NonFiniteError("the clipped gradient sum is not finite; nothing was released")
        policy = self.policy
        # In place: fresh pages for each intermediate result would cost as much as the arithmetic.
        noised = self._noise.normal(clipped_sum.size)
        noised *= policy.noise_multiplier * policy.clip_norm
        noised += clipped_sum
        noised /= policy.expected_batch_size
        update = noised.astype(np.float32)
        event = LedgerEvent(
            event_id=new_event_id(),
            state_digest=state_digest,
            update_digest=hashlib.sha256(update.tobytes()).hexdigest(),
            noise_multiplier=policy.noise_multiplier,
            sampling_rate=policy.sampling_rate,
            clip_norm=policy.clip_norm,
            expected_batch_size=policy.expected_batch_size,
            trained_values=int(clipped_sum.size),
            record_set=policy.record_set,
            declared=DECLARED,
        )
        self.ledger.append(event, update)
        return update

    def _check_budget(self) -> None:
        after = self.epsilon(further_steps=1)
        if not after <= self.policy.max_epsilon:
            raise PrivacyBudgetExceededError(
                f"the next step would spend epsilon {after:.4f} of at most "
                f"{self.policy.max_epsilon:g} at delta {self.policy.delta:g} after {self.steps} "
                "steps; nothing was released, and the run stays as it is"
            )

    def record(self, spec: RunSpec) -> PrivacyRecord:
        """What has been spent, for reports."""
        policy = self.policy
        start = spec.labels.get(STARTED_FROM)
        before = f"; started from adapter {start}, whose own spending is not in it" if start else ""
        return PrivacyRecord(
            mechanism="Poisson-subsampled Gaussian (DP-SGD), clipped per example",
            unit="one datum, present or absent",
            epsilon=self.epsilon(),
            delta=policy.delta,
            clip_norm=policy.clip_norm,
            noise_multiplier=policy.noise_multiplier,
            sampling_rate=policy.sampling_rate,
            expected_batch_size=policy.expected_batch_size,
            steps=self.steps,
            planned_steps=policy.planned_steps,
            max_epsilon=policy.max_epsilon,
            record_set=policy.record_set,
            accountant=ACCOUNTANT,
            accountant_version=accountant_version(),
            lora_train=spec.lora_train,
            declared=DECLARED + before,
            ledger_digest=self.ledger.digest,
        )
