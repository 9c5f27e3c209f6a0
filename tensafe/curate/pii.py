"""Personal data and secrets in texts: found always, replaced by typed marks on request.

Kinds: e-mail and IP addresses, phone, card, IBAN and US social security numbers, and secrets
(passwords, keys, tokens). Names, postal addresses and everything that only meaning gives away are
not found; a text without findings is not proved clean.

from tensafe.curate.pii import find_pii, redact

redact("Mail anna@example.org").text  # "Mail [EMAIL]"
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from tensafe.curate.pii_numbers import number_spans
from tensafe.curate.pii_secrets import secret_spans

PiiKind = Literal["email", "phone", "card", "iban", "ssn", "ip", "secret"]
# Where two findings overlap, the earlier kind in this order stands.
PII_KINDS: tuple[PiiKind, ...] = ("secret", "email", "iban", "card", "ssn", "ip", "phone")

_EMAIL = re.compile(
    r"(?<![\w.+/-])[a-z0-9](?:[\w.+'-]*[\w+-])?@(?:[a-z0-9-]+\.)+[a-z]{2,24}\b(?!:[\w./-]+/|\.\w)",
    re.IGNORECASE,
)
# Endings of file names that follow an @ in names of pictures and packages ("icon@2x.png").
_FILE_ENDING = re.compile(
    r"\.(?:png|jpe?g|gif|svg|webp|js|css|py|zip|tgz|whl|html?)$", re.IGNORECASE
)
# Nothing that is looked for does without one of these; most short texts have none.
_WORTH_A_LOOK = re.compile(r"[\d@]|PRIVATE KEY|[A-Za-z_]{24}")


@dataclass(frozen=True)
class Finding:
    """One string that was found: `text[start:end]` of the text that was searched."""

    kind: PiiKind
    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Redaction:
    """A text with marks in place of what was found, and what was found."""

    text: str
    findings: tuple[Finding, ...]


def find_pii(text: str) -> tuple[Finding, ...]:
    """All findings in order of their place; none overlap."""
    if not _WORTH_A_LOOK.search(text):
        return ()
    spans = sorted(_spans(text), key=lambda one: (PII_KINDS.index(one[0]), one[1] - one[2], one[1]))
    kept: list[Finding] = []
    taken = bytearray(len(text))
    for kind, start, end in spans:
        if not any(taken[start:end]):
            taken[start:end] = b"\x01" * (end - start)
            kept.append(Finding(kind, start, end, text[start:end]))
    return tuple(sorted(kept, key=lambda finding: finding.start))


def redact(text: str) -> Redaction:
    """The text with each finding replaced by its mark, such as `[EMAIL]`."""
    findings = find_pii(text)
    parts: list[str] = []
    done = 0
    for finding in findings:
        parts += [text[done : finding.start], f"[{finding.kind.upper()}]"]
        done = finding.end
    return Redaction("".join((*parts, text[done:])), findings)


def count_pii(texts: Iterable[str]) -> Counter[str]:
    """Findings by kind over all texts."""
    return Counter(finding.kind for text in texts for finding in find_pii(text))


def _spans(text: str) -> Iterator[tuple[PiiKind, int, int]]:
    for start, end in secret_spans(text):
        yield "secret", start, end
    for match in _EMAIL.finditer(text):
        if not _FILE_ENDING.search(match[0]):
            yield "email", match.start(), match.end()
    for kind, (start, end) in number_spans(text):
        yield kind, start, end
