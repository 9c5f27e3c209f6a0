"""The engine as a contender: `python -m evidence._sampling_engine FOLDER PRECISION`."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evidence import _sampling_work as work
from tinker_engine.config import EngineConfig
from tinker_engine.models import load_base
from tinker_engine.runtime.records import SampleRequest
from tinker_engine.runtime.torch_backend import TorchBackend


def request(prompt: list[int]) -> SampleRequest:
    """Greedy, to the full length."""
    return SampleRequest(
        np.array(prompt), 1, work.NEW, 0.0, 1.0, 0, 0, (), (), False, goes_past_end=True
    )


def main() -> None:
    """New tokens per CPU-second of each batch, with and without the adapter."""
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    # Nobody else has a cache of earlier prompts, so this one does without.
    fields: dict[str, Any] = {"precision": sys.argv[2], "threads": 1, "prefix_memory_bytes": 0}
    backend = TorchBackend(load_base(str(folder)), EngineConfig(**fields))
    backend.create_sampler("plain", None)
    backend.create_sampler("adapter", folder / "adapter")
    rates: dict[str, float] = {}
    for batch in work.BATCHES:
        for repeat in range(3 if batch < 32 else 2):
            for name in ("plain", "adapter"):
                asked = [request(p) for p in work.prompts(batch, repeat)]
                started = time.process_time()
                made = sum(len(r.sequences[0].tokens) for r in backend.sample(name, asked))
                rate = made / (time.process_time() - started)
                # The first time is for what is made once: merged weights, caches.
                if repeat:
                    rates[f"{name} {batch}"] = max(rate, rates.get(f"{name} {batch}", 0.0))
    print(json.dumps(rates))


if __name__ == "__main__":
    main()
