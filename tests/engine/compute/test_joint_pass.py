"""Several runs in one pass: each gets what it gets alone, whoever else is in it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import PRIVATE, SEVEN, random_data, randomise, relative_error

from tinker_engine.errors import NonFiniteError, NotFoundError, RequestError
from tinker_engine.runtime.records import LossOutput, TrainDatum, TrainRequest

SPECS = {
    "wide": {"rank": 8, "alpha": 16.0},
    "pairs": {"rank": 4, "alpha": 8.0},
    "narrow": {"rank": 1, "alpha": 2.0, "targets": ("v_proj",)},
    "only-b": {"rank": 3, "alpha": 4.0, "lora_train": "B", "targets": ("q_proj", "down_proj")},
    "head": {"rank": 2, "alpha": 4.0, "targets": (*SEVEN, "lm_head")},
    "private": {"rank": 4, "alpha": 8.0, "privacy": PRIVATE},
    "private-head": {"rank": 2, "alpha": 4.0, "targets": ("o_proj", "lm_head"), "privacy": PRIVATE},
}


def with_policy(data: list[TrainDatum]) -> list[TrainDatum]:
    """The same data with what importance sampling needs."""
    return [
        TrainDatum(
            d.tokens,
            d.targets,
            d.weights,
            {
                "logprobs": np.full(len(d.tokens), -4.0, dtype=np.float32),
                "advantages": d.weights - 0.5,
            },
        )
        for d in data
    ]


def paired(data: list[TrainDatum]) -> list[TrainDatum]:
    """The same data as pairs of a chosen and a rejected answer."""
    return [
        TrainDatum(
            d.tokens,
            d.targets,
            d.weights,
            {
                "logprobs": np.full(len(d.tokens), -4.0, dtype=np.float32),
                "advantages": np.full(len(d.tokens), (-1) ** i, dtype=np.float32),
                "beta": np.full(len(d.tokens), 0.1, dtype=np.float32),
            },
        )
        for i, d in enumerate(data)
    ]


def soft(data: list[TrainDatum]) -> list[TrainDatum]:
    """The same data with two targets a position."""
    return [
        TrainDatum(
            d.tokens,
            np.stack([d.targets, d.tokens], axis=1),
            np.stack([d.weights, d.weights / 2], axis=1),
        )
        for d in data
    ]


def requests() -> list[TrainRequest]:
    """One request a run, of different losses and sizes."""
    return [
        TrainRequest("wide", random_data(5, seed=1), "cross_entropy"),
        # Behind an odd number of data: pairs are counted from their own request's first.
        TrainRequest("pairs", paired(random_data(6, seed=7)), "dpo"),
        TrainRequest("narrow", with_policy(random_data(3, seed=2)), "importance_sampling"),
        TrainRequest("only-b", soft(random_data(4, seed=3)), "cross_entropy"),
        TrainRequest("head", random_data(2, seed=4), "cross_entropy"),
        TrainRequest("private", random_data(6, seed=5), "cross_entropy"),
        TrainRequest("private-head", random_data(3, seed=6), "cross_entropy"),
    ]


@pytest.fixture
def make_runs(make_backend, make_spec, tmp_path):
    made = iter(range(10))

    def make(family: str, **options):
        backend = make_backend(family, **options)
        folder = tmp_path / str(next(made))
        for seed, (name, changes) in enumerate(SPECS.items()):
            if family == "gpt2" and "targets" in changes:
                changes = {**changes, "targets": SEVEN}
            backend.create_run(name, make_spec(seed=seed, **changes), folder / name)
            randomise(backend, name, seed)
        return backend

    return make


@pytest.mark.parametrize("recomputes", [False, True])
@pytest.mark.parametrize("rows", [64, 4096])
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_a_group_gives_what_each_gets_alone(family, rows, recomputes, make_runs):
    together, apart = make_runs(family, rows=rows), make_runs(family, rows=rows)
    if recomputes:
        together.network.recompute_rows = 0
    for request, joint in zip(
        requests(), together.forward_backward_jointly(requests()), strict=True
    ):
        alone = apart.forward_backward(request.run_id, request.data, request.loss)
        assert isinstance(joint, LossOutput)
        assert joint.loss_sum == pytest.approx(alone.loss_sum, rel=1e-5)
        for a, b in zip(joint.logprobs, alone.logprobs, strict=True):
            assert np.allclose(a, b, atol=1e-5)
        ours, theirs = (b.training_run(request.run_id) for b in (together, apart))
        assert relative_error(ours.accumulator, theirs.accumulator.double()) < 1e-5
        assert ours.statistics.clipped == theirs.statistics.clipped
        assert ours.gradients == 1


def test_what_fails_in_one_run_stays_there(make_runs):
    together, apart = make_runs("llama"), make_runs("llama")
    good = requests()
    bad = [
        TrainRequest("wide", [overflowing(random_data(1)[0])], "cross_entropy"),
        TrainRequest("gone", random_data(1), "cross_entropy"),
        TrainRequest("head", [], "cross_entropy"),
        TrainRequest("only-b", [outside(random_data(1)[0])], "cross_entropy"),
    ]
    mixed = [bad[0], good[1], bad[1], bad[2], bad[3], good[4], good[5]]
    results = together.forward_backward_jointly(mixed)
    assert isinstance(results[0], NonFiniteError)
    assert isinstance(results[2], NotFoundError)
    assert isinstance(results[4], RequestError)
    for name in ("wide", "only-b"):
        assert together.training_run(name).gradients == 0
        assert not together.training_run(name).accumulator.any()
    for place in (1, 5, 6):
        request = mixed[place]
        apart.forward_backward(request.run_id, request.data, request.loss)
        ours, theirs = (b.training_run(request.run_id).accumulator for b in (together, apart))
        assert relative_error(ours, theirs.double()) < 1e-5


def overflowing(datum: TrainDatum) -> TrainDatum:
    return TrainDatum(datum.tokens, datum.targets, np.full_like(datum.weights, 3e38))


def outside(datum: TrainDatum) -> TrainDatum:
    return TrainDatum(datum.tokens, datum.targets + 10_000, datum.weights)


def test_runs_share_one_copy_of_the_base_in_bf16(make_runs, make_spec, tmp_path):
    backend = make_runs("llama")
    for name in ("one", "two"):
        backend.create_run(name, make_spec(precision="bf16"), tmp_path / name)
    data = random_data(3)
    backend.forward_backward_jointly(
        [TrainRequest(name, data, "cross_entropy") for name in ("one", "two")]
    )
    models = [backend._unmerged[name][1] for name in ("one", "two")]
    weights = [model.adapted.blocks[0].qkv.weight for model in models]
    assert weights[0].dtype == torch.bfloat16
    assert weights[0].data_ptr() == weights[1].data_ptr()


def test_turns_add_up_to_the_whole(make_runs):
    turns, whole = make_runs("llama", rows=16), make_runs("llama", rows=16)
    request = TrainRequest("wide", random_data(9), "cross_entropy")
    count = sum(1 for _ in turns.forward_backward_in_turns(request))
    assert count > 3
    whole.forward_backward(request.run_id, request.data, request.loss)
    ours, theirs = (b.training_run("wide").accumulator for b in (turns, whole))
    assert torch.equal(ours, theirs)
