from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from local_model import asked

from tensafe.curate.near import similarity
from tensafe.evaluate.closeness import close_to_training


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

    expected = [any(similarity(one, other) >= threshold for other in train) for one in test]
    assert close_to_training(tested, trained, threshold=threshold) == expected


def test_a_long_shared_instruction_does_not_make_messages_alike() -> None:
    head = "Decide which of our departments takes care of the following message: "
    train = [asked(f"{head}my order {i} has not come", "parcels") for i in range(30)]
    test = [asked(f"{head}the lid is cracked", "repairs")]
    assert close_to_training(test, train, threshold=0.75) == [False]
