"""The load gate: a good package is let in, every broken rule is named at its step."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from evidence._gate_cases import bad_cases
from evidence._gate_packages import BadCase, good_package, resigned
from tensafe.cli import main
from tensafe.errors import GateRefusedError
from tensafe.gate.load_gate import judge_package, keep_report, require_admission
from tensafe.gate.load_records import STEPS, LoadPolicy, LoadReport, RunningBase
from tensafe.gate.running import running_base
from tensafe.screen.tasks import task_dataset
from tensafe.tgsp import Identity, KeyPair
from tensafe.tgsp.canonical import canonical_json, sha256_hex
from tensafe.tgsp.trust import NOBODY, TrustedCreator, TrustStore
from tinker_engine.config import EngineConfig
from tinker_engine.connect import base_info, download_adapter, load_tokenizer, open_engine
from tinker_engine.recipes.chat_format import ChatFormat
from tinker_engine.recipes.sft import run_sft
from tinker_engine.recipes.sft_config import SftConfig

STEPS_TRAINED = 20
CASES = bad_cases()


class House:
    """A trained adapter in a good package, its signer, and the base that it was trained on."""

    def __init__(self, folder: Path) -> None:
        self.signer = KeyPair.generate(Identity("Gate tests", "gate@example.org"))
        self.trust = trusting(self.signer)
        dataset = task_dataset("sorting", 5)
        config = SftConfig(
            rank=8, alpha=16, batch_size=16, epochs=STEPS_TRAINED * 16 / len(dataset.train),
            learning_rate=2e-3, validation_fraction=0.0, privacy=None,
        )  # fmt: skip
        with open_engine("embedded", config=EngineConfig(home=folder / "engine")) as engine:
            self.base = running_base(engine)
            result = run_sft(
                engine.service_client,
                ChatFormat(load_tokenizer(engine)),
                [example.messages for example in dataset.train],
                config,
                folder / "training",
                base_model=self.base.name,
                hidden_size=base_info(engine).hidden_size,
            )
            download_adapter(engine, result.checkpoint, folder / "adapter")
        self.package = good_package(
            folder / "good.tgsp", folder / "adapter", self.base, self.signer
        )

    def judge(self, path: Path, **changes: object) -> LoadReport:
        return judge_package(path, self.base, self.trust, LoadPolicy(**changes))  # pyright: ignore[reportArgumentType]


def trusting(signer: KeyPair, **changes: str) -> TrustStore:
    entry = replace(TrustedCreator(signer.public, "2026-01-01T00:00:00Z"), **changes)
    return TrustStore({signer.public.fingerprint: entry})


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return House(tmp_path_factory.mktemp("gate"))


def test_a_good_package_is_let_in_by_all_seven_steps(house: House) -> None:
    report = house.judge(house.package)
    assert [step.name for step in report.steps] == list(STEPS)
    assert report.accepted, report.failed
    assert report.base_digest == house.base.digest
    require_admission(report)


def test_a_report_holds_nothing_that_a_package_brings_along(house: House, tmp_path: Path) -> None:
    """Signed by a trusted key, and large where the manifest's form leaves room."""
    nested: Any = "<b>brought along</b>" * 5000
    for _ in range(20):
        nested = {"toxicity": nested}

    def stuffed(raw: dict[str, Any]) -> None:
        raw["screening"]["limits"] |= {"extra": nested, "n" * 5000: 1.0, "shown_findings": nested}
        raw["rvu_safety"]["screening_hash"] = sha256_hex(canonical_json(raw["screening"]))
        raw["provenance"] |= {"base_weights": nested, "tokenizer": "t" * 5000}

    path = tmp_path / "stuffed.tgsp"
    path.write_bytes(resigned(house.package.read_bytes(), house.signer, stuffed))
    report, plain = house.judge(path), house.judge(house.package)
    assert [step.name for step in report.failed] == ["base"]
    assert "brought along" not in report.to_json()
    assert len(report.to_json()) < len(plain.to_json()) + 4000
    limits = report.steps[STEPS.index("rvu_v2")].evidence["limits"]
    assert limits.items() <= plain.steps[STEPS.index("rvu_v2")].evidence["limits"].items()  # type: ignore[attr-defined]
    assert len(limits) > 10  # type: ignore[arg-type]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.step}: {case.name}")
def test_a_broken_rule_is_named_at_its_step(house: House, case: BadCase, tmp_path: Path) -> None:
    bad = tmp_path / "bad.tgsp"
    bad.write_bytes(case.make(house.package.read_bytes(), house.signer))
    report = house.judge(bad)
    assert not report.accepted
    step = next(step for step in report.steps if step.name == case.step)
    assert any(case.words in fault for fault in step.faults), step.faults
    assert [step.name for step in report.steps] == list(STEPS)
    with pytest.raises(GateRefusedError, match="not let in"):
        require_admission(report)


def test_one_broken_rule_fails_one_step_alone(house: House, tmp_path: Path) -> None:
    case = next(case for case in CASES if case.name == "another tokenizer")
    bad = tmp_path / "bad.tgsp"
    bad.write_bytes(case.make(house.package.read_bytes(), house.signer))
    assert [step.name for step in house.judge(bad).failed] == ["base"]


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({"revoked": "2026-02-01T00:00:00Z"}, "revoked"),
        ({"expires": "2026-02-01T00:00:00Z"}, "expired"),
        (None, "untrusted"),
    ],
)
def test_only_a_trusted_key_in_force_passes(
    house: House, change: dict[str, str] | None, state: str
) -> None:
    trust = NOBODY if change is None else trusting(house.signer, **change)
    report = judge_package(house.package, house.base, trust)
    assert [step.name for step in report.failed] == ["creator"]
    assert report.failed[0].reason.startswith(state)


def test_expiry_is_judged_at_the_given_moment(house: House) -> None:
    trust = trusting(house.signer, expires="2026-02-01T00:00:00Z")
    before = datetime(2026, 1, 31, tzinfo=UTC)
    assert judge_package(house.package, house.base, trust, at=before).accepted
    after = before + timedelta(days=2)
    assert not judge_package(house.package, house.base, trust, at=after).accepted


@pytest.mark.parametrize(
    "change",
    [
        {"digest": "1" * 64},
        {"tokenizer_digest": "1" * 64},
        {"chat_template_digest": "1" * 64},
        {"architecture": "GPT2LMHeadModel"},
    ],
)
def test_another_running_base_is_refused(house: House, change: dict[str, str]) -> None:
    other: RunningBase = replace(house.base, **change)
    report = judge_package(house.package, other, house.trust)
    assert [step.name for step in report.failed] == ["base"]


def test_a_base_with_other_modules_is_refused(house: House) -> None:
    narrower = {
        name: (i // 2, o) if "q_proj" in name else (i, o)
        for name, (i, o) in house.base.modules.items()
    }
    report = judge_package(house.package, replace(house.base, modules=narrower), house.trust)
    assert [step.name for step in report.failed] == ["lora_config"]


def test_the_policy_decides(house: House) -> None:
    assert not house.judge(house.package, max_rank=4).accepted
    assert not house.judge(house.package, max_payload_bytes=1000).accepted
    experts = replace(house.base, num_experts=8)
    report = judge_package(house.package, experts, house.trust, LoadPolicy(experts="any"))
    assert [step.name for step in report.failed] == ["base"]


def test_a_report_is_kept_and_says_what_was_judged(house: House, tmp_path: Path) -> None:
    report = house.judge(house.package)
    path = keep_report(report, tmp_path / "gate")
    kept = json.loads(path.read_text("ascii"))
    assert kept["accepted"] is True
    assert kept["adapter_digest"] == report.adapter_digest
    assert all(step["seconds"] >= 0 for step in kept["steps"])
    assert report.digest[:12] in path.name


def test_the_command_exits_with_3_unless_accepted(
    house: House,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TENSAFE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TINKER_ENGINE_HOME", str(tmp_path / "engine"))
    with pytest.raises(SystemExit) as end:
        main(["gate", str(house.package), "--json"])
    report = json.loads(capsys.readouterr().out)
    assert end.value.code == 3
    assert [s["name"] for s in report["steps"] if not s["passed"]] == ["creator", "decision"]
    assert Path(report["report"]).is_file()
