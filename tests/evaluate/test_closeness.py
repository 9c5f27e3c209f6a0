from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from local_model import asked

from tensafe.evaluate.closeness import asked_text, close_to_training, shingles


def test_a_reworded_case_is_close_and_another_question_is_not() -> None:
    train = [
        asked("How do I reset the router after a power cut in the evening?", "Hold the button.")
    ]
    test = [
        asked("how do i reset the router, after a power cut in the evening", "Hold it."),
        asked("Where can I buy another power supply for the router?", "In the shop."),
    ]
    assert close_to_training(test, train, threshold=0.8) == [True, False]


@settings(max_examples=60)
@given(
    train=st.lists(st.text("abc ", min_size=1, max_size=14), max_size=12),
    test=st.lists(st.text("abc ", min_size=1, max_size=14), max_size=6),
    threshold=st.sampled_from([0.3, 0.5, 0.8, 1.0]),
)
def test_filtering_finds_what_comparing_all_pairs_finds(
    train: list[str], test: list[str], threshold: float
) -> None:
    trained, tested = [asked(t, "x") for t in train], [asked(t, "x") for t in test]

    def jaccard(left: frozenset[str], right: frozenset[str]) -> float:
        return len(left & right) / len(left | right)

    expected = [
        any(jaccard(shingles(asked_text(t)), shingles(asked_text(e))) >= threshold for e in trained)
        for t in tested
    ]
    assert close_to_training(tested, trained, threshold=threshold) == expected
