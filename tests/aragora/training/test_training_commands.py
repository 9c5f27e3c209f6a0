"""The commands of jobs, models and training, in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aragora.cli import main
from aragora.training import ModelMetadata, ModelRegistry


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("ARAGORA_DATABASE_URL", f"sqlite:///{tmp_path / 'a.sqlite3'}")
    monkeypatch.setenv("TINKER_MODEL_REGISTRY", str(tmp_path / "models.json"))

    def run(*words: object) -> tuple[int, str, str]:
        code: Any = 0
        try:
            main([str(word) for word in words])
        except SystemExit as error:
            code = error.code or 0
        out, err = capsys.readouterr()
        return int(code), out, err

    return run


def test_jobs_are_added_shown_cancelled_and_carried_away(call: Any, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "a", "completion": "b"}\n')
    code, out, _ = call(
        "jobs", "add", "sft", "--data", rows, "--adapter-name", "x", "--priority", 3
    )
    job_id = out.strip()
    assert (code, len(job_id)) == (0, 32)
    assert call("jobs", "list", "--status", "pending")[1].startswith(job_id)
    assert call("jobs", "save", tmp_path / "jobs.json")[0] == 0
    assert call("jobs", "cancel", job_id)[:2] == (0, f"{job_id}: cancelled\n")
    assert call("jobs", "cancel", job_id)[0] == 1
    facts = json.loads(call("jobs", "show", job_id, "--json")[1])
    assert (facts["status"], facts["priority"]) == ("cancelled", 3)
    assert [e["text"] for e in facts["log"]] == ["scheduled", "cancelled before it ran"]
    loaded = call("jobs", "load", tmp_path / "jobs.json", "--database", tmp_path / "b.sqlite3")
    assert loaded[1] == "1 jobs taken in\n"


def test_wrong_usage_of_jobs(call: Any, tmp_path: Path) -> None:
    assert call("jobs", "add", "rl")[0] == 2
    assert call("jobs", "list", "--status", "sleeping")[0] == 2
    assert call("jobs", "show", "unknown")[0] == 2
    (tmp_path / "bad.json").write_text("{}")
    code, _, err = call("jobs", "load", tmp_path / "bad.json")
    assert code == 1
    assert "bad.json: not a file of jobs" in err
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "a", "completion": "b"}\n')
    for _ in range(2):
        call("jobs", "add", "sft", "--data", rows)
    call("jobs", "save", tmp_path / "jobs.json")
    document = json.loads((tmp_path / "jobs.json").read_text())
    for field, value in (("priority", "high"), ("kind", "rl"), ("data", {"sft": "rows"})):
        wrong = {**document["jobs"][1], field: value}
        changed = {**document, "jobs": [document["jobs"][0], wrong]}
        (tmp_path / "bad.json").write_text(json.dumps(changed))
        other = ("--database", tmp_path / "b.sqlite3")
        assert call("jobs", "load", tmp_path / "bad.json", *other)[0] == 1
        assert call("jobs", "list", *other)[1] == "no jobs\n"


def test_models_are_listed_promoted_and_put_away(call: Any, tmp_path: Path) -> None:
    registry = ModelRegistry(tmp_path / "models.json")
    assert "no models yet" in call("models", "list")[1]
    registry.register(ModelMetadata("a", "nano", primary_domain="security"))
    assert call("models", "best", "security")[1] == "a  (never evaluated)\n"
    assert call("models", "promote", "a")[0] == 1
    registry.update_metrics("a", elo_rating=1250)
    assert call("models", "promote", "a")[0] == 0
    assert "promoted" in call("training", "list-models")[1]
    assert call("models", "deprecate", "a", "--notes", "old")[0] == 0
    assert call("models", "best", "security")[0] == 1
    assert json.loads(call("models", "show", "a", "--json")[1])["notes"] == "old"


def test_training_without_debates_says_what_is_missing(call: Any) -> None:
    for command in ("train-sft", "train-dpo", "train-combined"):
        code, out, err = call("training", command)
        assert (code, out) == (1, "")
        assert "nothing to train on" in err
        assert "0  debates in the database" in err


def test_a_key_that_cannot_be_used_is_explained(call: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("TINKER_API_KEY", "your-api-key")
    code, _, err = call("training", "test-connection")
    assert code == 1
    assert "begin with tml-" in err
    assert call("training", "sample", "Hello")[0] == 2
