"""What is decided before training: which records are new, which are replayed, what may be spent.

The plan is written once, when it is whole, with its records beside it; an improvement that was
killed goes on from there and asks nothing twice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tensafe.curate.dataset_files import read_dataset, write_dataset
from tensafe.data.records import CurationReport, Dataset, Example, Message
from tensafe.errors import DataError, NothingToTrainError
from tensafe.evaluate import AnsweringModel
from tensafe.files import write_json, write_text
from tensafe.gate.lifetime import PrivacyRegister
from tensafe.improve.answer_set import answer_set
from tensafe.improve.better_answers import Better, Teach, VoteRules, better_answers
from tensafe.improve.budget import Budget, charge_release, plan_budget
from tensafe.improve.config import ImproveConfig
from tensafe.improve.current import IMPROVE, Current, write_earlier
from tensafe.improve.interactions import Interaction, InteractionLog, interaction_json
from tensafe.improve.models import sampler
from tensafe.improve.scoring import Scored, count_verdicts, score_interactions
from tensafe.improve.targeted import Targeted, build_targeted, replayed
from tensafe.improve.weak_spots import WeakSpot, find_weak_spots, spot_of
from tensafe.pipeline.create import MINIMUM_TRAIN
from tensafe.pipeline.events import View
from tensafe.tgsp import tensafe_home

if TYPE_CHECKING:
    from tinker_engine.connect import Connection

PLAN = "plan.json"


@dataclass(frozen=True)
class Plan:
    """What was decided before training; all of it but the records themselves."""

    inputs: str
    verdicts: dict[str, int]
    weak_spots: tuple[WeakSpot, ...]
    how: dict[str, int]
    confirmed: int
    unresolved: int
    contradictory: int
    new_train: int
    new_test: int
    replayed: int
    budget: Budget

    def to_json(self) -> dict[str, Any]:
        """All of it; quotes what users asked, so it stays with the owner of the data."""
        return asdict(self)

    @staticmethod
    def of_json(document: dict[str, Any]) -> Plan:
        """The inverse of `to_json`; raises KeyError or TypeError for anything else."""
        fields: dict[str, Any] = {
            **document,
            "weak_spots": tuple(spot_of(spot) for spot in document["weak_spots"]),
            "budget": Budget(**document["budget"]),
        }
        return Plan(**fields)


def planned(
    current: Current,
    log: InteractionLog,
    config: ImproveConfig,
    folder: Path,
    engine: Connection,
    old: AnsweringModel,
    view: View,
) -> tuple[Plan, Dataset]:
    """The plan and its records: those that were decided on before, or new ones."""
    inputs = _inputs(current, log, config)
    home = folder / IMPROVE
    kept = _kept_plan(home, inputs)
    if kept is not None:
        view.note("going on with what was decided before")
        return kept, read_dataset(home / "dataset")
    plan, dataset, targeted = _decide(current, log, config, folder, engine, old, inputs, view)
    write_earlier(current, targeted.train, folder)
    write_dataset(dataset, home / "dataset")
    lines = [json.dumps(interaction_json(one), ensure_ascii=False) for one in targeted.unresolved]
    write_text(home / "needs_a_person.jsonl", "".join(line + "\n" for line in lines))
    # Last: a plan that is there is whole.
    write_json(home / PLAN, plan.to_json())
    return plan, dataset


def _decide(
    current: Current,
    log: InteractionLog,
    config: ImproveConfig,
    folder: Path,
    engine: Connection,
    old: AnsweringModel,
    inputs: str,
    view: View,
) -> tuple[Plan, Dataset, Targeted]:
    view.stage(f"Scoring {len(log.interactions)} interactions")
    scored = score_interactions(log.interactions, old, low_confidence=config.low_confidence)
    verdicts = count_verdicts(scored)
    view.note(", ".join(f"{count} {name}" for name, count in sorted(verdicts.items())))
    weak = [one for one in scored if one.is_weak]
    with ExitStack() as stack:
        teach = _teacher(config, folder, engine, stack, view)
        allowed = answer_set(current.earlier, config.answers)
        rules = VoteRules(config.votes, config.agreement, config.seed)
        better = better_answers(weak, allowed, old, teach, rules)
    spots = _show_spots(weak, better, log.interactions, view)
    targeted = build_targeted(
        scored,
        better,
        test_share=config.test_share,
        redact_pii=config.redact_pii,
        held_out=current.old_test,
    )
    if len(targeted.train) < MINIMUM_TRAIN:
        raise NothingToTrainError(
            f"{len(targeted.train)} new training examples from {len(log.interactions)} "
            f"interactions, at least {MINIMUM_TRAIN} are needed; more feedback helps, above all "
            f"edits and corrections ({len(targeted.unresolved)} weak answers stay open)"
        )
    register = PrivacyRegister(tensafe_home())
    charge_release(current, register)
    budget = plan_budget(current, targeted.train, config, register)
    view.note(budget.reason)
    replay = _replay(current, targeted, budget, config)
    view.note(
        f"{len(targeted.train)} new examples and {len(replay)} replayed ones ({budget.replay}); "
        f"{len(targeted.test)} new and {len(current.old_test)} old ones held out"
    )
    plan = Plan(
        inputs=inputs,
        verdicts=verdicts,
        weak_spots=tuple(spots),
        how=targeted.how,
        confirmed=targeted.confirmed,
        unresolved=len(targeted.unresolved),
        contradictory=targeted.contradictory,
        new_train=len(targeted.train),
        new_test=len(targeted.test),
        replayed=len(replay),
        budget=budget,
    )
    return plan, _dataset(current, targeted, replay), targeted


def _show_spots(
    weak: Sequence[Scored],
    better: Sequence[Better | None],
    traffic: Sequence[Interaction],
    view: View,
) -> list[WeakSpot]:
    wanted = [None if found is None else found.answer for found in better]
    spots = find_weak_spots(weak, wanted, traffic)
    for spot in spots:
        said = ", ".join(f"{answer!r} ({count})" for answer, count in spot.answers.items())
        view.note(f"weak spot: {spot.name}: {spot.size} interactions, answered {said}")
    return spots


def _replay(
    current: Current, targeted: Targeted, budget: Budget, config: ImproveConfig
) -> tuple[Example, ...]:
    if budget.replay == "none":
        return ()
    pool = current.earlier if budget.replay == "records" else targeted.own
    return replayed(pool, len(targeted.train), config.replay_share)


def _dataset(current: Current, targeted: Targeted, replay: Sequence[Example]) -> Dataset:
    train = {e.digest: e for e in (*targeted.train, *replay)}
    test = {e.digest: e for e in (*current.old_test, *targeted.test)}
    report = CurationReport(
        files_read=1,
        bytes_read=0,
        kept_by_source={"interactions": len(targeted.train), "replay": len(replay)},
        dropped={"several answers to one prompt": targeted.contradictory},
    )
    return Dataset(
        tuple(train[digest] for digest in sorted(train)),
        tuple(test[digest] for digest in sorted(test)),
        report,
    )


def _teacher(
    config: ImproveConfig, folder: Path, engine: Connection, stack: ExitStack, view: View
) -> Teach | None:
    """The stronger model that was named, over HTTP or behind the engine's SDK."""
    from tensafe.curate.teacher import Teacher, TeacherConfig

    if config.teacher is None:
        return None
    if config.teacher.startswith(("http://", "https://")):
        view.note(f"weak interactions are sent to {config.teacher}, which answers them anew")
        settings = TeacherConfig(url=config.teacher, model=config.teacher_model)
        replies = folder / IMPROVE / "teacher.jsonl"
        teacher = stack.enter_context(Teacher(settings, replies))
        return lambda messages, number: teacher.answer(messages, number=number)
    model = sampler(engine, config.teacher)

    def ask(messages: Sequence[Message], number: int) -> str | None:
        said = model.generate(
            [messages], max_tokens=96, temperature=0.7 if number else 0.0, seed=number
        )
        return said[0]

    return ask


def _inputs(current: Current, log: InteractionLog, config: ImproveConfig) -> str:
    answers = "" if config.answers is None else config.answers.read_text(encoding="utf-8")
    parts = [
        current.parent.package,
        log.digest,
        config.model_dump_json(exclude={"out", "engine"}),
        answers,
    ]
    return hashlib.sha256(json.dumps(parts).encode("utf-8")).hexdigest()


def _kept_plan(home: Path, inputs: str) -> Plan | None:
    path = home / PLAN
    if not path.is_file():
        return None
    try:
        plan = Plan.of_json(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a plan ({error}); name another run folder") from error
    if plan.inputs != inputs:
        raise DataError(
            f"{home.parent} holds an improvement from other logs or settings; give the same ones "
            "to go on with it, or name another run folder"
        )
    return plan
