"""When two examples are the same record: prompt and answer agree in their plain forms."""

from __future__ import annotations

from collections.abc import Sequence

from tensafe.curate.near import text_key
from tensafe.curate.text import plain
from tensafe.data.records import Example


def joined_prompt(example: Example, plain_turns: Sequence[str]) -> str:
    """The plain forms of all turns before the learned one, each with its role."""
    return "\n".join(
        f"{turn['role']}: {text}" for turn, text in zip(example.prompt, plain_turns, strict=True)
    )


def pair_key(prompt: str, answer: str) -> bytes:
    """16 bytes that a joined prompt with a plain answer has alone."""
    return text_key(f"{len(prompt)}\n{prompt}{answer}", 16)


def record_key(example: Example) -> bytes:
    """The `pair_key` of an example: two with the same one are duplicates to curation."""
    turns = [plain(turn["content"]) for turn in example.prompt]
    return pair_key(joined_prompt(example, turns), plain(example.reference))
