"""Personal data and secrets: what is found, what is left alone, and what redaction leaves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence._labelled_pii import Span, labelled_texts, measure
from tensafe.curate.pii import PII_KINDS, count_pii, find_pii, redact


def spans(text: str) -> list[Span]:
    return [(finding.kind, finding.start, finding.end) for finding in find_pii(text)]


def test_labelled_texts_hold_every_kind_and_look_alikes() -> None:
    texts = labelled_texts()
    assert len(texts) >= 150
    assert {span[0] for one in texts for span in one.spans} == set(PII_KINDS)
    assert sum(not one.spans for one in texts) >= 50


def test_recall_and_precision_on_the_labelled_texts() -> None:
    score = measure(spans, labelled_texts())
    assert score.recall >= 0.95, score.missed
    assert score.precision >= 0.95, score.false


def test_a_finder_that_finds_nothing_scores_nothing() -> None:
    assert measure(lambda _: (), labelled_texts()).recall == 0
    shifted = measure(
        lambda text: [(k, s + 50, e + 50) for k, s, e in spans(text)], labelled_texts()
    )
    assert shifted.recall < 0.1


def test_redaction_puts_typed_marks_and_keeps_the_rest() -> None:
    text = "Mail anna@example.org or call +49 30 901820; version 1.2.3 costs $12.50."
    assert redact(text).text == "Mail [EMAIL] or call [PHONE]; version 1.2.3 costs $12.50."


def test_what_was_redacted_is_not_found_again() -> None:
    for one in labelled_texts():
        again = find_pii(redact(one.text).text)
        assert not again, (one.text, again)


def test_a_private_key_goes_with_its_body() -> None:
    body = "\n".join(["MIIEpAIBAAKCAQEA7bq5Qe0m" * 2] * 3)
    key = f"-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----"
    assert redact(f"This is it:\n{key}\nThanks").text == "This is it:\n[SECRET]\nThanks"


def test_counts_by_kind() -> None:
    assert count_pii(["a@b.io and c@d.io", "no", "from 203.0.113.4"]) == {"email": 2, "ip": 1}


@pytest.mark.parametrize("text", ["", "plain words", "@@@ 1 2 3", "::" * 50, "+" * 300, "1-" * 300])
def test_nothing_in_noise(text: str) -> None:
    assert find_pii(text) == ()


@pytest.mark.parametrize("kind", ["MOBILE", "FIXED_LINE"])
def test_example_numbers_of_all_countries(kind: str) -> None:
    """libphonenumber's own examples: international form always, national form beside a word."""
    import phonenumbers

    def share(form: int, frame: str) -> float:
        found = [
            any(one.kind == "phone" for one in find_pii(frame.format(text)))
            for region in phonenumbers.SUPPORTED_REGIONS
            if (number := phonenumbers.example_number_for_type(region, types[kind]))
            for text in [phonenumbers.format_number(number, form)]
        ]
        assert len(found) > 200
        return sum(found) / len(found)

    types = {"MOBILE": phonenumbers.PhoneNumberType.MOBILE,
             "FIXED_LINE": phonenumbers.PhoneNumberType.FIXED_LINE}  # fmt: skip
    forms = phonenumbers.PhoneNumberFormat
    assert share(forms.INTERNATIONAL, "Please update {} in the file.") == 1.0
    assert share(forms.E164, "Please update {} in the file.") == 1.0
    assert share(forms.NATIONAL, "My number is {}, thanks.") >= 0.85


@given(st.text(alphabet="ab1 0:.-@+()[]AKIA=/\n–", max_size=200))
def test_findings_are_ordered_apart_and_true_to_the_text(text: str) -> None:
    findings = find_pii(text)
    assert all(text[one.start : one.end] == one.text for one in findings)
    ends = [0, *(one.end for one in findings)]
    assert all(end <= one.start for end, one in zip(ends, findings, strict=False))


def test_long_texts_take_linear_time() -> None:
    import time

    text = "call 0171 3920001 or write a.b@c.org, key=abc123def456 " * 200

    def seconds(times: int) -> float:
        started = time.process_time()
        find_pii(text[: len(text) // 4] * times)
        return time.process_time() - started

    seconds(1)
    assert seconds(16) < 16 * 8 * max(seconds(1), 0.005)
