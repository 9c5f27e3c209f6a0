"""What is trained is what is sampled: prompts are prefixes, the loss is on the last turn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from tinker_engine.base import NANO_DIR
from tinker_engine.errors import RequestError
from tinker_engine.recipes.chat_format import ChatFormat, ChatMessage

CHAT: list[ChatMessage] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Where is my parcel?"},
    {"role": "assistant", "content": "Freight Desk"},
]


@pytest.fixture(scope="module")
def chat() -> ChatFormat:
    return ChatFormat(AutoTokenizer.from_pretrained(NANO_DIR))


def test_the_prompt_is_a_prefix_and_the_rest_is_learned(chat: ChatFormat) -> None:
    rendered = chat.example(CHAT)
    prompt = chat.prompt_tokens(CHAT[:-1])
    assert list(rendered.tokens[: len(prompt)]) == prompt
    assert set(rendered.weights[: len(prompt)]) == {0.0}
    assert set(rendered.weights[len(prompt) :]) == {1.0}
    assert chat.decode(rendered.tokens[len(prompt) :]) == "Freight Desk"
    assert rendered.tokens[-1] == chat.eos_token_id


def test_plain_text_is_learned_whole(chat: ChatFormat) -> None:
    rendered = chat.example([{"role": "assistant", "content": "A passage of a manual."}])
    assert set(rendered.weights) == {1.0}
    assert chat.decode(rendered.tokens) == "A passage of a manual."


def test_a_begun_answer_is_continued(chat: ChatFormat) -> None:
    begun: list[ChatMessage] = [*CHAT[:-1], {"role": "assistant", "content": "Freight"}]
    prompt = chat.prompt_tokens(begun)
    assert prompt[: len(chat.prompt_tokens(CHAT[:-1]))] == chat.prompt_tokens(CHAT[:-1])
    assert chat.decode(prompt).endswith("Freight")


def test_a_conversation_must_end_with_the_assistant(chat: ChatFormat) -> None:
    with pytest.raises(RequestError, match="assistant turn"):
        chat.example(CHAT[:-1])


def test_the_preview_marks_what_is_learned(chat: ChatFormat) -> None:
    preview = chat.preview(CHAT)
    assert "⟦" in preview
    assert "Freight Desk" in preview.split("⟦")[1]
    assert "parcel" in preview.split("⟦")[0]


def test_a_base_without_template_gets_the_plain_one(shared_data: Path) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(shared_data / "models" / "llama2xs-280K-hf")
    chat = ChatFormat(tokenizer)
    rendered = chat.example(CHAT)
    prompt = chat.prompt_tokens(CHAT[:-1])
    assert list(rendered.tokens[: len(prompt)]) == prompt


def test_a_template_whose_prompt_is_no_prefix_is_refused(chat: ChatFormat) -> None:
    broken = ChatFormat(chat.tokenizer)
    broken.template = "{{ messages | length }}{% for m in messages %}{{ m['content'] }}{% endfor %}"
    with pytest.raises(RequestError, match="not a prefix"):
        broken.example(CHAT)
