"""Numbers, times and texts as a report shows them. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import cast

LONGEST_QUOTE = 900

_LABELS = {
    "test_size": "items tested",
    "base_score": "base score",
    "exact_share": "answered exactly",
    "left_out_close_to_training": "left out: too close to training",
    "left_out_text": "left out: plain text, no question",
    "test_digest": "test data",
    "interval": "95 % interval",
    "base_interval": "95 % interval of the base",
    "p_value": "p-value",
    "test": "paired test",
    "reference": "weight reference",
    "delta": "delta",
    "lora_train": "trained under noise",
    "max_epsilon": "promised epsilon",
    "record_set": "training records",
    "ledger_digest": "ledger",
    "earlier_releases": "earlier packages on these records",
    "dp": "differential privacy",
    "lot": "lot (mean examples per step)",
    "qa_threshold": "qa_verify threshold",
    "svd_analysis": "SVD analysis",
    "mahalanobis_ood": "Mahalanobis OOD",
    "ip": "IP",
}


def label(name: str) -> str:
    """A field's name in words."""
    return _LABELS.get(name, name.replace("_", " "))


def share(value: float) -> str:
    """A score in [0, 1] with three places."""
    return f"{value:.3f}"


def signed(value: float) -> str:
    """A difference of scores with its sign; a true minus, as in print."""
    return f"{value:+.3f}".replace("-", "−")


def p_value(value: float) -> str:
    """A p-value; below a thousandth its exact size says nothing more."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"


def number(value: float) -> str:
    """Any figure, to four significant digits where it has more."""
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:.4g}"


def size(byte_count: int) -> str:
    """Bytes in the unit a person would choose."""
    amount = float(byte_count)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.3g} GB"


def duration(seconds: float) -> str:
    """Whole seconds below two minutes, minutes below two hours, then hours."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def moment(timestamp: float) -> str:
    """Seconds since the epoch as date and time in UTC."""
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M UTC")


def value_text(value: object) -> str:
    """A value of a record in one line of text."""
    if value is None or value == "" or value == ():
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number(value)
    if isinstance(value, Mapping):
        parts = cast("Mapping[object, object]", value).items()
        return ", ".join(f"{label(str(k))} {value_text(v)}" for k, v in parts) or "none"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(value_text(part) for part in cast("Sequence[object]", value)) or "none"
    return str(value)


def quote(text: str, longest: int = LONGEST_QUOTE) -> str:
    """A text of the data, cut where it is very long, with a word on how much is missing."""
    if len(text) <= longest:
        return text
    return f"{text[:longest]} … ({len(text) - longest:,} more characters)"
