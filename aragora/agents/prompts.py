"""From a turn to chat messages: templates are data, others' words come in as quotations only."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

from aragora.agents.quoting import plain, quoted
from aragora.agents.records import Candidate, Context, Quote
from tinker_engine.recipes.chat_format import ChatMessage

Style = Literal["brief", "full"]
PERSONA_SEPARATOR = "\n\n"
MAX_TOTAL_CHARS = 24_000
_MIN_QUOTE_CHARS = 16


@dataclass(frozen=True)
class Prompt:
    """Chat messages, and how many marks were taken out of the quotations in them."""

    messages: tuple[ChatMessage, ...]
    neutralised: int = 0


@cache
def _templates() -> dict[str, dict[str, str]]:
    text = files("aragora.agents").joinpath("prompts.toml").read_text("utf-8")
    return {
        style: {name: template.strip("\n") for name, template in table.items()}
        for style, table in tomllib.loads(text).items()
    }


class Prompts:
    """Builds the prompts of one style. `persona` is the agent's own system text.

    `quote_chars` bounds each quotation, `total_chars` all of one prompt together: with many of
    them each is shorter.
    """

    def __init__(
        self,
        style: Style,
        *,
        persona: str = "",
        quote_chars: int = 1200,
        total_chars: int = MAX_TOTAL_CHARS,
    ) -> None:
        self.style: Style = style
        self._templates = _templates()[style]
        self._persona = persona
        self._quote_chars = quote_chars
        self._total_chars = total_chars

    def respond(self, task: str, context: Context) -> Prompt:
        """The task alone, or a revision when there is an answer of one's own or a quotation."""
        if not context.own and not context.quotes:
            return self._prompt("respond", context, 0, task=task)
        quotes, count = self._quotes(context.quotes)
        own = quoted(context.own, limit=self._quote_chars)
        return self._prompt("revise", context, count, task=task, quotes=quotes, own=own.text)

    def critique(self, task: str, proposal: Quote, context: Context) -> Prompt:
        """A proposal to find the flaw in."""
        shown = quoted(proposal.text, limit=self._quote_chars)
        return self._prompt(
            "critique",
            context,
            shown.neutralised,
            task=task,
            label=proposal.label,
            proposal=shown.text,
        )

    def vote(self, task: str, candidates: Sequence[Candidate], context: Context) -> Prompt:
        """Proposals to choose from."""
        parts: list[str] = []
        count = 0
        limit = self._share(len(candidates))
        for candidate in candidates:
            shown = quoted(candidate.text, limit=limit)
            count += shown.neutralised
            parts.append(f"{candidate.label}:\n{shown.text}")
        labels = " or ".join(c.label for c in candidates)
        return self._prompt(
            "vote", context, count, task=task, candidates="\n\n".join(parts), labels=labels
        )

    def _share(self, count: int) -> int:
        fair = self._total_chars // max(1, count)
        return max(_MIN_QUOTE_CHARS, min(self._quote_chars, fair))

    def _quotes(self, quotes: Sequence[Quote]) -> tuple[str, int]:
        parts: list[str] = []
        count = 0
        limit = self._share(len(quotes))
        for quote in quotes:
            shown = quoted(quote.text, limit=limit)
            count += shown.neutralised
            head = "" if self.style == "brief" else f"{quote.label} ({quote.kind}):\n"
            parts.append(head + shown.text)
        return ("\n" if self.style == "brief" else "\n\n").join(parts), count

    def _prompt(self, name: str, context: Context, count: int, **parts: str) -> Prompt:
        # The task comes from outside, too: it may be long, but it can't pose as another turn.
        task = plain(parts["task"], has_roles=True)
        body = self._templates[name].format(**{**parts, "task": task.text})
        if context.stance:
            body = self._templates["stance"].format(stance=context.stance) + body
        system = PERSONA_SEPARATOR.join(
            t for t in (self._persona, self._templates["system"].strip()) if t
        )
        messages = [ChatMessage(role="system", content=system)] if system else []
        messages.append(ChatMessage(role="user", content=body))
        return Prompt(tuple(messages), count + task.neutralised)
