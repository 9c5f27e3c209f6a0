"""Personal data, secrets and licence text in outputs, in the form in which they are compared.

A match counts only when the same string stands in a training record.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tensafe.curate.pii import Finding, PiiKind, find_pii
from tensafe.curate.pii_numbers import digits_of

# Ids that name one record, whatever they are: recited, they give the record away like a secret.
_IDENTIFIER = re.compile(
    r"\b(?:[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{24,})\b",
    re.IGNORECASE,
)
_MARKER = re.compile(
    r"copyright (?:\(c\)|©|\d{4})|©\s?\d{4}|\ball rights reserved\b|\bspdx-license-identifier\b"
    r"|\blicensed under (?:the|a)\b|\bpermission is hereby granted\b"
    r"|\bgnu (?:affero |lesser )?general public license\b"
    r"|\bno part of this (?:book|publication|work)\b|\bmay not be reproduced\b"
    r"|\bcreative commons attribution\b|\bisbn(?:-1[03])?:? ?[\d-]{10,}",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Personal:
    """One match: its kind, the text as it stands, and the form in which it is compared."""

    kind: PiiKind
    text: str
    key: str


def personal_data(text: str) -> tuple[Personal, ...]:
    """Everything in `text` that looks like personal data, a secret or an id, each string once."""
    found: dict[str, Personal] = {}
    for finding in find_pii(text):
        key = _key(finding)
        found.setdefault(key, Personal(finding.kind, finding.text, key))
    for match in _IDENTIFIER.finditer(text):
        found.setdefault(match[0].lower(), Personal("secret", match[0], match[0].lower()))
    return tuple(found.values())


def licence_markers(text: str) -> tuple[str, ...]:
    """Phrases of copyright and licence notices in `text`, in lower case."""
    return tuple(match[0].lower() for match in _MARKER.finditer(text))


def _key(finding: Finding) -> str:
    if finding.kind in ("phone", "card", "ssn"):
        return digits_of(finding.text)
    return "".join(finding.text.split()).lower()
