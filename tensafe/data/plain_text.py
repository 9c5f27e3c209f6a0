"""Reads TXT and Markdown into paragraphs and headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tensafe.data.delimited import broken_bytes
from tensafe.data.encoding import TextEncoding, open_text
from tensafe.data.items import Item, OpenedSource, Paragraph

_MAX_LINE_CHARS = 1 << 20
_MAX_PARAGRAPH_CHARS = 1 << 20
_MAX_COMMENT_CHARS = 1 << 20
_ATX = re.compile(r"^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$")
_SETEXT = re.compile(r"^ {0,3}(=+|-+)\s*$")
_FENCE = re.compile(r"^ {0,3}(```|~~~)")
# A mark that opens a comment in code is an example of one.
_CODE_OR_COMMENT = re.compile(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)|<!--")
# Attributes that converters leave behind a heading, and links whose target stands elsewhere.
_ATTRIBUTES = re.compile(r"\s*\{[#.:][^{}\n]*\}\s*$")
_LINKED = re.compile(r"\[([^\[\]\n]+)\]\[[^\[\]\n]{0,40}\]")
# A title stands alone, is short and does not end like a sentence.
_TITLE = re.compile(r"^[^\W\d_].{0,78}[^\s.,;:!?]$")


def open_plain_text(path: Path, name: str, kind: str, encoding: TextEncoding) -> OpenedSource:
    """Paragraphs of a TXT or Markdown file.

    Raises:
        OSError: the file can't be opened.
    """
    return OpenedSource(kind, encoding.label, _paragraphs(path, name, kind, encoding))


def is_title(text: str) -> bool:
    """Whether a paragraph that stands alone reads like a heading."""
    return "\n" not in text and bool(_TITLE.match(text)) and len(text.split()) <= 12


def _paragraphs(path: Path, name: str, kind: str, encoding: TextEncoding) -> Iterator[Item]:
    if encoding.broken:
        yield broken_bytes(name, encoding)
    with open_text(path, encoding, newline="") as file:
        lines = _numbered(iter(lambda: file.readline(_MAX_LINE_CHARS), ""))
        yield from _markdown(lines) if kind == "Markdown" else _text(lines)


def _numbered(lines: Iterator[str]) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines, start=1):
        yield number, line.rstrip("\r\n\x0c").replace("\x0c", " ")


def _text(lines: Iterator[tuple[int, str]]) -> Iterator[Paragraph]:
    for start, block in _blocks(lines):
        text = "\n".join(block)
        yield Paragraph(text, f"line {start}", 1 if is_title(text) else 0)


def _blocks(lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, list[str]]]:
    """Runs of lines between blank ones, with the number of their first line."""
    block: list[str] = []
    start, chars = 1, 0
    for number, line in lines:
        if line.strip():
            if not block:
                start = number
            block.append(_without_link_marks(line.rstrip()))
            chars += len(line)
        if block and (not line.strip() or chars > _MAX_PARAGRAPH_CHARS):
            yield start, block
            block, chars = [], 0
    if block:
        yield start, block


def _without_link_marks(line: str) -> str:
    return (
        _LINKED.sub(r"\1", _ATTRIBUTES.sub("", line)) if line[-1:] in "}]" or "][" in line else line
    )


def _markdown(lines: Iterator[tuple[int, str]]) -> Iterator[Paragraph]:
    shown = _without_comments(_without_front_matter(lines))
    for start, block in _blocks(_with_blanks_around_headings(shown)):
        heading = _ATX.match(block[0])
        if heading and len(block) == 1:
            yield Paragraph(heading.group(2).strip(), f"line {start}", len(heading.group(1)))
        elif len(block) == 2 and _SETEXT.match(block[1]) and not block[0].startswith(("-", "|")):
            yield Paragraph(block[0].strip(), f"line {start}", 1 if "=" in block[1] else 2)
        else:
            yield Paragraph("\n".join(block), f"line {start}")


def _with_blanks_around_headings(lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Sets `# headings` apart from text that follows at once; leaves code fences alone."""
    fenced = False
    for number, line in lines:
        if _FENCE.match(line):
            fenced = not fenced
        if not fenced and _ATX.match(line):
            yield number, ""
            yield number, line
            yield number, ""
        elif fenced and not line.strip():
            # A blank line inside a fence belongs to the code.
            yield number, "\u200b"
        else:
            yield number, line


def _without_comments(lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Leaves out `<!-- comments -->`, which no reader of the page sees; code keeps its own.

    What seems to be a comment and does not end is given back.
    """
    fenced = False
    held: list[tuple[int, str]] = []
    shown: list[tuple[int, str]] = []
    chars = 0
    for number, line in lines:
        if not held and _FENCE.match(line):
            fenced = not fenced
        if not held and (fenced or "<!--" not in line):
            yield number, line
            continue
        kept, is_open = _shown(line, hidden=bool(held))
        if "-->" in line:
            yield from shown
            held, shown, chars = [], [], 0
        if not is_open:
            yield number, kept
            continue
        held.append((number, line))
        shown.append((number, kept))
        chars += len(line)
        if chars > _MAX_COMMENT_CHARS:
            yield from held
            fenced = sum(bool(_FENCE.match(line)) for _, line in held) % 2 == 1
            held, shown, chars = [], [], 0
    yield from held


def _shown(line: str, *, hidden: bool) -> tuple[str, bool]:
    """What of a line stands outside of comments, and whether one is open at its end."""
    kept: list[str] = []
    while line:
        if hidden:
            _, found, line = line.partition("-->")
            hidden = not found
            continue
        marks = _CODE_OR_COMMENT.finditer(line)
        start = next((mark.start() for mark in marks if mark[0] == "<!--"), None)
        kept.append(line[:start])
        hidden = start is not None
        line = line[start + 4 :] if start is not None else ""
    return "".join(kept).rstrip(), hidden


def _without_front_matter(lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Leaves out a YAML block at the very top; gives it back if it never ends."""
    first = next(lines, None)
    if first is None:
        return
    if first[1].strip() != "---":
        yield first
        yield from lines
        return
    held = [first]
    for number, line in lines:
        held.append((number, line))
        if line.strip() in ("---", "..."):
            held = []
            break
        if len(held) > 100:
            break
    yield from held
    yield from lines
