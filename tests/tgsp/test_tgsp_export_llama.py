"""llama.cpp itself on exported files (peer; needs llama-cpp-python, see LLAMA_CPP_PYTHON)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from export_samples import CONFIGS, package_on, random_adapter, tiny_package

from tensafe.tgsp.export import export_package
from tensafe.tgsp.export.gguf_tokenizer import probe_texts, rare_probe_texts
from tensafe.tgsp.export.source import load_source, read_verified
from tensafe.tgsp.trust import NOBODY
from tinker_engine.models import load_base
from tinker_engine.models.adapter_logits import AdapterLogits

CLIENT = Path(__file__).resolve().parents[2] / "evidence" / "_llama_client.py"
WRITTEN = [name for name in CONFIGS if name not in ("window", "gemma", "gelu-gpt2")]
PROMPTS = ["<|user|>My parcel has not arrived, 12 days<|assistant|>", "<|user|>Hi\n\n3 things"]

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def interpreter() -> str:
    found = os.environ.get("LLAMA_CPP_PYTHON", sys.executable)
    probe = subprocess.run([found, "-c", "import llama_cpp"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip("llama-cpp-python can't be imported (LLAMA_CPP_PYTHON names an interpreter)")
    return found


def asked(interpreter: str, folder: Path, prompts: list[str], max_tokens: int) -> dict[str, Any]:
    """What llama.cpp makes of prompts with the files of an export."""
    (adapter,) = folder.glob("*-lora.gguf")
    (base,) = (path for path in folder.glob("*.gguf") if path != adapter)
    request = {
        "base": str(base),
        "adapter": str(adapter),
        "prompts": prompts,
        "max_tokens": max_tokens,
    }
    done = subprocess.run(
        [interpreter, CLIENT],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("family", WRITTEN)
def test_llama_cpp_computes_what_the_package_computes(
    family: str, tmp_path: Path, interpreter: str
) -> None:
    targets = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    package, base = tiny_package(family, tmp_path, targets)
    report = export_package(package, "gguf", NOBODY, base_model=str(base))
    assert report.remarks.left_out == {}
    answer = asked(interpreter, report.folder, PROMPTS, max_tokens=1)
    source = load_source(package, read_verified(package, NOBODY, require_trusted=False), str(base))
    engine = AdapterLogits(source.base)
    for factors, side in ((source.factors, "adapter"), ({}, "plain")):
        for text, theirs in zip(PROMPTS, answer[side], strict=True):
            tokens = source.base.tokenizer.encode(text, add_special_tokens=False)
            assert theirs["tokens"] == tokens
            ours = engine.logits(factors, source.scale, tokens)[-1].numpy()
            # ggml looks GELU up in a table of fp16 values, so GPT-2 agrees less closely.
            np.testing.assert_allclose(theirs["logits"], ours, atol=2e-3)
            assert int(np.argmax(theirs["logits"])) == int(np.argmax(ours))


def test_llama_cpp_tokenizes_as_was_simulated(tmp_path: Path, interpreter: str) -> None:
    base = load_base("nano")
    package = package_on(base, tmp_path / "a.tgsp", payload=random_adapter(base))
    report = export_package(package, "gguf", NOBODY)
    code = (
        "import json, sys, llama_cpp\n"
        "model = llama_cpp.Llama(model_path=sys.argv[1], vocab_only=True, verbose=False)\n"
        "texts = json.load(sys.stdin)\n"
        "ids = [model.tokenize(t.encode(), add_bos=False, special=True) for t in texts]\n"
        "json.dump(ids, sys.stdout)"
    )
    rare = rare_probe_texts()
    texts = [*probe_texts(), *rare]
    done = subprocess.run(
        [interpreter, "-c", code, report.folder / "nano.gguf"],
        input=json.dumps(texts), capture_output=True, text=True, check=True,
    )  # fmt: skip
    expected = base.tokenizer(texts, add_special_tokens=False)["input_ids"]
    theirs = json.loads(done.stdout)
    different = {t for t, e, f in zip(texts, expected, theirs, strict=True) if e != f}
    assert different <= set(rare)
    assert f" {len(different)} of {len(rare)} texts" in report.remarks.notes[0]
