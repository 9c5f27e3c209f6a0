"""Weights out of the engine with tinker-cookbook: download, merge, and use without any server.

`python cookbook_export.py MODEL_FOLDER STATE_PATH SAMPLER_PATH OUTPUT_FOLDER`. The training
checkpoint is downloaded (encrypted on the way), merged into the base and loaded by transformers.
The last line is JSON: the largest gap between its logprobs and those of the server's sampler.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import tinker
import torch
from tinker_cookbook import weights
from tinker_cookbook.tokenizer_utils import get_tokenizer
from transformers import AutoModelForCausalLM

TEXTS = (
    "User: My card was charged twice for one ride.\n\nAssistant: Invoice Room",
    "User: The login screen of the app is blank on Android.\n\nAssistant: App Studio",
)


def logprobs(model: torch.nn.Module, tokens: list[int]) -> torch.Tensor:
    """Logprob of every token but the first, shape (T - 1,)."""
    with torch.inference_mode():
        logits = model(torch.tensor([tokens])).logits[0, :-1].float()
    return logits.log_softmax(-1).gather(-1, torch.tensor(tokens[1:])[:, None])[:, 0]


def untied(model: str, folder: Path) -> str:
    """A copy of the base with an output layer of its own, if it shares its embedding's weights.

    The training adapts the output layer alone, so a merge needs a place to put that.
    """
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    if not loaded.config.tie_word_embeddings:
        return model
    loaded.config.tie_word_embeddings = False
    loaded.lm_head.weight = torch.nn.Parameter(loaded.lm_head.weight.detach().clone())
    loaded.save_pretrained(folder)
    get_tokenizer(model).save_pretrained(folder)
    return str(folder)


def main(model: str, state: str, sampler: str, output: str) -> None:
    folder = Path(output)
    adapter = weights.download(tinker_path=state, output_dir=str(folder / "adapter"))
    whole = untied(model, folder / "untied")
    weights.build_hf_model(
        base_model=whole, adapter_path=adapter, output_path=str(folder / "merged")
    )
    weights.build_lora_adapter(
        base_model=whole, adapter_path=adapter, output_path=str(folder / "peft")
    )
    merged = AutoModelForCausalLM.from_pretrained(folder / "merged", dtype=torch.float32).eval()
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    client = tinker.ServiceClient().create_sampling_client(model_path=sampler).result()
    tokenizer = get_tokenizer(model)
    gaps, moved = [], []
    for text in TEXTS:
        tokens = tokenizer.encode(text)
        served = client.compute_logprobs(tinker.ModelInput.from_ints(tokens)).result()
        alone = logprobs(merged, tokens)
        gaps.append(float((alone - torch.tensor(served[1:])).abs().max()))
        moved.append(float((alone - logprobs(base, tokens)).abs().max()))
    print(
        json.dumps(
            {
                "adapter_files": sorted(p.name for p in Path(adapter).iterdir()),
                "peft_files": sorted(p.name for p in (folder / "peft").iterdir()),
                "largest_gap_to_server": max(gaps),
                "largest_gap_to_base": max(moved),
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
