"""Transformers as a contender: `python -m evidence._sampling_hf FOLDER float32|bfloat16`."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from evidence import _sampling_work as work


def generate(model: Any, prompts: list[list[int]]) -> int:
    """Greedy, to the full length; how many tokens were made."""
    ids = torch.tensor(prompts)
    with torch.inference_mode():
        made = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=work.NEW,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )
    return int(made.shape[0]) * (int(made.shape[1]) - work.PROMPT)


def main() -> None:
    """New tokens per CPU-second of each batch, with and without the PEFT adapter."""
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    dtype = getattr(torch, sys.argv[2])
    load = cast(Any, AutoModelForCausalLM).from_pretrained
    plain = load(folder, dtype=dtype).eval()
    adapted = cast(Any, PeftModel).from_pretrained(load(folder, dtype=dtype), folder / "adapter")
    models: dict[str, Any] = {"plain": plain, "adapter": adapted.eval()}
    for model in (plain, adapted.base_model.model):
        model.generation_config.eos_token_id = None
    rates: dict[str, float] = {}
    for batch in work.BATCHES:
        for repeat in range(3 if batch < 32 else 2):
            for name, model in models.items():
                asked = work.prompts(batch, repeat)
                started = time.process_time()
                rate = generate(model, asked) / (time.process_time() - started)
                if repeat:
                    rates[f"{name} {batch}"] = max(rate, rates.get(f"{name} {batch}", 0.0))
    print(json.dumps(rates))


if __name__ == "__main__":
    main()
