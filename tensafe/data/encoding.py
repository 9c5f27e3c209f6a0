"""Decides how the bytes of a text file are to be read, and undoes wrong decoding inside text.

Order of evidence: a byte order mark, then validity as UTF-8 over the whole file, then the zero
bytes of UTF-16, then a statistical guess by chardet. A file that is UTF-8 but for a few broken
bytes stays UTF-8: guessing another encoding would garble all of it to save those few.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

_CHUNK_BYTES = 1 << 20
_SAMPLE_BYTES = 1 << 18
# Below this, chardet's choice among the Windows code pages is a coin toss (seen on short files);
# the most common of them is the better bet.
_COIN_TOSS = 0.06
# A broken UTF-8 file has far more good multi-byte sequences than bad ones; text in a legacy
# encoding almost never forms a good one.
_MAX_BAD_PER_GOOD = 0.05
_CONTROL = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_BOMS: tuple[tuple[bytes, str, str], ...] = (
    (codecs.BOM_UTF8, "utf-8-sig", "UTF-8 with byte order mark"),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)


@dataclass(frozen=True)
class TextEncoding:
    """A codec name for `open`, its name for people, and how many bytes it can't explain."""

    codec: str
    label: str
    broken: int = 0


def detect_encoding(path: Path) -> TextEncoding:
    """The encoding of a text file, read once in chunks of 1 MiB.

    Raises:
        OSError: the file can't be opened.
    """
    with path.open("rb") as file:
        head = file.read(_SAMPLE_BYTES)
    for mark, codec, label in _BOMS:
        if head.startswith(mark):
            return TextEncoding(codec, label, _broken(path, codec))
    wide = _utf16_without_mark(head)
    if wide is not None:
        return wide
    broken = _broken(path, "utf-8")
    if broken == 0 and b"\x1b$" not in head:
        return TextEncoding("utf-8", "ASCII" if head.isascii() else "UTF-8")
    if broken and _is_damaged_utf8(path):
        return TextEncoding("utf-8", "UTF-8 with broken bytes", broken)
    codec, label = _guess(_telling_bytes(path))
    return TextEncoding(codec, label, _broken(path, codec))


def open_text(path: Path, encoding: TextEncoding, *, newline: str) -> TextIO:
    """The file as text; bytes that the encoding can't explain become U+FFFD.

    `newline` is as for `open`: "" keeps line ends and splits at all of them, a newline character
    splits there and nowhere else.
    """
    return path.open(encoding=encoding.codec, errors="replace", newline=newline)


def is_binary(path: Path, encoding: TextEncoding) -> bool:
    """Whether the start of the file holds control characters as no text does."""
    with open_text(path, encoding, newline="") as file:
        start = file.read(1 << 16)
    return len(_CONTROL.findall(start)) > 0.01 * len(start)


def repair_mojibake(text: str) -> str:
    """Text with wrong decoding undone (`Ã¼` to `ü`) where it is really there, else unchanged.

    ftfy's own judgement decides; its other repairs (quotes, ligatures, entities) are not wanted,
    because they change text that was right.
    """
    if text.isascii():
        return text
    import ftfy
    from ftfy.badness import is_bad

    if not is_bad(text):
        return text
    return ftfy.fix_encoding(text)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def _broken(path: Path, codec: str) -> int:
    """How many places of the file the codec can't decode."""
    strict = codecs.getincrementaldecoder(codec)("strict")
    try:
        for chunk in _chunks(path):
            strict.decode(chunk)
        strict.decode(b"", final=True)
    except UnicodeError:
        pass
    else:
        return 0
    lenient = codecs.getincrementaldecoder(codec)("replace")
    count = sum(lenient.decode(chunk).count("\ufffd") for chunk in _chunks(path))
    return max(1, count + lenient.decode(b"", final=True).count("\ufffd"))


def _is_damaged_utf8(path: Path) -> bool:
    lenient = codecs.getincrementaldecoder("utf-8")("replace")
    good = bad = 0
    for chunk in _chunks(path):
        text = lenient.decode(chunk)
        here = text.count("\ufffd")
        bad += here
        good += len(re.findall(r"[^\x00-\x7f]", text)) - here
    return bad <= _MAX_BAD_PER_GOOD * good


def _utf16_without_mark(head: bytes) -> TextEncoding | None:
    """UTF-16 betrays itself by zero bytes at every second place of its ASCII characters."""
    if len(head) < 4 or b"\0" not in head:
        return None
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if odd > 0.3 * len(head[1::2]) and odd > 4 * even:
        return TextEncoding("utf-16-le", "UTF-16 (little endian, no byte order mark)")
    if even > 0.3 * len(head[0::2]) and even > 4 * odd:
        return TextEncoding("utf-16-be", "UTF-16 (big endian, no byte order mark)")
    return None


def _telling_bytes(path: Path) -> bytes:
    """The lines with bytes beyond ASCII: plain lines only dilute the evidence."""
    kept: list[bytes] = []
    size = 0
    with path.open("rb") as file:
        while (line := file.readline(_CHUNK_BYTES)) and size < _SAMPLE_BYTES:
            if not line.isascii() or b"\x1b$" in line:
                kept.append(line)
                size += len(line)
    return b"".join(kept)


def _guess(sample: bytes) -> tuple[str, str]:
    import chardet

    found = chardet.detect(sample, encoding_era=chardet.EncodingEra.MODERN_WEB)
    name = found["encoding"] or "Windows-1252"
    if name.startswith("Windows-") and found["confidence"] < _COIN_TOSS:
        name = "Windows-1252"
    try:
        codecs.lookup(name)
    except LookupError:
        name = "Windows-1252"
    return name, f"{name} (guessed)"
