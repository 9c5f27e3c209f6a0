"""Containing the words of others: what one agent wrote is shown to another as a quotation, only.

A quotation has every line marked, so that it can't end itself; marks of chat templates, control
characters and characters that hide or reorder text are replaced, and its length is bounded. This
keeps others' text from posing as a turn, a role or an instruction of the protocol. It can't keep a
model from being persuaded by what it reads; votes are read from the voter's own answer alone.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

MAX_QUOTE_CHARS = 1200
_TEMPLATE_MARK = re.compile(
    r"<\|[^<>|\n]{0,40}\|>|</?s>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|<｜[^｜\n]{0,40}｜>"
    r"|<\|?(?:im_start|im_end|endoftext|eot_id)\|?>",
    re.IGNORECASE,
)
_ROLE_LINE = re.compile(r"^(\s*)(system|user|assistant|human|developer)(\s*:)", re.I | re.M)
_HIDDEN = frozenset({"Cf", "Cc", "Cs", "Co", "Cn"})
_KEPT = frozenset("\n\t")


class Quoted(NamedTuple):
    """Text that is safe to show, and how many things were replaced in it."""

    text: str
    neutralised: int


def plain(text: str, *, has_roles: bool = False) -> Quoted:
    """Text without hidden characters and template marks; what was a mark stays readable.

    Lines that begin like a role ("user:") are kept as they are only where `has_roles` says so.
    """
    kept: list[str] = []
    hidden = 0
    for char in text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n"):
        if char in _KEPT or unicodedata.category(char) not in _HIDDEN:
            kept.append(char)
        else:
            hidden += 1
    # Until nothing changes: taking a mark out may leave another one behind.
    clean, marks = "".join(kept), 0
    while True:
        clean, found = _TEMPLATE_MARK.subn(_disarmed, clean)
        marks += found
        if not found:
            break
    clean, roles = (clean, 0) if has_roles else _ROLE_LINE.subn(r"\1\2 -", clean)
    return Quoted(clean, hidden + marks + roles)


def quoted(text: str, *, limit: int = MAX_QUOTE_CHARS) -> Quoted:
    """`plain` text with `> ` before every line, cut at `limit` characters with a note."""
    clean, count = plain(text[: limit * 4])
    clean = clean.strip()
    if len(clean) > limit or len(text) > limit * 4:
        clean = f"{clean[:limit].rstrip()} […]"
    return Quoted("\n".join(f"> {line}" for line in clean.split("\n")), count)


def stored(text: str) -> str:
    """Text as any database can hold it: no NUL, no lone surrogates."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def _disarmed(match: re.Match[str]) -> str:
    inner = "".join(c for c in match.group(0) if c.isalnum() or c in "_ ")
    return f"({inner})"
