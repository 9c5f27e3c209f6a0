"""What a sampling request can ask for, one by one, through the real SDK."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import tinker

from tinker_engine.connect import Connection, load_tokenizer

TEXT = "Dear customer, the repair of your bicycle is done and it waits"


@pytest.fixture(scope="module")
def tokens(connection: Connection) -> list[int]:
    return load_tokenizer(connection).encode(TEXT)


@pytest.fixture(scope="module")
def base(connection: Connection) -> tinker.SamplingClient:
    return connection.service_client.create_sampling_client(base_model="nano").result()


def prompt_of(tokens: list[int]) -> tinker.ModelInput:
    return tinker.ModelInput.from_ints(tokens)


def next_distribution(base: tinker.SamplingClient, tokens: list[int]) -> dict[int, float]:
    """The 128 likeliest next tokens with their probabilities."""
    answer = base.sample(
        prompt_of([*tokens, tokens[0]]),
        1,
        tinker.SamplingParams(max_tokens=1),
        topk_prompt_logprobs=128,
    ).result()
    assert answer.topk_prompt_logprobs is not None
    row = answer.topk_prompt_logprobs[-1]
    assert row is not None
    return {token: math.exp(logprob) for token, logprob in row}


def first_tokens(
    base: tinker.SamplingClient, tokens: list[int], count: int, **params: float
) -> list[int]:
    asked = tinker.SamplingParams(max_tokens=1, seed=5, **params)  # type: ignore[arg-type]
    answer = base.sample(prompt_of(tokens), count, asked).result()
    assert len(answer.sequences) == count
    return [sequence.tokens[0] for sequence in answer.sequences]


def test_samples_differ_and_the_seed_repeats_them(
    base: tinker.SamplingClient, tokens: list[int]
) -> None:
    params = tinker.SamplingParams(max_tokens=6, temperature=1.5, seed=3)
    first, again = (
        [s.tokens for s in base.sample(prompt_of(tokens), 8, params).result().sequences]
        for _ in range(2)
    )
    assert first == again
    assert len({tuple(t) for t in first}) > 4
    # A sample is a function of seed and number alone, not of how many there are.
    fewer = base.sample(prompt_of(tokens), 3, params).result().sequences
    assert [s.tokens for s in fewer] == first[:3]


@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.6])
def test_temperature_shapes_the_distribution(
    base: tinker.SamplingClient, tokens: list[int], temperature: float
) -> None:
    count = 400
    drawn = Counter(first_tokens(base, tokens[:4], count, temperature=temperature))
    known = next_distribution(base, tokens[:4])
    # The ten likeliest against the other 118 whose probabilities are known.
    powers = {token: p ** (1 / temperature) for token, p in known.items()}
    best = sorted(known, key=lambda t: -known[t])[:10]
    total = sum(drawn[token] for token in known)
    assert total > 100
    share = sum(powers[token] for token in best) / sum(powers.values())
    deviation = math.sqrt(total * share * (1 - share))
    assert abs(sum(drawn[token] for token in best) - total * share) < 4 * deviation


def test_top_k_and_top_p_bound_the_choice(base: tinker.SamplingClient, tokens: list[int]) -> None:
    known = next_distribution(base, tokens[:4])
    order = sorted(known, key=lambda t: -known[t])
    assert set(first_tokens(base, tokens[:4], 200, temperature=2.0, top_k=3)) == set(order[:3])
    half = 0
    mass = 0.0
    while mass < 0.5:
        mass += known[order[half]]
        half += 1
    kept = set(first_tokens(base, tokens[:4], 200, temperature=1.0, top_p=0.5))
    assert order[0] in kept
    assert kept <= set(order[:half])
    assert not set(first_tokens(base, tokens[:4], 200, temperature=1.0)) <= set(order[:half])
    greedy = set(first_tokens(base, tokens[:4], 5, temperature=0.0))
    assert greedy == {order[0]}


def test_stop_string_token_and_past_the_end(
    base: tinker.SamplingClient, connection: Connection, tokens: list[int]
) -> None:
    tokenizer = load_tokenizer(connection)
    free = base.sample(
        prompt_of(tokens), 1, tinker.SamplingParams(max_tokens=24, temperature=0.0, stop=[])
    ).result()
    whole = free.sequences[0].tokens
    assert len(whole) == 24
    assert free.sequences[0].stop_reason == "length"
    text = tokenizer.decode(whole[4])
    by_string = base.sample(
        prompt_of(tokens), 1, tinker.SamplingParams(max_tokens=24, temperature=0.0, stop=[text])
    ).result()
    sequence = by_string.sequences[0]
    assert sequence.stop_reason == "stop"
    assert text in tokenizer.decode(sequence.tokens)
    assert text not in tokenizer.decode(sequence.tokens[:-1])
    assert sequence.tokens == whole[: len(sequence.tokens)]
    by_token = base.sample(
        prompt_of(tokens), 1, tinker.SamplingParams(max_tokens=24, temperature=0.0, stop=[whole[4]])
    ).result()
    assert by_token.sequences[0].tokens == whole[: whole.index(whole[4]) + 1]


def test_logprobs_of_samples_are_the_models_own(
    base: tinker.SamplingClient, tokens: list[int]
) -> None:
    params = tinker.SamplingParams(max_tokens=5, temperature=0.6, top_k=5, seed=2)
    answer = base.sample(prompt_of(tokens), 2, params, topk_sample_logprobs=4).result()
    for sequence in answer.sequences:
        scored = base.compute_logprobs(prompt_of([*tokens, *sequence.tokens])).result()
        assert sequence.logprobs is not None
        np.testing.assert_allclose(sequence.logprobs, scored[len(tokens) :], atol=1e-4)
        assert sequence.topk_logprobs is not None
        assert len(sequence.topk_logprobs) == len(sequence.tokens)
        for token, logprob, row in zip(
            sequence.tokens, sequence.logprobs, sequence.topk_logprobs, strict=True
        ):
            assert row is not None
            assert len(row) == 4
            known = dict(row)
            assert row == sorted(row, key=lambda pair: -pair[1])
            assert known.get(token, logprob) == pytest.approx(logprob, abs=1e-5)
    plain = base.sample(prompt_of(tokens), 1, params).result()
    assert plain.sequences[0].topk_logprobs is None


def test_prompt_logprobs_of_the_last_tokens(base: tinker.SamplingClient, tokens: list[int]) -> None:
    params = tinker.SamplingParams(max_tokens=1)
    whole = base.sample(
        prompt_of(tokens), 1, params, include_prompt_logprobs=True, topk_prompt_logprobs=2
    ).result()
    last = base.sample(
        prompt_of(tokens),
        1,
        params,
        include_prompt_logprobs=True,
        topk_prompt_logprobs=2,
        prompt_logprobs_last_n=3,
    ).result()
    assert whole.prompt_logprobs is not None
    assert last.prompt_logprobs is not None
    assert whole.prompt_logprobs[0] is None
    assert last.prompt_logprobs[:-3] == [None] * (len(tokens) - 3)
    assert last.prompt_logprobs[-3:] == whole.prompt_logprobs[-3:]
    assert last.topk_prompt_logprobs is not None
    assert last.topk_prompt_logprobs[:-3] == [None] * (len(tokens) - 3)


@pytest.mark.parametrize("is_sparse", [False, True])
def test_logprobs_of_named_prompt_tokens(
    base: tinker.SamplingClient, tokens: list[int], is_sparse: bool
) -> None:
    length = len(tokens) - 1
    wanted = np.full((length, 5), -1, dtype=np.int64)
    wanted[:, 0] = tokens[1:]
    wanted[2, 4] = 17
    tensor = tinker.TensorData.from_numpy(wanted)
    if is_sparse:
        import torch

        tensor = tinker.TensorData.from_torch_sparse(torch.from_numpy(wanted), pad_value=-1)
        assert tensor.sparse_crow_indices is not None
    answer = base.sample(
        prompt_of(tokens),
        1,
        tinker.SamplingParams(max_tokens=1),
        include_prompt_logprobs=True,
        target_prompt_logprobs=tensor,
    ).result()
    found = answer.target_prompt_logprobs
    assert found is not None
    assert found.sparse_crow_indices == tensor.sparse_crow_indices
    dense = found.to_numpy()
    np.testing.assert_allclose(dense[:, 0], answer.prompt_logprobs[1:], atol=1e-5)
    assert dense[2, 4] < 0
    assert (dense[:, 1:4] == 0).all()
    with pytest.raises(tinker.BadRequestError, match="one row for each prompt token"):
        base.sample(
            prompt_of(tokens[:-1]),
            1,
            tinker.SamplingParams(max_tokens=1),
            target_prompt_logprobs=tensor,
        ).result()


def test_other_tokens_at_each_place(base: tinker.SamplingClient, tokens: list[int]) -> None:
    params = tinker.SamplingParams(max_tokens=1, temperature=1.0, seed=9)
    answers = [
        base.sample(prompt_of(tokens), 1, params, prompt_alt_tokens_k=3).result() for _ in range(2)
    ]
    drawn = answers[0].prompt_alt_tokens
    again = answers[1].prompt_alt_tokens
    assert drawn is not None
    assert again is not None
    ids = drawn.tokens.to_numpy()
    assert ids.shape == (len(tokens) - 1, 3)
    np.testing.assert_array_equal(ids, again.tokens.to_numpy())
    scored = base.sample(prompt_of(tokens), 1, params, target_prompt_logprobs=drawn.tokens).result()
    assert scored.target_prompt_logprobs is not None
    np.testing.assert_allclose(
        drawn.logprobs.to_numpy(), scored.target_prompt_logprobs.to_numpy(), atol=1e-5
    )
    assert (ids[:, 0] != ids[:, 1]).any()
