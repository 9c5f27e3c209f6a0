"""The finder beside Presidio's recognizers, on the labelled texts."""

from __future__ import annotations

import pytest

from evidence._labelled_pii import LabelledText, Span, labelled_texts, measure
from tensafe.curate.pii import find_pii

KINDS = {
    "EMAIL_ADDRESS": "email", "PHONE_NUMBER": "phone", "CREDIT_CARD": "card", "IBAN_CODE": "iban",
    "US_SSN": "ssn", "IP_ADDRESS": "ip",
}  # fmt: skip


@pytest.mark.peer  # Presidio imports spaCy and torch: seconds, and some 440 MB.
def test_finds_what_presidio_finds_with_fewer_false_alarms() -> None:
    presidio = pytest.importorskip("presidio_analyzer")
    recognizers = presidio.predefined_recognizers
    tldextract = pytest.importorskip("tldextract")
    tldextract.extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    parts = [
        getattr(recognizers, name)()
        for name in ("EmailRecognizer", "PhoneRecognizer", "CreditCardRecognizer",
                     "IbanRecognizer", "UsSsnRecognizer", "IpRecognizer")
    ]  # fmt: skip

    def theirs(text: str) -> list[Span]:
        found = [
            (KINDS[hit.entity_type], hit.start, hit.end)
            for part in parts
            for hit in part.analyze(text, part.supported_entities, None) or []
            if hit.score >= 0.3
        ]
        return sorted(set(found))

    texts = [
        LabelledText(one.text, tuple(span for span in one.spans if span[0] != "secret"))
        for one in labelled_texts()
    ]
    own = measure(
        lambda text: [(f.kind, f.start, f.end) for f in find_pii(text) if f.kind != "secret"], texts
    )
    other = measure(theirs, texts)
    print(f"own {own.recall:.3f} {own.precision:.3f}")
    print(f"presidio {other.recall:.3f} {other.precision:.3f} {other.missed} {other.false}")
    assert own.recall >= other.recall
    assert own.precision >= other.precision
