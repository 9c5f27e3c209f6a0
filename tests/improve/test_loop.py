"""The loop's own decisions, without a training: limits, pauses, requests, and who may run it."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from finished_version import packaged_run

from tensafe.data.records import Message
from tensafe.errors import DataError, GateRefusedError, UsageError
from tensafe.gate.lifetime import PrivacyRegister
from tensafe.improve import LoopConfig, LoopReport, continuous_improve
from tensafe.improve.budget import charge_release, plan_budget
from tensafe.improve.comparison import SetResult, reasons_against
from tensafe.improve.config import ImproveConfig
from tensafe.improve.current import read_current
from tensafe.improve.decisions import read_decisions
from tensafe.improve.improving import redacts
from tensafe.improve.interactions import Feedback, Interaction
from tensafe.improve.loop_control import steer
from tensafe.improve.loop_state import LoopState, read_loop_state, write_loop_state
from tensafe.improve.silent import SilentView
from tensafe.improve.swap_request import HostDoor
from tensafe.improve.traffic import TrafficStore
from tinker_engine.connect import Connection, open_engine


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A tensafe home with two packaged versions, made once: keys and signatures cost seconds."""
    folder = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENSAFE_HOME", str(folder / "home"))
        patch.setenv("TENSAFE_KEY_PASSPHRASE", "a passphrase for tests")
        patch.setenv("TINKER_ENGINE_HOME", str(folder / "engine"))
        packaged_run(folder / "run")
        packaged_run(folder / "private", private=True)
        yield folder


@pytest.fixture
def home(shared: Path, tmp_path: Path) -> Path:
    shutil.copytree(shared / "run", tmp_path / "run")
    return tmp_path


@pytest.fixture(scope="module")
def engine(shared: Path) -> Iterator[Connection]:
    with open_engine("embedded") as connection:
        yield connection


def exchange(number: int, *, rating: float | None = 0.0) -> Interaction:
    turns = (
        Message(role="user", content=f"Question {number}"),
        Message(role="assistant", content="cards"),
    )
    return Interaction(f"i{number}", turns, Feedback(rating))


def run(
    home: Path, config: LoopConfig, engine: Connection, naps: Sequence[str] = ("stop",)
) -> LoopReport:
    """The loop until it ends; each time it would sleep, the next request is left for it."""
    requests = iter(naps)

    def sleep(seconds: float) -> None:
        assert seconds == config.poll_s
        request = next(requests, "stop")
        steer(home / "loop", **{request: True})

    return continuous_improve(
        home / "run", home / "traffic", config, folder=home / "loop",
        engine=engine, sleep=sleep,
    )  # fmt: skip


def kinds(home: Path) -> list[object]:
    return [decision["decision"] for decision in read_decisions(home / "loop")]


def test_it_waits_pauses_resumes_and_stops_and_says_so(home: Path, engine: Connection) -> None:
    store = TrafficStore(home / "traffic")
    for number in range(5):
        store.record(exchange(number))
    config = LoopConfig(min_examples=100)
    report = run(home, config, engine, ["pause", "resume", "stop"])
    assert (report.state.phase, report.state.why_stopped) == ("stopped", "told to stop")
    assert kinds(home) == ["began", "paused", "resumed", "stopped"]
    log = (home / "loop" / "decisions.log").read_text()
    assert "100 weak interactions" in log
    assert "Question" not in log
    # Who has stopped stays so, and nothing is done twice.
    again = run(home, config, engine)
    assert again.state == report.state
    assert kinds(home) == ["began", "paused", "resumed", "stopped"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"versions": 5}, "5 versions"), ({"cycle": 20}, "20 cycles"),
        ({"started_at": 1.0}, "hours are over"), ({"train_s": 9e9}, "minutes were spent"),
        ({"epsilon": 8.0}, "epsilon 8.00"), ({"epsilon": 7.8}, "epsilon 7.80"),
        ({"without_gain": 2}, "2 cycles in a row"),
    ],
)  # fmt: skip
def test_every_limit_stops_it_after_a_restart(
    home: Path, engine: Connection, change: dict[str, float], expected: str
) -> None:
    run(home, LoopConfig(), engine)
    state = read_loop_state(home / "loop")
    assert state is not None
    left = replace(state, phase="collecting", why_stopped="", **change)
    write_loop_state(home / "loop", left)
    ended = run(home, LoopConfig(), engine, [])
    assert ended.state.phase == "stopped"
    assert expected in ended.state.why_stopped
    assert kinds(home)[-2:] == ["went on", "stopped"]


def test_no_version_spends_more_than_the_loop_has_left(shared: Path, tmp_path: Path) -> None:
    from tensafe.improve.loop import _Loop

    loop = _Loop(tmp_path, tmp_path, LoopConfig(), SilentView(), HostDoor())
    for spent, given in ((0.0, 5.0), (2.0, 5.0), (4.5, 3.5)):
        loop.state = LoopState(str(shared / "private"), epsilon=spent)
        assert loop._improving(tmp_path / "run").epsilon == given


def test_a_cycle_begins_with_enough_and_is_gone_on_with(home: Path, engine: Connection) -> None:
    store = TrafficStore(home / "traffic")
    for number in range(8):
        store.record(exchange(number))
    turns = exchange(0).messages
    store.record(Interaction("of another version", turns, Feedback(0.0), "ab" * 32))
    # The run's base digest is made up, so the improvement refuses the engine that runs: a fault
    # that somebody has to mend, and no cycle without gain.
    with pytest.raises(UsageError, match="belongs to base"):
        run(home, LoopConfig(min_examples=8), engine, [])
    assert kinds(home) == ["began", "trains"]
    assert read_decisions(home / "loop")[1]["weak"] == 8
    state = read_loop_state(home / "loop")
    assert state is not None
    assert (state.phase, state.cycle, state.tried, state.used) == ("training", 1, 8, ())
    store.record(exchange(99))
    with pytest.raises(UsageError, match="belongs to base"):
        run(home, LoopConfig(min_examples=8), engine, [])
    assert kinds(home) == ["began", "trains", "went on"]
    frozen = (home / "loop" / "cycles" / "0001" / "log.jsonl").read_text().splitlines()
    assert len(frozen) == 9


def test_another_version_of_the_settings_is_refused(home: Path, engine: Connection) -> None:
    run(home, LoopConfig(), engine)
    with pytest.raises(UsageError, match="other settings"):
        run(home, LoopConfig(patience=9), engine)
    (home / "loop" / "state.json").write_text("{}")
    with pytest.raises(DataError, match="not a loop's state"):
        run(home, LoopConfig(), engine)
    with pytest.raises(UsageError, match="no loop"):
        steer(home / "nowhere")


def _hold(folder: str, ready: multiprocessing.connection.Connection) -> None:
    from tensafe.files import owned, private_folder
    from tensafe.improve.loop import LOCK_FILE

    private_folder(Path(folder))
    with owned(Path(folder) / LOCK_FILE, "held"):
        ready.send("held")
        ready.recv()


def test_two_processes_do_not_run_one_loop(home: Path, engine: Connection) -> None:
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_hold, args=(str(home / "loop"), theirs)
    )
    process.start()
    try:
        assert ours.recv() == "held"
        with pytest.raises(UsageError, match="another process"):
            run(home, LoopConfig(), engine)
    finally:
        ours.send("go")
        process.join(10)


def test_the_current_version_is_read_with_its_lineage(home: Path) -> None:
    folder = home / "run"
    current = read_current(folder)
    assert current.parent.version == 1
    assert current.parent.payload == current.run.adapter_digest
    assert read_current(next(folder.glob("*.tgsp"))).parent == current.parent
    assert {e.digest for e in current.earlier} == {e.digest for e in current.run.dataset.train}
    next(folder.glob("*.tgsp")).unlink()
    with pytest.raises(DataError, match="no package"):
        read_current(folder)
    with pytest.raises(DataError, match="run that made it"):
        read_current(folder / "dataset")


def test_what_old_records_have_left_decides_what_is_replayed(shared: Path, tmp_path: Path) -> None:
    current = read_current(shared / "private")
    # In the shared home the same records were released without privacy as well.
    register = PrivacyRegister(tmp_path)
    charge_release(current, register)
    new = [replace(e, messages=(*e.messages[:-1], e.messages[-1])) for e in current.old_test]
    # The package spent epsilon 5 of 8: a run of 5 can't replay the records, one of 2 can.
    assert plan_budget(current, new, ImproveConfig(), register).replay == "answers"
    small = plan_budget(current, new, ImproveConfig(epsilon=2.0), register)
    assert (small.replay, small.epsilon, small.dp) == ("records", 2.0, True)
    forced = plan_budget(current, new, ImproveConfig(replay="records"), register)
    assert forced.epsilon == pytest.approx(3.0)
    open_run = plan_budget(current, new, ImproveConfig(dp=False), register)
    # Privacy can be waived for the new records, not for those that were promised it.
    assert (open_run.dp, open_run.replay) == (False, "answers")
    with pytest.raises(GateRefusedError, match="promised privacy"):
        plan_budget(current, new, ImproveConfig(dp=False, replay="records"), register)


def test_a_version_is_charged_where_it_is_improved(shared: Path, tmp_path: Path) -> None:
    # The register of another home knows neither release.
    register, private = PrivacyRegister(tmp_path / "a"), read_current(shared / "private")
    for _ in range(2):
        charge_release(private, register)
    new = private.old_test
    forced = plan_budget(private, new, ImproveConfig(replay="records"), register)
    assert forced.epsilon == pytest.approx(3.0)
    # What was released without privacy has nothing left for a private version.
    register, public = PrivacyRegister(tmp_path / "b"), read_current(shared / "run")
    charge_release(public, register)
    config = ImproveConfig(dp=True)
    assert plan_budget(public, new, config, register).replay == "answers"
    with pytest.raises(GateRefusedError, match="too little to replay"):
        plan_budget(public, new, config.model_copy(update={"replay": "records"}), register)
    lost = replace(private, run=replace(private.run, privacy=None))
    with pytest.raises(GateRefusedError, match=r"privacy\.json"):
        charge_release(lost, register)


def test_a_version_made_with_redaction_stays_so(shared: Path) -> None:
    current = read_current(shared / "run")
    assert not redacts(current, ImproveConfig())
    assert redacts(current, ImproveConfig(redact_pii=True))
    before = current.run.config.model_copy(update={"redact_pii": True})
    current = replace(current, run=replace(current.run, config=before))
    assert redacts(current, ImproveConfig())


NAN = float("nan")


def result(difference: float | None, p_value: float = 0.001) -> SetResult:
    if difference is None:
        return SetResult(0, None, None, None, None, 0, 0, "no items")
    return SetResult(100, 0.5, 0.5 + difference, difference, p_value, 9, 1, "mcnemar_exact")


@pytest.mark.parametrize(
    ("old", "new", "p_value", "against"),
    [
        (0.0, 0.1, 0.001, 0), (-0.01, 0.1, 0.001, 0), (-0.02, 0.1, 0.001, 1), (0.0, 0.01, 0.001, 1),
        (0.0, 0.1, 0.2, 1), (None, 0.1, 0.001, 1), (0.0, None, 0.001, 1), (-0.5, -0.5, 0.001, 2),
        (NAN, 0.1, 0.001, 1), (0.0, NAN, 0.001, 1), (0.0, 0.1, NAN, 1),
    ],
)  # fmt: skip
def test_a_version_has_to_gain_and_may_not_forget(
    old: float | None, new: float | None, p_value: float, against: int
) -> None:
    assert len(reasons_against(result(old), result(new, p_value), ImproveConfig())) == against


def test_a_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    state = LoopState("run", "swapping", 3, 2, 1, 40, ("a", "b"), 5.0, 6.0, 0.5, "p.tgsp", "id")
    write_loop_state(tmp_path, state)
    assert read_loop_state(tmp_path) == state
    assert json.loads((tmp_path / "state.json").read_text())["used"] == ["a", "b"]
