"""What is refused, and that it is said in the form that OpenAI's clients understand."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest

from tinker_engine.connect import Connection

MESSAGES: Any = [{"role": "user", "content": "Hello"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.fixture(scope="module")
def raw(connection: Connection) -> Any:
    with httpx.Client(
        base_url=connection.base_url,
        headers={"Authorization": f"Bearer {connection.api_key}"},
        trust_env=False,
    ) as made:
        yield made


@pytest.mark.parametrize(
    ("more", "param", "says"),
    [
        ({"presence_penalty": 0.5}, "presence_penalty", "without penalties"),
        ({"frequency_penalty": -1}, "frequency_penalty", "without penalties"),
        ({"logit_bias": {"5": 100}}, "logit_bias", "does not shift logits"),
        ({"response_format": {"type": "json_object"}}, "response_format", "does not enforce"),
        ({"tools": [TOOL]}, "tools", "no place for them"),
        ({"tools": [TOOL], "tool_choice": "required"}, "tool_choice", "can't make a model"),
        ({"functions": [{"name": "f"}]}, "functions", "use tools"),
        ({"store": True}, "store", "stores no answers"),
        ({"reasoning_effort": "high"}, "reasoning_effort", "steered"),
        ({"made_up": 1}, "made_up", "unknown field"),
        ({"n": 0}, "n", "greater than or equal to 1"),
        ({"temperature": "hot"}, "temperature", "valid number"),
        ({"top_p": 0}, "top_p", "greater than 0"),
        ({"max_tokens": 0}, "max_tokens", "at least 1"),
        ({"top_logprobs": 3}, "top_logprobs", "needs logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "less than or equal to 20"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "only for stream"),
        ({"messages": []}, "messages", "at least 1"),
        ({"messages": [{"role": "oracle", "content": "x"}]}, "messages.0.role", "Input should be"),
        ({"messages": [{"role": "user"}]}, "messages.0.content", "no content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages.0.content",
            "only text",
        ),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0", "answers of tools"),
        ({"messages": [{"role": "assistant", "tool_calls": [CALL]}]}, "messages.0", "tool calls"),
        ({"model": None}, "model", "valid string"),
    ],
)
def test_chat_refusals(raw: httpx.Client, more: dict[str, Any], param: str, says: str) -> None:
    answer = raw.post("/v1/chat/completions", json={"model": "nano", "messages": MESSAGES, **more})
    error = answer.json()["error"]
    assert answer.status_code == 400, error
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert says in error["message"]


@pytest.mark.parametrize(
    ("more", "param", "says"),
    [
        ({"best_of": 4}, "best_of", "ask for n samples"),
        ({"suffix": "end"}, "suffix", "fills in the middle"),
        ({"prompt": []}, "prompt", "expected 1 to"),
        ({"prompt": [-1]}, "prompt", "must lie in"),
        ({"prompt": [2**70]}, "prompt", "must lie in"),
        ({"prompt": ""}, "prompt", "0 tokens"),
        ({"prompt": ["a"] * 17, "n": 128}, "prompt", "answers in one request"),
        ({"echo": True, "logprobs": 0, "stream": True}, "stream", "set stream to false"),
    ],
)
def test_completion_refusals(
    raw: httpx.Client, more: dict[str, Any], param: str, says: str
) -> None:
    answer = raw.post("/v1/completions", json={"model": "nano", "prompt": "a", **more})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param)
    assert says in error["message"]


def test_what_changes_nothing_is_taken(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="nano",
        messages=[{"role": "developer", "content": "Be short."}, *MESSAGES],
        max_tokens=2,
        presence_penalty=0,
        frequency_penalty=0,
        logit_bias={},
        response_format={"type": "text"},
        user="somebody",
        metadata={"a": "b"},
        store=False,
        service_tier="auto",
        tool_choice="none",
        tools=[TOOL],  # type: ignore[list-item]
    )
    assert answer.choices[0].finish_reason in ("length", "stop")


def test_unknown_models(client: openai.OpenAI) -> None:
    for name in ("gpt-4o", "tinker://nobody/sampler_weights/x", "NANO"):
        with pytest.raises(openai.NotFoundError) as caught:
            client.chat.completions.create(model=name, messages=MESSAGES)
        assert caught.value.code == "model_not_found"
        assert caught.value.param == "model"
    with pytest.raises(openai.BadRequestError, match="expected tinker://"):
        client.chat.completions.create(model="tinker://x", messages=MESSAGES)
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-4o")


def test_a_prompt_beyond_the_context(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model="nano", prompt="word " * 3000)
    assert caught.value.code == "context_length_exceeded"


def test_keys_paths_methods_and_bodies(raw: httpx.Client, connection: Connection) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        openai.OpenAI(
            base_url=f"{connection.base_url}/v1", api_key="tml-wrong", max_retries=0
        ).models.list()
    assert caught.value.code == "invalid_api_key"
    for answer, status in (
        (raw.get("/v1/files"), 404),
        (raw.delete("/v1/models"), 405),
        (raw.post("/v1/chat/completions", content=b"{"), 400),
        (raw.post("/v1/chat/completions", content=b"[1]"), 400),
        (raw.post("/v1/embeddings", json={}), 404),
    ):
        assert answer.status_code == status
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    # The Tinker routes keep their own layout.
    assert raw.get("/api/v1/nothing").json()["category"] == "user"
