"""One client of the official SDK that trains one run: `python -m evidence._multi_client RUN`.

Address and key come from TINKER_BASE_URL and TINKER_API_KEY. It makes the run, prints "ready",
trains when a line arrives, and prints where the weights were saved and the CPU-seconds it took.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import tinker

warnings.filterwarnings("ignore")

STEPS, BATCH, SHORTEST, LONGEST = 8, 4, 16, 48
RATE = 1e-3
ATTENTION, MLP = ("q_proj", "k_proj", "v_proj", "o_proj"), ("gate_proj", "up_proj", "down_proj")
PRIVACY = {
    "dp_clip_norm": "0.5",
    "dp_sampling_rate": "0.1",
    "dp_expected_batch_size": str(BATCH),
    "dp_delta": "1e-5",
    "dp_noise_multiplier": "1.0",
    "dp_max_epsilon": "100",
}
RUNS: list[dict[str, Any]] = [
    {"rank": 8, "alpha": 16, "targets": (*ATTENTION, *MLP)},
    {"rank": 4, "alpha": 32, "targets": ATTENTION},
    {"rank": 16, "alpha": 16, "targets": MLP},
    {"rank": 2, "alpha": 4, "targets": ("v_proj",)},
    {"rank": 6, "alpha": 12, "targets": ("q_proj", "v_proj", "lm_head")},
    {"rank": 32, "alpha": 64, "targets": ("o_proj", "down_proj")},
    {"rank": 1, "alpha": 8, "targets": ("k_proj", "up_proj")},
    {"rank": 8, "alpha": 16, "targets": (*ATTENTION, *MLP), "metadata": PRIVACY},
]


def batches(number: int, vocab: int = 4000) -> list[list[tinker.Datum]]:
    """The data of one run: random tokens, the same each time."""
    rng = np.random.default_rng(number)
    return [
        [_datum(rng.integers(2, vocab, rng.integers(SHORTEST, LONGEST + 1)), rng)]
        + [_datum(rng.integers(2, vocab, SHORTEST + 8), rng) for _ in range(BATCH - 1)]
        for _ in range(STEPS)
    ]


def tokens_of(data: Sequence[Sequence[tinker.Datum]]) -> int:
    """Tokens that are computed."""
    return sum(datum.model_input.length for batch in data for datum in batch)


def _datum(tokens: Any, rng: Any) -> tinker.Datum:
    size = len(tokens) - 1
    return tinker.Datum(
        model_input=tinker.ModelInput.from_ints(tokens[:-1].tolist()),
        loss_fn_inputs={
            "target_tokens": tinker.TensorData(
                data=tokens[1:].tolist(), dtype="int64", shape=[size]
            ),
            "weights": tinker.TensorData(
                data=rng.uniform(0.2, 1.0, size).tolist(), dtype="float32", shape=[size]
            ),
        },
    )


def main() -> None:
    """Make the run, wait for the word, train, save."""
    number = int(sys.argv[1])
    run = RUNS[number]
    service = tinker.ServiceClient()
    client = service.create_lora_training_client(
        "nano",
        rank=run["rank"],
        seed=number,
        user_metadata={
            "lora_alpha": str(run["alpha"]),
            "target_modules": json.dumps(run["targets"]),
            **run.get("metadata", {}),
        },
    ).result()
    client.get_info()
    data = batches(number)
    params = tinker.AdamParams(learning_rate=RATE)
    print("ready", flush=True)
    sys.stdin.readline()
    started = time.process_time()
    for batch in data:
        computed = client.forward_backward(batch, "cross_entropy")
        stepped = client.optim_step(params)
        computed.result()
        stepped.result()
    spent = time.process_time() - started
    path = client.save_state("final").result().path
    print(json.dumps({"path": path, "cpu_s": spent, "tokens": tokens_of(data)}), flush=True)


if __name__ == "__main__":
    main()
