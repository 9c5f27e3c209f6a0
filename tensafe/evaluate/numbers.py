"""Numbers in answers: reading them with sign, separators, percent and unit, and comparing them.

Refuses to guess: an answer that names several different numbers states none of them.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_CURRENCY = {"$": "usd", "€": "eur", "£": "gbp", "¥": "jpy", "₹": "inr"}
_UNIT_ALIASES = {
    "dollar": "usd", "us dollar": "usd", "euro": "eur", "pound sterling": "gbp",
    "rupee": "inr", "yen": "jpy",
    "percent": "%", "per cent": "%", "pct": "%",
    "hr": "hour", "h": "hour", "min": "minute", "sec": "second", "s": "second", "yr": "year",
    "kilometre": "km", "kilometer": "km", "metre": "m", "meter": "m", "centimetre": "cm",
    "centimeter": "cm", "millimetre": "mm", "millimeter": "mm", "mile": "mi",
    "kilogram": "kg", "gram": "g", "milligram": "mg", "litre": "l", "liter": "l",
    "gigabyte": "gb", "megabyte": "mb", "kilobyte": "kb", "celsius": "°c", "degree celsius": "°c",
}  # fmt: skip
# A unit written without a blank must be one of these: "2FA" or "B2B" is a name, not a quantity.
_ATTACHED = (
    frozenset(_UNIT_ALIASES)
    | frozenset(_UNIT_ALIASES.values())
    | frozenset({"st", "nd", "rd", "th", "day", "week", "month", "tb", "kw", "kwh", "w", "v"})
    | frozenset({"hz", "mhz", "ghz", "ms", "ml", "°f"})
)
_SCALES = {"thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}
_WORDS = {
    "zero": 0.0, "one": 1.0, "two": 2.0, "three": 3.0, "four": 4.0, "five": 5.0, "six": 6.0,
    "seven": 7.0, "eight": 8.0, "nine": 9.0, "ten": 10.0, "eleven": 11.0, "twelve": 12.0,
}  # fmt: skip
_NUMBER = re.compile(
    r"(?<![\w.,])(?P<sign>[-+−]?)\s?(?P<currency>[$€£¥₹]?)\s?(?P<sign2>[-−]?)"
    r"(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d{1,3}(?:\.\d{3})+,\d+|\d+,\d{1,2}(?!\d)|\d*\.?\d+)"
    r"(?:\s(?P<scale>thousand|million|billion|trillion)\b)?"
    r"\s?(?P<unit>[$€£¥₹%]|°\s?[cf]\b|(?:us dollars?|per cent|degrees? celsius)\b|[a-z]+\b)?",
    re.IGNORECASE,
)
# Words after a number that are not its unit ("12 and 14", "5 to 7").
_NOT_UNITS = frozenset(
    {
        "a", "an", "and", "are", "as", "at", "be", "but", "by", "each", "for", "from", "if", "in",
        "is", "it", "of", "on", "or", "per", "so", "than", "that", "the", "then", "there", "this",
        "to", "was", "were", "which", "will", "with", "x",
    }
)  # fmt: skip
_FINAL_MARK = re.compile(r"####\s*(.+)")


@dataclass(frozen=True)
class Quantity:
    """A number and its unit in a canonical spelling ("" when it has none)."""

    value: float
    unit: str


def quantities(text: str) -> tuple[Quantity, ...]:
    """Every number in `text`, in order; number words up to twelve only where no digit stands."""
    found = tuple(_quantity(match) for match in _NUMBER.finditer(text))
    if found:
        return found
    tokens = re.findall(r"[a-z]+", text.lower())
    return tuple(
        Quantity(_WORDS[token], _unit(tokens[i + 1]) if i + 1 < len(tokens) else "")
        for i, token in enumerate(tokens)
        if token in _WORDS
    )


def sole_quantity(text: str) -> Quantity | None:
    """The number that `text` consists of ("-3", "$1,200.50", "5 %", "12 days"), or None."""
    stripped = text.strip().rstrip(".!").strip()
    match = _NUMBER.fullmatch(stripped)
    if match is None:
        return None
    unit = match["unit"] or ""
    is_attached = unit.isalpha() and not stripped[: match.start("unit")].endswith((" ", "\u00a0"))
    if unit.lower() in _NOT_UNITS or (is_attached and _unit(unit) not in _ATTACHED):
        return None
    return _quantity(match)


def final_number(text: str) -> Quantity | None:
    """The number after the last `####`, or else the last number: how worked solutions end."""
    marks = _FINAL_MARK.findall(text)
    found = quantities(marks[-1] if marks else text)
    return (found[0] if marks else found[-1]) if found else None


def has_final_mark(text: str) -> bool:
    """True when `text` ends in a worked solution's `#### number`."""
    marks = _FINAL_MARK.findall(text)
    return bool(marks) and sole_quantity(marks[-1]) is not None


def is_same_quantity(answer: Quantity, reference: Quantity) -> bool:
    """Equal within 1e-12 relative; a missing unit is forgiven, another unit is not.

    5 % equals 0.05 without a unit, as well as 5 without a unit.
    """
    if answer.unit == reference.unit:
        return _close(answer.value, reference.value)
    if answer.unit and reference.unit:
        return False
    values = {answer.value, answer.value / 100.0} if answer.unit == "%" else {answer.value}
    targets = {reference.value}
    if reference.unit == "%":
        targets.add(reference.value / 100.0)
    return any(_close(value, target) for value in values for target in targets)


def states_quantity(answer: str, reference: Quantity) -> bool:
    """True when the one number that `answer` states equals `reference`.

    Numbers with another unit than the reference's are not counted as statements when some
    number has the reference's unit; two different counted numbers state nothing.
    """
    found = quantities(answer)
    if reference.unit and any(q.unit == reference.unit for q in found):
        found = tuple(q for q in found if q.unit == reference.unit)
    if not found or any(not _close(q.value, found[0].value) for q in found):
        return False
    return any(is_same_quantity(q, reference) for q in found)


def _close(left: float, right: float) -> bool:
    return math.isclose(left, right, rel_tol=1e-12, abs_tol=1e-12)


def _quantity(match: re.Match[str]) -> Quantity:
    digits = match["digits"]
    if "," in digits:
        last = max(digits.rfind(","), digits.rfind("."))
        is_decimal_comma = digits[last] == "," and len(digits) - last - 1 != 3
        digits = digits.replace(".", "") if is_decimal_comma else digits.replace(",", "")
        digits = digits.replace(",", ".")
    value = float(digits) * _SCALES.get((match["scale"] or "").lower(), 1.0)
    if match["sign"] in ("-", "−") or match["sign2"]:
        value = -value
    unit = match["unit"] or match["currency"] or ""
    return Quantity(value, _unit(unit))


def _unit(raw: str) -> str:
    unit = re.sub(r"\s+", " ", raw.strip().lower())
    if unit in _NOT_UNITS or unit in _WORDS:
        return ""
    unit = _CURRENCY.get(unit, unit)
    if unit not in _UNIT_ALIASES and len(unit) > 3 and unit.endswith("s"):
        unit = unit[:-1]
    return _UNIT_ALIASES.get(unit, unit)
