"""Turning chat messages into token ids, with the loss on the last turn only.

Invariant: the tokens of a prompt (rendered for generation) are a prefix of the tokens of the full
conversation, so that what is trained is exactly what is later sampled. A template that breaks
this is refused rather than masked wrongly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, cast

from tinker_engine.errors import RequestError

# For bases without a chat template (plain GPT-2, say); recorded in packages like any other.
PLAIN_TEMPLATE = (
    "{% for m in messages %}{{ {'system': '', 'user': 'User: ', 'assistant': 'Assistant: '}"
    "[m['role']] }}{{ m['content'] }}{{ eos_token if m['role'] == 'assistant' else '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}Assistant: {% endif %}"
)


class ChatMessage(TypedDict):
    """One turn in the OpenAI layout."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class Rendered:
    """A conversation as tokens. `weights[i]` is 1.0 where token i is learned, else 0.0."""

    tokens: tuple[int, ...]
    weights: tuple[float, ...]

    @property
    def trained_tokens(self) -> int:
        """How many tokens carry loss."""
        return int(sum(self.weights))


class ChatFormat:
    """A tokenizer with its chat template.

    Args:
        tokenizer: a transformers tokenizer with an end-of-sequence token.

    Raises:
        RequestError: the tokenizer has no end-of-sequence token.
    """

    def __init__(self, tokenizer: Any) -> None:
        if tokenizer.eos_token_id is None:
            raise RequestError(
                "the base model's tokenizer has no end-of-sequence token, so answers could not "
                "end; set eos_token in its tokenizer_config.json"
            )
        self.tokenizer = tokenizer
        self.template: str = tokenizer.chat_template or PLAIN_TEMPLATE
        self.eos_token_id: int = int(tokenizer.eos_token_id)

    def _render(self, messages: Sequence[ChatMessage], *, for_generation: bool) -> str:
        return cast(
            str,
            self.tokenizer.apply_chat_template(
                [dict(m) for m in messages],
                chat_template=self.template,
                add_generation_prompt=for_generation,
                tokenize=False,
            ),
        )

    def _encode(self, text: str) -> list[int]:
        return cast(list[int], self.tokenizer.encode(text, add_special_tokens=False))

    def prompt_tokens(self, messages: Sequence[ChatMessage]) -> list[int]:
        """Tokens after which the assistant's answer begins.

        A last turn of the assistant is a beginning to continue: alone it is plain text without a
        template, after other turns it stands behind their rendered prompt.
        """
        if messages and messages[-1]["role"] == "assistant":
            begun = self._encode(messages[-1]["content"])
            earlier = messages[:-1]
            return [*self.prompt_tokens(earlier), *begun] if earlier else begun
        return self._encode(self._render(messages, for_generation=True))

    def example(self, messages: Sequence[ChatMessage]) -> Rendered:
        """Tokens of a conversation that ends in an assistant turn, loss on that turn alone.

        A single assistant turn is plain text: all its tokens are learned, without a template.

        Raises:
            RequestError: the last turn isn't the assistant's, or the template's prompt is not a
                prefix of the whole.
        """
        if not messages or messages[-1]["role"] != "assistant":
            raise RequestError("a training conversation must end with an assistant turn")
        if len(messages) == 1:
            text = [*self._encode(messages[0]["content"]), self.eos_token_id]
            return Rendered(tuple(text), (1.0,) * len(text))
        prompt_text = self._render(messages[:-1], for_generation=True)
        whole_text = self._render(messages, for_generation=False)
        if not whole_text.startswith(prompt_text):
            raise RequestError(
                "the chat template renders a prompt that is not a prefix of the conversation; "
                "its loss mask would be wrong, so it is refused"
            )
        prompt = self._encode(prompt_text)
        answer = self._encode(whole_text[len(prompt_text) :])
        # What a template adds after the end token (often a newline) is never generated.
        if self.eos_token_id in answer:
            answer = answer[: answer.index(self.eos_token_id) + 1]
        else:
            answer.append(self.eos_token_id)
        return Rendered((*prompt, *answer), (0.0,) * len(prompt) + (1.0,) * len(answer))

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of generated tokens, without special tokens and surrounding blanks."""
        return cast(str, self.tokenizer.decode(list(tokens), skip_special_tokens=True)).strip()

    def preview(self, messages: Sequence[ChatMessage]) -> str:
        """The conversation as the model sees it, with the learned part between ⟦ and ⟧."""
        rendered = self.example(messages)
        start = rendered.weights.index(1.0)
        decode = self.tokenizer.decode
        return f"{decode(list(rendered.tokens[:start]))}⟦{decode(list(rendered.tokens[start:]))}⟧"
