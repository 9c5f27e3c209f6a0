"""Long sequences: values computed again instead of kept, and memory known before it is used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_models import PRIVATE, SEVEN, randomise

from tinker_engine.config import EngineConfig
from tinker_engine.models.training_memory import plain_rows, training_memory_bytes
from tinker_engine.numerics.attention import DENSE_LENGTH
from tinker_engine.numerics.lora import LoraLayout
from tinker_engine.numerics.packing import Limits
from tinker_engine.runtime.torch_backend import TorchBackend

FOLDER = Path(__file__).resolve().parent


@pytest.mark.parametrize("privacy", [None, PRIVATE])
@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt2", "gpt-neox"])
def test_recomputed_gradients_are_the_same_bits(
    family, privacy, make_backend, make_spec, data, ledger_dir
):
    backend = make_backend(family)
    backend.create_run("r", make_spec(targets=(*SEVEN, "lm_head"), privacy=privacy), ledger_dir)
    randomise(backend, "r")
    run = backend.training_run("r")
    found: list[torch.Tensor] = []
    calls: list[int] = []
    attention = next(m for n, m in backend._base.model.named_modules() if n.endswith("0.mlp"))
    attention.register_forward_pre_hook(lambda *_: calls.append(1))
    for rows in (sys.maxsize, 0):
        backend.network.recompute_rows = rows
        run.clear_gradients()
        calls.clear()
        backend.forward_backward("r", data, "cross_entropy")
        found.append(run.accumulator.clone())
        if family.startswith("gpt"):
            batches = len(backend.network.plan([len(d.tokens) for d in data], Limits(64, 1024)))
            assert len(calls) == (batches if rows else 2 * batches)
    assert float(found[0].norm()) > 0
    assert torch.equal(found[0], found[1])


def test_only_what_exceeds_the_budget_is_recomputed(make_base):
    base = make_base("llama")
    layout = LoraLayout.of({}, 4, trains_a=True)
    limit = plain_rows(base, 100 << 20)
    assert limit > 0
    for rows, fits in ((limit, True), (2 * limit, False)):
        needed = training_memory_bytes(base, rows, layout=layout, length=DENSE_LENGTH)
        assert (needed < 110 << 20) == fits
    backend = TorchBackend(base, EngineConfig(activation_bytes=100 << 20))
    assert backend.network.recompute_rows == limit


def test_the_estimate_grows_with_what_it_is_made_of(make_base):
    base = make_base("llama")
    layout = LoraLayout.of({"a": (32, 32)}, 4, trains_a=True)

    def needed(**changes: object) -> int:
        settings = {"rows": 4096, "length": 1024, "layout": layout, **changes}
        return training_memory_bytes(base, settings.pop("rows"), **settings)

    assert needed(rows=8192) > 1.9 * needed() - (20 << 20)
    assert needed(recomputes=True) < needed()
    assert needed(dtype=torch.bfloat16) < needed()
    assert needed(kept_examples=64) == needed() + 64 * layout.trainable * 4


@pytest.mark.parametrize(
    "family",
    # slow: a second process of seconds that shows the same for the other network.
    ["llama", pytest.param("gpt2", marks=pytest.mark.slow)],
)
def test_the_estimate_is_near_the_measured_peak(family):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(FOLDER / "peak_memory.py"), family, "1024", "2048"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    recomputed, plain = (
        [int(word) for word in line.split()] for line in done.stdout.strip().splitlines()
    )
    for estimate, measured in (recomputed, plain):
        assert 0.5 < estimate / measured < 1.5
    assert recomputed[1] < 0.7 * plain[1]
