"""`tensafe pack`: only what passed its gates, as it was judged, and without a word of the data."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tgsp"))

from finished_run import finished_run, write_record

from tensafe.cli import main
from tensafe.data.records import CurationReport, Dataset, Example, Message
from tensafe.errors import DataError, UsageError
from tensafe.gate.lifetime import PrivacyRegister, record_prints
from tensafe.pipeline.config import TrainConfig
from tensafe.pipeline.packing import parse_creator
from tensafe.screen.quotes import quotes, require_no_quotes
from tensafe.tgsp import load_trust, trust_path, verify_package
from tensafe.tgsp.keystore import ensure_signing_key
from tensafe.tgsp.passphrase import passphrase_source

CREATOR = "Ada Example <ada@example.org>"
ANSWER = "Tell the tenant in flat nine that the boiler man comes on Thursday before noon."
QUESTION = "Why is the water in my kitchen brown?"


def asked(question: str, answer: str, place: int) -> Example:
    turns = (Message(role="user", content=question), Message(role="assistant", content=answer))
    return Example(turns, "tickets.csv", f"row {place}", f"tickets.csv:{place}")


def dataset() -> Dataset:
    shared = [
        asked(f"Question {i} of the day?", "Thank you for your message.", i) for i in range(9)
    ]
    own = asked(QUESTION, ANSWER, 40)
    mail = asked("Who asked?", "It was jo.petrov@example.net about the lift.", 41)
    return Dataset((*shared, own, mail), (asked("Last one?", "Yes.", 50),), CurationReport(1, 1))


def packable(folder: Path, *, private: bool = False) -> Path:
    config = TrainConfig(
        data=Path("/elsewhere/tickets.csv"), name="support", domain="care", dp=private
    )
    return finished_run(folder, dataset(), config)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TENSAFE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TENSAFE_KEY_PASSPHRASE", "a passphrase for tests")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pack(*arguments: str) -> int:
    try:
        main(["pack", *arguments])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def manifest(path: Path) -> dict[str, Any]:
    found = verify_package(path, load_trust(trust_path()))
    assert found.verdict == "trusted", found.why
    assert found.manifest is not None
    return found.manifest.raw


def test_the_promised_form_packs_the_only_run_here(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = packable(home / "runs" / "support")
    assert pack("--sign", "--creator", CREATOR) == 0
    assert "tensafe verify" in capsys.readouterr().out
    raw = manifest(run / "support.tgsp")
    assert (raw["creator"]["name"], raw["creator"]["email"]) == ("Ada Example", "ada@example.org")
    assert raw["evaluation"]["score"] == 0.91
    assert raw["gates"]["dp_budget"]["verdict"] == "waived"


def test_run_and_its_adapter_folder_name_the_same_run(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = packable(home / "x")
    assert pack(str(run / "adapter"), "--sign", "--creator", CREATOR, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert Path(printed["package"]) == run.resolve() / "support.tgsp"
    assert pack(str(run), "--sign", "--out", str(home / "b.tgsp"), "--json") == 0
    assert manifest(home / "b.tgsp")["integrity"]["payload_hash"] == printed["payload_digest"]


def test_without_a_creator_the_key_of_the_training_signs(home: Path) -> None:
    run = packable(home / "x")
    ensure_signing_key("local", passphrase=passphrase_source())
    assert pack(str(run), "--sign", "--creator", CREATOR) == 0
    assert pack(str(run), "--sign") == 0
    assert manifest(run / "support.tgsp")["creator"]["name"] == "local"


def test_the_project_here_names_its_run(home: Path) -> None:
    packable(home / "elsewhere" / "a")
    packable(home / "runs" / "one")
    packable(home / "runs" / "two")
    assert pack("--sign", "--creator", CREATOR) == 2
    (home / "tensafe.yaml").write_text("data: d\nname: support\nout: elsewhere/a\n")
    assert pack("--sign", "--creator", CREATOR) == 0
    assert (home / "elsewhere" / "a" / "support.tgsp").exists()


@pytest.mark.parametrize("gate", ["qa_verify", "rvu_v2_pass", "dp_budget"])
def test_a_failed_gate_is_named_and_nothing_is_written(
    home: Path, gate: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = packable(home / "runs" / "support")
    stored = json.loads((run / "gates.json").read_text())
    stored[gate] |= {"verdict": "failed", "advice": ["do better"], "score": 0.5}
    write_record(run / "gates.json", stored)
    assert pack("--sign", "--creator", CREATOR) == 3
    said = capsys.readouterr().err
    assert gate in said
    assert "do better" in said
    assert not list(run.glob("*.tgsp"))
    assert not (home / "home").exists()


@pytest.mark.parametrize(
    ("file", "named"),
    [
        ("evaluation.json", "qa_verify"),
        ("screening.json", "rvu_v2_pass"),
        ("adapter/adapter_model.safetensors", "rvu_v2_pass"),
    ],
)
def test_a_file_that_is_not_the_judged_one_is_refused(
    home: Path, file: str, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = packable(home / "runs" / "support")
    data = (run / file).read_bytes()
    (run / file).write_bytes(data[:-2] + b" " + data[-2:])
    assert pack("--sign", "--creator", CREATOR) == 3
    assert named in capsys.readouterr().err


def test_a_score_below_the_gate_cannot_be_called_passed(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = packable(home / "runs" / "support")
    stored = json.loads((run / "gates.json").read_text())
    stored["qa_verify"]["score"] = 0.5
    write_record(run / "gates.json", stored)
    assert pack("--sign", "--creator", CREATOR) == 3
    assert "qa_verify" in capsys.readouterr().err


def test_changed_data_is_refused(home: Path) -> None:
    run = packable(home / "runs" / "support")
    with (run / "dataset" / "train.jsonl").open("a", encoding="utf-8") as handle:
        handle.write((run / "dataset" / "test.jsonl").read_text(encoding="utf-8"))
    assert pack("--sign", "--creator", CREATOR) == 1


def test_an_unfinished_run_and_a_bare_adapter_are_told_apart(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = packable(home / "runs" / "support")
    (run / "gates.json").unlink()
    assert pack(str(run), "--sign") == 1
    assert "not finished" in capsys.readouterr().err
    (run / "adapter").rename(home / "bare")
    assert pack(str(home / "bare"), "--sign") == 3
    assert "qa_verify" in capsys.readouterr().err


def test_usage(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pack("--sign") == 2
    assert "no run here" in capsys.readouterr().err
    run = packable(home / "runs" / "support")
    assert pack(str(run)) == 2
    assert "--sign" in capsys.readouterr().err
    assert pack(str(run), "--sign", "--creator", "Ada <ada") == 2
    assert "Name <email>" in capsys.readouterr().err


def test_a_creator_is_a_name_with_or_without_an_address() -> None:
    both = parse_creator(" Ada Example <ada@example.org> ")
    assert both is not None
    assert (both.name, both.email) == ("Ada Example", "ada@example.org")
    alone = parse_creator("Ada")
    assert alone is not None
    assert (alone.name, alone.email) == ("Ada", "")
    for text in ("", "<ada@example.org>", "Ada <a> <b>", "Ada <a b@c>"):
        with pytest.raises(UsageError):
            parse_creator(text)


def test_a_key_is_not_signed_with_under_another_address(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packable(home / "runs" / "support")
    assert pack("--sign", "--creator", CREATOR) == 0
    assert pack("--sign", "--creator", "Ada Example <eve@example.org>") == 1
    assert "ada@example.org" in capsys.readouterr().err


def test_privacy_is_charged_once_per_adapter(home: Path) -> None:
    run = packable(home / "runs" / "support", private=True)
    records = record_prints(dataset().train)
    register = PrivacyRegister(home / "home")
    for _ in range(2):
        assert pack("--sign", "--creator", CREATOR) == 0
    assert register.spent_by(records).epsilon == 5.0
    assert manifest(run / "support.tgsp")["privacy"]["epsilon"] == 5.0


def test_a_private_package_tells_no_sum_over_the_records(home: Path) -> None:
    private = packable(home / "runs" / "support", private=True)
    assert pack("--sign", "--creator", CREATOR) == 0
    raw = manifest(private / "support.tgsp")
    assert raw["provenance"]["hyper_parameters"]["plan"] == {"steps": 9}
    assert "turn" not in raw["skill"]["input_format"]
    public = packable(home / "elsewhere")
    assert pack(str(public), "--sign", "--creator", CREATOR) == 0
    raw = manifest(public / "support.tgsp")
    assert raw["provenance"]["hyper_parameters"]["plan"]["total_tokens"] == 480
    assert raw["skill"]["input_format"] == "chat messages; one user turn"


def test_a_release_without_privacy_is_charged_too(home: Path) -> None:
    packable(home / "runs" / "support")
    for _ in range(2):
        assert pack("--sign", "--creator", CREATOR) == 0
    records = record_prints(dataset().train)
    spent = PrivacyRegister(home / "home").spent_by(records)
    assert spent.epsilon == math.inf
    assert spent.packages == ("support",)


def test_what_other_releases_spent_since_counts(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = packable(home / "runs" / "support", private=True)
    records = record_prints(dataset().train)
    PrivacyRegister(home / "home").release("other", 6.0, 1e-5, records, adapter="another")
    assert pack("--sign", "--creator", CREATOR) == 3
    assert "dp_budget" in capsys.readouterr().err
    assert not list(run.glob("*.tgsp"))


def skill(home: Path, body: str) -> str:
    text = f"---\nname: support\ndescription: Answers tenants.\n---\n\n# Support\n\n{body}\n"
    (home / "SKILL.md").write_text(text, encoding="utf-8")
    return str(home / "SKILL.md")


def test_a_skill_document_of_ones_own_is_what_the_package_says(home: Path) -> None:
    run = packable(home / "runs" / "support")
    body = "Use it for tenants' questions. Thank you for your message. Mail ada@example.org."
    assert pack("--sign", "--creator", CREATOR, "--skill-doc", skill(home, body)) == 0
    assert manifest(run / "support.tgsp")["skill_doc"].endswith(f"# Support\n\n{body}\n")


@pytest.mark.parametrize(
    ("body", "place", "line"),
    [
        ("For example:\n\n> " + ANSWER, "row 40", 10),
        (
            "It says: tenant in Flat Nine, that the\nboiler man comes on thursday - before",
            "row 40",
            8,
        ),
        ("Ask it: " + QUESTION.lower(), "row 40", 8),
        ("Ask jo.petrov@example.net.", "1 records", 8),
    ],
)
def test_a_skill_document_that_quotes_the_data_is_refused(
    home: Path, body: str, place: str, line: int, capsys: pytest.CaptureFixture[str]
) -> None:
    run = packable(home / "runs" / "support")
    assert pack("--sign", "--creator", CREATOR, "--skill-doc", skill(home, body)) == 1
    said = capsys.readouterr().err
    assert f"SKILL.md, line {line}: " in said
    assert place in said
    # The refusal itself may end in a log: it does not repeat the record.
    assert "boiler" not in said
    assert not list(run.glob("*.tgsp"))


def test_a_skill_document_without_front_matter_is_refused(home: Path) -> None:
    packable(home / "runs" / "support")
    (home / "SKILL.md").write_text("# Support\n", encoding="utf-8")
    assert pack("--sign", "--creator", CREATOR, "--skill-doc", "SKILL.md") == 1
    assert pack("--sign", "--creator", CREATOR, "--skill-doc", "none.md") == 1


def test_text_that_examples_share_may_be_quoted() -> None:
    examples = dataset().train
    assert quotes("Thank you for your message.", examples) == []
    assert len(quotes(ANSWER, examples)) == 1
    with pytest.raises(DataError, match="other words"):
        require_no_quotes("SKILL.md", ANSWER, examples)
