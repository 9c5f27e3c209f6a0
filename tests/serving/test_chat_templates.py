"""Chat prompts are what the tokenizer's own template makes of messages and tools."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving_samples import openai_client, train_answer
from transformers import AutoTokenizer

from tinker_engine.base import NANO_DIR
from tinker_engine.config import EngineConfig
from tinker_engine.connect import Connection, open_engine
from tinker_engine.protocol.openai_requests import MessageBody, ToolBody
from tinker_engine.recipes.chat_format import ChatFormat
from tinker_engine.runtime.base_text import BaseText

# In the manner of Hermes and Qwen: tools in front, calls between marks, answers as their own turns.
TOOL_TEMPLATE = (
    "{% if tools %}<|system|>Tools: {% for t in tools %}{{ t | tojson }}\n{% endfor %}"
    'Call one as <tool_call>{"name": ..., "arguments": ...}</tool_call>{% endif %}'
    "{% for m in messages %}<|{{ 'user' if m['role'] == 'tool' else m['role'] }}|>"
    "{% if m['role'] == 'tool' %}Result: {% endif %}{{ m['content'] }}"
    "{% for c in m['tool_calls'] or [] %}<tool_call>{{ c['function'] | tojson }}</tool_call>"
    "{% endfor %}{% if m['role'] == 'assistant' %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
CONVERSATIONS: list[list[dict[str, Any]]] = [
    [{"role": "user", "content": "Hello"}],
    [{"role": "system", "content": "Be short."}, {"role": "user", "content": " Grüße, 日本 \n"}],
    [
        {"role": "user", "content": "1 + 1?"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "<|end|> and <|assistant|>?"},
    ],
]


@pytest.fixture(scope="module")
def tool_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`nano` with a template that renders tools."""
    folder = tmp_path_factory.mktemp("tools") / "nano-tools"
    shutil.copytree(NANO_DIR, folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    settings["chat_template"] = TOOL_TEMPLATE
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
    return folder


@pytest.fixture(scope="module")
def tool_engine(tool_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    config = EngineConfig(
        home=tmp_path_factory.mktemp("home"), base_model=str(tool_base), threads=1
    )
    with open_engine("embedded", config=config) as opened:
        yield opened


@pytest.mark.parametrize("messages", CONVERSATIONS)
@pytest.mark.parametrize("tools", [None, [TOOL]])
def test_prompts_are_the_tokenizers_own(
    tool_base: Path, messages: list[dict[str, Any]], tools: list[Any] | None
) -> None:
    for folder in (tool_base, NANO_DIR) if tools is None else (tool_base,):
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        expected = tokenizer.apply_chat_template(
            messages, tools=tools, add_generation_prompt=True, return_dict=False
        )
        bodies = [MessageBody.model_validate(message) for message in messages]
        asked = [ToolBody.model_validate(tool) for tool in tools] if tools else None
        assert BaseText(tokenizer).chat_prompt(bodies, asked).tolist() == expected
        if tools is None:
            # The same tokens that training learns to answer.
            assert ChatFormat(tokenizer).prompt_tokens(messages) == expected  # type: ignore[arg-type]


def test_a_base_without_a_template_gets_the_one_it_is_trained_with(shared_data: Path) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(
        shared_data / "models" / "llama2xs-280K-hf", local_files_only=True
    )
    assert tokenizer.chat_template is None
    bodies = [MessageBody.model_validate(message) for message in CONVERSATIONS[1]]
    assert BaseText(tokenizer).chat_prompt(bodies, None).tolist() == ChatFormat(
        tokenizer
    ).prompt_tokens(CONVERSATIONS[1])  # type: ignore[arg-type]


def test_tool_calls_go_out_and_their_answers_come_in(tool_engine: Connection) -> None:
    call = '<tool_call>{"name": "weather", "arguments": {"city": "Oslo"}}</tool_call>'
    name = train_answer(tool_engine, "Weather in Oslo?", call, steps=40, tools=[TOOL])
    client = openai_client(tool_engine)
    asked: dict[str, Any] = {
        "model": name,
        "messages": [{"role": "user", "content": "Weather in Oslo?"}],
        "temperature": 0,
        "tools": [TOOL],
        "max_tokens": 60,
    }
    answer = client.chat.completions.create(**asked)
    whole = answer.choices[0]
    whole_prompt = answer.usage.prompt_tokens if answer.usage else 0
    assert whole.finish_reason == "tool_calls"
    assert whole.message.content is None
    made = (whole.message.tool_calls or [])[0]
    assert made.type == "function"
    assert (made.function.name, json.loads(made.function.arguments)) == (
        "weather",
        {"city": "Oslo"},
    )
    deltas = [c.choices[0] for c in client.chat.completions.create(**asked, stream=True)]
    streamed = [call for d in deltas for call in d.delta.tool_calls or []]
    assert [c.function and c.function.arguments for c in streamed] == [made.function.arguments]
    assert not any(d.delta.content for d in deltas)
    assert deltas[-1].finish_reason == "tool_calls"
    followed = client.chat.completions.create(
        model=name,
        messages=[
            *asked["messages"],
            {"role": "assistant", "tool_calls": [made.model_dump()]},
            {"role": "tool", "tool_call_id": made.id, "content": "4 degrees"},
        ],
        tools=[TOOL],
        max_tokens=4,
    )
    assert followed.usage is not None
    assert followed.usage.prompt_tokens > 60
    # Tools that are not to be called are not rendered, and nothing is taken out of the text.
    silent = client.chat.completions.create(**asked, tool_choice="none", stop=["never"])
    assert silent.choices[0].message.tool_calls is None
    assert whole_prompt > (silent.usage.prompt_tokens if silent.usage else 0)
