"""State: what was done is not done again, and a folder belongs to one loop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aragora.errors import UsageError
from aragora.loop import LoopSettings, LoopState, Measured, Version, read_state
from aragora.loop.comparing import gain_of
from aragora.loop.deciding import decide
from aragora.loop.state import resumed, step


def measured(*single: float) -> Measured:
    return Measured(single, single, single, 10, 10)


def version(number: int, *single: float, used: bool = True, robust: float = 0.8) -> Version:
    scores = measured(*single)
    return Version(number, f"v{number}", "tinker://x", scores, scores, robust, "run", used=used)


def test_the_state_file_gives_back_what_was_saved(tmp_path: Path) -> None:
    state = LoopState(
        LoopSettings(), "d", "nano", (version(0, 0.5), version(1, 1.0, used=False)), ""
    )
    state.save(tmp_path)
    assert read_state(tmp_path) == state
    assert state.current.number == 0
    (tmp_path / "state.json").write_text("{", "utf-8")
    with pytest.raises(UsageError, match=r"state\.json: not the state"):
        read_state(tmp_path)


def test_only_more_rounds_may_be_asked_for_of_a_begun_loop(tmp_path: Path) -> None:
    begun = LoopState(
        LoopSettings(rounds=1), "d", "nano", (version(0, 0.5), version(1, 1.0)), "all rounds done"
    )
    longer = resumed(begun, LoopSettings(rounds=3), "d", tmp_path)
    assert (longer.ended, longer.settings.deal) == ("", 1)
    assert resumed(begun, LoopSettings(rounds=1), "d", tmp_path).ended == "all rounds done"
    with pytest.raises(UsageError, match="seed=0, not 7"):
        resumed(begun, LoopSettings(rounds=1, seed=7), "d", tmp_path)
    with pytest.raises(UsageError, match="other tasks"):
        resumed(begun, LoopSettings(rounds=1), "e", tmp_path)


def test_a_step_is_done_once(tmp_path: Path) -> None:
    done: list[int] = []

    def work() -> dict[str, Any]:
        done.append(1)
        return {"count": len(done)}

    assert [step(tmp_path / "a.json", work) for _ in range(3)] == [{"count": 1}] * 3
    assert len(done) == 1


PASSED: dict[str, Any] = {"reasons": {}, "package": "p.tgsp"}


@pytest.mark.parametrize(
    ("candidate", "judged", "words"),
    [
        (version(1, 0.9), PASSED, ""),
        (version(1, 0.9), {"reasons": {"qa_verify": "0.7"}, "package": ""}, "qa_verify: 0.7"),
        (version(1, 0.9), {"reasons": {}, "package": ""}, "no package"),
        (version(1, 0.5), PASSED, "no better"),
        (version(1, 0.9, robust=0.77), PASSED, ""),
        (version(1, 0.9, robust=0.75), PASSED, "less robust"),
        (replace(version(1, 0.9), robustness=None), PASSED, "not known"),
    ],
)
def test_a_candidate_must_pass_be_better_and_hold(
    candidate: Version, judged: dict[str, Any], words: str
) -> None:
    reason = decide(candidate, version(0, 0.5), judged, LoopSettings(), most_robust=0.8)
    assert words in reason
    assert bool(reason) == bool(words)


def test_the_gain_is_of_tasks_and_not_of_answers() -> None:
    found = gain_of((0.5, 0.5, 0.0, 1.0), (1.0, 1.0, 0.5, 1.0))
    assert found.difference == pytest.approx(0.375)
    assert (found.better, found.worse, found.tasks) == (3, 0, 4)
    # Three tasks changed, all for the better: two of the eight sign patterns are as extreme.
    assert found.p_value == pytest.approx(2 / 8)
    assert found.low < 0.375 < found.high
