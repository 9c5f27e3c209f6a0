"""Opens a file with the reader for its format."""

from __future__ import annotations

from tensafe.data.delimited import open_delimited
from tensafe.data.encoding import detect_encoding, is_binary
from tensafe.data.files import SourceFile
from tensafe.data.items import OpenedSource
from tensafe.data.json_files import open_json, open_jsonl
from tensafe.data.parquet import open_parquet
from tensafe.data.pdf import open_pdf
from tensafe.data.plain_text import open_plain_text
from tensafe.data.records import Unreadable


def open_source(file: SourceFile) -> OpenedSource:
    """The items of a file; a file that can't be opened yields one `Unreadable` that says why."""
    try:
        return _open(file)
    except OSError as error:
        reason = f"can't be opened: {error.strerror or error}"
        bad = Unreadable(file.name, "", reason, "check the file and its permissions")
        return OpenedSource(file.format, "", iter([bad]))


def _open(file: SourceFile) -> OpenedSource:
    if file.size_bytes == 0 and file.format not in ("PDF", "Parquet"):
        bad = Unreadable(file.name, "", "empty file (0 bytes)", "leave it out, or save it again")
        return OpenedSource(file.format, "", iter([bad]))
    if file.format == "PDF":
        return open_pdf(file.path, file.name)
    if file.format == "Parquet":
        return open_parquet(file.path, file.name)
    encoding = detect_encoding(file.path)
    if is_binary(file.path, encoding):
        reason = f"binary data, not {file.format}"
        bad = Unreadable(file.name, "", reason, "give it its right ending, or leave it out")
        return OpenedSource(file.format, "", iter([bad]))
    match file.format:
        case "CSV" | "TSV":
            return open_delimited(file.path, file.name, file.format, encoding)
        case "JSONL":
            return open_jsonl(file.path, file.name, encoding)
        case "JSON":
            return open_json(file.path, file.name, encoding)
        case _:
            return open_plain_text(file.path, file.name, file.format, encoding)
