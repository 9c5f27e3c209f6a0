"""Exports equal the package: safetensors in PEFT, .pt, .bin and GGUF give the same logits.

An adapter is trained on `nano`, packaged, and exported in every format. The reference shares no
code with the exporter: transformers' own model with W + alpha / rank * B A, in fp32. Each file is
read by its own format's reader; GGUF's q and k rows are put back by a formula written out here.
Largest difference of two logits over all prompts: below 1e-4. Where llama-cpp-python can be
imported (by this interpreter, or by the one that LLAMA_CPP_PYTHON names), llama.cpp itself answers
20 prompts with base and adapter in GGUF, and has to give PyTorch's greedy tokens.
"""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from evidence import _export_package as made
from evidence._report import conclude

ALLOWED = 1e-4
MAX_TOKENS = 12
HEADS = {"attn_q": 8, "attn_k": 4}
PREFIX = "base_model.model."


def main() -> None:
    """Make, export, compare."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["TENSAFE_HOME"] = str(folder / "home")
        os.environ["TINKER_ENGINE_HOME"] = str(folder / "engine")
        adapter, base = made.train(folder)
        path = made.package(folder, adapter, base, secrets.token_urlsafe(24))
        exports = {form: export(path, form) for form in ("safetensors", "pytorch", "gguf")}
        differences, effect = compare(path, exports)
        client = llama_cpp(path, exports["gguf"])
    peft_ran = "safetensors in PEFT" in differences
    if not peft_ran:
        print("peft is not installed: the claim on PEFT was not checked")
    holds = (
        peft_ran and effect > 1.0 and all(value < ALLOWED for value in differences.values())
    ) and client.get("holds") is not False
    figures = {
        "max_difference": differences,
        "adapter_moves_logits_by": round(effect, 3),
        "llama_cpp": client,
    }
    conclude("export-parity", figures, holds=holds)


def export(path: Path, form: str) -> Path:
    """`tensafe export` as a user runs it; gives the folder."""
    command = [sys.executable, "-m", "tensafe", "export", str(path), "--format", form]
    print("$ tensafe " + " ".join([*command[3:4], path.name, *command[5:]]), flush=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(done.stdout + done.stderr, end="")
    if done.returncode != 0:
        raise SystemExit(f"the export ended with {done.returncode}")
    return path.with_name(f"{path.stem}-{form}")


def compare(path: Path, exports: dict[str, Path]) -> tuple[dict[str, float], float]:
    """Largest logit difference of every file with the package, and what the adapter changes."""
    import torch
    from safetensors.torch import load, load_file

    from tensafe.tgsp.reader import open_package

    with open_package(path) as package:
        payload = load(bytes(package.payload))
    pytorch = exports["pytorch"]
    whole = torch.load(pytorch / "export-parity.pt", weights_only=True)
    flat = torch.load(pytorch / "adapter_model.bin", weights_only=True)
    states = {
        "safetensors": load_file(exports["safetensors"] / "adapter_model.safetensors"),
        ".pt": whole["state_dict"],
        ".bin": flat,
        "gguf": gguf_state(exports["gguf"] / "export-parity-lora.gguf"),
    }
    expected = logits(merged(payload))
    differences = {name: gap(logits(merged(state)), expected) for name, state in states.items()}
    if importlib.util.find_spec("peft") is not None:
        from peft import PeftModel

        for name, folder in (
            ("safetensors in PEFT", exports["safetensors"]),
            (".bin in PEFT", pytorch),
        ):
            adapted = PeftModel.from_pretrained(plain(), folder)
            differences[name] = gap(logits(adapted.eval()), expected)
    effect = gap(logits(plain()), expected)
    for name, value in differences.items():
        print(f"{name}: logits differ by at most {value:.3g}")
    print(f"the adapter moves the base's logits by up to {effect:.3g}")
    return differences, effect


def gguf_state(file: Path) -> dict[str, Any]:
    """PEFT's tensors from a llama.cpp LoRA file, by names and row order written out here."""
    import gguf
    import torch

    modules = {
        "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
    }  # fmt: skip
    state: dict[str, Any] = {}
    for tensor in gguf.GGUFReader(file).tensors:
        _, layer, part, _, factor = tensor.name.split(".")
        values = np.array(tensor.data)
        if factor == "lora_b" and part in HEADS:
            # llama.cpp's row 2i + s of a head is transformers' row i + s * size / 2.
            rows = values.reshape(HEADS[part], -1, 2, values.shape[1])
            values = np.concatenate([rows[:, :, 0], rows[:, :, 1]], axis=1).reshape(values.shape)
        name = f"{PREFIX}model.layers.{layer}.{modules[part]}.lora_{factor[-1].upper()}.weight"
        state[name] = torch.from_numpy(np.ascontiguousarray(values))
    return state


def plain() -> Any:
    """The base by transformers, fp32."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    from tinker_engine.base import NANO_DIR

    disable_progress_bar()
    return AutoModelForCausalLM.from_pretrained(NANO_DIR, dtype=torch.float32).eval()


def merged(state: Mapping[str, Any]) -> Any:
    """The base with every weight changed by alpha / rank * B A."""
    import torch

    model = plain()
    modules = dict(model.named_modules())
    pairs = [name for name in state if name.endswith(".lora_A.weight")]
    if len(state) != 2 * len(pairs):
        raise SystemExit("an export holds other tensors than LoRA pairs")
    with torch.no_grad():
        for name in pairs:
            b = state[name.replace(".lora_A.", ".lora_B.")]
            module = modules[name.removeprefix(PREFIX).removesuffix(".lora_A.weight")]
            module.weight += made.ALPHA / made.RANK * (b.double() @ state[name].double()).float()
    return model


def prompts() -> list[str]:
    """Held-out messages as the chat template puts them."""
    rows = made.tickets()[made.TRAINED_ON :]
    step = len(rows) // made.PROMPTS
    chosen = [rows[place * step][0] for place in range(made.PROMPTS)]
    return [
        tokenizer().apply_chat_template(
            [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True
        )
        for text in chosen
    ]


def tokenizer() -> Any:
    """The base's tokenizer by transformers."""
    from transformers import AutoTokenizer

    from tinker_engine.base import NANO_DIR

    return AutoTokenizer.from_pretrained(NANO_DIR)


def logits(model: Any) -> list[Any]:
    """fp32 logits (T, V) of every prompt."""
    import torch

    tokens = tokenizer()(prompts(), add_special_tokens=False)["input_ids"]
    with torch.inference_mode():
        return [model(input_ids=torch.tensor([ids])).logits[0] for ids in tokens]


def gap(ours: list[Any], expected: list[Any]) -> float:
    """Largest absolute difference; NaN where anything is not a number."""
    return float(np.max([float((a - b).abs().max()) for a, b in zip(ours, expected, strict=True)]))


def llama_cpp(path: Path, folder: Path) -> dict[str, Any]:
    """llama.cpp on the exported files against PyTorch on the package; says so when it can't run."""
    interpreter = os.environ.get("LLAMA_CPP_PYTHON", sys.executable)
    probe = [interpreter, "-c", "import llama_cpp; print(llama_cpp.__version__)"]
    found = subprocess.run(probe, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        print("llama.cpp: SKIPPED, llama-cpp-python can't be imported; not counted as held")
        return {"ran": False, "holds": None}
    request = {
        "base": str(folder / "nano.gguf"),
        "adapter": str(folder / "export-parity-lora.gguf"),
        "prompts": prompts(),
        "max_tokens": MAX_TOKENS,
    }
    client = Path(__file__).with_name("_llama_client.py")
    done = subprocess.run(
        [interpreter, str(client)], input=json.dumps(request), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode != 0:
        print(done.stderr[-2000:])
        return {"ran": True, "holds": False, "reason": "llama.cpp could not use the files"}
    return judged(path, json.loads(done.stdout), found.stdout.strip())


def judged(path: Path, answer: dict[str, Any], version: str) -> dict[str, Any]:
    """Token ids, greedy continuations and last logits, prompt by prompt."""
    import torch
    from safetensors.torch import load

    from tensafe.tgsp.reader import open_package

    with open_package(path) as package:
        adapted = merged(load(bytes(package.payload)))
    reference = {"adapter": adapted, "plain": plain()}
    ids = tokenizer()(prompts(), add_special_tokens=False)["input_ids"]
    figures: dict[str, Any] = {"ran": True, "version": version, "prompts": len(ids)}
    for name, model in reference.items():
        theirs = answer[name]
        expected = [greedy(model, tokens) for tokens in ids]
        figures[f"same_tokens_{name}"] = sum(
            t["made"] == e for t, e in zip(theirs, expected, strict=True)
        )
        with torch.inference_mode():
            last = [model(input_ids=torch.tensor([tokens])).logits[0, -1] for tokens in ids]
        figures[f"max_logit_difference_{name}"] = gap(
            [torch.tensor(t["logits"]) for t in theirs], last
        )
    figures["same_prompt_ids"] = sum(
        t["tokens"] == tokens for t, tokens in zip(answer["adapter"], ids, strict=True)
    )
    figures["answers_changed_by_adapter"] = sum(
        a["made"] != p["made"] for a, p in zip(answer["adapter"], answer["plain"], strict=True)
    )
    same = ("same_tokens_adapter", "same_tokens_plain", "same_prompt_ids")
    figures["holds"] = (
        all(figures[name] == len(ids) for name in same)
        and figures["answers_changed_by_adapter"] > 0
    )
    print(f"llama.cpp ({version}): {figures}")
    return figures


def greedy(model: Any, tokens: list[int]) -> list[int]:
    """The most likely continuation, the end token included."""
    import torch

    made_tokens: list[int] = []
    with torch.inference_mode():
        while len(made_tokens) < MAX_TOKENS:
            output = model(input_ids=torch.tensor([[*tokens, *made_tokens]])).logits[0, -1]
            made_tokens.append(int(output.argmax()))
            if made_tokens[-1] == model.config.eos_token_id:
                break
    return made_tokens


if __name__ == "__main__":
    main()
