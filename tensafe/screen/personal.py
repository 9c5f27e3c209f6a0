"""Personal data, secrets and licence text in outputs, by pattern and check digit.

Patterns are for recognising what training data gave away, not for finding all personal data: a
match counts only when the same string stands in a training record.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

PersonalKind = Literal["email", "phone", "card", "iban", "ssn", "secret"]
_EMAIL = re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}\b", re.IGNORECASE)
# Not within sums ("4000-1500=2500") and not after a currency sign.
_PHONE = re.compile(r"(?<![\w.=*/<$€£-])\+?\(?\d(?:[\s()/.-]{0,2}\d){6,14}(?![\w=*<>/.-]*[\w=])")
_GROUPED = re.compile(r"\d{2,4}(?:[ ./-]\d{2,4}){2,4}")
_CARD = re.compile(r"(?<!\d)(?:\d[ -]?){12,18}\d(?!\d)")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?:\s?[A-Z0-9]{4}){2,7}(?:\s?[A-Z0-9]{1,3})?\b")
_SSN = re.compile(r"\b(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}\b")
_SECRET = re.compile(
    r"\b(?:AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{16,}|"
    r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{24,})\b",
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

    kind: PersonalKind
    text: str
    key: str


def personal_data(text: str) -> tuple[Personal, ...]:
    """Everything in `text` that looks like personal data or a secret, each string once."""
    found: dict[str, Personal] = {}

    def add(kind: PersonalKind, raw: str, key: str) -> None:
        found.setdefault(key, Personal(kind, raw.strip(), key))

    for match in _EMAIL.finditer(text):
        add("email", match[0], match[0].lower())
    for match in _SECRET.finditer(text):
        add("secret", match[0], match[0].lower())
    for match in _IBAN.finditer(text):
        if is_iban(match[0]):
            add("iban", match[0], _plain(match[0]))
    for match in _SSN.finditer(text):
        add("ssn", match[0], digits_of(match[0]))
    for match in _CARD.finditer(text):
        if is_card(match[0]):
            add("card", match[0], digits_of(match[0]))
    for match in _PHONE.finditer(text):
        digits = digits_of(match[0])
        # Numbers without a sign of a phone are spans of years, prices, quantities and the like.
        is_marked = match[0].startswith(("+", "(", "0"))
        is_phone = is_marked or (len(digits) >= 9 and _GROUPED.fullmatch(match[0]) is not None)
        if is_phone and len(digits) <= 15 and len(set(digits)) > 1:
            add("phone", match[0], digits)
    return tuple(found.values())


def licence_markers(text: str) -> tuple[str, ...]:
    """Phrases of copyright and licence notices in `text`, in lower case."""
    return tuple(match[0].lower() for match in _MARKER.finditer(text))


def digits_of(text: str) -> str:
    """The digits of `text`, in order."""
    return "".join(char for char in text if char.isdigit())


def is_card(text: str) -> bool:
    """13 to 19 digits with a valid Luhn check digit (ISO/IEC 7812-1)."""
    digits = [int(char) for char in digits_of(text)]
    if not 13 <= len(digits) <= 19:
        return False
    doubled = [d if i % 2 == 0 else sum(divmod(2 * d, 10)) for i, d in enumerate(digits[::-1])]
    return sum(doubled) % 10 == 0 and len(set(digits)) > 1


def is_iban(text: str) -> bool:
    """15 to 34 characters whose rearranged number is 1 modulo 97 (ISO 13616)."""
    plain = _plain(text)
    if not 15 <= len(plain) <= 34:
        return False
    rearranged = plain[4:] + plain[:4]
    return int("".join(str(int(char, 36)) for char in rearranged)) % 97 == 1


def _plain(text: str) -> str:
    return re.sub(r"\s", "", text).upper()
