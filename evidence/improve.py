"""Improvement: planted weak spots go, the rest stays, and a watched slot gets better by itself.

A bank's message router starts out without two desks and with a dozen messages of a third. It goes
live through the gate. Customers talk to it over HTTP; they say thumbs and what they wanted in their
own words, never a desk's name. Must hold:

- `tensafe improve` on that traffic: significantly better on the planted desks (paired, on unseen
  messages), at most one percentage point lost on the others; the same without replay of earlier
  data is measured beside it;
- a private version keeps its promise: the ledger names the version that it started from, and the
  register charges what was released and nothing else;
- `tensafe watch`: killed without warning in the middle of a training and started again, it goes on,
  puts versions live by itself, improves, and stops at its limit.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evidence._report import conclude
from evidence._routing_customers import Crowd
from evidence._routing_task import ANSWERS, WEAK, RoutingTask, routing_task, write_first
from evidence._routing_watch import WatchProcess
from evidence._train import environment, shared_data, tensafe_train
from tensafe.data.records import Example
from tensafe.data.records import Message as Turn
from tensafe.evaluate import AnsweringModel, compare_paired
from tensafe.gate.lifetime import PrivacyRegister
from tensafe.gate.swap import SwapService
from tensafe.gate.swap_host import hosting
from tensafe.improve.decisions import read_decisions
from tensafe.improve.loop_config import RecordingConfig
from tensafe.improve.models import model_of
from tensafe.improve.recorder import Recorder
from tensafe.improve.recorder_server import RecorderServer
from tensafe.improve.traffic import TrafficStore
from tinker_engine.connect import Connection, open_engine

SLOT = "desk"
PER_DESK, TEST_PER_DESK = 220, 80
# The red team's held-out set: with 15 a desk, a gain of a few points can't become significant.
OPERATORS_PER_DESK = 40
TRAFFIC, ASKED_BEFORE = 4000, 700
MOST_LOST = 0.01
VERSIONS, MIN_EXAMPLES, WATCH_LIMIT_S = 2, 120, 3600.0
EPOCHS = "4"
# The default share, 0.2, holds on some seeds and loses six points on others; see design 0016.
SEED, SHARE = 3, "0.5"


@dataclass(frozen=True)
class Scores:
    """Right (1) or wrong (0) on every unseen message, the planted desks' and the others'."""

    weak: list[float]
    other: list[float]

    @property
    def means(self) -> dict[str, float]:
        return {
            "weak": round(sum(self.weak) / len(self.weak), 4),
            "other": round(sum(self.other) / len(self.other), 4),
        }


class House:
    """Folders, environment and the engine in this process, with its host of slots."""

    def __init__(self, folder: Path, engine: Connection, task: RoutingTask) -> None:
        self.folder = folder
        self.engine = engine
        self.task = task
        self.environ = {
            **os.environ,
            "TINKER_BASE_URL": engine.base_url,
            "TINKER_API_KEY": engine.api_key,
        }

    def scores(self, run: Path) -> Scores:
        """A version on the unseen messages; nobody else ever sees their desks."""
        model: AnsweringModel = model_of(self.engine, run / "adapter")
        prompts = [[Turn(role="user", content=m.text)] for m in self.task.test]
        said = model.generate(prompts, max_tokens=8)
        right = [float(a.strip() == m.desk) for a, m in zip(said, self.task.test, strict=True)]
        marked = list(zip(right, self.task.test, strict=True))
        return Scores(
            [score for score, m in marked if m.desk in WEAK],
            [score for score, m in marked if m.desk not in WEAK],
        )

    def improve(self, name: str, *options: str) -> tuple[int, dict[str, Any]]:
        """`tensafe improve` on the recorded traffic."""
        store = self.folder / "traffic"
        command = [
            sys.executable, "-m", "tensafe", "improve", str(self.folder / "first"),
            "--log", str(store / "traffic.jsonl"), "--feedback", str(store / "feedback.jsonl"),
            "--answers", str(self.folder / "answers.yaml"), "--out", str(self.folder / name),
            "--epochs", EPOCHS, "--json", *options,
        ]  # fmt: skip
        print("$ tensafe improve " + " ".join(options), flush=True)
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, env=self.environ, check=False
        )
        return done.returncode, json.loads(done.stdout) if done.stdout.strip() else {}


def go_live(house: House, host: SwapService, package: Path) -> str:
    """The slot, judged by the operator's own labelled messages, and the first version in it."""
    held: list[Example] = []
    for number, message in enumerate(house.task.operators):
        turns = (
            Turn(role="user", content=message.text),
            Turn(role="assistant", content=message.desk),
        )
        held.append(Example(turns, "operator", f"row {number}", f"operator:{number}"))
    host.create_slot(SLOT, held_out=held, by="operator")
    record = host.wait(host.request(SLOT, [package], by="operator", reason="first version").id)
    print(f"slot {SLOT}: {record.state} {record.reasons}", flush=True)
    return str(record.state)


def record_traffic(house: House) -> dict[str, Any]:
    """The customers' first talks with version 1."""
    store = TrafficStore(house.folder / "traffic")
    recorder = Recorder(store, RecordingConfig(consent="header"), SLOT)
    with RecorderServer(house.engine.base_url, recorder) as server:
        crowd = Crowd(house.task.traffic, house.engine.api_key, SLOT, seed=5)
        crowd.url = server.url
        with crowd:
            while crowd.asked < ASKED_BEFORE:
                time.sleep(0.2)
    figures = {"asked": crowd.asked, "stored": len(store), "told": crowd.told}
    print(f"traffic: {figures}", flush=True)
    return figures


def improved(house: House, before: Scores, share: str) -> tuple[dict[str, Any], bool]:
    """The next version with replay and without, against the first on unseen messages."""
    figures: dict[str, Any] = {"first": before.means}
    exits: dict[str, int] = {}
    mixes = (("with_replay", ("--replay-share", share)), ("without_replay", ("--replay", "none")))
    for name, options in mixes:
        exits[name], told = house.improve(name, *options)
        after = house.scores(house.folder / name)
        figures[name] = {
            "exit": exits[name],
            **after.means,
            "weak_test": asdict(compare_paired(after.weak, before.weak)),
            "other_test": asdict(compare_paired(after.other, before.other)),
            **{k: told.get(k) for k in ("new_train", "replayed", "better_answers", "unresolved")},
            "weak_spots": told.get("weak_spots", [])[:5],
            "comparison": told.get("comparison"),
        }
        print(f"{name}: {after.means}, exit {exits[name]}", flush=True)
    found, bare = figures["with_replay"], figures["without_replay"]
    lost = -found["other_test"]["difference"]
    lost_without = -bare["other_test"]["difference"]
    figures["lost_elsewhere"] = {"with_replay": lost, "without_replay": lost_without}
    holds = bool(
        exits["with_replay"] == 0
        and found["weak_test"]["difference"] > 0
        and found["weak_test"]["p_value"] < 0.05
        and lost <= MOST_LOST
        and lost_without > lost
    )
    return figures, holds


def private_version(house: House) -> tuple[dict[str, Any], bool]:
    """A private version of few steps: its quality may be refused, its accounting may not be off."""
    home = Path(os.environ["TENSAFE_HOME"])
    before = len(_releases(home))
    code, told = house.improve(
        "private", "--dp", "--epsilon", "4", "--steps", "8", "--lot", "64", "--max-test-items", "60"
    )
    record = json.loads((house.folder / "private" / "privacy.json").read_text())
    payload = json.loads((house.folder / "first" / "outcome.json").read_text())["payload_digest"]
    figures = {
        "exit": code,
        "epsilon": record["epsilon"],
        "promised": 4.0,
        "names_its_start": payload in record["declared"],
        "replay": told.get("replay"),
        "releases_charged": len(_releases(home)) - before,
    }
    print(f"private version: {figures}", flush=True)
    holds = bool(
        code in (0, 3)
        and 0 < record["epsilon"] <= 4.0
        and figures["names_its_start"]
        and figures["releases_charged"] == (1 if code == 0 else 0)
    )
    return figures, holds


def _releases(home: Path) -> list[Any]:
    path = PrivacyRegister(home).path
    return json.loads(path.read_text())["releases"] if path.exists() else []


def watched(house: House, before: Scores, share: str) -> tuple[dict[str, Any], bool]:
    """The loop with live customers: killed in its first training, then left to itself."""
    loop = house.folder / "loop"
    arguments = [
        str(house.folder / "first"), "--out", str(loop), "--slot", SLOT, "--port", "0",
        "--upstream", house.engine.base_url, "--consent", "header", "--poll", "1",
        "--answers", str(house.folder / "answers.yaml"), "--min-examples", str(MIN_EXAMPLES),
        "--max-versions", str(VERSIONS), "--max-cycles", "8", "--patience", "4",
        "--epochs", EPOCHS, "--replay-share", share, "--json",
    ]  # fmt: skip
    crowd = Crowd(house.task.traffic[ASKED_BEFORE:], house.engine.api_key, SLOT, seed=9)
    log = house.folder / "watch.log"
    state = loop / "cycles" / "0001" / "run" / "training" / "sft_state.json"

    def is_training() -> bool:
        return state.exists() and json.loads(state.read_text())["step"] >= 1

    with crowd:
        first = WatchProcess(arguments, house.environ, log)
        crowd.url = first.recorder()
        was_killed = first.kill_when(is_training, WATCH_LIMIT_S)
        print(f"watch killed in its first training: {was_killed}", flush=True)
        second = WatchProcess(arguments, house.environ, log)
        crowd.url = second.recorder()
        code, told = second.end(WATCH_LIMIT_S)
    if code != 0:
        print(log.read_text()[-2000:])
    decisions = read_decisions(loop)
    for decision in decisions:
        print(f"  {decision['decision']}: {decision['why']}", flush=True)
    kinds = [str(decision["decision"]) for decision in decisions]
    after = house.scores(Path(str(told.get("adapter", house.folder / "first"))))
    weak, other = compare_paired(after.weak, before.weak), compare_paired(after.other, before.other)
    figures = {
        "killed": was_killed,
        "exit": code,
        **told,
        **after.means,
        "weak_test": asdict(weak),
        "other_test": asdict(other),
        "decisions": kinds,
        "customers": {
            "asked": crowd.asked, "told": crowd.told, "unserved": crowd.unserved,
            "digests_seen": len(crowd.digests),
        },
    }  # fmt: skip
    holds = (
        was_killed
        and code == 0
        and kinds.count("live") == VERSIONS
        and "went on" in kinds
        and kinds[-1] == "stopped"
        and "versions went live" in str(told.get("why_stopped"))
        and weak.difference > 0
        and weak.p_value < 0.05
        and len(crowd.digests) >= VERSIONS
    )
    return figures, holds


def run(folder: Path, shared: Path, given: argparse.Namespace) -> tuple[dict[str, Any], bool]:
    """All three parts in one folder, or the first."""
    task = routing_task(
        shared, per_desk=PER_DESK, traffic=TRAFFIC, test=TEST_PER_DESK,
        operators=OPERATORS_PER_DESK, seed=given.seed,
    )  # fmt: skip
    write_first(task, folder / "first.csv")
    (folder / "answers.yaml").write_text(ANSWERS, encoding="utf-8")
    first = tensafe_train(
        folder / "first", dict(os.environ), "--data", str(folder / "first.csv"), "--name", SLOT,
        "--question-column", "message", "--answer-column", "desk", "--no-dp", "--epochs", "3",
        "--rank", "8", "--alpha", "16", "--max-test-items", "200",
    )  # fmt: skip
    package = folder / "first" / f"{SLOT}.tgsp"
    with open_engine("embedded") as engine:
        assert engine.host is not None
        house = House(folder, engine, task)
        with hosting(engine.host.engine, engine.host) as host:
            live = go_live(house, host.desk, package)
            figures: dict[str, Any] = {"first_score": first.outcome["score"], "slot": live}
            figures["traffic"] = record_traffic(house)
            before = house.scores(folder / "first")
            is_private = True
            if not given.only_improve:
                # First: a release without privacy leaves its records nothing for a private one.
                figures["private"], is_private = private_version(house)
            figures["improve"], is_better = improved(house, before, given.share)
            if given.only_improve:
                return figures, is_better
            figures["watch"], is_watched = watched(house, before, given.share)
    return figures, live == "applied" and is_better and is_private and is_watched


def main() -> None:
    """Everything in a home of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED, help="of the task; the claim's is fixed")
    parser.add_argument("--share", default=SHARE, help="of the mix that is replayed")
    parser.add_argument("--only-improve", action="store_true", help="the first part, for a look")
    given = parser.parse_args()
    shared = shared_data()
    with tempfile.TemporaryDirectory() as name:
        os.environ.update(environment(Path(name)))
        started = time.monotonic()
        figures, holds = run(Path(name), shared, given)
        figures["seconds"] = round(time.monotonic() - started, 1)
    is_claim = (given.seed, given.share, given.only_improve) == (SEED, SHARE, False)
    conclude("improve", figures, holds=holds and is_claim)


if __name__ == "__main__":
    main()
