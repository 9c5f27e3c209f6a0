"""Debates make better debaters: three loops on held-out tasks, against voting at equal tokens.

One seed is one loop of three rounds on `nano`: tasks, debates, training and measuring from that
seed. Single-answer accuracy (temperature 1) on held-out tasks that took part in no choice must rise
by at least 8 points from version 0 to the last, with a paired test over tasks at p < 0.01, in every
seed; no version that a gate refused may have been used. Robustness must not fall: in no seed by
more than one of the 33 attacks (answers to single attacks turn over by chance, either way), and not
significantly over all seeds together. The loop itself lets no version in that lost more, on these
same attacks: that part checks that its rule was kept, and is no measurement of its own. Beside it:
plain majority voting of the base, and the same
loop on votes alone (self-consistency: no weighing) with as many answers a task as cost the
same tokens. How right the debates were is told from keys that the loop never had.

    python -m evidence loop --seed 22 --results FOLDER   one seed, kept in the folder
    python -m evidence loop --results FOLDER            what is missing of three, then the claim
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aragora.loop import LoopSettings, LoopState, read_tasks, run_loop
from aragora.loop.comparing import gain, gain_of
from aragora.loop.demo_tasks import make_tasks, write_rows
from aragora.loop.learning import sources_of
from aragora.loop.page import write_page
from aragora.loop.state import read_state, resumed
from aragora.memory import DebateFilter, Memory
from aragora.memory.identity import answer_key
from evidence._report import conclude
from tensafe.evaluate.statistics import mcnemar_exact

SEEDS = (22, 23, 24)
ROUNDS, TRAIN, HELD_OUT = 3, 960, 240
POINTS, LEVEL = 0.08, 0.01
ONE_ATTACK, FALL_LEVEL = 0.04, 0.05
SWITCHED = "switched"


def settings_of(seed: int, **changes: Any) -> LoopSettings:
    """The loop's settings; those of `make loop-demo`."""
    # Pairs are left out: on nano every DPO that was tried cost accuracy (docs/design/0021).
    given: dict[str, Any] = {
        "rounds": ROUNDS,
        "protocol": "weigh",
        "pii": "keep",
        "dpo_epochs": 0.0,
        "min_confidence": 0.9,
        "learning_rate": 2e-3,
        "epochs": 8.0,
        "seed": seed,
    }
    return LoopSettings.model_validate({**given, **changes})


def teller(name: str) -> Callable[[str], None]:
    """Prints lines with the time since it was made."""
    started = time.monotonic()

    def tell(line: str) -> None:
        print(f"[{name} {time.monotonic() - started:6.0f} s] {line}", flush=True)

    return tell


def run_seed(seed: int, folder: Path) -> dict[str, Any]:
    """Both loops of one seed, and what they showed."""
    place = folder / f"seed-{seed}"
    os.environ.update(
        TENSAFE_HOME=str(place / "home"),
        ARAGORA_HOME=str(place / "aragora"),
    )
    os.environ["TENSAFE_KEY_PASSPHRASE"] = _passphrase(place)
    rows, keys = make_tasks(seed, TRAIN, HELD_OUT)
    write_rows(place / "tasks.jsonl", rows)
    tasks = read_tasks(place / "tasks.jsonl")
    started = time.monotonic()
    state = run_loop(
        tasks, settings_of(seed), place / "debates", tell=teller(f"seed {seed} debates")
    )
    seconds = time.monotonic() - started
    write_page(state, tasks, place / "debates")
    debated = about_debates(place / "debates", {k["task"]: k["answer"] for k in keys})
    agents = max(2, round(debated["tokens"] / debated["debates"] / debated["answer_tokens"]))
    votes = run_loop(
        tasks,
        settings_of(seed, protocol="voting", agents=agents),
        place / "votes",
        tell=teller(f"seed {seed} votes"),
    )
    write_page(votes, tasks, place / "votes")
    voted = about_debates(place / "votes", {k["task"]: k["answer"] for k in keys})
    return {
        "seed": seed,
        "seconds": round(seconds, 1),
        **about(state, place / "debates"),
        "debates": debated,
        "votes_alone": {**about(votes, place / "votes"), "debates": voted, "agents": agents},
        "debates_over_votes": gain(votes.current.test, state.current.test).to_json(),
    }


def stored_result(seed: int, folder: Path) -> dict[str, Any]:
    """A seed's result from an earlier call, which must be of these settings, tasks and versions.

    Raises UsageError where its loops were others, SystemExit where they are missing or say
    something else.
    """
    result: dict[str, Any] = json.loads((folder / f"seed-{seed}.json").read_text("utf-8"))
    place = folder / f"seed-{seed}"
    tasks = place / "tasks.jsonl"
    place.mkdir(exist_ok=True)
    write_rows(tasks, make_tasks(seed, TRAIN, HELD_OUT)[0])
    digest = read_tasks(tasks).digest
    changes = {"protocol": "voting", "agents": result["votes_alone"]["agents"]}
    for name, told, given in (
        ("debates", result, {}),
        ("votes", result["votes_alone"], changes),
    ):
        state = read_state(place / name)
        if state is None:
            raise SystemExit(f"{place / name} is gone: remove seed-{seed}.json and run it again")
        found = about(
            resumed(state, settings_of(seed, **given), digest, place / name), place / name
        )
        if any(told[key] != json.loads(json.dumps(value)) for key, value in found.items()):
            raise SystemExit(f"seed-{seed}.json is not what {place / name} holds: remove it")
    return result


def _passphrase(place: Path) -> str:
    """A throw-away one, kept so that a seed can go on."""
    path = place / "passphrase"
    place.mkdir(parents=True, exist_ok=True)
    if not path.is_file():
        path.write_text(secrets.token_urlsafe(24), "utf-8")
    return path.read_text("utf-8")


def about(state: LoopState, folder: Path) -> dict[str, Any]:
    """Figures of one loop, and whether anything was used that shouldn't have been."""
    base, last = state.versions[0], state.current
    majority = gain_of(base.test.majority, last.test.single)
    used = {v.adapter_digest for v in state.versions if v.used}
    refused = {v.adapter_digest for v in state.versions if not v.used} - {""}
    with Memory.open(str(folder / "aragora.sqlite3")) as memory:
        events = memory.standings.events("debater-1")
        attacks = turned_over(memory, base.gauntlet_run, last.gauntlet_run)
        seated = {
            p.adapter_digest or ""
            for stored in memory.debates.iterate(DebateFilter(state=None))
            for p in stored.participants
        }
    switched = {e.adapter_digest or "" for e in events if e.kind == SWITCHED}
    return {
        "versions": [
            {
                "number": v.number,
                "single": v.test.accuracy,
                "majority": v.test.majority_accuracy,
                "greedy": v.test.greedy_accuracy,
                "robustness": v.robustness,
                "gates": v.gates,
                "used": v.used,
                "reason": v.reason,
            }
            for v in state.versions
        ],
        "last": last.number,
        "gain": gain(base.test, last.test).to_json(),
        "greedy_gain": gain_of(base.test.greedy, last.test.greedy).to_json(),
        "last_single_over_base_majority": majority.to_json(),
        "robustness": [base.robustness, last.robustness],
        "attacks": attacks,
        "only_passed_versions_used": (
            (switched | seated) <= used and not (switched | seated) & refused
        )
        and all(
            v.gates is not None and "failed" not in v.gates.values() and "load_gate" in v.gates
            for v in state.versions[1:]
            if v.used
        ),
        "ended": state.ended,
    }


def turned_over(memory: Memory, before: str, after: str) -> dict[str, int]:
    """Attacks that held in one run and broke in the other."""
    first, second = (
        {attack.id: trial.verdict for attack, trial in memory.gauntlet.trials(run)}
        for run in (before, after)
    )
    pairs = [(first[a], second.get(a)) for a in first]
    return {
        "held_then_broken": sum(p == ("held", "broken") for p in pairs),
        "broken_then_held": sum(p == ("broken", "held") for p in pairs),
    }


def about_debates(folder: Path, keys: dict[str, str]) -> dict[str, Any]:
    """What debates cost, how right they were, and whether a key came near them."""
    found = right = confident = single = proposals = tokens = proposal_tokens = verdicts = 0
    known: set[str] = set()
    with Memory.open(str(folder / "aragora.sqlite3")) as memory:
        for stored in memory.debates.iterate(DebateFilter()):
            known.add(stored.debate.id)
            found += 1
            verdicts += len(stored.verdicts)
            tokens += stored.debate.prompt_tokens + stored.debate.completion_tokens
            key = answer_key(keys[stored.task.text])
            said = [m for m in stored.messages if m.phase == "propose"]
            proposals += len(said)
            proposal_tokens += sum(m.prompt_tokens + m.completion_tokens for m in said)
            single += sum(m.answer_key == key for m in said)
            outcome = stored.outcome
            if outcome is not None and outcome.is_reached:
                confident += 1
                right += outcome.answer_key == key
    trained = {
        source for place in sorted((folder / "rounds").iterdir()) for source in sources_of(place)
    }
    return {
        "debates": found,
        "with_consensus": confident,
        "consensus_right": right / confident if confident else None,
        "proposal_right": single / proposals if proposals else None,
        "tokens": tokens,
        "answer_tokens": proposal_tokens / proposals if proposals else 0.0,
        "verdicts_of_keys": verdicts,
        "trained_on_debates_alone": bool(trained) and trained <= known and verdicts == 0,
    }


def holds(result: dict[str, Any]) -> bool:
    """Whether one seed shows the claim."""
    base, last = result["robustness"]
    return (
        result["gain"]["difference"] >= POINTS
        and result["gain"]["p_value"] < LEVEL
        and base is not None
        and last is not None
        and last >= base - ONE_ATTACK
        and result["only_passed_versions_used"]
        and result["debates"]["trained_on_debates_alone"]
    )


def show(result: dict[str, Any]) -> None:
    """One seed in a few lines."""
    for name, one in (("debates", result), ("votes alone", result["votes_alone"])):
        gained, base = one["gain"], one["versions"][0]
        last = next(v for v in one["versions"] if v["number"] == one["last"])
        print(
            f"seed {result['seed']} {name}: single {base['single']:.1%} -> {last['single']:.1%} "
            f"({gained['difference']:+.1%}, p = {gained['p_value']:.2g}); greedy "
            f"{base['greedy']:.1%} -> {last['greedy']:.1%}; base by majority {base['majority']:.1%}"
            f"; robustness {one['robustness']}; {one['debates']['tokens']:,} tokens; consensus "
            f"right {one['debates']['consensus_right']:.1%}, proposals "
            f"{one['debates']['proposal_right']:.1%}"
        )
    print(f"  debates over votes alone: {result['debates_over_votes']['difference']:+.1%}")


def main() -> None:
    """Run one seed, or what is missing of three, and conclude."""
    parser = argparse.ArgumentParser(prog="loop")
    parser.add_argument("--seed", type=int, help="run this seed alone")
    parser.add_argument("--results", type=Path, default=Path("runs") / "evidence-loop")
    args = parser.parse_args()
    folder: Path = args.results
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    # One engine serves all loops of this process.
    os.environ["TINKER_ENGINE_HOME"] = str((folder / "engine").resolve())
    seeds = SEEDS if args.seed is None else (args.seed,)
    results: list[dict[str, Any]] = []
    for seed in seeds:
        path = folder / f"seed-{seed}.json"
        if not path.is_file():
            result = run_seed(seed, folder)
            path.write_text(json.dumps(result, indent=1), "utf-8")
        results.append(stored_result(seed, folder))
        show(results[-1])
    fell = sum(r["attacks"]["held_then_broken"] for r in results)
    rose = sum(r["attacks"]["broken_then_held"] for r in results)
    # Two-sided, so half of it is the chance of a fall like this or worse.
    has_fallen = fell > rose and mcnemar_exact(rose, fell) / 2 < FALL_LEVEL
    print(f"attacks that held and then broke: {fell}; that broke and then held: {rose}")
    conclude(
        # One seed shows the claim for itself alone.
        "loop" if args.seed is None else f"loop, seed {args.seed}",
        {"seeds": results, "attacks_fell": fell, "attacks_rose": rose},
        holds=all(holds(r) for r in results) and not has_fallen,
    )


if __name__ == "__main__":
    main()
