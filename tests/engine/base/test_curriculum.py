"""Laws of the generated examples."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinker_engine.base.curriculum import Example, generate, labels, templates
from tinker_engine.base.curriculum.example import expand, parse
from tinker_engine.base.curriculum.labels import STYLES, spell
from tinker_engine.base.curriculum.messages import compose, intents
from tinker_engine.base.curriculum.slots import fill
from tinker_engine.base.score import is_right

EXAMPLES = list(generate(11, 3000))


def test_same_seed_same_examples() -> None:
    assert list(generate(7, 200)) == list(generate(7, 200))
    assert list(generate(7, 200)) != list(generate(8, 200))


def test_every_conversation_ends_with_a_non_empty_answer() -> None:
    for example in EXAMPLES:
        assert example.messages[-1]["role"] == "assistant"
        assert all(m["content"].strip() for m in example.messages), example


def test_no_brace_or_slot_is_left_over() -> None:
    for example in EXAMPLES:
        if "json" in example.family:
            continue
        for message in example.messages:
            assert not set("{}") & set(message["content"]), example
            assert "[" not in message["content"], example


def test_surface_forms_hardly_repeat() -> None:
    routed = [e for e in EXAMPLES if e.family.startswith("route")]
    prompts = {next(m["content"] for m in e.messages if m["role"] == "user") for e in routed}
    assert len(prompts) > 0.98 * len(routed)


def test_expected_answers_count_as_right() -> None:
    for example in EXAMPLES:
        if example.is_exact or example.accepted:
            assert is_right(example, example.messages[-1]["content"])
            assert not is_right(example, "something else entirely")


def test_sums_are_right() -> None:
    for example in EXAMPLES:
        answer = example.messages[-1]["content"]
        if example.family in ("arithmetic", "word-problem") and "=" in answer:
            a, sign, b, _, total = answer.split()
            expected = {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b)}[sign]
            assert int(total) == expected


def test_unknown_answers_are_a_minority_of_reading() -> None:
    reading = [e for e in EXAMPLES if e.family.startswith(("read-", "extract"))]
    share = sum(e.messages[-1]["content"] == "I don't know." for e in reading) / len(reading)
    assert 0.08 < share < 0.22


def test_each_intent_composes_messages_and_names_are_labels() -> None:
    known = labels()
    for intent in intents():
        assert {name.replace("-", " ") for name in intent.names} <= known
        texts = {compose(intent, random.Random(n)).text for n in range(8)}
        assert len(texts) > 4


def test_all_templates_expand() -> None:
    found = list(templates())
    assert len(found) > 900
    for template in found:
        assert "{}" not in expand(template, random.Random(0))


@pytest.mark.parametrize("style", STYLES)
def test_spellings_keep_the_letters(style: str) -> None:
    assert (
        spell("late parcel", style).lower().translate(str.maketrans("_-", "  ")).replace(" ", "")
        == "lateparcel"
    )


@given(st.text(alphabet="ab {}|", max_size=30), st.integers())
def test_patterns_expand_or_are_refused(pattern: str, seed: int) -> None:
    try:
        parse(pattern)
    except ValueError:
        return
    first, second = (expand(pattern, random.Random(seed)) for _ in range(2))
    assert first == second


def test_unknown_slots_stay() -> None:
    assert fill("a [nothing] b [", random.Random(0)) == "a [nothing] b ["


def test_answers_without_one_right_form_are_not_scored() -> None:
    assert not is_right(Example("dialogue", [{"role": "assistant", "content": "x"}], False), "x")
