"""What is in the data, before anything is done with it.

Formats, volume, layouts, columns and their mapping, languages, duplicates, personal data and
secrets, the field of knowledge, estimated tokens, and what can't be read. Everything but language
and field is counted on all examples; those two on a sample that depends on content alone.
"""

from __future__ import annotations

import hashlib
import heapq
import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from tensafe.data.domains import UNKNOWN, DomainGuess, classify_domain
from tensafe.data.extraction import Extraction, ReadOptions, extract
from tensafe.data.files import SourceFile, find_files
from tensafe.data.languages import SHORT, UNCLEAR, language_of
from tensafe.data.layouts import PREFERENCE, Skipped
from tensafe.data.records import Example, Unreadable

Layout = Literal["Q&A", "chat", "preference", "plain text", "classification", "none"]
# English prose under byte-pair vocabularies; a rough figure for planning, called an estimate.
_CHARS_PER_TOKEN = 4
_IDEOGRAPH = re.compile("[\u2e80-\U0010ffff]")
_SAMPLE_EXAMPLES = 300
_LABEL_CHARS = 60
# Labels come back: ten examples a label on average, and a handful of words each.
_EXAMPLES_PER_LABEL = 10


@dataclass(frozen=True)
class FileAnalysis:
    """One file. `examples` counts by kind before curation, `skipped` by reason.

    `languages` counts a sample of at most 300 examples; `duplicates` counts the examples that a
    file before this one, or this one, already had but for case, spacing and punctuation.
    """

    name: str
    format: str
    detail: str
    size_bytes: int
    records: int
    columns: tuple[str, ...]
    mapping: str
    layout: Layout
    examples: dict[str, int]
    skipped: dict[str, int]
    languages: dict[str, int]
    duplicates: int
    pii: dict[str, int]
    estimated_tokens: int
    unreadable: tuple[Unreadable, ...]

    @property
    def language(self) -> str | None:
        """The language of most texts that are long enough to show one."""
        return main_language(self.languages)


@dataclass(frozen=True)
class Analysis:
    """A file or a folder. `left_out` are files that no reader takes."""

    path: str
    files: tuple[FileAnalysis, ...]
    left_out: tuple[Unreadable, ...]
    domain: DomainGuess = UNKNOWN

    @property
    def examples(self) -> dict[str, int]:
        """Examples of all files by kind, before curation."""
        return _total(file.examples for file in self.files)

    @property
    def pii(self) -> dict[str, int]:
        """Findings of personal data and secrets by kind, over all files."""
        return _total(file.pii for file in self.files)

    @property
    def languages(self) -> dict[str, int]:
        """Sampled texts of all files by language."""
        return _total(file.languages for file in self.files)

    @property
    def formats(self) -> dict[str, int]:
        """Number of files by format."""
        return dict(sorted(Counter(file.format for file in self.files).items()))

    @property
    def duplicates(self) -> int:
        """Examples that are repeated, within and across files."""
        return sum(file.duplicates for file in self.files)

    @property
    def estimated_tokens(self) -> int:
        """Tokens in all examples: four characters, or one ideograph, a token."""
        return sum(file.estimated_tokens for file in self.files)

    def to_json(self) -> dict[str, object]:
        """Everything as plain JSON values; holds no text of the data but single terms."""
        return {
            **asdict(self),
            "formats": self.formats,
            "examples": self.examples,
            "languages": self.languages,
            "duplicates": self.duplicates,
            "pii": self.pii,
            "size_bytes": sum(file.size_bytes for file in self.files),
            "estimated_tokens": self.estimated_tokens,
        }


def analyze_data(path: Path | str, options: ReadOptions | None = None) -> Analysis:
    """What the readers make of a file or a folder, read once as a stream.

    Raises:
        DataError: the path does not exist.
    """
    walk = find_files(path)
    settings = options or ReadOptions()
    seen: set[bytes] = set()
    sample: list[str] = []
    files = tuple(_analyze(file, settings, seen, sample) for file in walk.files)
    return Analysis(str(path), files, walk.left_out, classify_domain(sample))


def main_language(languages: dict[str, int]) -> str | None:
    """The most frequent language of a count; None when no text shows one."""
    known = {name: count for name, count in languages.items() if name not in (SHORT, UNCLEAR)}
    return max(sorted(known), key=lambda name: known[name]) if known else None


@dataclass
class _Tally:
    """What is counted while a file's examples go by."""

    examples: Counter[str] = field(default_factory=lambda: Counter())
    chars: Counter[str] = field(default_factory=lambda: Counter())
    skipped: Counter[str] = field(default_factory=lambda: Counter())
    pii: Counter[str] = field(default_factory=lambda: Counter())
    answers: Counter[str] = field(default_factory=lambda: Counter())
    unreadable: list[Unreadable] = field(default_factory=list)
    sample: list[tuple[int, str]] = field(default_factory=list)
    duplicates: int = 0
    tokens: int = 0


def _analyze(
    file: SourceFile, options: ReadOptions, seen: set[bytes], sample: list[str]
) -> FileAnalysis:
    """Reads one file; adds its examples' digests to `seen` and its sampled texts to `sample`."""
    extraction = extract(file, options)
    tally = _Tally()
    for item in extraction.items:
        if isinstance(item, Unreadable):
            tally.unreadable.append(item)
        elif isinstance(item, Skipped):
            tally.skipped[item.reason] += 1
        else:
            _count(tally, item, seen)
    texts = [text for _, text in sorted(tally.sample, reverse=True)]
    spoken = [language_of(text) for text in texts]
    # The lexicon of fields is English; short and unclear texts may be.
    sample += [
        text
        for text, language in zip(texts, spoken, strict=True)
        if language in ("en", SHORT, UNCLEAR)
    ]
    return FileAnalysis(
        name=file.name,
        format=extraction.format,
        detail=extraction.detail,
        size_bytes=file.size_bytes,
        records=extraction.records,
        columns=extraction.columns,
        mapping=extraction.mapping,
        layout=_layout(extraction, tally),
        examples=dict(tally.examples),
        skipped=dict(tally.skipped),
        languages=dict(Counter(spoken).most_common()),
        duplicates=tally.duplicates,
        pii=dict(sorted(tally.pii.items())),
        estimated_tokens=tally.tokens,
        unreadable=tuple(tally.unreadable),
    )


def _count(tally: _Tally, example: Example, seen: set[bytes]) -> None:
    # The rooms import each other's records: curation reads what this package writes.
    from tensafe.curate.pii import count_pii
    from tensafe.curate.text import plain

    said = [turn["content"] for turn in example.messages]
    text = "\n".join(said)
    tally.examples[example.kind] += 1
    tally.chars[example.kind] += len(text)
    tally.pii.update(count_pii(said))
    ideographs = 0 if text.isascii() else len(_IDEOGRAPH.findall(text))
    tally.tokens += ideographs + math.ceil((len(text) - ideographs) / _CHARS_PER_TOKEN)
    if example.kind != "text" and len(example.reference) <= _LABEL_CHARS:
        tally.answers[plain(example.reference)] += 1
    digest = hashlib.blake2b("\0".join(map(plain, said)).encode(), digest_size=12).digest()
    tally.duplicates += digest in seen
    seen.add(digest)
    # The examples with the smallest digests: the same ones whatever the order of rows.
    entry = (-int.from_bytes(digest, "big"), text)
    if len(tally.sample) < _SAMPLE_EXAMPLES:
        heapq.heappush(tally.sample, entry)
    else:
        heapq.heappushpop(tally.sample, entry)


def _layout(extraction: Extraction, tally: _Tally) -> Layout:
    """The layout of most rows of a table, or of most of a text.

    It says what the file holds, not what was made of it: a question that came from a heading or a
    table's head doesn't make running text a list of questions.
    """
    asked = tally.examples["qa"] + tally.examples["chat"]
    skipped = tally.skipped[PREFERENCE] > asked + tally.examples["text"]
    if extraction.has_preference or skipped:
        return "preference"
    written = tally.chars["text"] + extraction.made_chars
    if written > tally.chars["qa"] - extraction.made_chars + tally.chars["chat"]:
        return "plain text"
    if not asked:
        return "none"
    if extraction.chat_layouts:
        return "chat"
    labelled = tally.answers.total()
    is_labelled = labelled > 0.9 * asked and len(tally.answers) * _EXAMPLES_PER_LABEL <= labelled
    return "classification" if is_labelled else "Q&A"


def _total(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(sorted(total.items()))
