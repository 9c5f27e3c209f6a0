"""The closed set of answers that an adapter may give, and the words by which users mean each.

    # answers.yaml
    top ups: [top up, add money, load my account]
    currency: [exchange rate, foreign money]

A remark in a user's own words is understood when exactly one answer's words stand in it; longer
phrases win over shorter ones that they contain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from tensafe.data.records import Example
from tensafe.errors import DataError
from tensafe.evaluate.breakdown import closed_labels
from tensafe.evaluate.normalise import normalised, words

_MIN_REPEATS, _MAX_WORDS = 3, 12
# An answer that is rarer is a text of its own rather than one of a set.
_COVERED = 0.9


@dataclass(frozen=True)
class AnswerSet:
    """Allowed answers as they are written, by their normalised form, and users' words for each.

    Empty where the task's answers are free texts.
    """

    written: Mapping[str, str]
    phrases: Mapping[str, tuple[tuple[str, ...], ...]]

    def __bool__(self) -> bool:
        return bool(self.written)

    def exact(self, text: str) -> str | None:
        """The allowed answer that the text is, if it is one."""
        return self.written.get(normalised(text))

    def meant_by(self, remark: str, *, rejected: str = "") -> str | None:
        """The one answer that a remark speaks of, None when there are several or none.

        The rejected answer is not meant: who complains of it often names it.
        """
        exact = self.exact(remark)
        if exact is not None:
            return exact if normalised(exact) != normalised(rejected) else None
        said, hits = words(remark), dict[str, int]()
        for key, phrases in self.phrases.items():
            found = [len(phrase) for phrase in phrases if _holds(said, phrase)]
            if found and key != normalised(rejected):
                hits[key] = max(found)
        longest = max(hits.values(), default=0)
        best = [key for key, length in hits.items() if length == longest]
        return self.written[best[0]] if len(best) == 1 else None


def answer_set(earlier: Iterable[Example], file: Path | None) -> AnswerSet:
    """The answers of the earlier data, when nearly all belong to a closed set, and of the file.

    Raises:
        DataError: the file is no YAML mapping from answers to lists of words.
    """
    examples = [example for example in earlier if example.kind != "text"]
    labels = closed_labels(examples, min_repeats=_MIN_REPEATS, max_words=_MAX_WORDS)
    known = {normalised(e.reference): e.reference for e in examples}
    covered = sum(normalised(e.reference) in labels for e in examples)
    is_closed = bool(examples) and covered >= _COVERED * len(examples)
    written = {key: known[key] for key in labels} if is_closed else {}
    phrases: dict[str, tuple[tuple[str, ...], ...]] = {key: (words(key),) for key in written}
    for answer, said in (read_answers(file) if file is not None else {}).items():
        key = normalised(answer)
        written[key] = answer
        phrases[key] = (words(key), *(words(text) for text in said if words(text)))
    return AnswerSet(written, phrases)


def read_answers(path: Path) -> dict[str, tuple[str, ...]]:
    """The mapping of an answers file.

    Raises:
        DataError: it can't be read, or holds something else.
    """
    import yaml

    try:
        value: object = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{path}: not YAML: {error}") from error
    if not isinstance(value, dict) or not value:
        raise DataError(f"{path}: expected lines of the form `answer: [words users say, …]`")
    found: dict[str, tuple[str, ...]] = {}
    for answer, said in cast("dict[object, object]", value).items():
        listed = cast("list[object]", said) if isinstance(said, list) else []
        if not isinstance(answer, str) or not isinstance(said, list | None):
            raise DataError(f"{path}: {answer!r}: expected a list of words, or nothing")
        found[answer] = tuple(str(text) for text in listed)
    return found


def _holds(said: tuple[str, ...], phrase: tuple[str, ...]) -> bool:
    size = len(phrase)
    return any(said[i : i + size] == phrase for i in range(len(said) - size + 1))
