"""A chat template as fixed texts around each turn, for runtimes that don't read Jinja.

Owns the derivation: the template is rendered on marked conversations, the texts between the marks
become the frame, and the frame is held against the template on other conversations. A template
that does more than put fixed texts around turns is refused, not approximated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from tensafe.errors import ExportRefusedError

if TYPE_CHECKING:
    from tinker_engine.recipes.chat_format import ChatFormat, ChatMessage

_MARKS = ("Mark7one", "Mark7two", "Mark7three")
_CHECKED = (
    "u",
    "su",
    "uau",
    "suau",
    "uauau",
    "suauau",
)
_LETTERS = {"s": "system", "u": "user", "a": "assistant"}


@dataclass(frozen=True)
class ChatFrame:
    """Texts around turns.

    `opening` stands first, `preamble` behind it where no system turn comes first; `around` gives
    per role what stands before and after the content; `generation` asks for the answer.
    """

    opening: str
    preamble: str
    around: dict[str, tuple[str, str]]
    generation: str

    def render(self, messages: Sequence[ChatMessage]) -> str:
        """The prompt for the next answer."""
        first = messages[0]["role"] == "system"
        parts = [self.opening, "" if first else self.preamble]
        for message in messages:
            before, after = self.around[message["role"]]
            parts += [before, message["content"], after]
        return "".join([*parts, self.generation])

    @property
    def texts(self) -> tuple[str, ...]:
        """Every fixed text of the frame."""
        around = [text for pair in self.around.values() for text in pair]
        return (self.opening, self.preamble, *around, self.generation)


def derive_frame(chat: ChatFormat) -> ChatFrame:
    """The frame that renders what the chat template renders.

    Raises:
        ExportRefusedError: no frame does, or the template fails on ordinary conversations.
    """
    try:
        frame = _derive(chat)
        for letters in _CHECKED:
            messages = _conversation(letters)
            if frame.render(messages) != _render(chat, messages):
                raise _unframed(f"the conversation {'-'.join(m['role'] for m in messages)} differs")
    except ExportRefusedError:
        raise
    # Jinja templates may raise anything, their own refusals of a role order included.
    except Exception as error:
        raise _unframed(f"rendering it failed: {error}") from error
    return frame


def _derive(chat: ChatFormat) -> ChatFrame:
    one, two, three = _MARKS
    user = _render(chat, [_turn("user", one)], generate=False)
    asking = _render(chat, [_turn("user", one)])
    head, user_after = _cut(user, one)
    generation = _without_start(asking, user)
    turns = [_turn("user", one), _turn("assistant", two), _turn("user", three)]
    several = _render(chat, turns, generate=False)
    between = _without_start(several, head + one + user_after)
    assistant_before, rest = _cut(between, two)
    answered = _render(chat, turns[:2], generate=False)
    assistant_after = _without_start(answered, head + one + user_after + assistant_before + two)
    user_before = _without_start(_cut(rest, three)[0], assistant_after)
    shown = _render(chat, [_turn("system", one), _turn("user", two)], generate=False)
    system_head, rest = _cut(shown, one)
    before_first = _without_end(head, user_before)
    opening = _common_start(before_first, system_head)
    system_after = _without_end(_cut(rest, two)[0], user_before)
    around = {
        "system": (_without_start(system_head, opening), system_after),
        "user": (user_before, user_after),
        "assistant": (assistant_before, assistant_after),
    }
    return ChatFrame(opening, _without_start(before_first, opening), around, generation)


def _render(chat: ChatFormat, messages: Sequence[ChatMessage], *, generate: bool = True) -> str:
    rendered = chat.tokenizer.apply_chat_template(
        [dict(message) for message in messages],
        chat_template=chat.template,
        add_generation_prompt=generate,
        tokenize=False,
    )
    return cast(str, rendered)


def _turn(role: str, content: str) -> ChatMessage:
    return cast("ChatMessage", {"role": role, "content": content})


def _conversation(letters: str) -> list[ChatMessage]:
    return [
        _turn(_LETTERS[letter], f"Turn {place}, two words.\nAnd a line.")
        for place, letter in enumerate(letters)
    ]


def _cut(text: str, mark: str) -> tuple[str, str]:
    if text.count(mark) != 1:
        raise _unframed(f"it renders a turn {text.count(mark)} times")
    before, _, after = text.partition(mark)
    return before, after


def _without_start(text: str, start: str) -> str:
    if not text.startswith(start):
        raise _unframed("what it renders for a turn depends on the turns around it")
    return text[len(start) :]


def _without_end(text: str, end: str) -> str:
    if not text.endswith(end):
        raise _unframed("what it renders before a turn depends on the turns before that")
    return text[: len(text) - len(end)]


def _common_start(one: str, other: str) -> str:
    length = 0
    while length < min(len(one), len(other)) and one[length] == other[length]:
        length += 1
    return one[:length]


def _unframed(why: str) -> ExportRefusedError:
    return ExportRefusedError(
        f"the chat template can't be written as fixed texts around turns: {why}"
    )
