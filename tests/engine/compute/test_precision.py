"""What `precision` decides, and what holds in bf16 as in fp32."""

from __future__ import annotations

import pytest
import torch
from tiny_models import PRIVATE, randomise, reference_gradient, relative_error

from tinker_engine.numerics.precision import NARROWEST_BF16, auto_dtype


@pytest.mark.parametrize("ability", ["avx512_bf16", "amx_bf16"])
def test_auto_takes_bf16_for_wide_bases_on_processors_that_have_it(ability, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {ability: True})
    assert auto_dtype(NARROWEST_BF16) == torch.bfloat16
    assert auto_dtype(NARROWEST_BF16 - 1) == torch.float32


def test_auto_is_fp32_elsewhere(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    assert auto_dtype(NARROWEST_BF16) == torch.float32


def test_bf16_gradients_are_near_the_exact_ones(make_backend, make_spec, data, ledger_dir):
    backend = make_backend()
    backend.create_run("r", make_spec(precision="bf16"), ledger_dir)
    randomise(backend, "r")
    backend.forward_backward("r", data, "cross_entropy")
    ours = backend.training_run("r").accumulator
    assert ours.dtype == torch.float32
    # Eight bits of mantissa, through two layers and back.
    assert 1e-5 < relative_error(ours, reference_gradient(backend, "r", data)) < 0.05


def test_a_clipped_example_is_within_the_bound_in_bf16(make_backend, make_spec, data, ledger_dir):
    backend = make_backend()
    backend.create_run("r", make_spec(precision="bf16", privacy=PRIVATE), ledger_dir)
    run = backend.training_run("r")
    for datum in data:
        run.clear_gradients()
        backend.forward_backward("r", [datum], "cross_entropy")
        assert 0 < float(run.accumulator.norm()) <= PRIVATE.clip_norm
    assert run.statistics.clipped == 1
