"""What is in the data, before anything is done with it: formats, mappings, volume, problems."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from tensafe.data.extraction import ReadOptions, extract
from tensafe.data.files import SourceFile, find_files
from tensafe.data.layouts import Skipped
from tensafe.data.records import Unreadable

# English prose under byte-pair vocabularies; a rough figure for planning, called an estimate.
_CHARS_PER_TOKEN = 4


@dataclass(frozen=True)
class FileAnalysis:
    """One file. `examples` counts by kind before curation, `skipped` by reason."""

    name: str
    format: str
    detail: str
    size_bytes: int
    records: int
    columns: tuple[str, ...]
    mapping: str
    examples: dict[str, int]
    skipped: dict[str, int]
    estimated_tokens: int
    unreadable: tuple[Unreadable, ...]


@dataclass(frozen=True)
class Analysis:
    """A file or a folder. `left_out` are files that no reader takes."""

    path: str
    files: tuple[FileAnalysis, ...]
    left_out: tuple[Unreadable, ...]

    @property
    def examples(self) -> dict[str, int]:
        """Examples of all files by kind, before curation."""
        total: Counter[str] = Counter()
        for file in self.files:
            total.update(file.examples)
        return dict(sorted(total.items()))

    @property
    def formats(self) -> dict[str, int]:
        """Number of files by format."""
        return dict(sorted(Counter(file.format for file in self.files).items()))

    @property
    def estimated_tokens(self) -> int:
        """Tokens in all examples, at four characters a token."""
        return sum(file.estimated_tokens for file in self.files)

    def to_json(self) -> dict[str, object]:
        """Everything as plain JSON values."""
        return {
            **asdict(self),
            "formats": self.formats,
            "examples": self.examples,
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
    files = tuple(_analyze(file, settings) for file in walk.files)
    return Analysis(str(path), files, walk.left_out)


def _analyze(file: SourceFile, options: ReadOptions) -> FileAnalysis:
    extraction = extract(file, options)
    examples: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    unreadable: list[Unreadable] = []
    chars = 0
    for item in extraction.items:
        if isinstance(item, Unreadable):
            unreadable.append(item)
        elif isinstance(item, Skipped):
            skipped[item.reason] += 1
        else:
            examples[item.kind] += 1
            chars += sum(len(turn["content"]) for turn in item.messages)
    return FileAnalysis(
        name=file.name,
        format=extraction.format,
        detail=extraction.detail,
        size_bytes=file.size_bytes,
        records=extraction.records,
        columns=extraction.columns,
        mapping=extraction.mapping,
        examples=dict(examples),
        skipped=dict(skipped),
        estimated_tokens=-(-chars // _CHARS_PER_TOKEN),
        unreadable=tuple(unreadable),
    )
