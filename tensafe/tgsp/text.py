"""Text from strangers, made fit to show: nothing in it can steer a terminal or hide itself."""

from __future__ import annotations

import unicodedata

# Their absence would change the spelling of several scripts, and they move nothing on a screen.
_JOINERS = "\u200c\u200d"
_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")


def is_shown(character: str) -> bool:
    """False for control and format characters (escape, bidirectional overrides), line breaks."""
    return character in _JOINERS or unicodedata.category(character) not in _HIDDEN


def one_line(text: str) -> str:
    """The text on one line, with a space for every run of breaks and hidden characters."""
    return " ".join("".join(c if is_shown(c) else " " for c in text).split())


def visible(text: str) -> str:
    """The text with line breaks and tabs kept and every other hidden character spelt out."""
    return "".join(c if c in "\n\t" or is_shown(c) else ascii(c)[1:-1] for c in text)
