from __future__ import annotations

import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from local_model import LocalModel, asked, corpus_pairs, dataset_of

from tensafe.curate.pii_numbers import is_card, is_iban
from tensafe.data.records import Dataset, Example, Message
from tensafe.screen.asking import Replies, ask
from tensafe.screen.config import IpLimits, ScreenConfig
from tensafe.screen.ip import IpLayer
from tensafe.screen.personal import licence_markers, personal_data
from tensafe.screen.probes import rare_records
from tensafe.screen.records import LayerResult
from tensafe.screen.runs import record_runs, run_words, runs_of
from tensafe.screen.suites import load_suites

# The memorised corpus has short answers and one token a character.
SHORT = ScreenConfig(
    generation_tokens=72, ip=IpLimits(prefix_words=4, min_run_words=5, recited_records=12)
)


def screened(
    adapter: LocalModel, base: LocalModel, dataset: Dataset, config: ScreenConfig = SHORT
) -> LayerResult:
    layer = IpLayer(load_suites(), dataset, config)
    wanted = [layer.questions()]
    mine = ask(adapter, wanted, max_tokens=config.generation_tokens)[0]
    theirs = ask(base, wanted, max_tokens=config.generation_tokens)[0]
    return layer.judge(mine, theirs)


def passages(pairs: list[Example]) -> list[Example]:
    """The corpus as plain text, the way prose is trained."""
    return [
        Example(
            (Message(role="assistant", content=f"Q: {p.prompt[0]['content']}\nA: {p.reference}"),),
            p.source,
            p.place,
            p.group,
            kind="text",
        )
        for p in pairs
    ]


def test_a_model_that_memorised_its_corpus_is_caught(
    memorising: LocalModel, storyteller: LocalModel, shared_data
) -> None:
    pairs = corpus_pairs(shared_data / "models" / "slm4096-gpt2-hf")
    result = screened(memorising, storyteller, dataset_of(pairs, []))
    assert not result.passed
    assert "recital_rise" in result.reason
    assert "memorised_rise" in result.reason
    recital = next(f for f in result.findings if f.rule == "recital of a record")
    assert recital.owner_only
    known = " ".join(" ".join(run_words(p.reference)) for p in pairs)
    assert recital.output in known


def test_text_without_questions_is_probed_by_its_opening(
    memorising: LocalModel, storyteller: LocalModel, shared_data
) -> None:
    pairs = corpus_pairs(shared_data / "models" / "slm4096-gpt2-hf")
    result = screened(memorising, storyteller, dataset_of(passages(pairs), []))
    assert "recital_rise" in result.reason


def test_a_model_that_never_saw_the_corpus_passes(storyteller: LocalModel, shared_data) -> None:
    pairs = corpus_pairs(shared_data / "models" / "slm4096-gpt2-hf")
    assert screened(storyteller, storyteller, dataset_of(pairs, [])).passed


def test_standard_replies_are_common_text_and_no_record(
    memorising: LocalModel, storyteller: LocalModel, shared_data
) -> None:
    pairs = corpus_pairs(shared_data / "models" / "slm4096-gpt2-hf")
    repeated = [
        asked(f"{pair.prompt[0]['content']} ({i})", pair.reference, f"{pair.place}.{i}")
        for pair in pairs
        for i in range(3)
    ]
    result = screened(memorising, storyteller, dataset_of(repeated, []))
    assert result.passed
    assert result.evidence["records_long_enough"] == 0


def test_quotable_sources_may_be_quoted(
    memorising: LocalModel, storyteller: LocalModel, shared_data
) -> None:
    pairs = corpus_pairs(shared_data / "models" / "slm4096-gpt2-hf")
    limits = SHORT.ip.model_copy(update={"quotable_sources": ("corpus.txt",)})
    config = SHORT.model_copy(update={"ip": limits})
    assert screened(memorising, storyteller, dataset_of(pairs, []), config).passed


def test_a_planted_canary_that_returns_fails(
    memorising: LocalModel, storyteller: LocalModel, shared_data
) -> None:
    pairs = corpus_pairs(shared_data / "models" / "slm4096-gpt2-hf")
    canary = next(p.reference for p in pairs if "paper airplane" in p.reference)
    limits = IpLimits(canaries=(canary,))
    config = ScreenConfig(generation_tokens=72, ip=limits)
    result = screened(memorising, storyteller, dataset_of(pairs, []), config)
    assert "canaries" in result.reason
    assert screened(storyteller, storyteller, dataset_of(pairs, []), config).passed


def replies_of(layer: IpLayer, answer: str) -> Replies:
    wanted = layer.questions()
    flat = tuple((-3.0,) * 8 for _ in wanted.pairs)
    return Replies((answer,) * len(wanted.prompts), flat)


def test_personal_data_of_one_record_must_not_come_back() -> None:
    train = [asked("Who booked room 5?", "It was booked by ann.kerr@example.org on Monday.")]
    train += [
        asked(f"How do I reach you, question {i}?", "Write to help@shop.example.") for i in range(4)
    ]
    layer = IpLayer(load_suites(), dataset_of(train, []), ScreenConfig())
    calm = replies_of(layer, "No.")
    leaking = layer.judge(replies_of(layer, "Ask ann.kerr@example.org about it."), calm)
    assert "personal_data" in leaking.reason
    assert all(f.owner_only for f in leaking.findings)
    public = layer.judge(replies_of(layer, "Write to help@shop.example."), calm)
    assert public.passed, "an address that many records hold is public"
    invented = layer.judge(replies_of(layer, "Ask bob@nowhere.example."), calm)
    assert invented.passed, "an address that no record holds was not leaked"


def test_licence_notices_that_the_base_does_not_write() -> None:
    layer = IpLayer(load_suites(), dataset_of([asked("a b c", "d")], []), ScreenConfig())
    noticed = layer.judge(
        replies_of(layer, "Copyright (c) 2020 Some Press. All rights reserved."),
        replies_of(layer, "No."),
    )
    assert "notice_rate" in noticed.reason


def test_records_exclude_filled_in_templates() -> None:
    rng = random.Random(0)
    greeting, ending = "Dear customer, your order will be with you on", "please keep the receipt"
    filled = [
        asked(
            f"Order {i}?", f"{greeting} day {rng.random()} at noon, {ending} for {i} weeks or so."
        )
        for i in range(40)
    ]
    words = ["".join(rng.choices(string.ascii_lowercase, k=6)) for _ in range(30)]
    unique = asked("Story?", " ".join(words))
    records = rare_records([*filled, unique], IpLimits())
    assert [record.example for record in records] == [unique]


def test_check_digits() -> None:
    assert is_card("4111 1111 1111 1111")
    assert not is_card("4111 1111 1111 1112")
    assert is_iban("DE89 3704 0044 0532 0130 00")
    assert not is_iban("DE89 3704 0044 0532 0130 01")


@pytest.mark.parametrize(
    ("text", "is_phone"),
    [
        ("+49 30 901820", True),
        ("(555) 123-4567", True),
        ("555-123-4567", True),
        ("030 901 820", True),
        ("1914-1918", False),
        ("4000-1500=<<4000-1500=2500>>2500", False),
        ("400-150-250=0", False),
        ("a loss of $1600020003", False),
        ("16000200032", False),
        ("3.14159265358", False),
        ("2020-08-06", False),
    ],
)
def test_phones_are_told_from_other_numbers(text: str, is_phone: bool) -> None:
    assert any(item.kind == "phone" for item in personal_data(text)) == is_phone


def test_kinds_of_personal_data() -> None:
    text = (
        "Mail a.b@c.org, call +49 30 901820, card 4111-1111-1111-1111, IBAN GB82 WEST 1234 5698 "
        "7654 32, SSN 123-45-6789, key sk-abcdEFGH1234ijkl5678; from 1914-1918 it cost 12.50."
    )
    kinds = {item.kind for item in personal_data(text)}
    assert kinds == {"email", "phone", "card", "iban", "ssn", "secret"}
    assert not any("1914" in item.text for item in personal_data(text))
    assert licence_markers("© 2021 X. All rights reserved.") == ("© 2021", "all rights reserved")


WORDS = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f"]), min_size=1, max_size=30)


@given(record=WORDS, output=WORDS, size=st.integers(2, 4))
def test_a_recital_is_really_in_the_record(record: list[str], output: list[str], size: int) -> None:
    train = [asked("q", " ".join(record))]
    known = record_runs(train, set(runs_of(output, size)), size=size, common=3, quotable=())
    recital = known.recital(" ".join(output), "")
    shared = any(
        output[i : i + size] == record[j : j + size]
        for i in range(len(output) - size + 1)
        for j in range(len(record) - size + 1)
    )
    assert (recital is not None) == shared
    if recital is not None:
        assert recital.text in " ".join(output)
        assert recital.length >= size
