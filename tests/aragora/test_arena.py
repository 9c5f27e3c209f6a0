"""Debates: consensus, visibility, resuming, budgets, what is stored; scripted and on `nano`."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any

import pytest
from scripted import Scripted

from aragora.debate import (
    Arena,
    CheckVerifier,
    Environment,
    KeyVerifier,
    load_protocol,
    protocol_names,
    replay,
    to_html,
    to_markdown,
)
from aragora.errors import DebateError, UsageError
from aragora.memory import Memory

ENV = Environment("2 + 2?", domain="sums")


def run(memory: Memory, agents: list[Any], protocol: Any = None, env: Environment = ENV, **kw: Any):
    arena = Arena(env, agents, protocol, memory=memory, seed=1, **kw)
    return asyncio.run(arena.run())


def prefer(*letters: str):
    return lambda candidates: (
        next(x for x in letters if x in {c.label for c in candidates}),
        0.8,
    )


def test_a_majority_of_votes_decides_and_moves_ratings(memory: Memory) -> None:
    agents = [
        Scripted("ann", ["4"], vote=prefer("B")),
        Scripted("bob", ["Because it is.\nAnswer: 4."], vote=prefer("A")),
        Scripted("cem", ["5"], vote=prefer("A")),
    ]
    result = run(memory, agents)
    assert (result.answer, result.outcome.is_reached) == ("4", True)
    assert [s.place for s in result.stored.standings] == [1, 1, 3]
    elo = {r.agent: r.value for r in memory.standings.ratings(domain="sums")}
    assert elo["ann"] == elo["bob"] > 1500 > elo["cem"]
    assert sum(elo.values()) == pytest.approx(4500)
    assert len(memory.standings.calibration(basis="outcome")) == 3


def test_first_proposals_see_the_task_alone_and_revisions_see_neighbours(memory: Memory) -> None:
    agents = [Scripted(n, [n]) for n in ("a1", "b2", "c3", "d4")]
    run(memory, agents, load_protocol("sparse", rounds=1))
    first, second = agents[0].seen
    assert (first.quotes, first.own) == ((), "")
    assert {q.label for q in second.quotes if q.kind == "proposal"} == {"B", "D"}
    assert second.own == "a1"


def test_agreement_stops_early_unless_a_devil_sits_there(memory: Memory) -> None:
    same = [Scripted(n, ["4"]) for n in ("ann", "bob", "cem")]
    result = run(memory, same)
    assert (result.outcome.stopped, result.outcome.rounds) == ("agreed", 0)
    same = [Scripted(n, ["4"]) for n in ("ann", "bob", "cem")]
    result = run(memory, same, load_protocol("devils-advocate"))
    assert (result.outcome.stopped, result.outcome.rounds) == ("rounds", 2)
    assert "devil" in same[2].seen[0].stance
    assert same[0].seen[0].stance == ""


@pytest.mark.parametrize(
    ("consensus", "reached"),
    [("majority", True), ("supermajority", True), ("unanimity", False)],
)
def test_how_much_is_enough(memory: Memory, consensus: str, reached: bool) -> None:
    agents = [Scripted("ann", ["4"]), Scripted("bob", ["4"]), Scripted("cem", ["5"])]
    protocol = load_protocol("voting", consensus=consensus)
    result = run(memory, agents, protocol)
    assert (result.answer, result.outcome.is_reached) == ("4", reached)
    assert result.outcome.decided_by == "answers"


def test_a_tie_is_no_consensus(memory: Memory) -> None:
    result = run(memory, [Scripted("ann", ["4"]), Scripted("bob", ["5"])], load_protocol("voting"))
    assert not result.outcome.is_reached
    assert result.outcome.winner_seat is None
    assert memory.standings.ratings() == []


def test_a_vote_for_oneself_is_not_counted(memory: Memory) -> None:
    agents = [Scripted(n, [n], vote=lambda _: ("A", 1.0)) for n in ("ann", "bob", "cem")]
    result = run(memory, agents, load_protocol("debate", rounds=1))
    own = next(v for v in result.stored.votes if v.seat == 0)
    assert (own.choice_seat, own.invalid) == (None, "voted for itself")
    assert result.answer == "ann"


def test_a_judge_decides_alone(memory: Memory) -> None:
    agents = [
        Scripted("ann", ["4"], vote=prefer("B")),
        Scripted("bob", ["5"], vote=prefer("A")),
        Scripted("jo", [], role="judge", vote=prefer("B")),
    ]
    result = run(memory, agents, load_protocol("judge", rounds=1))
    assert (result.answer, result.outcome.decided_by) == ("5", "judge")
    with pytest.raises(DebateError, match="one judge"):
        Arena(ENV, agents[:2], load_protocol("judge"), memory=memory)


def test_a_verifier_decides_and_says_which_critique_helped(memory: Memory) -> None:
    env = Environment("2 + 2?", split="train", verifier=CheckVerifier(lambda a: float(a == "4")))
    agents = [Scripted("ann", ["5", "4"]), Scripted("bob", ["6"])]
    protocol = load_protocol("debate", rounds=1, consensus="verifier")
    result = run(memory, agents, protocol, env)
    assert (result.answer, result.outcome.winner_seat) == ("4", 0)
    helped = {c.target_seat: c.improved for c in result.stored.critiques}
    assert helped == {0: True, 1: False}
    (pattern,) = memory.standings.patterns()
    assert (pattern.issue, pattern.uses, pattern.successes) == ("not shown", 2, 1)


def test_an_answer_that_could_not_be_checked_is_not_a_wrong_one(memory: Memory) -> None:
    def check(answer: str) -> float:
        if answer == "7":
            raise RuntimeError("the sandbox is down")
        return float(answer == "4")

    env = Environment("2 + 2?", split="train", verifier=CheckVerifier(check))
    agents = [
        Scripted(name, [said], vote=prefer("C", "A"))
        for name, said in (("ann", "4"), ("bob", "5"), ("cem", "7"))
    ]
    protocol = load_protocol("voting", consensus="verifier", ballot="votes")
    result = run(memory, agents, protocol, env)
    assert [(s.seat, s.place, s.score) for s in result.stored.standings] == [(0, 1, 1), (1, 2, 0)]
    assert [r.agent for r in memory.standings.ratings()] == ["ann", "bob"]
    # Two voted for the answer that nobody knows about.
    assert [(c.agent, c.is_right) for c in memory.standings.calibration()] == [("cem", True)]


def test_an_answer_key_never_reaches_what_is_trained_on(memory: Memory) -> None:
    env = Environment("2 + 2?", split="train", verifier=KeyVerifier("4"))
    with pytest.raises(DebateError, match="knows the answers"):
        Arena(env, [Scripted("ann", ["4"])], memory=memory)


def test_a_debate_goes_on_where_it_was_killed(memory: Memory) -> None:
    names = ("ann", "bob", "cem")

    def make() -> list[Scripted]:
        return [Scripted(n, [n, f"{n} again"]) for n in names]

    first = Arena(ENV, make(), load_protocol("debate", rounds=1), memory=memory, seed=1)

    async def until_critiques() -> None:
        async for event in first.stream():
            if event.kind == "said" and event.data["phase"] == "critique":
                break

    asyncio.run(until_critiques())
    known = len(memory.debates.get(first.debate_id).messages)
    assert 4 <= known < 12
    agents = make()
    with pytest.raises(DebateError, match="was begun by"):
        Arena.resume(first.debate_id, agents[::-1], memory=memory)
    result = asyncio.run(Arena.resume(first.debate_id, agents, memory=memory).run())
    assert known + sum(a.asked for a in agents) == len(result.stored.messages) == 15
    assert result.stored.debate.state == "done"
    with pytest.raises(DebateError, match="is done"):
        Arena.resume(first.debate_id, agents, memory=memory)


def test_a_spent_budget_ends_the_debate(memory: Memory) -> None:
    agents = [Scripted(n, [n]) for n in ("ann", "bob", "cem")]
    result = run(memory, agents, load_protocol("debate", token_budget=45))
    assert result.outcome.stopped == "budget"
    assert {m.status for m in result.stored.messages if m.phase == "vote"} == {"over_budget"}
    assert not result.outcome.is_reached


def test_a_slow_agent_is_retried_and_then_left_behind(memory: Memory) -> None:
    agents = [Scripted("slow", ["4"], delay_s=30.0), Scripted("ann", ["4"]), Scripted("bob", ["5"])]
    protocol = load_protocol("voting", deadline_s=0.05, retries=1)
    result = run(memory, agents, protocol)
    slow = next(m for m in result.stored.messages if m.seat == 0)
    assert (slow.status, slow.attempts) == ("timeout", 2)
    assert result.stored.standings[0].place == 3


def test_transcripts_escape_what_agents_wrote(memory: Memory) -> None:
    evil = "<script>alert(1)</script> [x](javascript:alert(1)) \u202edoog"
    result = run(memory, [Scripted("<b>ann", [evil]), Scripted("bob", ["4"])])
    page = to_html(result.stored)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "<b>ann" not in page
    assert "\u202e" not in page
    text = to_markdown(result.stored)
    assert "    <script>" in text  # a code block
    assert "\\<b\\>ann" in text


def test_a_replay_tells_what_was_told(memory: Memory) -> None:
    agents = [Scripted(n, [n]) for n in ("ann", "bob", "cem")]
    arena = Arena(ENV, agents, load_protocol("debate", rounds=1), memory=memory, seed=1)

    async def listen() -> list[Any]:
        return [e async for e in arena.stream()]

    live = asyncio.run(listen())
    again = list(replay(memory.debates.get(arena.debate_id)))
    said = [e.data for e in live if e.kind == "said"]
    assert sorted(map(str, said)) == sorted(str(e.data) for e in again if e.kind == "said")
    frame = live[0].as_server_sent()
    assert frame.endswith("\n\n")
    assert frame.count("\n") == 4


def test_protocols_are_data(tmp_path: Any) -> None:
    assert {"voting", "debate", "judge", "devils-advocate", "sparse"} <= set(protocol_names())
    file = tmp_path / "short.toml"
    file.write_text("rounds = 1\nconsensus = 'unanimity'\n")
    assert load_protocol(str(file)).consensus == "unanimity"
    file.write_text("round = 1\n")
    with pytest.raises(UsageError, match="round"):
        load_protocol(str(file))
    with pytest.raises(UsageError, match="sparse"):
        load_protocol("no-such")


def test_three_agents_on_nano_debate_and_say_the_same_again(memory: Memory) -> None:
    from aragora.agents.api_agents import TinkerAgent

    rule = "Rule: If the score is above 24, answer wait; otherwise, answer go."
    env = Environment(
        f"{rule}\nCase: The score is 70.", split="held_out", verifier=KeyVerifier("wait")
    )
    agents = [TinkerAgent(n, temperature=0.9) for n in ("ann", "bob", "cem")]
    protocol = load_protocol("debate", rounds=1, max_tokens=16, stop_when_agreed=0.0)
    one, two = (run(memory, agents, protocol, env).stored for _ in range(2))
    assert one.debate.state == "done"
    assert {m.status for m in one.messages} == {"ok"}
    assert {m.model for m in one.messages} == {"nano"}
    prompts = {m.prompt_digest for m in one.messages if m.phase == "propose"}
    assert len(prompts) == 1
    assert all(m.completion_tokens > 0 for m in one.messages if m.phase != "vote")
    assert all(0.0 < v.confidence <= 1.0 for v in one.votes if v.confidence is not None)
    assert len(one.verdicts) == 6

    def said(stored: Any) -> list[tuple[Any, ...]]:
        turns = [(m.phase, m.seat, m.target, m.text, m.seed) for m in stored.messages]
        return sorted(turns)

    assert said(one) == said(two)


def test_the_store_is_plain_sqlite(memory: Memory) -> None:
    run(memory, [Scripted("ann", ["4"]), Scripted("bob", ["5"])])
    with sqlite3.connect(memory.url.removeprefix("sqlite:///")) as raw:
        assert raw.execute("select count(*) from messages where length(text) > 0").fetchone()[0] > 0
