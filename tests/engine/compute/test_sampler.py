"""Sampling: exact whatever the neighbours, and consistent with the training forward."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import randomise

from evidence._tiny_families import CONFIGS
from tinker_engine.errors import RequestError
from tinker_engine.runtime import sample_batch
from tinker_engine.runtime.records import SampleRequest, TokenEvent, TrainDatum
from tinker_engine.runtime.sample_watch import Watch


def request(prompt: list[int], **changes: Any) -> SampleRequest:
    fields: dict[str, Any] = {
        "num_samples": 1,
        "max_tokens": 8,
        "temperature": 0.0,
        "top_p": 1.0,
        "top_k": 0,
        "seed": 1,
        "stop_token_ids": (),
        "stop_strings": (),
        "prompt_logprobs": False,
    }
    return SampleRequest(prompt=np.array(prompt), **{**fields, **changes})


PROMPTS = [[5], [7, 8, 9, 10, 11], list(range(20, 43)), [1, 2, 3], [4, 4, 4]]


@pytest.mark.parametrize("family", CONFIGS)
def test_logprobs_match_the_training_forward(family, make_backend, make_spec, tmp_path):
    backend = make_backend(family)
    backend.create_run("r", make_spec(), tmp_path / "l")
    randomise(backend, "r")
    backend.save_adapter("r", tmp_path / "a")
    backend.create_sampler("s", tmp_path / "a")
    requests = [request(p, temperature=1.0, prompt_logprobs=True) for p in PROMPTS]
    for asked, result in zip(requests, backend.sample("s", requests), strict=True):
        (sequence,) = result.sequences
        tokens = np.concatenate([asked.prompt, np.array(sequence.tokens)])
        datum = TrainDatum(tokens[:-1], tokens[1:], np.ones(len(tokens) - 1, np.float32))
        forward = backend.forward("r", [datum], "cross_entropy").logprobs[0]
        assert result.prompt_logprobs is not None
        assert result.prompt_logprobs[0] is None
        ours = np.array([*result.prompt_logprobs[1:], *sequence.logprobs], dtype=np.float32)
        np.testing.assert_allclose(ours, forward, atol=1e-4)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_greedy_equals_transformers_generate(family, make_base, make_backend):
    backend = make_backend(family)
    backend.create_sampler("s", None)
    results = backend.sample("s", [request(p, max_tokens=12) for p in PROMPTS])
    model = make_base(family).model
    for prompt, result in zip(PROMPTS, results, strict=True):
        generated = model.generate(
            torch.tensor([prompt]), max_new_tokens=12, do_sample=False, pad_token_id=0
        )
        assert result.sequences[0].tokens == generated[0, len(prompt) :].tolist()
        assert result.sequences[0].stop_reason == "length"


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_results_do_not_depend_on_neighbours(family, make_backend):
    backend = make_backend(family)
    backend.create_sampler("s", None)
    requests = [
        request(p, temperature=t, top_p=q, top_k=k, seed=k, num_samples=2)
        for p, t, q, k in zip(
            PROMPTS,
            (0.0, 1.0, 0.8, 1.5, 1.0),
            (1.0, 0.9, 1.0, 0.7, 1.0),
            (0, 0, 5, 9, 1),
            strict=True,
        )
    ]
    together = backend.sample("s", requests)
    for asked, result in zip(requests, together, strict=True):
        (alone,) = backend.sample("s", [asked])
        assert [s.tokens for s in alone.sequences] == [s.tokens for s in result.sequences]
        for ours, theirs in zip(alone.sequences, result.sequences, strict=True):
            np.testing.assert_allclose(ours.logprobs, theirs.logprobs, atol=1e-5)


def test_seeds_decide_samples_and_greedy_ignores_them(make_backend):
    backend = make_backend()
    backend.create_sampler("s", None)

    def tokens(**changes: Any) -> list[list[int]]:
        (result,) = backend.sample("s", [request(PROMPTS[1], num_samples=2, **changes)])
        return [s.tokens for s in result.sequences]

    hot = tokens(temperature=1.0, seed=1)
    assert hot == tokens(temperature=1.0, seed=1)
    assert hot != tokens(temperature=1.0, seed=2)
    assert hot[0] != hot[1]
    assert tokens(seed=1) == tokens(seed=2)
    assert tokens(temperature=1.0, top_k=1, seed=4) == tokens(seed=1)
    assert tokens(temperature=1.0, seed=None) != tokens(temperature=1.0, seed=None)


def test_sampled_frequencies_follow_the_distribution(make_backend):
    backend = make_backend()
    backend.create_sampler("s", None)
    asked = request(
        PROMPTS[1], num_samples=4000, max_tokens=1, temperature=1.3, top_k=4, topk_prompt_logprobs=4
    )
    (result,) = backend.sample("s", [replace(asked, prompt=np.array([*PROMPTS[1], 0]))])
    # The likeliest tokens after PROMPTS[1] are reported at the position of the added token.
    (probe,) = backend.sample("s", [asked])
    assert result.topk_prompt_logprobs is not None
    top = result.topk_prompt_logprobs[-1]
    assert top is not None
    scaled = np.exp(np.array([logprob for _, logprob in top]) / 1.3)
    expected = scaled / scaled.sum()
    drawn = [s.tokens[0] for s in probe.sequences]
    found = np.array([drawn.count(token) / len(drawn) for token, _ in top])
    assert found.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(found, expected, atol=0.04)


def test_stop_tokens_and_strings_end_a_sequence_and_stay_in_it(make_backend):
    backend = make_backend()
    backend.create_sampler("s", None)
    (free,) = backend.sample("s", [request(PROMPTS[2])])
    tokens = free.sequences[0].tokens
    third = tokens[2]
    first = tokens.index(third)
    by_id = request(PROMPTS[2], stop_token_ids=(third,))
    by_text = request(PROMPTS[2], stop_strings=(f"w{third}",))
    for result in backend.sample("s", [by_id, by_text]):
        assert result.sequences[0].tokens == tokens[: first + 1]
        assert result.sequences[0].stop_reason == "stop"


def test_end_of_text_ends_unless_asked_to_go_past_it(make_backend, monkeypatch):
    backend = make_backend()
    backend.create_sampler("s", None)
    free = backend.sample("s", [request([5, 6])])[0].sequences[0].tokens
    monkeypatch.setattr(
        "tinker_engine.runtime.torch_samplers.end_ids", lambda _base: frozenset([free[3]])
    )
    asked = [request([5, 6]), request([5, 6], goes_past_end=True)]
    ended, past = (r.sequences[0] for r in backend.sample("s", asked))
    assert ended.tokens == free[: free.index(free[3]) + 1]
    assert ended.stop_reason == "stop"
    assert past.tokens == free
    assert past.stop_reason == "length"


def test_batches_are_cut_without_changing_results(make_backend, monkeypatch):
    backend = make_backend()
    backend.create_sampler("s", None)
    requests = [request(p, prompt_logprobs=True, topk_prompt_logprobs=2) for p in PROMPTS]
    whole = backend.sample("s", requests)
    monkeypatch.setattr(sample_batch, "MOST_ROWS", 2)
    for ours, theirs in zip(backend.sample("s", requests), whole, strict=True):
        assert ours.sequences[0].tokens == theirs.sequences[0].tokens


def test_context_limits_new_tokens(make_backend):
    backend = make_backend()
    backend.create_sampler("s", None)
    prompt = [1] * 60
    (result,) = backend.sample("s", [request(prompt, max_tokens=50)])
    assert len(result.sequences[0].tokens) == 64 - 60 + 1
    assert result.sequences[0].stop_reason == "length"
    (nothing,) = backend.sample("s", [request(prompt, max_tokens=0)])
    assert nothing.sequences[0].tokens == []


@pytest.mark.parametrize(
    "bad",
    [
        {"prompt": np.array([], dtype=np.int64)},
        {"prompt": np.array([96])},
        {"prompt": np.ones(65, dtype=np.int64)},
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"top_p": 0.0},
        {"num_samples": 0},
        {"max_tokens": -1},
    ],
)
def test_bad_requests_are_refused(bad, make_backend):
    backend = make_backend()
    backend.create_sampler("s", None)
    with pytest.raises(RequestError, match="request 1"):
        backend.sample("s", [request([1]), replace(request([1]), **bad)])


def test_each_token_is_told_as_it_comes_and_a_cancelled_request_gets_no_more(make_backend):
    backend = make_backend()
    backend.create_sampler("s", None)
    events: list[list[TokenEvent]] = [[], []]
    asked = [request(p, num_samples=2, topk_sample_logprobs=2) for p in PROMPTS[:2]]
    watches = [Watch(events[0].append), Watch(events[1].append, lambda: len(events[1]) >= 6)]
    tickets = [backend.begin_sample("s", a, w) for a, w in zip(asked, watches, strict=True)]
    outcomes: dict[object, Any] = {}
    while len(outcomes) < 2:
        outcomes.update(backend.step_samples())
    assert isinstance(outcomes[tickets[1]], RequestError)
    for sample, sequence in enumerate(outcomes[tickets[0]].sequences):
        mine = [event for event in events[0] if event.sample == sample]
        assert [event.token for event in mine] == sequence.tokens
        assert [event.logprob for event in mine] == sequence.logprobs
        assert [event.top_logprobs for event in mine] == sequence.topk
        assert [event.stop_reason for event in mine] == [None] * 7 + ["length"]
    assert len(events[1]) == 6
