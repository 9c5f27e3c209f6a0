"""The load gate: over 40 bad packages rejected at the right step, 20 good ones accepted.

The good ones are adapters trained for ten ordinary tasks, twice each with other seeds, and packed
with a record whose weight layers were measured on them (the behaviour layers' figures are this
script's input: the gate can't measure them again). The bad ones are made from the first, each
breaking a rule of its own. Three adapters that others trained and published are imported, packed,
verified, let in, exported and loaded by PEFT with the very tensors they came with; their bases are
stand-ins with random weights and `qa_verify` is held against their own answers, so this shows that
they are carried unchanged and nothing about their quality. A package of 1 GiB is verified within
1.25 times one SHA-256 pass and 100 MB of memory.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from evidence._clean_adapters import clean_trainings
from evidence._gate_cases import bad_cases
from evidence._gate_packages import good_package
from evidence._large_package import holds, large_package, measure
from evidence._real_adapters import CAVEAT, Journey, journey
from evidence._report import conclude
from evidence._train import shared_data
from tensafe.gate.load_gate import judge_package
from tensafe.gate.load_records import LoadReport, RunningBase
from tensafe.gate.running import running_base
from tensafe.tgsp import Identity, KeyPair
from tensafe.tgsp.trust import TrustedCreator, TrustStore
from tinker_engine.config import EngineConfig
from tinker_engine.connect import (
    Connection,
    base_info,
    download_adapter,
    load_tokenizer,
    open_engine,
)
from tinker_engine.recipes.chat_format import ChatFormat
from tinker_engine.recipes.sft import run_sft

BAD_NEEDED, GOOD_NEEDED, REAL_NEEDED = 40, 20, 3


def main() -> None:
    """Train, pack, judge, count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--good", type=int, default=GOOD_NEEDED, help="fewer, for a look")
    parser.add_argument("--only", choices=("gate", "adapters", "size"), help="a part, for a look")
    given = parser.parse_args()
    wanted: int = given.good
    shared = shared_data()
    started = time.monotonic()
    signer = KeyPair.generate(Identity("Evidence", "evidence@example.org"))
    entry = TrustedCreator(signer.public, "2026-01-01T00:00:00Z")
    trust = TrustStore({signer.public.fingerprint: entry})
    figures: dict[str, Any] = {}
    held: list[bool] = [given.only is None]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["TINKER_ENGINE_HOME"] = str(folder / "engine")
        if given.only != "adapters":
            wanted = 1 if given.only == "size" else wanted
            with open_engine("embedded", config=EngineConfig(home=folder / "engine")) as engine:
                base = running_base(engine)
                made = train(engine, folder, wanted)
            packages = [
                good_package(folder / f"{place}.tgsp", adapter, base, signer)
                for place, adapter in enumerate(made)
            ]
            if given.only != "size":
                held.append(judge_all(packages, folder, base, trust, signer, figures))
            if given.only != "gate":
                held.append(judge_size(packages[0].read_bytes(), folder, signer, figures))
        if given.only in (None, "adapters"):
            held.append(judge_adapters(shared, folder, signer, figures))
    figures["seconds"] = round(time.monotonic() - started)
    conclude("load-gate", figures, holds=all(held))


def judge_all(
    packages: list[Path],
    folder: Path,
    base: RunningBase,
    trust: TrustStore,
    signer: KeyPair,
    figures: dict[str, Any],
) -> bool:
    """Every good package is let in, every bad one rejected at the right step."""
    reports = [judge_package(package, base, trust) for package in packages]
    for package, report in zip(packages, reports, strict=True):
        print(f"good  {package.name:<20} {verdict(report)}", flush=True)
    bad, right = judge_bad(packages[0].read_bytes(), folder / "bad.tgsp", base, trust, signer)
    accepted = sum(report.accepted for report in reports)
    times = sorted(sum(step.seconds for step in report.steps) for report in reports)
    figures |= {
        "bad": bad,
        "rejected_at_the_right_step": right,
        "good": len(reports),
        "accepted": accepted,
        "median_gate_s": round(times[len(times) // 2], 3),
    }
    return bad >= BAD_NEEDED and right == bad and accepted == len(reports) >= GOOD_NEEDED


def judge_size(like: bytes, folder: Path, signer: KeyPair, figures: dict[str, Any]) -> bool:
    """A package of 1 GiB costs little more than its SHA-256."""
    large = large_package(folder / "large.tgsp", like, signer)
    figures["large"] = measured = measure(large)
    large.unlink()
    print(f"size  {json.dumps(measured)}", flush=True)
    return holds(measured)


def judge_adapters(shared: Path, folder: Path, signer: KeyPair, figures: dict[str, Any]) -> bool:
    """Real adapters come in and go out unchanged; nothing is shown of their quality."""
    print(f"real  {CAVEAT}", flush=True)
    found: list[Journey] = []
    for adapter in sorted((shared / "adapters").iterdir()):
        if (adapter / "adapter_config.json").is_file():
            found.append(journey(adapter, shared, folder, signer))
            print(f"real  {found[-1]}", flush=True)
    figures["real_adapters_caveat"] = CAVEAT
    figures["real_adapters"] = {
        one.name: {
            "tensors": one.tensors,
            "identical_in_package_and_peft": one.same_in_package and one.same_in_peft,
            "let_in": one.gate_accepts,
            "logit_difference": one.logit_difference,
            "seconds": one.seconds,
        }
        for one in found
    }
    return len(found) >= REAL_NEEDED and all(one.is_carried for one in found)


def train(engine: Connection, folder: Path, wanted: int) -> list[Path]:
    """PEFT folders of ordinary adapters."""
    chat, info = ChatFormat(load_tokenizer(engine)), base_info(engine)
    made: list[Path] = []
    for turn in range(2):
        for clean in clean_trainings():
            if len(made) == wanted:
                return made
            adapter = folder / f"{clean.name}-{turn}"
            result = run_sft(
                engine.service_client,
                chat,
                [example.messages for example in clean.dataset.train],
                clean.config.model_copy(update={"seed": clean.config.seed + 500 * turn}),
                folder / f"{adapter.name}.run",
                base_model=info.name,
                hidden_size=info.hidden_size,
                record_set=clean.dataset.train_digest,
            )
            download_adapter(engine, result.checkpoint, adapter)
            made.append(adapter)
    return made


def judge_bad(
    good: bytes, path: Path, base: RunningBase, trust: TrustStore, signer: KeyPair
) -> tuple[int, int]:
    """How many bad packages there are, and how many were rejected for the right reason."""
    right = 0
    cases = bad_cases()
    for case in cases:
        path.write_bytes(case.make(good, signer))
        report = judge_package(path, base, trust)
        step = next(step for step in report.steps if step.name == case.step)
        found = next((fault for fault in step.faults if case.words in fault), "")
        is_right = bool(found) and not report.accepted
        right += is_right
        mark = "right" if is_right else "WRONG"
        print(f"bad   {mark}  {case.step:<13} {case.name:<36} {found[:90]}", flush=True)
    revoked = replace(trust.creators[signer.public.fingerprint], revoked="2026-02-01T00:00:00Z")
    path.write_bytes(good)
    report = judge_package(path, base, TrustStore({signer.public.fingerprint: revoked}))
    is_right = [step.name for step in report.failed] == ["creator"]
    print(f"bad   {'right' if is_right else 'WRONG'}  creator       a revoked key", flush=True)
    return len(cases) + 1, right + is_right


def verdict(report: LoadReport) -> str:
    """The decision, with reasons where it is no."""
    if report.accepted:
        return "accepted"
    return "REJECTED  " + "; ".join(f"{step.name}: {step.reason}" for step in report.failed)


if __name__ == "__main__":
    main()
