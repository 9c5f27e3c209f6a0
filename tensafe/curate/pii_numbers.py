"""Numbers that name a person or a machine: phone, card, IBAN, SSN, IP address.

Digits alone prove nothing, so every kind needs two grounds: a layout, and a check digit, a
numbering plan or a word beside it that says what the number is.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Literal

NumberKind = Literal["phone", "card", "iban", "ssn", "ip"]
Span = tuple[int, int]

_BESIDE_CHARS = 40
# Not within sums ("4000-1500=2500") and not after a currency sign.
_PHONE = re.compile(r"(?<![\w.=*/<$€£#-])\+?\(?\d(?:[\s()/.–‑-]{0,3}\d){6,14}(?![\w*<>/.-]*[\w=])")
_PHONE_WORD = re.compile(
    r"\b(?:phones?|tel|telephone|telefon|teléfono|téléphone|call|callback|ring|rufen|ruf|appelez|"
    r"ll[aá]ma\w*|mobile|mobil|my cell|cellphone|handy|m[oó]vil|fax|whatsapp|dial|sms|"
    r"landline|switchboard|hotline|contact|reach|machine|number is)\b",
    re.IGNORECASE,
)
_OTHER_WORD = re.compile(
    r"\b(?:orders?|invoices?|rechnung|ref(?:erence)?|tracking|parcel|serial|isbn|version|case|part|"
    r"meter|reading|previous|customer no|account|article|model|section|article|doi|ean|nr|no)\b\.?",
    re.IGNORECASE,
)
_NO_PHONE = re.compile(
    r"\d+\.\d+|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|\d{4}[./-]\d{1,2}[./-]\d{1,2}|\d{4}\s?[-–/]\s?\d{4}"
)
_NANP = re.compile(r"(?:1[ .–‑-])?(?:\(\d{3}\)\s?|\d{3}[ .–‑-])\d{3}[ .–‑-]\d{4}")
# National numbers are tried in these numbering plans (ISO 3166 codes).
_REGIONS = ("US", "GB", "DE", "FR", "ES", "IT", "AT", "CH", "NL", "BE", "PL", "SE", "AU", "IN")
_CARD = re.compile(r"(?<![\d.-])\d(?:[ -]?\d){12,18}(?![\d]|[.-]\d)")
# Issuer prefixes of Visa, Mastercard, American Express, Discover, Diners, JCB, UnionPay, Maestro.
_ISSUER = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2[2-7]\d{14}|3[47]\d{13}|6(?:011|4[4-9]\d|5\d\d)\d{12}|"
    r"3(?:0[0-5]|[68]\d)\d{11}|35\d{14}|62\d{14,17}|(?:50|5[6-9]|6[37])\d{10,17}"
)
_IBAN = re.compile(
    r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b|\b[a-z]{2}\d{2}[a-z0-9]{11,30}\b"
)
# Length by country, of the IBAN registry (SWIFT, ISO 13616).
_IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AT": 20, "BA": 20, "BE": 16, "BG": 22, "BR": 29, "CH": 21, "CY": 28,
    "CZ": 24, "DE": 22, "DK": 18, "EE": 20, "ES": 24, "FI": 18, "FR": 27, "GB": 22, "GI": 23,
    "GR": 27, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IS": 26, "IT": 27, "KW": 30, "LI": 21,
    "LT": 20, "LU": 20, "LV": 21, "MC": 27, "MT": 31, "NL": 18, "NO": 15, "PL": 28, "PT": 25,
    "QA": 29, "RO": 24, "RS": 22, "SA": 24, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "TR": 26,
    "UA": 29,
}  # fmt: skip
_SSN = re.compile(
    r"(?<![\w.-])(?!000|666|9\d\d)\d{3}(?P<mark>[- ]?)(?!00)\d{2}(?P=mark)(?!0000)\d{4}"
    r"(?!\w|[.-]\d)"
)
_SSN_WORD = re.compile(r"\b(?:ssn|social(?: security)?|tax ?payer|tax id)\b", re.IGNORECASE)
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}(?![\w:])", re.IGNORECASE)
_VERSION_WORD = re.compile(
    r"\b(?:versions?|v|firmware|release|build|section|chapter|upgrade\w*|update\w*|abschnitt|"
    r"clause|schema|driver|kernel)[\s:./=]*(?:to |from )?$",
    re.IGNORECASE,
)


def number_spans(text: str) -> Iterator[tuple[NumberKind, Span]]:
    """Every number that names someone, kind by kind; spans of two kinds may overlap."""
    for match in _IBAN.finditer(text):
        if (span := _iban_span(match)) is not None:
            yield "iban", span
    for match in _CARD.finditer(text):
        if is_card(match[0]) and _ISSUER.fullmatch(digits_of(match[0])):
            yield "card", match.span()
    for match in _SSN.finditer(text):
        if _is_ssn(text, match):
            yield "ssn", match.span()
    for match in _IPV4.finditer(text):
        if is_address(match[0]) and not _VERSION_WORD.search(_before(text, match.start())):
            yield "ip", match.span()
    for match in _IPV6.finditer(text):
        if is_address(match[0]):
            yield "ip", match.span()
    for match in _PHONE.finditer(text):
        if _is_phone(text, match):
            # "(06196 908-1444)": the bracket belongs to the sentence.
            yield (
                "phone",
                (match.start() + (match[0][0] == "(" and ")" not in match[0]), match.end()),
            )


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
    plain = "".join(text.split()).upper()
    if not 15 <= len(plain) <= 34:
        return False
    rearranged = plain[4:] + plain[:4]
    return int("".join(str(int(char, 36)) for char in rearranged)) % 97 == 1


def is_address(text: str) -> bool:
    """An IP address that can belong to someone: not loopback, unspecified or broadcast."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if address.is_loopback or address.is_unspecified or text == "255.255.255.255":
        return False
    # "a::b" and "27:9:9:9:3:3:3:1" are addresses too; in real text they are code and ratios.
    groups = [group for group in text.split(":") if group]
    return address.version == 4 or (len(groups) >= 3 and any(len(group) >= 3 for group in groups))


def _iban_span(match: re.Match[str]) -> Span | None:
    """The span of the IBAN at the match: its country says how long it is."""
    length = _IBAN_LENGTHS.get(match[0][:2].upper())
    seen = 0
    for end, char in enumerate(match[0], 1):
        seen += char != " "
        if seen == length:
            return (match.start(), match.start() + end) if is_iban(match[0][:end]) else None
    return None


def _is_ssn(text: str, match: re.Match[str]) -> bool:
    beside = _before(text, match.start())
    if _SSN_WORD.search(beside):
        return True
    return match["mark"] == "-" and not _OTHER_WORD.search(beside)


def _is_phone(text: str, match: re.Match[str]) -> bool:
    if match[0].count("\n") > 1:
        return False
    number, beside = " ".join(match[0].split()), _before(text, match.start())
    digits = digits_of(number)
    if not 7 <= len(digits) <= 15 or len(set(digits)) < 2 or _NO_PHONE.fullmatch(number):
        return False
    if digits == number and len(digits) < 9:
        return False
    if number.startswith("+"):
        return _is_possible(number)
    is_called = _PHONE_WORD.search(beside) is not None
    if _OTHER_WORD.search(beside) and not is_called:
        return False
    if _NANP.fullmatch(number) or (is_called and digits == number and len(digits) == 10):
        return True
    if is_called and digits != number and len(digits) >= 8 and " / " not in number:
        return True
    has_layout = number.startswith(("0", "(0")) and digits != number and len(digits) >= 9
    return (is_called or has_layout) and any(_in_plan(number, region) for region in _REGIONS)


def _is_possible(number: str) -> bool:
    """A country code and a length that the country has: new ranges open faster than tables do."""
    import phonenumbers

    try:
        return phonenumbers.is_possible_number(phonenumbers.parse(number, None))
    except phonenumbers.NumberParseException:
        return False


def _in_plan(number: str, region: str) -> bool:
    import phonenumbers

    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(number, region))
    except phonenumbers.NumberParseException:
        return False


def _before(text: str, start: int) -> str:
    return text[max(0, start - _BESIDE_CHARS) : start]
