"""Routing of requests: phrases and ordinary requests that were written before the router.

They were all seen while it was corrected, so these tests guard what works and measure nothing.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensafe.skills.tg_tinker.triggers import MOST_CHARACTERS, Request, route

HERE = Path(__file__).parent
PHRASES = [
    line.split("\t")
    for line in (HERE / "trigger_phrases.tsv").read_text("utf-8").splitlines()
    if not line.startswith("#")
]
ORDINARY = (HERE / "ordinary_requests.txt").read_text("utf-8").splitlines()
# A development set: the router was changed on these sentences, with rules added for some of them.
DEVELOPED_ON = (
    ("Whip up a LoRA for astronomy", "build_for"),
    ("I have a folder ./emails, turn it into an adapter", "turn_into"),
    ("Using invoices.csv, create a LoRA", "train_from"),
    ("Make the current LoRA better at dates", "improve"),
    ("Package a new TGSP adapter from ./docs", "create_tgsp"),
    ("fine-tune llama on my dataset", "fine_tune"),
)


def test_phrases_reach_their_trigger_and_slots() -> None:
    assert len({trigger for trigger, *_ in PHRASES}) == 7
    missed = []
    for trigger, domain, path, phrase in PHRASES:
        wanted = (trigger, domain or None, path.strip("'") or None)
        found = route(phrase)
        if found is None or (found.trigger, found.domain, found.path) != wanted:
            missed.append(phrase)
    assert len(missed) <= 0.05 * len(PHRASES), missed


def test_ordinary_requests_start_nothing() -> None:
    taken = [sentence for sentence in ORDINARY if route(sentence) is not None]
    assert len(taken) <= 0.02 * len(ORDINARY), taken


@pytest.mark.parametrize(("sentence", "trigger"), DEVELOPED_ON)
def test_other_words_for_the_same(sentence: str, trigger: str) -> None:
    found = route(sentence)
    assert found is not None
    assert found.trigger == trigger


def test_slots() -> None:
    assert route('Turn "my notes/faq.txt" into a LoRA') == Request(
        "turn_into", None, "my notes/faq.txt"
    )
    found = route("Please build a LoRA for Patent Law from ./cases, thanks")
    assert found == Request("build_for", "patent law", "./cases")
    assert found.action == "create"
    assert Request("improve").action == "improve"


@given(st.text(max_size=2000))
def test_any_text_is_answered_quickly(text: str) -> None:
    started = time.process_time()
    route(text)
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize(
    "piece", ["make a ", "a lora ", "for the ", "of my adapter ", "./a/b ", "'"]
)
def test_repetition_does_not_slow_it_down(piece: str) -> None:
    started = time.process_time()
    route("create " + piece * MOST_CHARACTERS)
    assert time.process_time() - started < 1.0
