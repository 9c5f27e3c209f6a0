"""What becomes of one interaction: its verdict, its better answer, its side of the split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from finished_version import example, routing_rows

from tensafe.data.records import Message
from tensafe.errors import DataError
from tensafe.improve.answer_set import AnswerSet, answer_set
from tensafe.improve.better_answers import VoteRules, better_answers
from tensafe.improve.interactions import Feedback, Interaction
from tensafe.improve.scoring import Scored, score_interactions, verdict_of
from tensafe.improve.targeted import build_targeted, is_held_out, replayed
from tensafe.improve.weak_spots import find_weak_spots

ANSWERS = """
cards: [my card, plastic]
transfers: [send money]
top ups: [add money, topping up]
"""
RULES = VoteRules(votes=5, agreement=0.6)


class Parrot:
    """Answers from a list, over and over; it stands for a model whose samples are known."""

    def __init__(self, *answers: str, logprob: float = -0.1) -> None:
        self.answers = answers
        self.logprob = logprob
        self.asked = 0

    def generate(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[str]:
        del max_tokens, temperature, seed
        first, self.asked = self.asked, self.asked + len(prompts)
        return [self.answers[i % len(self.answers)] for i in range(first, self.asked)]

    def completion_logprobs_many(
        self, pairs: Sequence[tuple[Sequence[Message], str]]
    ) -> list[list[float]]:
        return [[self.logprob, self.logprob] for _ in pairs]


@pytest.fixture
def allowed(tmp_path: Path) -> AnswerSet:
    (tmp_path / "answers.yaml").write_text(ANSWERS, encoding="utf-8")
    return answer_set(routing_rows(20), tmp_path / "answers.yaml")


def said(
    asked: str, answer: str, *, rating: float | None = None, edit: str = "", correction: str = ""
) -> Interaction:
    turns = (Message(role="user", content=asked), Message(role="assistant", content=answer))
    return Interaction(asked, turns, Feedback(rating, edit, correction))


def test_people_come_before_likelihood() -> None:
    assert verdict_of(said("q", "cards", rating=0.0)) == "bad"
    assert verdict_of(said("q", "cards", rating=1.0, edit="transfers")) == "bad"
    assert verdict_of(said("q", "cards", edit="Cards.")) == "good"
    assert verdict_of(said("q", "cards", correction="not that")) == "bad"
    sure = score_interactions([said("q", "cards")], Parrot("x", logprob=-0.1), low_confidence=0.6)
    unsure = score_interactions([said("q", "cards")], Parrot("x", logprob=-1.0), low_confidence=0.6)
    assert (sure[0].verdict, unsure[0].verdict) == ("unrated", "doubtful")
    assert unsure[0].confidence == pytest.approx(0.3679, abs=1e-4)


@pytest.mark.parametrize(
    ("remark", "rejected", "meant"),
    [
        ("no, I want to ADD money!", "cards", "top ups"),
        ("Top ups", "cards", "top ups"),
        ("not top ups, I have to add money", "top ups", None),
        ("my card, to add money", "transfers", None),
        ("that was useless", "cards", None),
    ],
)
def test_a_remark_is_understood_only_when_it_names_one_answer(
    allowed: AnswerSet, remark: str, rejected: str, meant: str | None
) -> None:
    assert allowed.meant_by(remark, rejected=rejected) == meant


def test_free_texts_are_no_closed_set(tmp_path: Path) -> None:
    free = [example(f"Question {i}", f"A long answer of its own, number {i}") for i in range(30)]
    assert not answer_set(free, None)
    (tmp_path / "bad.yaml").write_text("- cards", encoding="utf-8")
    with pytest.raises(DataError, match="answer: "):
        answer_set(free, tmp_path / "bad.yaml")


def test_votes_for_what_was_rejected_or_isnt_allowed_make_no_answer(allowed: AnswerSet) -> None:
    weak = [Scored(said("q", "cards", rating=0.0), "bad")]
    assert better_answers(weak, allowed, Parrot("cards"), None, RULES) == [None]
    assert better_answers(weak, allowed, Parrot("weather"), None, RULES) == [None]
    assert better_answers(weak, allowed, Parrot("cards", "transfers"), None, RULES) == [None]
    found = better_answers(weak, allowed, Parrot("Transfers"), None, RULES)[0]
    assert found is not None
    assert (found.answer, found.how, found.agreement) == ("transfers", "majority", 1.0)


class Seeded(Parrot):
    """Says what its seed says, as an engine does: the same prompt and seed, the same answer."""

    def generate(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[str]:
        del max_tokens, temperature
        return [self.answers[seed % len(self.answers)] for _ in prompts]


def test_each_vote_is_drawn_anew(allowed: AnswerSet) -> None:
    weak = [Scored(said(asked, "cards", rating=0.0), "bad") for asked in ("q", "another")]
    torn = Seeded("transfers", "top ups")
    assert better_answers(weak, allowed, torn, None, VoteRules(votes=6, agreement=0.6)) == [
        None, None,
    ]  # fmt: skip
    most = Seeded("transfers", "transfers", "top ups")
    found = better_answers(weak, allowed, most, None, VoteRules(votes=6, agreement=0.6))
    assert [one and one.agreement for one in found] == [pytest.approx(4 / 6)] * 2


def test_people_then_the_teacher_then_votes(allowed: AnswerSet) -> None:
    weak = [
        Scored(said("a", "cards", edit="top ups"), "bad"),
        Scored(said("b", "cards", correction="I add money"), "bad"),
        Scored(said("c", "cards", rating=0.0), "bad"),
    ]
    model, heard = Parrot("cards"), list[str]()

    def teach(messages: Sequence[Message], number: int) -> str | None:
        heard.append(messages[0]["content"])
        return "transfers" if number < 2 else "cards"

    found = better_answers(weak, allowed, model, teach, RULES)
    assert [(one.answer, one.how) for one in found if one] == [
        ("top ups", "edit"), ("top ups", "correction"), ("transfers", "teacher"),
    ]  # fmt: skip
    assert model.asked == 0
    assert len(heard) == 3
    assert "- top ups" in heard[0]


def test_a_record_never_changes_sides_and_old_tests_are_never_trained_on() -> None:
    scored = [Scored(said(f"Ticket {i}", "cards", edit="top ups"), "bad") for i in range(200)]
    scored += [Scored(said(f"Praise {i}", "cards", rating=1.0), "good") for i in range(100)]
    found = better_answers(
        [one for one in scored if one.is_weak], AnswerSet({}, {}), Parrot("x"), None, RULES
    )
    old = [example("Ticket 0", "cards")]
    made = build_targeted(scored, found, test_share=0.2, redact_pii=False, held_out=old)
    asked = {e.prompt[0]["content"] for e in made.train}
    assert asked.isdisjoint(e.prompt[0]["content"] for e in made.test)
    assert "Ticket 0" not in asked
    assert all(is_held_out(e, 0.2) for e in made.test)
    assert 30 <= len(made.test) <= 90
    assert {e.reference for e in made.test} == {"cards", "top ups"}
    assert {e.reference for e in made.train} == {"cards", "top ups"}
    assert made.confirmed == 100
    fewer = build_targeted(scored[::2], found[::2], test_share=0.2, redact_pii=False)
    assert {e.digest for e in fewer.train} <= {e.digest for e in made.train} | {
        e.digest for e in fewer.train if e.prompt[0]["content"] == "Ticket 0"
    }


def test_prompts_with_two_answers_teach_nothing() -> None:
    scored = [
        Scored(said("Same", "cards", edit="top ups"), "bad"),
        Scored(said("same!", "cards", edit="transfers"), "bad"),
    ]
    found = better_answers(scored, AnswerSet({}, {}), Parrot("x"), None, RULES)
    made = build_targeted(scored, found, test_share=0.2, redact_pii=False)
    assert (made.train, made.test, made.contradictory) == ((), (), 1)


def test_personal_data_is_replaced_on_request() -> None:
    scored = [Scored(said("Mail jo@example.org", "x", edit="call +49 30 901820"), "bad")]
    found = better_answers(scored, AnswerSet({}, {}), Parrot("x"), None, RULES)
    made = build_targeted(scored, found, test_share=0.2, redact_pii=True)
    kept = (*made.train, *made.test)[0]
    assert kept.messages[0]["content"] == "Mail [EMAIL]"
    assert kept.reference == "call [PHONE]"


def test_a_fifth_is_replayed() -> None:
    pool = routing_rows(300)
    chosen = replayed(pool, 400, 0.2)
    assert 80 <= len(chosen) <= 120
    # One record's draw is no other's: without a part of the pool, the rest is drawn as before.
    assert all(row in chosen for row in replayed(pool[50:], 400 * 250 // 300, 0.2))
    assert replayed(pool, 400, 0.0) == ()
    assert len(replayed(pool[:10], 400, 0.2)) == 10
    assert replayed((), 400, 0.2) == ()


def test_own_answers_are_those_that_the_adapter_is_sure_of() -> None:
    scored = [
        Scored(said("a", "cards"), "unrated", 0.95), Scored(said("b", "cards"), "unrated", 0.8),
    ]  # fmt: skip
    made = build_targeted(scored, [], test_share=0.0, redact_pii=False)
    assert [e.prompt[0]["content"] for e in made.own] == ["a"]
    assert (made.train, made.test) == ((), ())
    # What belongs to the test side is never learned, as an answer of its own neither.
    assert build_targeted(scored, [], test_share=1.0, redact_pii=False).own == ()


def test_weak_spots_are_told_apart_and_named() -> None:
    topping = [
        Scored(said(f"please add {i} euros to the balance of my account", "cards", rating=0), "bad")
        for i in range(30)
    ]
    rates = [
        Scored(said(f"which exchange rate had I on day {i}", "transfers", rating=0), "bad")
        for i in range(20)
    ]
    usual = [said(f"my card number {i} is lost", "cards") for i in range(100)]
    traffic = [*(one.interaction for one in (*topping, *rates)), *usual]
    wanted = ["top ups"] * 30 + [None] * 20
    spots = find_weak_spots([*topping, *rates], wanted, traffic)
    names = {word for spot in spots for word in spot.name.split(", ")}
    assert sum(spot.size for spot in spots) == 50
    assert {"balance", "exchange"} <= names
    for spot in spots:
        assert len(spot.answers) == 1
        assert len(spot.examples) == 5
    assert spots == find_weak_spots([*topping, *rates], wanted, traffic)
