"""Differential privacy of a training run: policy, noise, accountant and durable ledger.

The unit of privacy is one datum; neighbouring data sets differ in one datum present or absent.
What is private is what leaves through updates: weights, checkpoints, samples and everything made
of them. Losses, gradient norms and the fraction of clipped examples that a private run reports are
**not** private: they are for the owner of the data. Batches must be drawn by Poisson sampling at
the declared rate; the engine can't observe that, and the ledger says so.

    policy = resolve_policy(PrivacyPolicy(...))
    mechanism = PrivateMechanism(policy, Ledger.open(folder), SecureNoise())
    update = mechanism.release(state_digest, clipped_sum)
"""

from tinker_engine.privacy.ledger import Ledger, LedgerEvent
from tinker_engine.privacy.mechanism import PrivateMechanism
from tinker_engine.privacy.noise import NoiseSource, SecureNoise
from tinker_engine.privacy.policy import ResolvedPolicy, resolve_policy

__all__ = [
    "Ledger",
    "LedgerEvent",
    "NoiseSource",
    "PrivateMechanism",
    "ResolvedPolicy",
    "SecureNoise",
    "resolve_policy",
]
