"""What OpenAI's client gets from the base and from a checkpoint: whole answers and streams."""

from __future__ import annotations

import math
import time
from typing import Any

import openai
import pytest
from serving_samples import ANSWER, QUESTION

from tinker_engine.connect import Connection, load_tokenizer
from tinker_engine.runtime.engine import Engine

MESSAGES: Any = [{"role": "user", "content": QUESTION}]
DIGEST = "x-adapter-digest"


def streamed_text(stream: Any) -> tuple[dict[int, str], dict[int, str], list[Any]]:
    """Text and finish reason of each choice, and all chunks."""
    texts: dict[int, str] = {}
    reasons: dict[int, str] = {}
    chunks = list(stream)
    for chunk in chunks:
        for choice in chunk.choices:
            delta = choice.delta.content if hasattr(choice, "delta") else choice.text
            texts[choice.index] = texts.get(choice.index, "") + (delta or "")
            if choice.finish_reason:
                assert choice.index not in reasons
                reasons[choice.index] = choice.finish_reason
    return texts, reasons, chunks


@pytest.mark.parametrize("model", ["nano", "checkpoint"])
def test_chat_streams_what_it_answers_whole(
    client: openai.OpenAI, checkpoint: str, model: str
) -> None:
    asked: dict[str, Any] = {
        "model": checkpoint if model == "checkpoint" else model,
        "messages": MESSAGES,
        "n": 3,
        "seed": 11,
        "temperature": 2.0,
        "max_completion_tokens": 24,
        "logprobs": True,
        "top_logprobs": 2,
    }
    whole = client.chat.completions.create(**asked)
    texts, reasons, chunks = streamed_text(
        client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    )
    assert texts == {c.index: c.message.content for c in whole.choices}
    assert reasons == {c.index: c.finish_reason for c in whole.choices}
    assert len({c.message.content for c in whole.choices}) > 1
    assert [c.choices[0].delta.role for c in chunks[:3]] == ["assistant"] * 3
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert {c.system_fingerprint for c in chunks} == {whole.system_fingerprint}
    for choice in whole.choices:
        assert choice.logprobs is not None
        scored = choice.logprobs.content or []
        streamed = [
            entry
            for chunk in chunks
            for piece in chunk.choices
            if piece.index == choice.index and piece.logprobs
            for entry in piece.logprobs.content or []
        ]
        assert [entry.token for entry in streamed] == [entry.token for entry in scored]
        # Marks of turns may be drawn on the way: they are scored, and no text shows them.
        shown = b"".join(bytes(e.bytes or []) for e in scored if not e.token.startswith("<|"))
        assert shown.decode(errors="replace") == choice.message.content
        assert all(len(entry.top_logprobs) == 2 for entry in scored)
        assert all(entry.logprob <= entry.top_logprobs[0].logprob + 1e-5 for entry in scored)


def test_a_trained_checkpoint_answers_as_it_was_taught(
    client: openai.OpenAI, engine: Engine, checkpoint: str
) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model=checkpoint, messages=MESSAGES, temperature=0
    )
    answer = raw.parse()
    assert answer.choices[0].message.content == ANSWER
    assert answer.choices[0].finish_reason == "stop"
    digest = raw.headers[DIGEST]
    assert answer.system_fingerprint == digest
    card: Any = client.models.retrieve(checkpoint)
    assert (card.kind, card.digest) == ("checkpoint", digest)
    base = client.chat.completions.with_raw_response.create(
        model="nano", messages=MESSAGES, temperature=0, max_tokens=8
    )
    assert base.headers[DIGEST] == engine.base_info.digest != digest


def test_the_first_words_come_before_the_last_are_made(
    client: openai.OpenAI, checkpoint: str
) -> None:
    started = time.monotonic()
    arrivals = [
        time.monotonic() - started
        for chunk in client.chat.completions.create(
            model=checkpoint, messages=MESSAGES, temperature=0, stream=True
        )
        if chunk.choices[0].delta.content
    ]
    assert len(arrivals) > 60
    assert arrivals[0] < arrivals[-1] / 2


def test_completions_stream_what_they_answer_whole(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {
        "model": "nano",
        "prompt": ["Dear customer, the", "The capital of"],
        "n": 2,
        "seed": 5,
        "max_tokens": 12,
        "echo": True,
    }
    whole = client.completions.create(**asked)
    texts, reasons, _ = streamed_text(client.completions.create(**asked, stream=True))
    assert texts == {c.index: c.text for c in whole.choices}
    assert reasons == {c.index: c.finish_reason for c in whole.choices}
    assert [c.text[:8] for c in whole.choices] == ["Dear cus"] * 2 + ["The capi"] * 2
    assert whole.usage is not None
    assert whole.usage.completion_tokens <= 4 * 12


def test_completion_logprobs_in_the_older_layout(
    client: openai.OpenAI, connection: Connection
) -> None:
    tokenizer = load_tokenizer(connection)
    prompt = tokenizer.encode("The bicycle is")
    answer = client.completions.create(
        model="nano", prompt=prompt, max_tokens=6, temperature=0, logprobs=3, echo=True
    ).choices[0]
    assert answer.logprobs is not None
    tokens, offsets = answer.logprobs.tokens, answer.logprobs.text_offset
    scores, tops = answer.logprobs.token_logprobs, answer.logprobs.top_logprobs
    assert None not in (tokens, offsets, scores, tops)
    assert "".join(tokens) == answer.text
    for place, token in enumerate(tokens):
        assert answer.text[offsets[place] :].startswith(token)
    assert scores[0] is None
    assert tops[0] is None
    for token, score, top in zip(tokens[1:], scores[1:], tops[1:], strict=True):
        assert top[token] == pytest.approx(score, abs=1e-4)
        assert 3 <= len(top) <= 4
    # Greedy: what was chosen is the likeliest.
    place = len(prompt)
    assert scores[place] == pytest.approx(max(tops[place].values()), abs=1e-4)
    # Scoring alone, as evaluation harnesses ask for it.
    scored = client.completions.create(
        model="nano", prompt=prompt, max_tokens=0, logprobs=1, echo=True
    ).choices[0]
    assert scored.logprobs is not None
    assert scored.logprobs.token_logprobs == pytest.approx(scores[:place], abs=1e-4)
    assert scored.text == "The bicycle is"
    assert math.isfinite(sum((scored.logprobs.token_logprobs or [])[1:]))


def test_stop_strings_stay_hidden_in_streams_too(client: openai.OpenAI, checkpoint: str) -> None:
    asked: dict[str, Any] = {
        "model": checkpoint,
        "messages": MESSAGES,
        "temperature": 0,
        "stop": ["the red barn", "the rest"],
        "logprobs": True,
    }
    whole = client.chat.completions.create(**asked).choices[0]
    expected = ANSWER[: ANSWER.index("the red barn")]
    assert whole.message.content == expected
    assert whole.finish_reason == "stop"
    texts, reasons, chunks = streamed_text(client.chat.completions.create(**asked, stream=True))
    assert texts == {0: expected}
    assert reasons == {0: "stop"}
    # What only begins like a stop string was held back, not lost.
    assert "the river" in expected
    scored = [
        entry.token
        for chunk in chunks
        for choice in chunk.choices
        if choice.logprobs
        for entry in choice.logprobs.content or []
    ]
    assert whole.logprobs is not None
    assert scored == [entry.token for entry in whole.logprobs.content or []]
    assert "".join(scored).startswith(expected)


def test_seed_and_temperature_decide(client: openai.OpenAI) -> None:
    def ask(**more: Any) -> str:
        answer = client.completions.create(model="nano", prompt="The", max_tokens=16, **more)
        return answer.choices[0].text

    assert ask(seed=1) == ask(seed=1) != ask(seed=2)
    assert ask(temperature=0) == ask(temperature=0, seed=9)
    assert ask(temperature=3.0, extra_body={"top_k": 1}) == ask(temperature=0)
    assert ask(temperature=1.0, top_p=1e-6, seed=4) == ask(temperature=0)


def test_a_client_that_leaves_cancels_its_request(
    client: openai.OpenAI, engine: Engine, checkpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[Any] = []
    submit = engine.queue.submit_sample
    monkeypatch.setattr(
        engine.queue, "submit_sample", lambda name, job: (jobs.append(job), submit(name, job))
    )
    stream = client.chat.completions.create(
        model=checkpoint, messages=MESSAGES, temperature=0, stream=True
    )
    next(iter(stream))
    stream.close()
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.05).chat.completions.create(
            model=checkpoint, messages=MESSAGES, temperature=0, n=8
        )
    deadline = time.monotonic() + 20
    while not all(job.future.outcome for job in jobs) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert [job.future.is_cancelled for job in jobs] == [True, True]
    assert all(engine.futures.get(job.future.request_id) is None for job in jobs)


def test_models_are_listed(client: openai.OpenAI, engine: Engine, checkpoint: str) -> None:
    listed = {model.id: model for model in client.models.list()}
    assert {"nano", checkpoint} <= set(listed)
    base: Any = listed["nano"]
    assert base.object == "model"
    assert base.digest == engine.base_info.digest
    assert client.models.retrieve("nano") == base
