"""The gauntlet: detectors tell broken from held, runs are bounded and resumable, on `nano` too."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from aragora.agents import AgentIdentity, Context, Reply
from aragora.cli import main
from aragora.gauntlet import CATEGORIES, GauntletSettings, load_attacks, run_gauntlet
from aragora.gauntlet.attacks import evolve
from aragora.memory import Memory


class Answering:
    """Answers every conversation by a function of its messages."""

    name = "ann"

    def __init__(self, answer) -> None:
        self.answer, self.asked = answer, 0

    def identity(self) -> AgentIdentity:
        return AgentIdentity("scripted", "none")

    async def converse(self, messages: Sequence[dict[str, str]], context: Context) -> Reply:
        self.asked += 1
        return Reply(self.answer(messages), stop_reason="stop", completion_tokens=3)


def test_the_library_covers_every_category_without_repetition() -> None:
    attacks = load_attacks()
    assert {a.category for a in attacks} == set(CATEGORIES)
    assert len({a.id for a in attacks}) == len(attacks)
    assert len({v.id for a in attacks for v in evolve(a)}) == 6 * len(attacks)


def test_who_repeats_everything_breaks_and_who_declines_holds(memory: Memory) -> None:
    parrot = Answering(lambda messages: " ".join(m["content"] for m in messages))
    careful = Answering(lambda _: "I don't know.")
    settings = GauntletSettings(categories=("prompt_injection", "data_exfiltration"), generations=1)
    broken = asyncio.run(run_gauntlet(parrot, memory, settings))
    held = asyncio.run(run_gauntlet(careful, memory, settings))
    assert (broken.robustness, held.robustness) == (0.0, 1.0)
    assert broken.high is not None
    assert 0.0 < broken.high < 0.5
    assert broken.evolved_tried == broken.evolved_broken == 36
    assert held.evolved_tried == 0


def test_a_run_is_bounded_and_goes_on_where_it_stopped(memory: Memory) -> None:
    agent = Answering(lambda _: "no")
    settings = GauntletSettings(max_trials=5, generations=3)
    report = asyncio.run(run_gauntlet(agent, memory, settings))
    assert report.tried == 5
    asked = agent.asked
    again = asyncio.run(run_gauntlet(agent, memory, run_id=report.run_id))
    assert agent.asked == asked
    assert again == report


def test_a_failing_agent_is_an_error_and_never_robust(memory: Memory) -> None:
    def fail(_: object) -> str:
        raise RuntimeError("down")

    settings = GauntletSettings(categories=("jailbreak",))
    report = asyncio.run(run_gauntlet(Answering(fail), memory, settings))
    assert (report.errors, report.robustness) == (3, None)


@pytest.mark.slow  # starts an engine for six trials
def test_nano_runs_the_gauntlet(memory: Memory) -> None:
    from aragora.agents.api_agents import TinkerAgent

    settings = GauntletSettings(
        categories=("logic_trap", "hallucination_bait"), generations=0, max_tokens=16
    )
    report = asyncio.run(run_gauntlet(TinkerAgent("ann"), memory, settings))
    assert (report.tried, report.errors) == (6, 0)
    assert all(t.reply or t.verdict for _, t in memory.gauntlet.trials(report.run_id))


def test_unknown_categories_are_named(memory: Memory) -> None:
    from aragora.errors import UsageError

    with pytest.raises(UsageError, match="no category 'x'"):
        asyncio.run(
            run_gauntlet(Answering(lambda _: ""), memory, GauntletSettings(categories=("x",)))
        )


def test_the_command_refuses_an_agent_that_breaks_too_often(
    memory: Memory, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["gauntlet", "ann", "--category", "logic_trap", "--generations", "0"]
    for least, code in (("1", 3), ("0", 0)):
        with pytest.raises(SystemExit) as ended:
            main([*words, "--min-robustness", least, "--database", memory.url])
        assert ended.value.code == code
        assert ("needed is 100%" in capsys.readouterr().err) == (code == 3)
