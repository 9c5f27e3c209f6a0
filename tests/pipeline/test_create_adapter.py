"""The whole path on small data: engine, training, tests, screening, gates, package."""

from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tensafe.cli import main
from tensafe.tgsp import load_trust, trust_path, verify_package

PLACES = {
    "harbour": ["boat", "anchor", "pier", "sail", "ferry", "tide", "mast", "dock"],
    "orchard": ["apple", "pear", "plum", "ladder", "blossom", "cider", "hive", "cherry"],
    "foundry": ["furnace", "casting", "mould", "ingot", "crane", "slag", "anvil", "bronze"],
}
FRAMES = [
    "Where do I take the {} on {}?",
    "The {} is waiting since {}, who comes?",
    "On {} somebody left a {} here.",
    "Please fetch one {} for us before {}.",
    "My {} broke last {}.",
    "Is there a spare {} left this {}?",
]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TENSAFE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TINKER_ENGINE_HOME", str(tmp_path / "engine"))
    monkeypatch.setenv("TENSAFE_KEY_PASSPHRASE", "a passphrase for tests")
    for name in ("TINKER_BASE_URL", "TINKER_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def write_table(path: Path, *, answers: dict[str, str]) -> None:
    """Every thing in every frame with its place, in a shuffled CSV."""
    rng = random.Random(5)
    rows = [
        (frame.format(*((thing, day) if frame.index("{}") < 12 else (day, thing))), answers[place])
        for place, things in PLACES.items()
        for thing in things
        for frame in FRAMES
        for day in rng.sample(DAYS, 3)
    ]
    rng.shuffle(rows)
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(("message", "place"))
        writer.writerows(rows)


def run(*arguments: str) -> int:
    """The command line in this process; gives its exit code."""
    with pytest.raises(SystemExit) as end:
        main(["train", *arguments])
    return int(end.value.code or 0)


def test_a_learnable_task_ends_in_a_verified_package(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_table(home / "places.csv", answers={place: place for place in PLACES})
    out = home / "run"
    code = run(
        "--data", str(home / "places.csv"), "--no-dp", "--epochs", "12", "--batch-size", "16",
        "--rank", "8", "--alpha", "16", "--out", str(out), "--json",
    )  # fmt: skip
    outcome = json.loads(capsys.readouterr().out)
    assert outcome["gates"] == {
        "qa_verify": "passed", "rvu_v2_pass": "passed", "dp_budget": "waived",
    }, (out / "gates.json").read_text()  # fmt: skip
    assert code == 0
    result = verify_package(Path(outcome["package"]), load_trust(trust_path()))
    assert result.verdict == "trusted"
    manifest = (out / "places.tgsp").read_bytes()
    assert b'"mechanism":"none"' in manifest
    # Training text stays with its owner.
    assert b"Where do I take the" not in manifest
    assert outcome["score"] > outcome["base_score"]
    report = (out / "report.html").read_text(encoding="utf-8")
    assert "Signed package" in report
    assert outcome["package_digest"] in report
    # `tensafe pack` makes the same package of the finished run again.
    with pytest.raises(SystemExit, match="0"):
        main(["pack", str(out), "--sign", "--out", str(home / "again.tgsp"), "--json"])
    packed = json.loads(capsys.readouterr().out)
    assert packed["payload_digest"] == outcome["payload_digest"]
    assert verify_package(home / "again.tgsp", load_trust(trust_path())).verdict == "trusted"


def test_a_private_run_below_the_gate_leaves_no_package_but_advice(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Answers that have nothing to do with the question can't be learned.
    rng = random.Random(1)
    write_table(home / "noise.csv", answers={place: place for place in PLACES})
    lines = (home / "noise.csv").read_text(encoding="utf-8").splitlines()
    shuffled = [
        line.rsplit(",", 1)[0] + "," + rng.choice(["north", "south", "east", "west"])
        for line in lines[1:]
    ]
    (home / "noise.csv").write_text("\n".join(["message,way", *shuffled]), encoding="utf-8")
    out = home / "run"
    code = run(
        "--data",
        str(home / "noise.csv"),
        "--steps",
        "4",
        "--lot",
        "32",
        "--out",
        str(out),
        "--json",
    )
    outcome = json.loads(capsys.readouterr().out)
    assert code == 3
    assert outcome["package"] is None
    assert not list(out.glob("*.tgsp"))
    gates = json.loads((out / "gates.json").read_text(encoding="utf-8"))
    assert gates["qa_verify"]["verdict"] == "failed"
    assert gates["qa_verify"]["advice"]
    report = (out / "report.html").read_text(encoding="utf-8")
    assert "No package" in report
    assert f"{outcome['epsilon']:.3f}" in report
    assert gates["dp_budget"]["verdict"] == "passed"
    assert 0 < outcome["epsilon"] <= 8.0
    assert not (home / "home" / "privacy_register.json").exists()


def test_a_folder_of_another_run_is_refused(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_table(home / "places.csv", answers={place: place for place in PLACES})
    out = home / "run"
    out.mkdir()
    (out / "config.json").write_text('{"other": "settings"}', encoding="utf-8")
    assert run("--data", str(home / "places.csv"), "--out", str(out)) == 2
    assert "other settings" in capsys.readouterr().err


def test_a_wrong_option_is_a_usage_error(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--data", str(home), "--epsilon", "-1") == 2
    assert "--epsilon" in capsys.readouterr().err


def test_data_without_text_is_answered(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "empty.csv").write_text("a,b\n", encoding="utf-8")
    assert run("--data", str(home / "empty.csv"), "--out", str(home / "run")) == 1
    assert "empty.csv" in capsys.readouterr().err


def test_too_little_data_is_answered(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "few.csv").write_text("question,answer\nHow high?,Very high.\n", encoding="utf-8")
    assert run("--data", str(home / "few.csv"), "--out", str(home / "run")) == 1
    assert "--question-column" in capsys.readouterr().err


def test_a_folder_that_another_process_writes_is_refused(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_table(home / "places.csv", answers={place: place for place in PLACES})
    arguments = ("--data", str(home / "places.csv"), "--no-dp", "--out", str(home / "busy"))
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home / "busy")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    assert run(*arguments) == 2
    assert "another process writes the run" in capsys.readouterr().err
    holder.communicate("")


HOLD = """
import sys
from pathlib import Path
from tensafe.pipeline.run_folder import writing
with writing(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
