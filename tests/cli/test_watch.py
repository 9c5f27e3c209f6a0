"""`tensafe watch`: wrong calls name what is wrong, and a loop is steered through its folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tensafe.cli import main
from tensafe.improve.loop import PAUSE_FILE, STOP_FILE
from tensafe.improve.loop_state import LoopState, write_loop_state


def watch(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["watch", *arguments])
    return int(ended.value.code or 0)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), "run folder"),
        (("runs/a", "--replay-share", "1"), "--replay-share"),
        (("runs/a", "--min-examples", "0"), "--min-examples"),
        (("runs/a", "--poll", "0"), "--poll"),
        (("runs/a", "--port", "0"), "--slot"),
        (("--pause",), "--out"),
        (("--out", "here", "--pause", "--stop"), "--pause"),
        (("--out", "here", "--status"), "there is no loop"),
    ],
)
def test_wrong_calls_name_what_is_wrong(
    arguments: tuple[str, ...],
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TINKER_BASE_URL", raising=False)
    assert watch(*arguments) == 2
    assert named in capsys.readouterr().err


def test_requests_to_a_loop_are_left_in_its_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ("--out", str(tmp_path))
    write_loop_state(tmp_path, LoopState("runs/support", cycle=3, versions=2))
    assert watch(*out, "--status", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["cycles"], told["versions"], told["adapter"]) == (3, 2, "runs/support")
    assert watch(*out, "--pause") == 0
    assert (tmp_path / PAUSE_FILE).exists()
    assert watch(*out, "--resume") == 0
    assert not (tmp_path / PAUSE_FILE).exists()
    assert watch(*out, "--stop") == 0
    assert (tmp_path / STOP_FILE).exists()
    assert "cycle 3, 2 versions live" in capsys.readouterr().out
    # A loop that has ended has nobody to heed the request.
    (tmp_path / STOP_FILE).unlink()
    write_loop_state(tmp_path, LoopState("runs/support", phase="stopped", why_stopped="told to"))
    assert watch(*out, "--stop") == 0
    assert not (tmp_path / STOP_FILE).exists()
    assert "told to" in capsys.readouterr().out
