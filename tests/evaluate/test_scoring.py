from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensafe.evaluate.normalise import normalised
from tensafe.evaluate.scoring import rule_for, score_answer, token_f1

TEXT = st.text(max_size=60)


@pytest.mark.parametrize(
    ("reference", "rule"),
    [
        ("She has 3 left.\n#### 3", "final_number"),
        ("42", "number"),
        ("$1,200.50", "number"),
        ("15 %", "number"),
        ("12 days", "number"),
        ('{"name": "Ada"}', "json"),
        ("- red\n- green", "list"),
        ("1. wash\n2. dry", "list"),
        ("red, green and blue", "list"),
        ("Thanks for writing, we are on it, and will be back soon.", "f1"),
        ("Please wait. Then, if needed, call us, or write.", "f1"),
        ("2FA", "f1"),
        ("2020-08-06", "f1"),
        ("yes", "f1"),
    ],
)
def test_the_reference_alone_chooses_the_rule(reference: str, rule: str) -> None:
    assert rule_for(reference) == rule


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("1200.5 dollars", "$1,200.50"),
        ("The total is $1,200.50.", "1200.50"),
        ("five percent", "5%"),
        ("0.05", "5%"),
        ("1.234,5", "1234.5"),
        ("-3", "−3"),
        ("it takes 12 days", "12 days"),
        ("between noon and 5 pm it takes 12 days", "12 days"),
        ("so 5 + 4 = 9\n#### 9", "She eats 9.\n#### 9"),
        ("He has 3 and buys 6, so 9", "#### 9.0"),
        ("blue; red, Green", "red, green and blue"),
        ("* green\n* red", "- red\n- green"),
        ('["red", "green"]', "- red\n- green"),
        ('```json\n{"b": 2, "a": "X "}\n```', '{"a": "x", "b": 2.0}'),
        ("The Card Arrival!", "card_arrival"),
        ("Ｆｕｌｌ width", "full width"),
    ],
)
def test_answers_that_mean_the_same_score_one(answer: str, reference: str) -> None:
    assert score_answer(answer, reference).value == 1.0


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("5 or 6", "5"),
        ("5", "-5"),
        ("15", "1.5"),
        ("12 hours", "12 days"),
        ("€5", "$5"),
        ("none", "5"),
        ("2. dry\n1. wash", "1. wash\n2. dry".replace("1. wash", "1. dry")),
        ("red, green", "red, green and blue"),
        ('{"a": 1}', '{"a": 1, "b": 2}'),
        ('{"a": 1', '{"a": 1}'),
        ("#### 8", "#### 9"),
        ("", "#### 9"),
    ],
)
def test_wrong_answers_score_zero_under_strict_rules(answer: str, reference: str) -> None:
    assert score_answer(answer, reference).value == 0.0


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("C", "C#"), ("A", "A*"), ("A, B", "B"), ("A-B", "B"), ("Hepatitis", "Hepatitis A"),
        ("x = 5", "x != 5"), ("so 2-3", "so 2/3"), ("a*b", "a/b"), ("a * b", "a / b"),
        ("–5 or so", "5 or so"), ("R&D", "R D"), ("a rise of 5%", "a rise of 5"),
        ('Option "A" is', "Option is"), ("@bob", "bob"), ("A) Paris", "Paris"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_closed", [False, True])
def test_marks_and_letters_that_mean_something_count(
    answer: str, reference: str, is_closed: bool
) -> None:
    for said, wanted in [(answer, reference), (reference, answer)]:
        score = score_answer(said, wanted, is_closed=is_closed)
        assert not score.is_exact
        assert score.value < 1.0
    assert normalised(normalised(answer)) == normalised(answer)


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("Yes.", "yes"), ("**Yes**", "*yes*!"), ("C#.", "c#"), ("Yes , it is", "yes, it is."),
        ("the state-of-the-art", "State of the Art"), ("once-in-a-lifetime", "once in a lifetime"),
        ("report_the_issue", "Report the issue"), ("a (big) dog", 'The "big" dog'),
        ("on 2020-08-06", "on 2020/08/06"), ("½ cup", "1/2 cup"), ("by 5 %", "by 5%"),
        ("a * b", "a*b"), ("pages 10–12", "pages 10-12"), ("at –5", "at −5"), ("it's", "its"),
    ],
)  # fmt: skip
def test_punctuation_of_sentences_does_not_count(answer: str, reference: str) -> None:
    assert score_answer(answer, reference, is_closed=True).is_exact


def test_a_label_gets_no_credit_for_sharing_words() -> None:
    answer, reference = "card_payment_fee_charged", "card_payment_not_recognised"
    assert score_answer(answer, reference, is_closed=True).value == 0.0
    assert score_answer(answer, reference).value > 0.0


def test_token_f1_is_the_squad_figure() -> None:
    # 2 shared words, 3 given, 4 wanted: precision 2/3, recall 2/4.
    assert token_f1("press red button", "hold red button down") == pytest.approx(4 / 7)


@given(answer=TEXT, reference=TEXT, is_closed=st.booleans())
def test_scores_lie_between_zero_and_one(answer: str, reference: str, is_closed: bool) -> None:
    assert 0.0 <= score_answer(answer, reference, is_closed=is_closed).value <= 1.0


@given(reference=TEXT)
def test_the_reference_itself_is_always_right(reference: str) -> None:
    score = score_answer(reference, reference)
    assert score.value == 1.0
    assert score.is_exact


@given(left=TEXT, right=TEXT)
def test_token_f1_is_symmetric(left: str, right: str) -> None:
    assert token_f1(left, right) == token_f1(right, left)


@given(text=TEXT)
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalised(normalised(text)) == normalised(text)


@given(
    words=st.lists(st.text(string.ascii_letters, min_size=2, max_size=8), min_size=1, max_size=6),
    mark=st.sampled_from([" ", "  ", ", ", "! ", "\n"]),
)
def test_case_blanks_and_marks_do_not_count(words: list[str], mark: str) -> None:
    assert score_answer(mark.join(words).upper(), " ".join(words)).value == 1.0


@given(value=st.integers(-(10**9), 10**9), unit=st.sampled_from(["", " km", " dollars", "%"]))
def test_a_number_is_recognised_in_any_spelling(value: int, unit: str) -> None:
    assert score_answer(f"It is {value:,}{unit}.", f"{value}{unit}").value == 1.0
    assert score_answer(f"It is {value + 1}{unit}.", f"{value}{unit}").value == 0.0
