"""Preference steps of the engine: `python -m evidence._speed_dpo FOLDER [options]`."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import tempfile
from pathlib import Path

import numpy as np
import torch

from evidence import _speed_model as setting
from evidence._speed_meter import Meter
from tinker_engine.config import EngineConfig
from tinker_engine.models import load_base
from tinker_engine.runtime.records import AdamParams, RunSpec, TrainDatum
from tinker_engine.runtime.torch_backend import TorchBackend

BETA = 0.1


def data_of(pair: setting.Pair) -> list[TrainDatum]:
    """Chosen and rejected, with their marks and no reference yet."""
    prompt = pair["prompt"]
    data: list[TrainDatum] = []
    for sign, answer in ((1.0, pair["chosen"]), (-1.0, pair["rejected"])):
        tokens = np.array([*prompt, *answer])
        marks = np.zeros(len(tokens) - 1, dtype=np.float32)
        marks[len(prompt) - 1 :] = sign
        inputs = {
            "logprobs": np.zeros_like(marks),
            "advantages": marks,
            "beta": np.full_like(marks, BETA),
        }
        data.append(TrainDatum(tokens[:-1], tokens[1:], np.zeros_like(marks), inputs))
    return data


def main() -> None:
    """Measure one epoch; the reference is computed before it, or counted as part of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--with-reference", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    # The library imports a model's own code when it first loads one.
    importlib.import_module("transformers.models.llama.modeling_llama")
    meter = Meter()
    pairs = setting.pairs_in(options.folder)
    config = EngineConfig(precision=options.precision, threads=options.threads)
    backend = TorchBackend(load_base(str(options.folder)), config)
    spec = RunSpec(setting.RANK, float(setting.ALPHA), setting.TARGETS, seed=0)
    params = AdamParams(learning_rate=setting.LEARNING_RATE)
    with tempfile.TemporaryDirectory() as ledger:
        backend.create_run("run", spec, Path(ledger))
        data = [datum for pair in pairs for datum in data_of(pair)]
        if options.with_reference:
            meter.start()
        reference = backend.forward("run", data, "cross_entropy").logprobs
        data = [
            dataclasses.replace(datum, inputs={**datum.inputs, "logprobs": logprobs})
            for datum, logprobs in zip(data, reference, strict=True)
        ]
        if not options.with_reference:
            meter.start()
        for start in range(0, len(data), 2 * setting.PAIR_BATCH):
            backend.forward_backward("run", data[start : start + 2 * setting.PAIR_BATCH], "dpo")
            backend.optim_step("run", params)
    meter.report(len(pairs))


if __name__ == "__main__":
    main()
