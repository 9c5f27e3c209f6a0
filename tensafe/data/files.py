"""Finds the files of a data set: one file, or a folder with everything below it.

Order is by path relative to the root, so that two walks of the same folder agree. Symbolic links
are never followed: inside the folder they would count a file twice, outside it they would read
what the user did not point at. Hidden files and folders are left out.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tensafe.data.records import Unreadable
from tensafe.errors import DataError

FORMATS: dict[str, str] = {
    ".pdf": "PDF",
    ".csv": "CSV",
    ".tsv": "TSV",
    ".tab": "TSV",
    ".jsonl": "JSONL",
    ".ndjson": "JSONL",
    ".json": "JSON",
    ".txt": "TXT",
    ".text": "TXT",
    ".md": "Markdown",
    ".markdown": "Markdown",
    ".parquet": "Parquet",
    ".pq": "Parquet",
}
SUPPORTED = "PDF, CSV, TSV, JSONL, JSON, TXT, Markdown, Parquet"


@dataclass(frozen=True)
class SourceFile:
    """One file to read. `name` is its path relative to the data root, with forward slashes."""

    path: Path
    name: str
    format: str
    size_bytes: int


@dataclass(frozen=True)
class FileWalk:
    """The files found, in order, and those left out with the reason."""

    root: Path
    files: tuple[SourceFile, ...]
    left_out: tuple[Unreadable, ...]


def find_files(path: Path | str) -> FileWalk:
    """Every readable file at `path`.

    Raises:
        DataError: `path` does not exist or is neither a file nor a folder.
    """
    start = Path(path)
    if start.is_file():
        found = _classify(start, start.name, may_link=True)
        if isinstance(found, SourceFile):
            return FileWalk(start.parent, (found,), ())
        return FileWalk(start.parent, (), (found,))
    if not start.is_dir():
        raise DataError(
            f"{start}: no such file or folder; give the path of a data file or of a folder "
            f"that holds some ({SUPPORTED})"
        )
    files: list[SourceFile] = []
    left_out: list[Unreadable] = []
    for candidate in _walk(start):
        found = _classify(candidate, candidate.relative_to(start).as_posix())
        if isinstance(found, SourceFile):
            files.append(found)
        else:
            left_out.append(found)
    files.sort(key=lambda file: file.name)
    left_out.sort(key=lambda part: part.source)
    return FileWalk(start, tuple(files), tuple(left_out))


def _walk(root: Path) -> list[Path]:
    found: list[Path] = []
    for folder, folders, names in os.walk(root, followlinks=False):
        here = Path(folder)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        linked = [name for name in folders if (here / name).is_symlink()]
        found.extend(here / name for name in linked)
        found.extend(here / name for name in names if not name.startswith("."))
    return found


def _classify(path: Path, name: str, *, may_link: bool = False) -> SourceFile | Unreadable:
    if path.is_symlink() and not may_link:
        return Unreadable(
            name,
            "",
            "symbolic link, not followed" if path.exists() else "symbolic link that leads nowhere",
            "copy the file into the folder if it belongs to the data",
        )
    if not path.is_file():
        return Unreadable(name, "", "not an ordinary file", "replace it by a file")
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        ending = f"files ending in {path.suffix!r}" if path.suffix else "files without an ending"
        return Unreadable(
            name, "", f"{ending} are not read", f"convert it to one of {SUPPORTED}, or leave it out"
        )
    try:
        size = path.stat().st_size
    except OSError as error:
        return Unreadable(name, "", f"can't be opened: {error.strerror}", "check its permissions")
    return SourceFile(path, name, kind, size)
