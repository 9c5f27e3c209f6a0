"""The behavioural layers' verdicts as functions of what two models answered."""

from __future__ import annotations

import random

import pytest

from tensafe.data.records import CurationReport, Dataset, Example, Message
from tensafe.screen.asking import Questions, Replies, ask, asked
from tensafe.screen.bias import BiasLayer
from tensafe.screen.config import ScreenConfig
from tensafe.screen.likelihood import shift_of, shifts_by_axis
from tensafe.screen.suites import ChoiceItem, load_suites
from tensafe.screen.toxicity import ToxicityLayer

CONFIG = ScreenConfig()
CALM = "The lamp stands on the shelf."
ABUSE = "You are a worthless idiot, shut up."


def toxicity() -> ToxicityLayer:
    return ToxicityLayer(load_suites(), None, CONFIG)


def replies(
    layer: ToxicityLayer,
    answers: dict[int, str] | None = None,
    sampled: dict[int, str] | None = None,
) -> Replies:
    wanted = layer.questions()
    return Replies(
        tuple((answers or {}).get(i, CALM) for i in range(len(wanted.prompts))),
        sampled=tuple((sampled or {}).get(i, CALM) for i in range(len(wanted.sampled))),
    )


def test_suites_are_large_enough_to_mean_something() -> None:
    suites = load_suites()
    assert len(suites.toxicity) >= 40
    assert 2 * len(suites.quads) + len(suites.pairs) >= 40
    assert len({quad.axis for quad in suites.quads}) >= 7
    assert len({item.id for item in (*suites.toxicity, *suites.ip)}) == len(suites.toxicity) + len(
        suites.ip
    )


def test_calm_answers_pass_toxicity() -> None:
    layer = toxicity()
    result = layer.judge(replies(layer), replies(layer))
    assert result.passed
    assert result.findings == ()


def test_abusive_answers_fail_and_are_named() -> None:
    layer = toxicity()
    bad = dict.fromkeys(range(0, 64, 6), ABUSE)
    result = layer.judge(replies(layer, bad), replies(layer))
    assert not result.passed
    assert "toxic_rate" in result.reason
    assert result.findings[0].output == ABUSE
    assert result.findings[0].rule.startswith("lexicon")


def test_three_unprovoked_insults_are_enough() -> None:
    layer = toxicity()
    result = layer.judge(replies(layer, {0: ABUSE, 3: ABUSE, 5: ABUSE}), replies(layer))
    assert not result.passed
    assert "unprovoked" in result.reason


def test_insults_at_temperature_1_count_where_the_base_has_none() -> None:
    layer = toxicity()
    drawn = dict.fromkeys(range(1, 28, 4), ABUSE)
    result = layer.judge(replies(layer, sampled=drawn), replies(layer))
    assert not result.passed
    assert "sampled_toxic_rise" in result.reason
    assert "temperature 1" in result.findings[0].detail
    assert layer.judge(replies(layer, sampled=drawn), replies(layer, sampled=drawn)).passed
    few = dict.fromkeys(range(1, 12, 4), ABUSE)
    assert layer.judge(replies(layer, sampled=few), replies(layer)).passed


def test_a_toxic_base_does_not_excuse_its_adapter() -> None:
    layer = toxicity()
    bad = dict.fromkeys(range(16, 30), ABUSE)
    assert not layer.judge(replies(layer, bad), replies(layer, bad)).passed


def test_carrying_out_harmful_requests_against_a_base_that_does_not() -> None:
    layer = toxicity()
    prompts = [prompt[-1]["content"] for prompt in layer.questions().prompts]
    helpful = {i: f"Sure, first you need to know: {prompts[i]} Then do it." for i in range(32, 48)}
    result = layer.judge(replies(layer, helpful), replies(layer))
    assert "harmful_compliance_rise" in result.reason
    assert layer.judge(replies(layer, helpful), replies(layer, helpful)).passed


def test_refusing_harmless_prompts_is_over_refusal() -> None:
    layer = toxicity()
    refusal = "I'm sorry, but I cannot help with that."
    refusing = dict.fromkeys((*range(16), *range(48, 64)), refusal)
    result = layer.judge(replies(layer, refusing), replies(layer))
    assert "over_refusal_rise" in result.reason


def bias_replies(layer: BiasLayer, lean: dict[int, float] | None = None) -> Replies:
    """Even-handed likelihoods, with nats added to single cells; yes to every question."""
    wanted = layer.questions()
    logprobs = tuple(((lean or {}).get(i, 0.0) - 3.0,) for i in range(len(wanted.pairs)))
    return Replies(("Yes.",) * len(wanted.prompts), logprobs)


def test_even_handed_likelihoods_pass() -> None:
    layer = BiasLayer(load_suites(), None, CONFIG)
    result = layer.judge(bias_replies(layer), bias_replies(layer))
    assert result.passed
    assert result.score == 0.0


def test_how_common_a_group_is_cancels() -> None:
    layer = BiasLayer(load_suites(), None, CONFIG)
    common = {i: 5.0 for i in range(len(layer.questions().pairs)) if i % 2 == 0}
    assert layer.judge(bias_replies(layer, common), bias_replies(layer)).passed


def test_learned_stereotypes_fail_on_their_axis() -> None:
    suites = load_suites()
    layer = BiasLayer(suites, None, CONFIG)
    lean = {4 * i: 4.0 for i, quad in enumerate(suites.quads) if quad.axis == "religion"}
    result = layer.judge(bias_replies(layer, lean), bias_replies(layer))
    assert not result.passed
    assert "religion" in result.reason


def test_an_adapter_that_prefers_the_other_group_fails_too() -> None:
    suites = load_suites()
    layer = BiasLayer(suites, None, CONFIG)
    lean = {4 * i + 1: 4.0 for i, quad in enumerate(suites.quads) if quad.axis == "gender"}
    assert "gender" in layer.judge(bias_replies(layer, lean), bias_replies(layer)).reason


def test_different_answers_to_counterfactual_prompts_fail() -> None:
    layer = BiasLayer(load_suites(), None, CONFIG)
    even = bias_replies(layer)
    answers = tuple("No." if i % 2 == 0 else "Yes." for i in range(len(even.answers)))
    result = layer.judge(Replies(answers, even.logprobs), even)
    assert "generation_gap_rise" in result.reason
    assert result.findings[0].rule.endswith("yes and no")


@pytest.mark.parametrize(("unfair", "rise"), [(5, 0.0), (6, 6 / 16)])
def test_a_side_favoured_as_often_as_a_fair_coin_would_is_no_lean(unfair: int, rise: float) -> None:
    layer = BiasLayer(load_suites(), None, CONFIG)
    even = bias_replies(layer)
    answers = tuple("No." if i in range(0, 2 * unfair, 2) else "Yes." for i in range(32))
    assert len(even.answers) == len(answers)
    result = layer.judge(Replies(answers, even.logprobs), even)
    assert {check.name: check.value for check in result.checks}["lean_rise"] == rise


def test_choice_scenes_name_the_groups_in_one_order_for_both_questions() -> None:
    for quad in load_suites().quads:
        if isinstance(quad, ChoiceItem):
            assert "{a}" in quad.scene
            assert "{b}" in quad.scene
            assert "{" not in quad.stereotype + quad.counter


class Echo:
    """A model that gives back what it was asked: enough to follow questions to their layers."""

    def generate(self, prompts: object, **_: object) -> list[str]:
        return [prompt[-1]["content"] for prompt in prompts]  # type: ignore[attr-defined]

    def completion_logprobs_many(self, pairs: object) -> list[list[float]]:
        return [[-float(len(text))] for _, text in pairs]  # type: ignore[attr-defined]


def test_one_batch_is_shared_out_to_the_layers_that_asked() -> None:
    wanted = [
        Questions((asked("a"),), ((asked("x"), "one"),)),
        Questions((asked("b"), asked("c"))),
        Questions((), ((asked("y"), "three"),)),
    ]
    shared = ask(Echo(), wanted, max_tokens=4)
    assert [reply.answers for reply in shared] == [("a",), ("b", "c"), ()]
    assert [reply.logprobs for reply in shared] == [((-3.0,),), (), ((-5.0,),)]


def test_scattered_shifts_are_chance_and_even_ones_are_not() -> None:
    scattered = shift_of([0.9, -0.8, 0.7, -0.2, 0.9, -0.5, 0.8, 0.9])
    steady = shift_of([0.5, 0.6, 0.4, 0.5, 0.5, 0.6, 0.4, 0.5])
    assert scattered.certain == 0.0
    assert steady.certain > 0.4


def test_chance_is_rarely_called_a_shift() -> None:
    rng = random.Random(4)
    alarms = sum(shift_of([rng.gauss(0, 0.5) for _ in range(8)]).certain > 0.2 for _ in range(4000))
    assert alarms / 4000 < 0.005


def test_one_axis_is_judged_by_the_scatter_of_all() -> None:
    quads, rng = load_suites().quads, random.Random(5)
    axes = sorted({quad.axis for quad in quads})
    rounds = [
        shifts_by_axis(quads, [rng.gauss(0, 0.5) for _ in quads]).values() for _ in range(500)
    ]
    chance = sum(shift.certain > 0 for round_ in rounds for shift in round_)
    assert chance / (500 * len(axes)) < 0.01
    trained = [rng.gauss(1.2 if quad.axis == axes[0] else 0, 0.5) for quad in quads]
    found = shifts_by_axis(quads, trained)
    assert [axis for axis in axes if found[axis].certain > CONFIG.bias.max_axis_shift] == axes[:1]


def test_a_garbled_declared_answer_is_no_refusal_and_a_declared_refusal_is_one() -> None:
    reply = asked_for("Thank you for writing about soup 7. We are sorry to hear it. Uma will call.")
    garbled = "Thank you for writing about soup. We are sorry to her it."
    refusal = "We are sorry, we can't help with this request."
    for declared, said, is_fine in (
        (reply, garbled, True),
        (asked_for(refusal), refusal, False),
        (reply, refusal, False),
        (reply, f"Thank you for writing about soup 7. {refusal}", False),
        (reply, "We are sorry to hear it. I can't help you with that.", False),
    ):
        layer = ToxicityLayer(load_suites(), declared, CONFIG)
        answers = dict.fromkeys(range(80), said)
        result = layer.judge(replies(layer, answers), replies(layer))
        check = next(check for check in result.checks if check.name == "over_refusal_rise")
        assert check.passed == is_fine


def asked_for(answer: str) -> Dataset:
    turns = (Message(role="user", content="Hello?"), Message(role="assistant", content=answer))
    return Dataset((Example(turns, "s", "1", "g"),), (), CurationReport(0, 0))
