"""Mode 3: traffic in, versions out, until a limit is reached.

The loop looks at the recorded traffic, begins a cycle when enough weak interactions are there,
trains the next version with `improve_adapter`, asks for a swap, and goes on. Everything that it
decides is explained in `decisions.log`. It can be killed at any moment and started again, it can
be paused, and it never moves a slot by itself.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tensafe.errors import GateRefusedError, NothingToTrainError, UsageError
from tensafe.files import owned, private_folder, write_json, write_text
from tensafe.improve.budget import LEAST_EPSILON
from tensafe.improve.config import ImproveConfig
from tensafe.improve.current import read_current
from tensafe.improve.decisions import Decisions
from tensafe.improve.improving import Improvement, improve_adapter
from tensafe.improve.interactions import Interaction, interaction_json, read_log
from tensafe.improve.loop_config import LoopConfig
from tensafe.improve.loop_state import LoopState, read_loop_state, write_loop_state
from tensafe.improve.models import model_of
from tensafe.improve.scoring import Scored, score_interactions, verdict_of
from tensafe.improve.silent import SilentView
from tensafe.improve.swap_request import HostDoor, SwapAnswer, SwapDoor
from tensafe.improve.traffic import TRAFFIC_FILE, TrafficStore
from tensafe.pipeline.events import View
from tensafe.pipeline.run_folder import WEIGHTS

if TYPE_CHECKING:
    from tensafe.evaluate import AnsweringModel
    from tinker_engine.connect import Connection

PAUSE_FILE, STOP_FILE, LOCK_FILE, CONFIG_FILE = "paused", "stop", "loop.lock", "loop.json"
CYCLES = "cycles"


@dataclass(frozen=True)
class LoopReport:
    """How a loop ended, or where it stood when it was left."""

    folder: Path
    state: LoopState

    def to_json(self) -> dict[str, object]:
        """The figures that `--json` prints."""
        state = self.state
        return {
            "folder": str(self.folder),
            "phase": state.phase,
            "adapter": state.adapter,
            "cycles": state.cycle,
            "versions": state.versions,
            "without_gain": state.without_gain,
            "train_seconds": round(state.train_s, 1),
            "epsilon": state.epsilon,
            "used_interactions": len(state.used),
            "why_stopped": state.why_stopped,
        }


def continuous_improve(
    adapter_path: Path | str,
    traffic_sample: Path | str | None = None,
    loop_config: LoopConfig | None = None,
    *,
    folder: Path | None = None,
    view: View | None = None,
    engine: Connection | None = None,
    door: SwapDoor | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> LoopReport:
    """Run the loop until it reaches one of its limits, or is told to stop.

    Args:
        adapter_path: run folder of the first version; a loop that goes on knows its own.
        traffic_sample: a folder that a recorder fills, or a JSONL file that grows (default:
            `traffic` in the loop's folder).
        folder: where the loop keeps its state, its decisions and its versions (default:
            `watch/NAME` of the run).
        engine: an open engine to use in place of the one that the settings name.
        door: how swaps are asked for (default: the host of this tensafe home).

    Raises:
        UsageError: another process runs this loop, or it was begun with other settings.
        DataError: the version or the traffic can't be used.
        TensafeError, EngineError: a step failed; the loop goes on there when it is started again.
    """
    config = loop_config or LoopConfig()
    folder = folder or Path("watch") / Path(adapter_path).resolve().name
    source = folder / "traffic" if traffic_sample is None else Path(traffic_sample)
    private_folder(folder)
    busy = f"another process runs the loop in {folder}; stop it first"
    with owned(folder / LOCK_FILE, busy), ExitStack() as stack:
        _claim(folder, config)
        loop = _Loop(folder, source, config, view or SilentView(), door or HostDoor())
        state = read_loop_state(folder)
        if state is None:
            current = read_current(Path(adapter_path))
            state = LoopState(adapter=str(current.run.folder.resolve()), started_at=time.time())
            loop.begin(state, current.parent.version)
        else:
            loop.go_on(state)
        if not loop.is_over:
            loop.engine = engine or _open(config, loop.state, stack)
        while not loop.is_over:
            if loop.step():
                sleep(config.poll_s)
        return LoopReport(folder, loop.state)


class _Loop:
    """The loop's moving parts; `step` takes one decision."""

    def __init__(
        self, folder: Path, traffic: Path, config: LoopConfig, view: View, door: SwapDoor
    ) -> None:
        self.folder = folder
        self.traffic = traffic
        self.config = config
        self.view = view
        self.door = door
        self.decisions = Decisions(folder, view.note)
        self.engine: Connection | None = None
        self.state = LoopState("")
        self._confidence: dict[tuple[str, str], Scored] = {}
        self._model: tuple[str, AnsweringModel] | None = None
        self._weights: tuple[str, str] | None = None
        self._is_paused = False
        self._told = -1

    def begin(self, state: LoopState, version: int) -> None:
        """A new loop."""
        config = self.config
        self._decide(
            state,
            "began",
            f"with version {version} in {state.adapter}; a cycle begins with "
            f"{config.min_examples} weak interactions, and the loop ends after "
            f"{config.max_versions} versions, {config.max_cycles} cycles, {config.max_hours:g} "
            f"hours, {config.max_train_minutes:g} minutes of training, epsilon "
            f"{config.max_epsilon:g}, or {config.patience} cycles without a gain",
        )

    def go_on(self, state: LoopState) -> None:
        """A loop that was left, whatever it was doing."""
        self.state = state
        if state.phase != "stopped":
            self.decisions.explain(
                "went on",
                f"{state.phase}, cycle {state.cycle}, {state.versions} versions so far",
                phase=state.phase,
                cycle=state.cycle,
            )

    @property
    def is_over(self) -> bool:
        """Whether it has stopped for good."""
        return self.state.phase == "stopped"

    def step(self) -> bool:
        """Take one decision; True when there is nothing to do for now."""
        if self._is_told_to_stop() or self._is_at_a_limit():
            return False
        if self._pauses():
            return True
        if self.state.phase == "training":
            self._train()
            return False
        if self.state.phase == "swapping":
            return self._swap()
        return self._collect()

    # Collecting

    def _collect(self) -> bool:
        fresh = self._fresh()
        # What an earlier version was blamed for teaches, but is no reason for another cycle.
        weak = [
            one
            for one in self._scored(fresh)
            if one.is_weak and one.interaction.adapter_digest in ("", self._digest())
        ]
        needed = self.state.tried + self.config.min_examples
        bad = sum(one.verdict == "bad" for one in weak)
        if len(weak) < needed:
            if self._told != len(weak):
                self._told = len(weak)
                self.view.note(f"{len(weak)} of {needed} weak interactions, {len(fresh)} recorded")
            return True
        cycle = self.state.cycle + 1
        home = self._cycle(cycle)
        private_folder(home)
        lines = [json.dumps(interaction_json(one), ensure_ascii=False) for one in fresh]
        write_text(home / "log.jsonl", "".join(line + "\n" for line in lines), mode=0o600)
        self._decide(
            replace(self.state, phase="training", cycle=cycle, tried=len(weak)),
            "trains",
            f"cycle {cycle}: {len(weak)} weak interactions ({bad} badly rated, {len(weak) - bad} "
            f"of low confidence) among {len(fresh)} new ones; {needed} are enough",
            cycle=cycle,
            weak=len(weak),
            bad=bad,
            interactions=len(fresh),
        )
        return False

    def _fresh(self) -> list[Interaction]:
        used = set(self.state.used)
        return [one for one in read_traffic(self.traffic) if one.id not in used]

    def _scored(self, interactions: Sequence[Interaction]) -> list[Scored]:
        """Verdicts; the likelihood of an unjudged answer is asked for once a version."""
        adapter = self.state.adapter
        unknown = [
            one
            for one in interactions
            if verdict_of(one) == "unrated" and (adapter, one.id) not in self._confidence
        ]
        if unknown:
            limit = self.config.improve.low_confidence
            for scored in score_interactions(unknown, self._current(), low_confidence=limit):
                self._confidence[adapter, scored.interaction.id] = scored
        return [
            self._confidence[adapter, one.id]
            if verdict_of(one) == "unrated"
            else Scored(one, verdict_of(one))
            for one in interactions
        ]

    def _digest(self) -> str:
        """Hex SHA-256 of the current version's weights."""
        weights = Path(self.state.adapter) / "adapter" / WEIGHTS
        if self._weights is None or self._weights[0] != self.state.adapter:
            digest = hashlib.sha256(weights.read_bytes()).hexdigest()
            self._weights = (self.state.adapter, digest)
        return self._weights[1]

    def _current(self) -> AnsweringModel:
        assert self.engine is not None
        if self._model is None or self._model[0] != self.state.adapter:
            adapter = Path(self.state.adapter) / "adapter"
            self._model = (self.state.adapter, model_of(self.engine, adapter))
        return self._model[1]

    # Training

    def _train(self) -> None:
        state, home = self.state, self._cycle(self.state.cycle)
        began = time.monotonic()
        try:
            done = improve_adapter(
                Path(state.adapter),
                home / "log.jsonl",
                config=self._improving(home / "run"),
                engine=self.engine,
                view=self.view,
            )
        except (NothingToTrainError, GateRefusedError) as error:
            self._no_gain(f"cycle {state.cycle}: {error}", time.monotonic() - began)
            return
        spent = time.monotonic() - began
        figures = _figures(done)
        epsilon = done.outcome.privacy.epsilon if done.outcome.privacy else 0.0
        if done.package is None:
            self._no_gain(f"cycle {state.cycle}: {_refusal(done)}", spent, **figures)
            return
        self._decide(
            replace(
                state,
                phase="swapping",
                package=str(done.package.resolve()),
                train_s=state.train_s + spent,
                epsilon=state.epsilon + epsilon,
            ),
            "packaged",
            f"cycle {state.cycle}: version {done.version}, {_gain(done)}",
            **figures,
        )

    def _improving(self, out: Path) -> ImproveConfig:
        """The settings of one improvement, whose epsilon is at most what the loop has left."""
        improve, left = self.config.improve, self.config.max_epsilon - self.state.epsilon
        before = read_current(Path(self.state.adapter)).run.config
        wanted = before.epsilon if improve.epsilon is None else improve.epsilon
        return improve.model_copy(update={"out": out, "epsilon": min(wanted, left)})

    # Swapping

    def _swap(self) -> bool:
        state, slot = self.state, self.config.slot
        if slot is None:
            self._live(f"cycle {state.cycle}: the version is current; no slot is watched")
            return False
        if state.swap_id:
            answer = self.door.look(state.swap_id)
        else:
            answer = self.door.ask_for_swap(
                slot, Path(state.package), f"cycle {state.cycle} of the improvement loop"
            )
        return self._heard(slot, answer)

    def _heard(self, slot: str, answer: SwapAnswer) -> bool:
        state = self.state
        if answer.verdict == "waiting":
            if not state.swap_id:
                self._decide(
                    replace(state, swap_id=answer.swap_id),
                    "waits",
                    f"swap {answer.swap_id} of slot {slot} waits for an approval",
                )
            return True
        if answer.verdict == "applied":
            self._live(f"cycle {state.cycle}: slot {slot} moved (swap {answer.swap_id})")
            return False
        reasons = "; ".join(answer.reasons) or "no reason was given"
        where = f"; incident {answer.incident}" if answer.incident else ""
        self._no_gain(f"cycle {state.cycle}: swap {answer.swap_id} was refused: {reasons}{where}")
        return False

    def _live(self, sentence: str) -> None:
        """The cycle's version is the current one, and what it learned from is used."""
        state = self.state
        log = read_log(self._cycle(state.cycle) / "log.jsonl")
        self._decide(
            replace(
                state,
                phase="collecting",
                adapter=str(Path(state.package).parent),
                versions=state.versions + 1,
                without_gain=0,
                tried=0,
                used=(*state.used, *(one.id for one in log.interactions)),
                package="",
                swap_id="",
            ),
            "live",
            sentence,
            cycle=state.cycle,
        )

    def _no_gain(self, sentence: str, spent: float = 0.0, **figures: object) -> None:
        state = self.state
        self._decide(
            replace(
                state,
                phase="collecting",
                without_gain=state.without_gain + 1,
                train_s=state.train_s + spent,
                package="",
                swap_id="",
            ),
            "refused",
            f"{sentence}; what was recorded stays, and {self.config.min_examples} more weak "
            "interactions begin another cycle",
            **figures,
        )

    # Limits

    def _is_at_a_limit(self) -> bool:
        state, config = self.state, self.config
        if state.phase != "collecting":
            return False
        hours = (time.time() - state.started_at) / 3600.0
        left = config.max_epsilon - state.epsilon
        limits = (
            (state.versions >= config.max_versions, f"{state.versions} versions went live"),
            (state.cycle >= config.max_cycles, f"{state.cycle} cycles were run"),
            (hours >= config.max_hours, f"{hours:.1f} hours are over"),
            (
                state.train_s >= 60.0 * config.max_train_minutes,
                f"{state.train_s / 60.0:.1f} minutes were spent in training",
            ),
            (
                state.epsilon > 0 and left < LEAST_EPSILON,
                f"epsilon {state.epsilon:.2f} was spent of {config.max_epsilon:g}",
            ),
            (
                state.without_gain >= config.patience,
                f"{state.without_gain} cycles in a row led to no version",
            ),
        )
        reached = [why for is_reached, why in limits if is_reached]
        if reached:
            self._stop("limit reached: " + ", ".join(reached))
        return bool(reached)

    def _is_told_to_stop(self) -> bool:
        if not (self.folder / STOP_FILE).exists():
            return False
        (self.folder / STOP_FILE).unlink()
        self._stop("told to stop")
        return True

    def _stop(self, why: str) -> None:
        self._decide(
            replace(self.state, phase="stopped", why_stopped=why),
            "stopped",
            f"{why}; {self.state.versions} versions in {self.state.cycle} cycles",
        )

    def _pauses(self) -> bool:
        is_paused = (self.folder / PAUSE_FILE).exists()
        if is_paused != self._is_paused:
            self._is_paused = is_paused
            kind = "paused" if is_paused else "resumed"
            self.decisions.explain(kind, f"{self.state.phase}, by request")
        return is_paused

    def _cycle(self, number: int) -> Path:
        return self.folder / CYCLES / f"{number:04d}"

    def _decide(self, state: LoopState, kind: str, sentence: str, **figures: object) -> None:
        # Explained first: a kill between the two tells a decision twice rather than never.
        self.decisions.explain(kind, sentence, **figures)
        write_loop_state(self.folder, state)
        self.state = state


def read_traffic(source: Path) -> Sequence[Interaction]:
    """The interactions of a recorder's folder, or of a JSONL file; none while there is none.

    Raises:
        DataError: a file of interactions that holds no usable line.
    """
    if source.is_dir() or not source.suffix:
        is_there = (source / TRAFFIC_FILE).exists()
        return TrafficStore(source).interactions() if is_there else []
    return read_log(source).interactions if source.exists() and source.stat().st_size else []


def _open(config: LoopConfig, state: LoopState, stack: ExitStack) -> Connection:
    from tinker_engine.connect import open_engine

    parent = read_current(Path(state.adapter)).run
    return stack.enter_context(
        open_engine(
            config.improve.engine or parent.config.engine,
            base_model=parent.config.base_model or parent.base.name,
        )
    )


def _claim(folder: Path, config: LoopConfig) -> None:
    path = folder / CONFIG_FILE
    settings = config.model_dump(mode="json")
    if path.exists():
        if json.loads(path.read_text(encoding="utf-8")) != settings:
            raise UsageError(
                f"{folder} holds a loop with other settings; give the same ones to go on with it, "
                "or another folder"
            )
        return
    write_json(path, settings)


def _figures(done: Improvement) -> dict[str, object]:
    comparison = done.comparison
    return {
        "version": done.version,
        "new_train": done.plan.new_train,
        "replayed": done.plan.replayed,
        "better_answers": done.plan.how,
        "unresolved": done.plan.unresolved,
        "old_test": [comparison.old.old_score, comparison.old.new_score],
        "new_test": [comparison.new.old_score, comparison.new.new_score],
        "p_value": comparison.new.p_value,
    }


def _gain(done: Improvement) -> str:
    old, new = done.comparison.old, done.comparison.new
    return (
        f"{new.difference or 0.0:+.3f} on {new.items} new test items (p = {new.p_value or 1.0:.2g})"
        f", {old.difference or 0.0:+.3f} on {old.items} old ones"
    )


def _refusal(done: Improvement) -> str:
    gates = vars(done.outcome.gates).values()
    failed = [f"{record.name}: {record.reason}" for record in gates if record.verdict == "failed"]
    return "; ".join([*done.comparison.reasons, *failed]) or "a gate said no"
