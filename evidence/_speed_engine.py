"""The engine as a contender: `python -m evidence._speed_engine FOLDER [options]`."""

from __future__ import annotations

import argparse
import importlib
import tempfile
from pathlib import Path

import numpy as np
import tinker
import torch

from evidence import _speed_model as setting
from evidence._speed_meter import Meter
from tinker_engine.config import EngineConfig
from tinker_engine.connect import open_engine
from tinker_engine.models import load_base
from tinker_engine.runtime.records import AdamParams, PrivacyPolicy, RunSpec, TrainDatum
from tinker_engine.runtime.torch_backend import TorchBackend

POLICY = PrivacyPolicy(
    clip_norm=1.0,
    sampling_rate=0.01,
    expected_batch_size=float(setting.BATCH),
    delta=1e-5,
    noise_multiplier=1.0,
    max_epsilon=100.0,
)


def direct(folder: Path, config: EngineConfig, meter: Meter, *, private: bool) -> None:
    """forward_backward and optim_step of the backend, batch by batch."""
    rows = setting.sequences_in(folder)
    backend = TorchBackend(load_base(str(folder)), config)
    spec = RunSpec(
        setting.RANK,
        float(setting.ALPHA),
        setting.TARGETS,
        seed=0,
        privacy=POLICY if private else None,
    )
    params = AdamParams(learning_rate=setting.LEARNING_RATE)
    with tempfile.TemporaryDirectory() as ledger:
        backend.create_run("run", spec, Path(ledger))
        data = [
            TrainDatum(
                np.array(row[:-1]),
                np.array(row[1:]),
                np.full(len(row) - 1, 1 / (len(row) - 1), dtype=np.float32),
            )
            for row in rows
        ]
        mechanism = backend.training_run("run").mechanism
        if mechanism is not None:
            # The accountant loads its library and its tables once a process.
            mechanism.epsilon(further_steps=1)
        meter.start()
        for start in range(0, len(data), setting.BATCH):
            backend.forward_backward("run", data[start : start + setting.BATCH], "cross_entropy")
            backend.optim_step("run", params)
    meter.report(setting.tokens_of(rows))


def through_sdk(folder: Path, config: EngineConfig, meter: Meter) -> None:
    """The same by the official SDK over loopback; client and server share this process."""
    rows = setting.sequences_in(folder)
    with (
        tempfile.TemporaryDirectory() as home,
        open_engine(
            "embedded",
            config=config.model_copy(update={"home": Path(home)}),
            base_model=str(folder),
        ) as connection,
    ):
        client = connection.service_client.create_lora_training_client(
            connection.base_model or "",
            rank=setting.RANK,
            seed=0,
            train_unembed=False,
            user_metadata={"lora_alpha": str(setting.ALPHA)},
        ).result()
        data = [_datum(row) for row in rows]
        params = tinker.AdamParams(learning_rate=setting.LEARNING_RATE)
        meter.start()
        for start in range(0, len(data), setting.BATCH):
            client.forward_backward(data[start : start + setting.BATCH], "cross_entropy")
            client.optim_step(params).result()
        meter.report(setting.tokens_of(rows))


def _datum(row: list[int]) -> tinker.Datum:
    size = len(row) - 1
    return tinker.Datum(
        model_input=tinker.ModelInput.from_ints(row[:-1]),
        loss_fn_inputs={
            "target_tokens": tinker.TensorData(data=row[1:], dtype="int64", shape=[size]),
            "weights": tinker.TensorData(data=[1 / size] * size, dtype="float32", shape=[size]),
        },
    )


def main() -> None:
    """Measure one configuration."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16"], default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--private", action="store_true")
    parser.add_argument("--sdk", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    # The library imports a model's own code when it first loads one.
    importlib.import_module("transformers.models.llama.modeling_llama")
    meter = Meter()
    config = EngineConfig(precision=options.precision, threads=options.threads)
    if options.sdk:
        through_sdk(options.folder, config, meter)
    else:
        direct(options.folder, config, meter, private=options.private)


if __name__ == "__main__":
    main()
