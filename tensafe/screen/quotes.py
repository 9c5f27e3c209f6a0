"""Data quoted in a text that is to be published, such as a creator's own skill document.

Compared are runs of words, whole short messages, and personal data. Text that several examples
share (a standard reply, a label) is no record and may be quoted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tensafe.data.records import Example, Message
from tensafe.errors import DataError
from tensafe.screen.config import IpLimits
from tensafe.screen.ip import count_holders
from tensafe.screen.personal import personal_data
from tensafe.screen.runs import record_runs, run_words, runs_of

# Fewer words than this say nothing of where they come from.
MIN_MESSAGE_WORDS = 5


@dataclass(frozen=True)
class Quote:
    """What a line of the text repeats: its number (from 1), and where the words stand in the data.

    `what` describes the match without repeating it.
    """

    line: int
    what: str
    source: str
    place: str


def quotes(
    text: str,
    examples: Sequence[Example],
    limits: IpLimits | None = None,
    *,
    allowed: Sequence[str] = (),
) -> list[Quote]:
    """Every line of `text` that repeats an example's words or personal data.

    Args:
        allowed: strings that may stand in the text although the data holds them (a creator's own
            address).
    """
    limits = limits or IpLimits()
    messages = [_message(e, m["content"]) for e in examples for m in e.messages]
    found = [
        *_runs(text, messages, limits),
        *_whole_messages(text, messages, limits),
        *_personal(text, examples, limits, allowed),
    ]
    return sorted(found, key=lambda quote: quote.line)


def require_no_quotes(
    name: str, text: str, examples: Sequence[Example], *, allowed: Sequence[str] = ()
) -> None:
    """Refuse a text that quotes the data.

    Raises:
        DataError: names line, kind of match, and where it stands in the data.
    """
    found = quotes(text, examples, allowed=allowed)
    if not found:
        return
    first = found[0]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    raise DataError(
        f"{name}, line {first.line}: repeats {first.what} of the run's data ({first.source}, "
        f"{first.place}){more}: a package is public, so say it in other words"
    )


def _message(example: Example, content: str) -> Example:
    turn = Message(role=example.messages[-1]["role"], content=content)
    return Example((turn,), example.source, example.place, example.group, example.kind)


def _lines(text: str) -> tuple[list[str], list[int]]:
    """All words of the text with the line each stands on: a quote may run over a line's end."""
    words: list[str] = []
    lines: list[int] = []
    for number, line in enumerate(text.split("\n"), 1):
        own = run_words(line)
        words += own
        lines += [number] * len(own)
    return words, lines


def _runs(text: str, messages: Sequence[Example], limits: IpLimits) -> list[Quote]:
    words, lines = _lines(text)
    size = limits.min_run_words
    known = record_runs(
        messages, set(runs_of(words, size)), size=size, common=limits.common_examples
    ).holders
    found: list[Quote] = []
    last = -size
    for start, run in enumerate(runs_of(words, size)):
        holder = known.get(run)
        if holder is None:
            continue
        if start > last + 1:
            what = f"{size} words or more"
            found.append(Quote(lines[start], what, holder.source, holder.place))
        last = start
    return found


def _whole_messages(text: str, messages: Sequence[Example], limits: IpLimits) -> list[Quote]:
    """Messages too short for a run that the text holds from first to last word."""
    words, lines = _lines(text)
    places = {
        run: start
        for size in range(MIN_MESSAGE_WORDS, limits.min_run_words)
        for start, run in enumerate(runs_of(words, size))
    }
    counts: Counter[tuple[str, ...]] = Counter()
    holders: dict[tuple[str, ...], Example] = {}
    for message in messages:
        whole = tuple(run_words(message.reference))
        if whole in places:
            counts[whole] += 1
            holders.setdefault(whole, message)
    return [
        Quote(lines[places[whole]], "a whole message", holders[whole].source, holders[whole].place)
        for whole, count in counts.items()
        if count < limits.common_examples
    ]


def _personal(
    text: str, examples: Sequence[Example], limits: IpLimits, allowed: Sequence[str]
) -> list[Quote]:
    excused = {item.key for entry in allowed for item in personal_data(entry)}
    numbered = [
        (number, item)
        for number, line in enumerate(text.split("\n"), 1)
        for item in personal_data(line)
        if item.key not in excused
    ]
    counts = count_holders(examples, {item.key for _, item in numbered})
    return [
        Quote(
            number, f"personal data ({item.kind})", "training data", f"{counts[item.key]} records"
        )
        for number, item in numbered
        if 0 < counts[item.key] < limits.common_examples
    ]
