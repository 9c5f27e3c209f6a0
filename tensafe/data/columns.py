"""Finds out which columns of a table are the question and which one is the answer.

Two kinds of evidence, names and content, neither trusted alone: a column called `text` may hold
ids, and a column of long text may be HTML. What was decided is said in words, and can be
overridden by name (`ColumnChoice`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

ColumnKind = Literal["text", "number", "date", "url", "html", "nested", "empty"]

# In order of how surely the name says it.
QUESTION_NAMES = (
    "question", "instruction", "prompt", "query", "problem", "user message", "customer message",
    "user", "human", "ask", "q", "utterance", "message", "text", "sentence", "goal", "input",
    "request", "inquiry", "complaint", "issue", "description", "body", "content", "review",
    "tweet", "post", "comment", "document", "article", "subject", "title", "term", "front",
)  # fmt: skip
ANSWER_NAMES = (
    "answer", "response", "completion", "output", "reply", "agent reply", "agent response",
    "assistant", "target", "solution", "resolution", "bot", "a", "expected", "expected output",
    "ground truth", "chosen answer", "final answer", "answers", "summary", "translation",
    "definition", "back",
)  # fmt: skip
LABEL_NAMES = (
    "label", "category", "intent", "class", "department", "topic", "sentiment", "tag", "queue",
    "label text", "label name", "type", "team", "priority", "emotion", "language", "stars",
)  # fmt: skip
CONTEXT_NAMES = ("context", "passage", "background", "paragraph", "reference text")
SYSTEM_NAMES = ("system", "system prompt", "system message")
# Where a row is from, not what it says: an answer only when a user names it.
PROVENANCE_NAMES = (
    "source", "dataset", "split", "file", "filename", "link", "author", "annotator", "name", "id",
    "lang", "country", "region", "city",
)  # fmt: skip
# A title adds to a message where both are there, and stands for nothing where it is alone.
_TITLE_NAMES = ("subject", "title")
_BODY_NAMES = ("body", "message", "description", "text", "content", "customer message", "request")

_URL = re.compile(r"^\s*(?:https?://|www\.)\S+\s*$")
_HTML = re.compile(r"<(?:p|div|br|span|a|ul|li|h\d|table|strong|em|b)\b[^>]*>", re.IGNORECASE)
_DATE = re.compile(
    r"^\s*(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4})"
    r"(?:[T ]\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?)?(?:Z|[+-]\d{2}:?\d{2})?\s*$"
)


@dataclass(frozen=True)
class ColumnChoice:
    """The columns a user named; an empty field is inferred."""

    questions: tuple[str, ...] = ()
    answer: str | None = None
    context: str | None = None
    system: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Every column that was named."""
        single = (self.answer, self.context, self.system)
        return self.questions + tuple(name for name in single if name)


@dataclass(frozen=True)
class ColumnMapping:
    """Which columns are what. `reason` says on what grounds, for people."""

    questions: tuple[str, ...]
    answer: str
    context: str | None
    system: str | None
    reason: str
    layout: Literal["pair", "instruction", "label", "given"]

    @property
    def sentence(self) -> str:
        """The mapping in words."""
        asked = " + ".join(repr(name) for name in self.questions)
        parts = [f"question = {asked}", f"answer = {self.answer!r}"]
        if self.context:
            parts.append(f"context = {self.context!r}")
        if self.system:
            parts.append(f"system = {self.system!r}")
        return f"{', '.join(parts)} ({self.reason})"


@dataclass(frozen=True)
class ColumnProfile:
    """What a sample of a column's cells looks like."""

    name: str
    kind: ColumnKind
    filled: int
    distinct: int
    mean_words: float
    mean_chars: float
    question_share: float

    @property
    def is_label(self) -> bool:
        """Few values that come back again and again, short enough to be names."""
        repeated = self.filled >= 10 and self.distinct <= max(2, self.filled // 4)
        return self.distinct >= 2 and repeated and self.mean_words <= 6 and self.mean_chars <= 60


@lru_cache(maxsize=4096)
def plain_name(name: str) -> str:
    """A column name in lower-case words: `CustomerMessage` and `customer_message` agree."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name.strip())
    return re.sub(r"[^a-z0-9]+", " ", spaced.lower()).strip()


def profile_columns(rows: Sequence[Mapping[str, object]]) -> list[ColumnProfile]:
    """Profiles of all columns that occur in the rows, in order of first occurrence."""
    names: dict[str, None] = {}
    for row in rows:
        for name in row:
            names.setdefault(name)
    return [_profile(name, [row.get(name) for row in rows]) for name in names]


def _profile(name: str, cells: Sequence[object]) -> ColumnProfile:
    if any(isinstance(cell, (list, dict)) for cell in cells):
        return ColumnProfile(name, "nested", len(cells), 0, 0.0, 0.0, 0.0)
    texts = [text for cell in cells if (text := cell_text(cell))]
    if texts and all(isinstance(cell, bool) or cell is None for cell in cells):
        return ColumnProfile(name, "number", len(texts), len(set(texts)), 1.0, 4.0, 0.0)
    if not texts:
        return ColumnProfile(name, "empty", 0, 0, 0.0, 0.0, 0.0)
    count = len(texts)
    return ColumnProfile(
        name=name,
        kind=_kind(texts),
        filled=count,
        distinct=len(set(texts)),
        mean_words=sum(len(text.split()) for text in texts) / count,
        mean_chars=sum(len(text) for text in texts) / count,
        question_share=sum(text.rstrip().endswith("?") for text in texts) / count,
    )


def cell_text(cell: object) -> str:
    """A scalar cell as trimmed text; nothing, nested values and undecodable bytes give ''."""
    if cell is None or isinstance(cell, (list, dict)):
        return ""
    if isinstance(cell, bytes):
        try:
            return cell.decode("utf-8").strip()
        except UnicodeDecodeError:
            return ""
    if isinstance(cell, float) and cell != cell:
        return ""
    return str(cell).strip()


def _kind(texts: Sequence[str]) -> ColumnKind:
    checks: tuple[tuple[ColumnKind, re.Pattern[str]], ...] = (
        ("url", _URL), ("date", _DATE), ("html", _HTML),
    )  # fmt: skip
    for kind, pattern in checks:
        if sum(bool(pattern.search(text)) for text in texts) > 0.5 * len(texts):
            return kind
    letters = Counter(any(char.isalpha() for char in text) for text in texts)
    return "text" if letters[True] > 0.5 * len(texts) else "number"


def infer_mapping(
    rows: Sequence[Mapping[str, object]], choice: ColumnChoice
) -> ColumnMapping | str:
    """The mapping for a table of which `rows` is a sample, or the reason why there is none."""
    profiles = {profile.name: profile for profile in profile_columns(rows)}
    named = [name for name in choice.names if name in profiles]
    questions = tuple(name for name in choice.questions if name in profiles)
    answer = choice.answer if choice.answer in profiles else None
    context = _single(profiles, choice.context, CONTEXT_NAMES)
    system = _single(profiles, choice.system, SYSTEM_NAMES)
    taken = {name for name in (*questions, answer, context, system) if name}
    if questions and answer:
        return ColumnMapping(questions, answer, context, system, "as given", "given")
    if _is_preference(profiles.values(), rows):
        return "preference"
    reason = f"{' and '.join(repr(name) for name in named)} given, the rest " if named else ""
    asked = questions or _find_questions(profiles, taken | ({answer} if answer else set()))
    if not asked:
        asked = _questions_by_content(profiles, taken)
        by_name = False
    else:
        by_name = True
    if not asked:
        return _no_mapping(profiles)
    found = (answer, "pair") if answer else _find_answer(profiles, taken | set(asked))
    if found is None:
        return _no_mapping(profiles)
    answer, layout = found
    how = "by name and content" if by_name else "by content"
    if layout == "label":
        count = profiles[answer].distinct
        how += f"; {answer!r} holds {count} labels in the first {len(rows)} rows"
    if layout == "pair" and plain_name(asked[0]) == "instruction" and not questions:
        asked, layout = _with_input(profiles, asked, taken)
    return ColumnMapping(asked, answer, context, system, reason + how, layout)


def _single(
    profiles: Mapping[str, ColumnProfile], given: str | None, names: Sequence[str]
) -> str | None:
    if given in profiles:
        return given
    for name, profile in profiles.items():
        if plain_name(name) in names and profile.kind == "text":
            return name
    return None


def _find_questions(profiles: Mapping[str, ColumnProfile], taken: set[str]) -> tuple[str, ...]:
    usable = {
        plain_name(name): name
        for name, profile in profiles.items()
        if profile.kind == "text" and name not in taken and profile.filled
    }
    title = next((usable[name] for name in _TITLE_NAMES if name in usable), None)
    body = next((usable[name] for name in _BODY_NAMES if name in usable), None)
    surest = next((name for name in QUESTION_NAMES if name in usable), None)
    if surest is None:
        return ()
    if title and body and surest in (*_TITLE_NAMES, *_BODY_NAMES):
        order = list(profiles)
        return tuple(sorted((title, body), key=order.index))
    return (usable[surest],)


def _questions_by_content(
    profiles: Mapping[str, ColumnProfile], taken: set[str]
) -> tuple[str, ...]:
    """The first column that reads like sentences and hardly repeats."""
    for name, profile in profiles.items():
        wordy = profile.kind == "text" and profile.mean_words >= 3
        if name not in taken and wordy and profile.distinct >= 0.5 * profile.filled:
            return (name,)
    return ()


def _find_answer(
    profiles: Mapping[str, ColumnProfile], taken: set[str]
) -> tuple[str, Literal["pair", "label"]] | None:
    free = {
        plain_name(name): profile
        for name, profile in profiles.items()
        if name not in taken and profile.filled
    }
    for name in ANSWER_NAMES:
        if name in free:
            return free[name].name, "label" if free[name].is_label else "pair"
    for name in LABEL_NAMES:
        if name in free and free[name].kind in ("text", "number"):
            return free[name].name, "label"
    texts = [
        profile
        for name, profile in free.items()
        if profile.kind == "text" and name not in PROVENANCE_NAMES
    ]
    labels = [profile for profile in texts if profile.is_label]
    wordy = [profile for profile in texts if profile.mean_words >= 3 and not profile.is_label]
    if len(wordy) == 1:
        return wordy[0].name, "pair"
    if not wordy and len(labels) == 1:
        return labels[0].name, "label"
    return None


def _with_input(
    profiles: Mapping[str, ColumnProfile], asked: tuple[str, ...], taken: set[str]
) -> tuple[tuple[str, ...], Literal["pair", "instruction"]]:
    for name in profiles:
        if plain_name(name) == "input" and name not in taken:
            return (*asked, name), "instruction"
    return asked, "pair"


def _is_preference(
    columns: Collection[ColumnProfile], rows: Sequence[Mapping[str, object]]
) -> bool:
    """Tables that compare two texts and say in a third column which one is better."""
    names = {plain_name(profile.name) for profile in columns}
    if {"chosen", "rejected"} <= names:
        return True
    texts = [plain_name(profile.name) for profile in columns if profile.mean_words >= 3]
    for profile in columns:
        values = {cell_text(row.get(profile.name)).lower() for row in rows} - {""}
        if len(values) == 2 and values <= set(texts):
            return True
    return False


def _no_mapping(profiles: Mapping[str, ColumnProfile]) -> str:
    shown = ", ".join(f"{p.name!r} ({p.kind})" for p in list(profiles.values())[:12])
    more = f" and {len(profiles) - 12} more" if len(profiles) > 12 else ""
    return f"no question and answer among its columns: {shown}{more}"
