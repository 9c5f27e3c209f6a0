"""Supervised chat training with tinker-cookbook's own loop, on a local file.

`python cookbook_sft.py MODEL_FOLDER DATA.jsonl LOG_FOLDER`, with TINKER_BASE_URL and
TINKER_API_KEY. Given again after it was killed, it resumes from its last checkpoint. The last line
is JSON: held-out loss before training, and after it, taken from both kinds of final checkpoint.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import tinker
from tinker_cookbook import checkpoint_utils
from tinker_cookbook.supervised import train
from tinker_cookbook.supervised.data import FromConversationFileBuilder
from tinker_cookbook.supervised.nll_evaluator import SamplerNLLEvaluator
from tinker_cookbook.supervised.types import ChatDatasetBuilderCommonConfig

# Works with every tokenizer; `model_info` knows recommended renderers for hub names alone.
RENDERER = "role_colon"
RANK = 16


def config(model: str, data: str, log: str) -> train.Config:
    common = ChatDatasetBuilderCommonConfig(
        model_name_for_tokenizer=model, renderer_name=RENDERER, max_length=512, batch_size=32
    )
    return train.Config(
        log_path=log,
        model_name=model,
        recipe_name="tickets_sft",
        renderer_name=RENDERER,
        dataset_builder=FromConversationFileBuilder(
            common_config=common, file_path=data, test_size=32
        ),
        learning_rate=4e-3,
        lora_rank=RANK,
        save_every=10,
        eval_every=20,
    )


async def held_out_losses(settings: train.Config) -> dict[str, float]:
    """Loss of the final checkpoints: of the sampler's, and of the training state reloaded."""
    record = checkpoint_utils.get_last_checkpoint(settings.log_path)
    assert record is not None
    _, held_out = settings.dataset_builder()
    assert held_out is not None
    evaluate = SamplerNLLEvaluator.from_dataset(held_out)
    service = tinker.ServiceClient()
    saved = await service.create_sampling_client_async(model_path=record.sampler_path)
    training = await service.create_training_client_from_state_async(record.state_path)
    reloaded = await training.save_weights_and_get_sampling_client_async()
    return {
        "sampler": (await evaluate(saved))["test/nll"],
        "state": (await evaluate(reloaded))["test/nll"],
    }


def main(model: str, data: str, log: str) -> None:
    settings = config(model, data, log)
    asyncio.run(train.main(settings))
    lines = (Path(log) / "metrics.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    print(
        json.dumps(
            {
                "steps": [row["step"] for row in rows if "train_mean_nll" in row],
                "train_nll": [row["train_mean_nll"] for row in rows if "train_mean_nll" in row],
                "held_out_before": next(row["test/nll"] for row in rows if "test/nll" in row),
                "held_out_after": asyncio.run(held_out_losses(settings)),
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
