"""DPO with tinker-cookbook's own loop: the right team is preferred to a wrong one.

`python cookbook_dpo.py MODEL_FOLDER COMPARISONS.jsonl LOG_FOLDER START_CHECKPOINT`. The last line
is JSON: loss, accuracy and reward margin of every step.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tinker_cookbook.preference import train_dpo
from tinker_cookbook.preference.dpo_datasets import DPODatasetBuilderFromComparisons
from tinker_cookbook.preference.preference_datasets import ComparisonBuilderFromJsonl
from tinker_cookbook.supervised.types import ChatDatasetBuilderCommonConfig

RENDERER = "role_colon"


def main(model: str, data: str, log: str, start: str) -> None:
    common = ChatDatasetBuilderCommonConfig(
        model_name_for_tokenizer=model, renderer_name=RENDERER, max_length=512, batch_size=16
    )
    train_dpo.main(
        train_dpo.Config(
            log_path=log,
            model_name=model,
            recipe_name="tickets_dpo",
            renderer_name=RENDERER,
            load_checkpoint_path=start,
            dataset_builder=DPODatasetBuilderFromComparisons(
                common_config=common,
                comparison_builder=ComparisonBuilderFromJsonl(train_path=data),
            ),
            learning_rate=1e-3,
            lr_schedule="constant",
            dpo_beta=0.3,
            lora_rank=16,
            save_every=0,
            eval_every=0,
        )
    )
    lines = (Path(log) / "metrics.jsonl").read_text("utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if "dpo_loss" in row]
    print(json.dumps({k: [row[k] for row in rows] for k in ("dpo_loss", "accuracy", "margin")}))


if __name__ == "__main__":
    main(*sys.argv[1:])
