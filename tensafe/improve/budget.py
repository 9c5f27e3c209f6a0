"""What a private next version may spend, and whether earlier records can be replayed for it.

Budgets belong to records. A new record that no release has used has its whole lifetime budget, and
new records compose in parallel with old ones. A replayed record is charged again, so only what its
lifetime budget leaves can be spent on it; where that is too little, the current adapter's own
answers to new requests are replayed instead, which costs the old records nothing: the
adapter is released already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tensafe.data.records import Example
from tensafe.errors import GateRefusedError
from tensafe.gate.lifetime import PrivacyRegister, record_prints
from tensafe.improve.config import ImproveConfig
from tensafe.improve.current import Current

Replay = Literal["records", "answers", "none"]
# Below this a private run is noise.
LEAST_EPSILON = 0.5


@dataclass(frozen=True)
class Budget:
    """Whether the run is private, what it may spend, what is replayed, and why."""

    dp: bool
    epsilon: float
    replay: Replay
    reason: str


def charge_release(current: Current, register: PrivacyRegister) -> None:
    """Make sure that the current version's records are charged for it, once, in this register.

    Its package may come from another tensafe home; and what a version without privacy learned from
    has nothing left for a private one.
    """
    run = current.run
    spent = run.privacy
    if run.config.dp and spent is None:
        raise GateRefusedError(
            f"{run.folder}: privacy.json is missing, so what the records of the current version "
            "have spent is not known; restore it"
        )
    register.release(
        run.config.adapter_name,
        None if spent is None else spent.epsilon,
        0.0 if spent is None else spent.delta,
        record_prints(run.dataset.train),
        adapter=run.adapter_digest,
    )


def plan_budget(
    current: Current,
    new: Sequence[Example],
    config: ImproveConfig,
    register: PrivacyRegister,
) -> Budget:
    """Choose epsilon and the kind of replay; earlier versions have to be charged already.

    Raises:
        GateRefusedError: what the records have left is less than a private run needs, or records
            of a private version would be replayed without privacy.
    """
    parent = current.run.config
    dp = parent.dp if config.dp is None else config.dp
    wanted = config.epsilon if config.epsilon is not None else parent.epsilon
    if not dp:
        return _public_budget(parent.dp, wanted, config.replay)
    lifetime = parent.lifetime_epsilon
    left_new = lifetime - register.spent_by(record_prints(new)).epsilon
    left_old = lifetime - register.spent_by(record_prints(current.earlier)).epsilon
    if left_new < LEAST_EPSILON:
        raise GateRefusedError(
            f"the new records have epsilon {max(left_new, 0):.2f} left of {lifetime:g}: they were "
            "trained on before; give a log of newer interactions"
        )
    new_budget = min(wanted, left_new)
    replay: Replay
    if config.replay == "auto":
        enough = left_old >= new_budget
        replay = "records" if enough else "answers"
        why = f"earlier records have epsilon {max(left_old, 0):.2f} left of {lifetime:g}"
        if enough:
            return Budget(True, new_budget, replay, f"{why}: they are replayed")
        return Budget(
            True, new_budget, replay,
            f"{why}, less than the {new_budget:g} of this run: the current adapter's own answers "
            "are replayed instead",
        )  # fmt: skip
    if config.replay != "records":
        return Budget(True, new_budget, config.replay, "new records alone are charged")
    epsilon = min(new_budget, left_old)
    if epsilon < LEAST_EPSILON:
        raise GateRefusedError(
            f"the earlier records have epsilon {max(left_old, 0):.2f} left of {lifetime:g}, too "
            "little to replay them; use --replay answers"
        )
    return Budget(True, epsilon, "records", f"replayed records leave epsilon {epsilon:.2f}")


def _public_budget(
    is_parent_private: bool, wanted: float, asked: Replay | Literal["auto"]
) -> Budget:
    """The new records' owner may waive privacy for them; that waives no earlier record's."""
    if not is_parent_private:
        replay = "records" if asked == "auto" else asked
        return Budget(False, wanted, replay, "not private: earlier records are replayed freely")
    if asked == "records":
        raise GateRefusedError(
            "the earlier records were promised privacy and can't be replayed without it; use "
            "--replay answers, or leave --no-dp out"
        )
    replay = "answers" if asked == "auto" else asked
    return Budget(
        False,
        wanted,
        replay,
        "not private: the earlier records, which are, aren't trained on again",
    )
