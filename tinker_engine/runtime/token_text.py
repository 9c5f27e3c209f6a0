"""Tokens as text while they come: exact bytes per token, whole characters only, stops hidden.

A tokenizer's own `decode` depends on what stands around a token, so a stream made of it would
differ from the whole. Here every token is a fixed run of bytes, and the text is their UTF-8
decoding: the pieces of a stream joined are the text, whatever the pieces were.
"""

from __future__ import annotations

import codecs
import json
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple, cast


class Vocabulary:
    """The bytes of every token of a transformers tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        added: dict[int, Any] = dict(tokenizer.added_tokens_decoder)
        self._added = {token: str(entry.content).encode() for token, entry in added.items()}
        self._special = {token for token, entry in added.items() if entry.special}
        self._special.update(int(token) for token in tokenizer.all_special_ids)
        self._decoder = _decoder_facts(tokenizer)
        self._known: dict[int, bytes] = {}

    @property
    def strips_start(self) -> bool:
        """Whether this tokenizer writes a blank before the first word that no text shows."""
        return self._decoder.strips_start

    def is_special(self, token: int) -> bool:
        """Whether a token is a mark that no text shows (end of text, turns of a chat)."""
        return token in self._special

    def raw(self, token: int) -> bytes:
        """A token's bytes, those of a mark included; nothing for ids without a token."""
        found = self._known.get(token)
        if found is None:
            found = self._known[token] = self._bytes(token)
        return found

    def name(self, token: int) -> str:
        """A token as a readable string, its bytes in hex where it is no whole text by itself."""
        raw = self.raw(token)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)

    def _bytes(self, token: int) -> bytes:
        if token in self._added:
            return self._added[token]
        piece = cast("str | None", self._tokenizer.convert_ids_to_tokens(token))
        if piece is None:
            return b""
        decoder = self._decoder
        if decoder.is_byte_level:
            return b"".join(
                bytes([_BYTE_OF[mark]]) if mark in _BYTE_OF else mark.encode() for mark in piece
            )
        if decoder.has_bytes and len(piece) == 6 and piece.startswith("<0x") and piece[5] == ">":
            return bytes([int(piece[3:5], 16)])
        return (piece.replace(decoder.space, " ") if decoder.space else piece).encode()


class Piece(NamedTuple):
    """Text that may be shown, and the tokens whose text is out with it: (place, offset) each.

    Places count the tokens pushed; offsets are characters from the beginning of the text.
    """

    text: str
    tokens: list[tuple[int, int]]


class TextStream:
    """Turns tokens into text, token by token.

    Held back until it is decided: bytes that are not yet a character, and text that could be the
    beginning of a stop string. Text from a stop string on never comes out. With `is_whole` the text
    stands by itself (a turn of a chat), so a blank that the tokenizer puts before it is left out.
    """

    def __init__(
        self, vocabulary: Vocabulary, stops: Sequence[str] = (), *, is_whole: bool = False
    ) -> None:
        self._vocabulary = vocabulary
        self._stops = [stop for stop in stops if stop]
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""
        self._released = 0
        self._pushed = 0
        self._waiting: deque[tuple[int, int, int]] = deque()
        self._strips = is_whole and vocabulary.strips_start
        self.is_cut = False

    def push(self, token: int) -> Piece:
        """The text that one more token sets free."""
        if self.is_cut:
            return Piece("", [])
        start = self._released + len(self._held)
        if not self._vocabulary.is_special(token):
            added = self._decoder.decode(self._vocabulary.raw(token))
            if self._strips and added:
                added, self._strips = added.removeprefix(" "), False
            self._held += added
        end = self._released + len(self._held)
        self._waiting.append((self._pushed, start, end))
        self._pushed += 1
        found = [place for stop in self._stops if (place := self._held.find(stop)) >= 0]
        if found:
            self.is_cut = True
            return self._release(min(found))
        return self._release(len(self._held) - self._open_end())

    def close(self) -> Piece:
        """What is left when no token follows; an unfinished character becomes U+FFFD."""
        if self.is_cut:
            return Piece("", [])
        self._held += self._decoder.decode(b"", final=True)
        piece = self._release(len(self._held))
        piece.tokens.extend((place, start) for place, start, _ in self._waiting)
        self._waiting.clear()
        return piece

    def _open_end(self) -> int:
        """How many characters at the end could be the beginning of a stop string."""
        longest = min(max((len(s) for s in self._stops), default=1) - 1, len(self._held))
        for size in range(longest, 0, -1):
            tail = self._held[-size:]
            if any(stop.startswith(tail) for stop in self._stops):
                return size
        return 0

    def _release(self, count: int) -> Piece:
        text, self._held = self._held[:count], self._held[count:]
        self._released += count
        tokens: list[tuple[int, int]] = []
        while self._waiting:
            place, start, end = self._waiting[0]
            # A token is out with its last character; one that reaches into a stop, with its first.
            is_out = start < self._released if self.is_cut else end <= self._released
            if not is_out:
                break
            tokens.append((place, start))
            self._waiting.popleft()
        return Piece(text, tokens)


class _DecoderFacts(NamedTuple):
    """Whether pieces are byte-level or have `<0xNN>` bytes, and which mark is a space."""

    is_byte_level: bool = False
    has_bytes: bool = False
    space: str = ""
    strips_start: bool = False


def _decoder_facts(tokenizer: Any) -> _DecoderFacts:
    decoder = tokenizer.backend_tokenizer.decoder
    if decoder is None:
        return _DecoderFacts()
    top: dict[str, Any] = json.loads(decoder.__getstate__())
    parts: list[dict[str, Any]] = top.get("decoders", [top])
    kinds = {str(part["type"]) for part in parts}
    space = ""
    for part in parts:
        if part["type"] == "Metaspace":
            space = str(part["replacement"])
        elif part["type"] == "Replace" and part["content"] == " ":
            space = str(part["pattern"].get("String", ""))
    return _DecoderFacts(
        is_byte_level="ByteLevel" in kinds,
        has_bytes="ByteFallback" in kinds,
        space=space,
        strips_start=bool(kinds & {"Strip", "Metaspace"}),
    )


def _byte_marks() -> dict[str, int]:
    """The byte that each character of a byte-level piece stands for (GPT-2's table)."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    marks = {chr(byte): byte for byte in shown}
    marks.update({chr(256 + place): byte for place, byte in enumerate(hidden)})
    return marks


_BYTE_OF = _byte_marks()
