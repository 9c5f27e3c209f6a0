"""One client of the chaos test: the official SDK, in a forked process, writing down what it gets.

It is written as any client is: nothing in it knows that the server dies.
"""

from __future__ import annotations

import json
import os
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tinker

from evidence._chaos_server import KEY

STEPS = 48
RATE = 1e-3
PRIVATE = {
    "dp_clip_norm": "1.0",
    "dp_sampling_rate": "0.1",
    "dp_expected_batch_size": "4",
    "dp_delta": "1e-5",
    "dp_noise_multiplier": "1.0",
    "dp_max_epsilon": "1000",
}


@dataclass(frozen=True)
class Client:
    """One client: its number seeds its run and its data, and says how it trains."""

    number: int
    report: Path

    @property
    def is_private(self) -> bool:
        """The last of the four trains privately."""
        return self.number == 3

    def start(self, url: str) -> int:
        """Fork and train; gives the process id."""
        process = os.fork()
        if process:
            return process
        try:
            warnings.simplefilter("ignore")
            os.environ["TINKER_TELEMETRY"] = "0"
            quiet = os.open(self.report.with_suffix(".log"), os.O_WRONLY | os.O_CREAT)
            os.dup2(quiet, 2)
            self._train(url)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)

    def lines(self) -> list[dict[str, Any]]:
        """What it has written down so far."""
        if not self.report.exists():
            return []
        return [json.loads(line) for line in self.report.read_text("utf-8").splitlines()]

    def _train(self, url: str) -> None:
        service = tinker.ServiceClient(base_url=url, api_key=KEY)
        run = service.create_lora_training_client(
            "nano",
            rank=(4, 8, 16, 4)[self.number],
            seed=self.number,
            train_unembed=False,
            user_metadata=PRIVATE if self.is_private else None,
        ).result()
        rng = np.random.default_rng(self.number)
        for step in range(STEPS):
            # Every third step gathers the gradients of two requests.
            batches = [_batch(rng) for _ in range(2 if step % 3 == 0 else 1)]
            losses = [run.forward_backward(batch, "cross_entropy") for batch in batches]
            done = run.optim_step(tinker.AdamParams(learning_rate=RATE))
            line: dict[str, Any] = {
                "losses": [loss.result().metrics["loss:sum"] for loss in losses],
                "step": (done.result().metrics or {})["optimizer_step"],
            }
            if step % 16 == 9:
                line["saved"] = run.save_state(f"step-{step}").result().path
            if step % 16 == 4 and not self.is_private:
                line["sampled"] = _sample(run)
            self._write(line)
        self._write({"end": run.save_state("end").result().path, "run": run.model_id})

    def _write(self, line: dict[str, Any]) -> None:
        with self.report.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")


def _batch(rng: np.random.Generator) -> list[tinker.Datum]:
    data: list[tinker.Datum] = []
    for _ in range(4):
        tokens = [int(t) for t in rng.integers(10, 4000, rng.integers(8, 40))]
        data.append(
            tinker.Datum(
                model_input=tinker.ModelInput.from_ints(tokens[:-1]),
                loss_fn_inputs={
                    "target_tokens": tinker.TensorData(
                        data=tokens[1:], dtype="int64", shape=[len(tokens) - 1]
                    )
                },
            )
        )
    return data


def _sample(run: Any) -> list[int]:
    sampler = run.save_weights_and_get_sampling_client().result()
    params = tinker.SamplingParams(max_tokens=16, temperature=1.0, seed=5)
    prompt = tinker.ModelInput.from_ints([20, 21, 22])
    answers = [sampler.sample(prompt, 1, params) for _ in range(3)]
    return [token for answer in answers for token in answer.result().sequences[0].tokens]
