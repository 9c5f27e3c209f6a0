"""Reads PDF text page by page with pypdfium2, and says why where there is none.

PDF has no paragraphs, only lines: what stands at the edge of many pages is a running head, and a
paragraph ends where a line ends a sentence well before the
right margin. Scanned pages have no text at all; they are named, not guessed at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tensafe.data.boilerplate import RUNNING_HEAD, repeated_lines, without_repeated
from tensafe.data.items import Item, LeftOut, OpenedSource, Paragraph
from tensafe.data.records import Unreadable

# Fewer visible characters than this in a whole document is a scan or a wreck, not a text.
_NEARLY_EMPTY_CHARS = 64
# PDFium marks a hyphen at the end of a line by U+FFFE or U+0002.
_SOFT_BREAK = re.compile("[\ufffe\x02]\\s*\n?")
_MARKER = re.compile(
    r"^\s*(?:Q|A|Question|Answer)\s*\d*\s*[:.)]\s|^\s*[•▪●◦‣–*-]\s+|^\s*\(?\d{1,2}[.)]\s+"
)
_FPDF_ERR_PASSWORD = 4


def open_pdf(path: Path, name: str) -> OpenedSource:
    """Paragraphs of a PDF; its pages are its sections."""
    if path.stat().st_size == 0:
        return _refused(name, "", "empty file (0 bytes)", "export or download the PDF again")
    document = _open(path)
    if isinstance(document, str):
        if "password" in document.lower():
            return _refused(
                name,
                "password-protected",
                "password-protected PDF",
                "save a copy without the password and put it in place of this one",
            )
        return _refused(
            name, "damaged", f"not a readable PDF ({document})", "export or download the PDF again"
        )
    pages = len(document)
    return OpenedSource("PDF", f"{pages} page{'' if pages == 1 else 's'}", _items(document, name))


def _refused(name: str, detail: str, reason: str, advice: str) -> OpenedSource:
    return OpenedSource("PDF", detail, iter([Unreadable(name, "", reason, advice)]))


def _open(path: Path) -> Any:
    """The document, or the reason as a string."""
    import pypdfium2

    try:
        return pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        return str(error).removeprefix("Failed to load document ").strip("().")


def _items(document: Any, name: str) -> Iterator[Item]:
    visible, empty_pages = 0, 0
    held: list[Item] = []
    pages = len(document)
    texts = [_page_text(document, index) for index in range(pages)]
    heads = repeated_lines([text for text in texts if text])
    for number, read in enumerate(texts, start=1):
        place = f"page {number}"
        if read is None:
            held.append(Unreadable(name, place, "the page is damaged", "export the PDF again"))
        text, removed = without_repeated(read or "", heads)
        held.extend(LeftOut(RUNNING_HEAD, place) for _ in range(removed))
        visible += sum(not char.isspace() for char in read or "")
        empty_pages += not (read or "").strip()
        held.extend(Paragraph(block, place, 0, place) for block in split_paragraphs(text))
        # Nothing is given out before the document has shown that it is more than nearly empty.
        if visible >= _NEARLY_EMPTY_CHARS:
            yield from held
            held = []
    document.close()
    if visible < _NEARLY_EMPTY_CHARS:
        on = "1 page" if pages == 1 else f"{pages} pages"
        yield Unreadable(
            name,
            "",
            f"nearly empty: {visible} characters of text on {on}",
            "if the pages are scans, run OCR on them first; if not, export the PDF again",
        )
    elif empty_pages:
        yield Unreadable(
            name,
            "",
            f"{empty_pages} of {pages} pages hold no text (scans or pictures)",
            "run OCR on them first if they matter; the other pages are used",
        )


def _page_text(document: Any, index: int) -> str | None:
    import pypdfium2

    try:
        page = document[index]
        text_page = page.get_textpage()
        text = str(text_page.get_text_range())
        text_page.close()
        page.close()
    except pypdfium2.PdfiumError:
        return None
    return _SOFT_BREAK.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def split_paragraphs(text: str) -> Iterator[str]:
    """Paragraphs of a page, their lines separated by newlines."""
    lines = [line.strip() for line in text.split("\n")]
    lengths = sorted(len(line) for line in lines if line)
    if not lengths:
        return
    # The 80th percentile stands for the width of a full line.
    full = lengths[int(0.8 * (len(lengths) - 1))]
    block: list[str] = []
    for line in lines:
        if not line or (block and _starts_anew(block[-1], line, full)):
            if block:
                yield "\n".join(block)
            block = []
        if line:
            block.append(line)
    if block:
        yield "\n".join(block)


def _starts_anew(previous: str, line: str, full: int) -> bool:
    if _MARKER.match(line):
        return True
    is_short = len(previous) < 0.8 * full
    ends_sentence = previous[-1] in '.!?:;"”’'
    if previous.endswith("?") and len(previous) < 120 and is_short:
        return True
    return is_short and (ends_sentence or line[0].isupper())
