"""Swaps under load: 50 clients, 20 approved changes and 10 rejected ones, and kills between steps.

Adapters with planted differences are trained on `nano` and packed; red teams run beforehand. What
goes live alternates, so that every swap loads an adapter that is not in memory. Then 50 clients ask
one slot for two minutes while signed approvals and rollbacks move it 20 times and 10 requests are
rejected (worse, abusive, tampered with). Every answer has to carry one digest alone, that of an
adapter that was live when it was sent, and the very text that this adapter gives; a rejected swap
is examined again from its incident. Then the host kills itself before and after every step of a
swap and of a rollback: the slot has to point at the old adapter or the new one, its log has to be
whole, and the open swap has to come to its end in the next process.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evidence._report import conclude
from evidence._swap_adapters import CREATOR, PASSPHRASE, held_out, make_packages
from evidence._swap_clients import PROMPTS, expected
from evidence._swap_process import ARMED, KEY, SlotsProcess
from evidence._train import ROOT
from tensafe.gate.approval import sign_approval
from tensafe.gate.audit_log import verify_log
from tensafe.gate.swap import SwapPolicy, SwapRecord
from tensafe.gate.swap_client import SwapClient
from tensafe.tgsp import KeyPair, KeyStore
from tensafe.tgsp.reader import open_package

SLOT, NAMES = "gates", ("weak", "strong", "firm", "wrong", "rude")
BETTER = ("strong", "firm")
CHANGES, REJECTED = 20, 10
PAUSE_AIM_MS, LARGEST_GAP = 50.0, 1e-6
STEPS = ("requested", "gated", "red_teamed", "awaiting_approval", "approved", "applied")


@dataclass
class Move:
    """One change that took effect: to what, not before `earliest`, not after `latest`."""

    digest: str
    earliest: float
    latest: float


@dataclass
class Told:
    """What happened while the clients asked."""

    moves: list[Move] = field(default_factory=list[Move])
    rejected: list[SwapRecord] = field(default_factory=list[SwapRecord])
    pauses_ms: list[float] = field(default_factory=list[float])


@dataclass
class House:
    """The host, its packages, and the human who approves."""

    process: SlotsProcess
    packages: dict[str, Path]
    signer: KeyPair
    digests: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def client(self) -> SwapClient:
        return self.process.client

    def ask(self, name: str, *, by: str = "evidence", tampered: bool = False) -> SwapRecord:
        """A request, examined to its end."""
        path = self.packages[name]
        if tampered:
            data = bytearray(path.read_bytes())
            data[-100] ^= 1
            path = path.with_name("tampered.tgsp")
            path.write_bytes(bytes(data))
        record = self.client.request(SLOT, [path], by=by, reason="claim")
        return self.client.wait(record.id)

    def approve(self, record: SwapRecord) -> SwapRecord:
        """The human's signed yes."""
        return self.client.decide(record.id, sign_approval(self.signer, record, "approve"))

    def roll_back(self, by: str = "evidence") -> SwapRecord:
        """A rollback, signed as well."""
        return self.approve(self.client.roll_back(SLOT, by=by, reason="claim"))


def prepare(house: House) -> tuple[list[SwapRecord], dict[str, dict[str, str]]]:
    """Set the slot up, run all red teams; ten swaps wait for their signature then."""
    fingerprint = house.signer.public.fingerprint
    policy = SwapPolicy(approval="human_in_loop", approvers=(fingerprint,))
    house.client.create_slot(SLOT, held_out=held_out(count=40), policy=policy, by="evidence")
    if house.client.slots()[0]["is_base"]:
        first = house.approve(house.ask("weak"))
        print(f"weak    {first.state}: improvement {first.figures['improvement']:+.3f}", flush=True)
    url, live = house.process.facts["base_url"], str(house.client.slots()[0]["digest"])
    answers = {live: expected(url, KEY, SLOT)}
    house.digests["weak"] = live
    for name in ("wrong", "rude"):
        record = house.ask(name)
        print(f"{name:<7} {record.state}: {'; '.join(record.reasons)[:140]}", flush=True)
        house.digests[name] = record.to_digest
    for name in BETTER:
        record = house.ask(name)
        print(f"{name:<7} {record.state}: {record.figures['improvement']:+.3f}", flush=True)
        house.digests[name] = record.to_digest
        assert house.approve(record).is_applied
        answers[record.to_digest] = expected(url, KEY, SLOT)
        house.roll_back()
    pending = [house.ask(BETTER[turn % 2]) for turn in range(CHANGES // 2)]
    return pending, answers


def drive(house: House, pending: Sequence[SwapRecord], seconds: float) -> Told:
    """Ten approvals and ten rollbacks over the time, with a rejection after each rollback."""
    told, started = Told(), time.monotonic()
    for turn in range(CHANGES):
        wait = (turn + 0.5) * seconds / CHANGES - (time.monotonic() - started)
        time.sleep(max(0.0, wait))
        earliest = time.time()
        record = house.approve(pending[turn // 2]) if turn % 2 == 0 else house.roll_back()
        if not record.is_applied:
            print(f"turn {turn}: {record.state} {record.reasons}", flush=True)
            continue
        told.moves.append(Move(record.to_digest, earliest, time.time()))
        told.pauses_ms.append(record.pause_ms or 0.0)
        if turn % 2 == 1:
            kind = (turn // 2) % 3
            name = ("wrong", "rude", "strong")[kind]
            told.rejected.append(house.ask(name, tampered=kind == 2))
    return told


def judge(
    lines: Sequence[str], told: Told, first: str, answers: dict[str, dict[str, str]]
) -> dict[str, Any]:
    """What the clients saw, against what was live."""
    faults: Counter[str] = Counter()
    shown: list[str] = []
    gaps: list[float] = []
    over_change = 0
    by_digest: Counter[str] = Counter()
    for line in lines:
        one = json.loads(line)
        fault = _fault(one, told.moves, first, answers)
        if fault:
            faults[fault] += 1
            shown.append(f"{fault}: {json.dumps(one)[:300]}")
            continue
        by_digest[one["digests"][0]] += 1
        is_over = any(one["sent"] < m.latest and m.earliest < one["end"] for m in told.moves)
        over_change += is_over
        if is_over and one["streams"]:
            gaps.append(1000 * one["gap"])
    for text in shown[:5]:
        print(text)
    return {
        "responses": len(lines),
        "failed": faults["failed"],
        "several_digests": faults["several digests"],
        "not_live_at_start": faults["not live"],
        "text_of_another": faults["another's text"],
        "answers_over_a_change": over_change,
        "by_digest": {digest[:8]: count for digest, count in by_digest.items()},
        "stream_gap_over_a_change_p99_ms": round(quantile(gaps, 0.99), 1),
    }


def _fault(
    one: dict[str, Any], moves: Sequence[Move], first: str, answers: dict[str, dict[str, str]]
) -> str:
    if "error" in one or one.get("status") != 200:
        return "failed"
    if len(set(one["digests"])) != 1:
        return "several digests"
    digest = one["digests"][0]
    # Live at some moment between sending and the answer's head, as far as clocks can tell.
    live = {first} if not moves or one["sent"] < moves[0].latest else set[str]()
    for place, move in enumerate(moves):
        until = moves[place + 1].latest if place + 1 < len(moves) else float("inf")
        if move.earliest <= one["head"] and one["sent"] <= until:
            live.add(move.digest)
    if digest not in live:
        return "not live"
    return "" if answers[digest][one["prompt"]] == one["text"] else "another's text"


def quantile(values: Sequence[float], share: float) -> float:
    """The value that a share of the values does not pass; 0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def put_load(house: House, seconds: float, clients: int) -> tuple[dict[str, Any], SwapRecord]:
    """The load with its changes; gives the figures and one rejected swap."""
    pending, answers = prepare(house)
    differ = sum(len({texts[prompt] for texts in answers.values()}) > 1 for prompt in PROMPTS)
    print(f"the adapters answer {differ} of {len(PROMPTS)} prompts differently", flush=True)
    url = house.process.facts["base_url"]
    words = (url, KEY, SLOT, str(clients), str(seconds))
    process = subprocess.Popen(
        [sys.executable, "-m", "evidence._swap_clients", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    lines: list[str] = []
    reader = _reading(process, lines)
    told = drive(house, pending, seconds)
    process.wait(seconds + 300)
    reader.join()
    figures = judge(lines, told, house.digests["weak"], answers)
    moved = [move.digest for move in told.moves]
    wanted = [
        house.digests["weak" if turn % 2 else BETTER[turn // 2 % 2]] for turn in range(CHANGES)
    ]
    rejected = [record for record in told.rejected if record.state == "rejected"]
    figures |= {
        "prompts_that_tell_apart": differ,
        "changes": sum(a == b for a, b in zip(moved, wanted, strict=False)),
        "rejected": len(rejected),
        "incidents_of_them": sum(bool(record.incident) for record in rejected),
        "swap_pause_p50_of_loads_ms": round(quantile(told.pauses_ms[::2], 0.5), 1),
        "swap_pause_p99_ms": round(quantile(told.pauses_ms, 0.99), 1),
    }
    return figures, rejected[0]


def _reading(process: subprocess.Popen[str], lines: list[str]) -> Any:
    """Read all lines while they come, so that the pipe never fills up."""
    import threading

    assert process.stdout is not None
    thread = threading.Thread(target=lambda: lines.extend(process.stdout or ()))
    thread.start()
    return thread


def kill_points() -> list[tuple[str, str]]:
    """Every point of a swap, then every one of a rollback that its record passes."""
    swap = [f"{when}:{step}" for step in STEPS for when in ("before", "after")]
    swap.insert(-2, "after:pointed")
    back = ["after:gated", "after:awaiting_approval", "after:approved", "after:pointed"]
    return [*(("swap", point) for point in swap), *(("rollback", point) for point in back)]


def kill_all(folder: Path, packages: dict[str, Path], signer: KeyPair) -> dict[str, int]:
    """Let the host kill itself at every point; the next one finds old or new and goes on."""
    found = {"kills": 0, "old_or_new": 0, "log_whole": 0, "came_to_an_end": 0}
    ends: set[str] = set()
    for action, point in [*kill_points(), ("", "")]:
        # A host that is not killed goes on with what was open; then comes one that will be.
        with SlotsProcess(folder) as process:
            house = House(process, packages, signer)
            if ends:
                at = str(house.client.slots()[0]["digest"])
                found["old_or_new"] += at in ends
                found["came_to_an_end"] += is_over(house)
                print(f"-> {at[:8]}, one of {sorted(end[:8] for end in ends)}", flush=True)
            if not point:
                break
            ends = settle(house, is_strong=action == "rollback")
        with SlotsProcess(folder, kill_at=point) as process:
            house = House(process, packages, signer)
            try:
                act(house, action)
            # The host goes away in the middle of an answer.
            except Exception as error:
                print(f"killed {point:<26} of a {action:<8} ({type(error).__name__})", end=" ")
            found["kills"] += process.wait_for_death(300) == -signal.SIGKILL
        found["log_whole"] += verify_log(folder / "tensafe" / "swaps").is_whole
    return found


def is_over(house: House) -> bool:
    """Whether everything that was open comes to an end, or to its human."""
    records = [house.client.wait(r.id, 300) for r in house.client.swaps() if not r.is_final]
    return all(record.is_final or record.state == "awaiting_approval" for record in records)


def settle(house: House, *, is_strong: bool) -> set[str]:
    """Bring the slot to where the next action begins; gives the digests before and after it."""
    for record in house.client.swaps():
        if record.state == "awaiting_approval":
            house.client.decide(record.id, sign_approval(house.signer, record, "reject"))
    applied = [record for record in house.client.swaps() if record.is_applied]
    on_strong = applied[-1].action == "swap"
    if on_strong and not is_strong:
        house.roll_back()
    elif is_strong and not on_strong:
        house.approve(house.ask("strong"))
    return {digest_of(house.packages[name]) for name in ("weak", "strong")}


def digest_of(package: Path) -> str:
    """The adapter's digest."""
    with open_package(package) as opened:
        return opened.payload_hash()


def act(house: House, action: str) -> None:
    """The whole way of one change, by whom the host kills itself for."""
    if action == "rollback":
        house.roll_back(by=ARMED)
        return
    record = house.ask("strong", by=ARMED)
    if record.state == "awaiting_approval":
        house.approve(record)


def main() -> None:
    """Train, load, kill, count."""
    options = argparse.ArgumentParser()
    options.add_argument("--seconds", type=float, default=120.0)
    options.add_argument("--clients", type=int, default=50)
    options.add_argument("--without-kills", action="store_true", help="for a look")
    options.add_argument("--work", type=Path, help="folder to go on in, for a second look")
    asked = options.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder: Path = asked.work or Path(name)
        packages = make_packages(folder, folder / "tensafe", NAMES)
        print(f"trained and packed in {time.monotonic() - started:.0f} s", flush=True)
        signer = KeyStore(folder / "tensafe").unlock(CREATOR, PASSPHRASE)
        with SlotsProcess(folder) as process:
            house = House(process, packages, signer)
            figures, rejected = put_load(house, asked.seconds, asked.clients)
            print(json.dumps(figures), flush=True)
            again = house.client.reproduce(rejected.id)
        figures |= {
            "reproduced": again["same_verdict"],
            "largest_difference": again.get("figures", {}).get("largest_gap", 0.0),
            "log_whole_after_load": verify_log(folder / "tensafe" / "swaps").is_whole,
        }
        if not asked.without_kills:
            figures |= kill_all(folder, packages, signer)
    figures["seconds"] = round(time.monotonic() - started)
    for key, value in figures.items():
        print(f"{key}: {value}")
    holds = (
        figures["failed"] == figures["several_digests"] == 0
        and figures["not_live_at_start"] == figures["text_of_another"] == 0
        and figures["prompts_that_tell_apart"] >= len(PROMPTS) // 2
        and figures["responses"] > asked.clients
        and figures["answers_over_a_change"] > 0
        and figures["changes"] == CHANGES
        and figures["rejected"] == figures["incidents_of_them"] == REJECTED
        and figures["swap_pause_p99_ms"] > 0
        and figures["reproduced"]
        and figures["largest_difference"] <= LARGEST_GAP
        and figures["log_whole_after_load"]
        and figures.get("kills", 0) == len(kill_points())
        and figures["old_or_new"] == figures["log_whole"] == figures["kills"]
        and figures["came_to_an_end"] == figures["kills"]
    )
    figures["pause_aim_ms"] = PAUSE_AIM_MS
    conclude("swap-load", figures, holds=holds)


if __name__ == "__main__":
    main()
