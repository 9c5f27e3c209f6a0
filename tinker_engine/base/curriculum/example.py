"""What a curriculum example is, and the small grammar its sentences are written in.

A *phrase pattern* is text with choices in braces: `{my|the} parcel {is|seems} late`. Choices nest
and may be empty. Expansion is a pure function of the pattern and the generator handed in.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Literal, TypedDict

Role = Literal["system", "user", "assistant"]


class Message(TypedDict):
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True)
class Example:
    """A conversation that ends with an assistant turn; `family` names the kind of task.

    `is_exact` says that the last answer is the only right one, so that exact match can score it;
    `accepted` lists the names of which any one, in any spelling, is right. With neither, the answer
    is one of many good ones.
    """

    family: str
    messages: list[Message] = field(default_factory=list[Message])
    is_exact: bool = True
    accepted: tuple[str, ...] = ()


def chat(
    family: str,
    prompt: str,
    answer: str,
    *,
    system: str = "",
    is_exact: bool = True,
    accepted: tuple[str, ...] = (),
) -> Example:
    """One user turn and its answer, after a system turn when `system` is not empty."""
    messages: list[Message] = []
    if system:
        messages.append({"role": "system", "content": system})
    messages.append({"role": "user", "content": prompt})
    messages.append({"role": "assistant", "content": answer})
    return Example(family, messages, is_exact, accepted)


Node = tuple[tuple["str | Node", ...], ...]


def _parse(pattern: str, start: int, is_nested: bool) -> tuple[Node, int]:
    options: list[tuple[str | Node, ...]] = []
    parts: list[str | Node] = []
    text_start = i = start
    while i < len(pattern):
        char = pattern[i]
        if char == "{":
            parts.append(pattern[text_start:i])
            node, i = _parse(pattern, i + 1, True)
            parts.append(node)
            text_start = i
        elif is_nested and char in "|}":
            parts.append(pattern[text_start:i])
            options.append(tuple(parts))
            parts = []
            i += 1
            text_start = i
            if char == "}":
                return tuple(options), i
        else:
            i += 1
    if is_nested:
        raise ValueError(f"unclosed brace in phrase pattern: {pattern!r}")
    parts.append(pattern[text_start:])
    return (tuple(parts),), i


@cache
def parse(pattern: str) -> Node:
    """The pattern as a tree of choices; raises ValueError on an unclosed brace."""
    return _parse(pattern, 0, False)[0]


def _walk(node: Node, rng: random.Random) -> Iterator[str]:
    for part in rng.choice(node):
        if isinstance(part, str):
            yield part
        else:
            yield from _walk(part, rng)


def expand(pattern: str, rng: random.Random) -> str:
    """One sentence of the pattern, with runs of spaces collapsed."""
    return " ".join("".join(_walk(parse(pattern), rng)).split(" ")).replace("  ", " ").strip()


def bind(pattern: str, rng: random.Random, values: dict[str, str]) -> str:
    """One sentence of the pattern, with each `{name}` of `values` replaced by its value."""
    for name in values:
        pattern = pattern.replace("{" + name + "}", f"<{name}>")
    text = expand(pattern, rng)
    for name, value in values.items():
        text = text.replace(f"<{name}>", value)
    return text


def chance(rng: random.Random, probability: float) -> bool:
    """True with the given probability."""
    return rng.random() < probability
