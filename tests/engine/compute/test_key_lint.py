"""What the key lint says, checked against what PEFT really does with the folder."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import SEVEN, randomise, tiny_base
from typer.testing import CliRunner

from evidence._tiny_families import CONFIGS, save_tiny_model
from tinker_engine.cli import app
from tinker_engine.errors import CheckpointError
from tinker_engine.models.adapter_files import CONFIG_FILE, WEIGHTS_FILE
from tinker_engine.models.key_lint import lint_adapter
from tinker_engine.models.module_shapes import folder_shapes, module_shapes

# By vLLM's page of supported models and the modules each class takes.
VLLM_WITH_HEAD = {
    "llama": "loads",
    "llama-tied": "loads",
    "mistral": "loads",
    "mistral-window": "loads",
    "qwen2": "fails",
    "qwen3": "unsure",
    "gemma": "fails",
    "gemma2": "fails",
    "gemma3": "fails",
    "gpt2": "fails",
    "gpt-neox": "fails",
}
VLLM_WITHOUT_HEAD = {**dict.fromkeys(CONFIGS, "loads"), "gpt2": "fails", "gpt-neox": "fails"}


@pytest.fixture
def save(make_backend, make_spec, tmp_path):
    """Save a random adapter of the engine on a family; gives backend and folder."""

    def saved(family: str, targets: tuple[str, ...] = (*SEVEN, "lm_head")) -> tuple[Any, Path]:
        backend = make_backend(family)
        backend.create_run("r", make_spec(targets=targets), tmp_path / "ledger")
        randomise(backend, "r")
        backend.save_adapter("r", tmp_path / "adapter")
        return backend, tmp_path / "adapter"

    return saved


def peft_logits(model: Any, folder: Path, tokens: torch.Tensor) -> tuple[torch.Tensor, list[str]]:
    """Logits of the base with the adapter as PEFT loads it, and PEFT's warnings about tensors."""
    from peft import PeftModel

    with warnings.catch_warnings(record=True) as caught, torch.inference_mode():
        warnings.simplefilter("always")
        logits = PeftModel.from_pretrained(model, folder)(input_ids=tokens).logits[0]
    return logits, [str(w.message) for w in caught if "key" in str(w.message)]


@pytest.mark.parametrize("family", CONFIGS)
def test_what_is_saved_loads_in_peft_and_computes_the_same(family, save):
    backend, folder = save(family)
    model = tiny_base(family).model
    report = lint_adapter(folder, module_shapes(model))
    assert report.verdict("peft") == "loads"
    assert report.verdict("vllm") == VLLM_WITH_HEAD[family]
    tokens = torch.arange(3, 33)
    logits, complaints = peft_logits(model, folder, tokens[None])
    assert not complaints
    adapted = backend.adapted_model("r")
    (batch,) = adapted.network.plan([30], backend_limits())
    with torch.inference_mode():
        ours = adapted.head.logits(adapted.hidden(tokens, batch, None))
    assert float((ours - logits).abs().max()) < 1e-4
    assert (
        float((tiny_base(family).model(input_ids=tokens[None]).logits[0] - ours).abs().max()) > 0.1
    )


def backend_limits() -> Any:
    from tinker_engine.numerics.packing import Limits

    return Limits()


@pytest.mark.parametrize("family", CONFIGS)
def test_without_the_head_vllm_takes_what_it_has_adapters_for(family, save):
    _, folder = save(family, SEVEN)
    report = lint_adapter(folder, module_shapes(tiny_base(family).model), ("vllm",))
    assert report.verdict("vllm") == VLLM_WITHOUT_HEAD[family]


def rename(folder: Path, old: str, new: str) -> None:
    tensors = load_file(folder / WEIGHTS_FILE)
    found = {key.replace(old, new): value for key, value in tensors.items()}
    assert found.keys() != tensors.keys()
    save_file(found, folder / WEIGHTS_FILE)


def configure(folder: Path, **changes: Any) -> None:
    path = folder / CONFIG_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


DAMAGES = {
    "prefix": (lambda f: rename(f, "base_model.model.", ""), "doesn't start with"),
    "adapter-name": (
        lambda f: rename(f, "lora_A.weight", "lora_A.mine.weight"),
        "carries an adapter's name",
    ),
    "other-family": (
        lambda f: rename(f, "model.layers.1", "transformer.h.1"),
        "no such linear module",
    ),
    "one-factor": (lambda f: rename(f, "1.mlp.up_proj.lora_A", "1.mlp.other.lora_A"), "without"),
    "targets": (lambda f: configure(f, target_modules=["q_proj"]), "target_modules doesn't name"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_peft_would_leave_out_is_an_error(damage, save):
    """PEFT loads each of these with a warning at most, and computes something else."""
    backend, folder = save("llama")
    del backend
    tokens = torch.arange(3, 33)[None]
    right, _ = peft_logits(tiny_base("llama").model, folder, tokens)
    harm, words = DAMAGES[damage]
    harm(folder)
    report = lint_adapter(folder, module_shapes(tiny_base("llama").model))
    assert report.verdict("peft") == "fails"
    assert any(words in f.problem for f in report.findings if f.profile == "peft")
    wrong, _ = peft_logits(tiny_base("llama").model, folder, tokens)
    assert float((wrong - right).abs().max()) > 1e-2


def test_peft_loads_its_own_adapter_name_in_keys_and_vllm_does_not(save):
    _, folder = save("llama")
    tokens = torch.arange(3, 33)[None]
    right, _ = peft_logits(tiny_base("llama").model, folder, tokens)
    rename(folder, "lora_A.weight", "lora_A.default.weight")
    report = lint_adapter(folder, module_shapes(tiny_base("llama").model))
    assert (report.verdict("peft"), report.verdict("vllm")) == ("loads", "fails")
    found, _ = peft_logits(tiny_base("llama").model, folder, tokens)
    assert torch.equal(found, right)


@pytest.mark.parametrize("change", [{"r": 2}, {"target_modules": ["self_attn"]}])
def test_what_peft_refuses_is_an_error(change, save):
    _, folder = save("llama")
    configure(folder, **change)
    report = lint_adapter(folder, module_shapes(tiny_base("llama").model), ("peft",))
    assert report.verdict("peft") == "fails"
    with pytest.raises((RuntimeError, ValueError)):
        peft_logits(tiny_base("llama").model, folder, torch.arange(3)[None])


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"bias": "all"}, "bias"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"alpha_pattern": {"q_proj": 64}}, "alpha_pattern"),
        ({"lora_alpha": None}, "lora_alpha"),
        ({"peft_type": "IA3"}, "peft_type"),
    ],
)
def test_settings_that_vllm_lacks_or_ignores_are_errors(change, place, save):
    _, folder = save("llama")
    configure(folder, **change)
    report = lint_adapter(folder, module_shapes(tiny_base("llama").model), ("vllm",))
    assert [f.place for f in report.findings if f.level == "error"] == [place]


def test_a_tied_head_is_told(save):
    _, folder = save("llama-tied")
    report = lint_adapter(folder, module_shapes(tiny_base("llama-tied").model), ("peft",))
    (finding,) = report.findings
    assert (finding.level, finding.place) == ("note", "base_model.model.lm_head")
    assert "merging" in finding.problem


def test_sizes_come_from_a_config_alone(tmp_path):
    name = save_tiny_model("gpt2", tmp_path / "whole")
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "config.json").write_bytes((tmp_path / "whole/config.json").read_bytes())
    bare = folder_shapes(str(tmp_path / "bare"))
    assert bare == folder_shapes(name)
    assert bare.linears["transformer.h.0.attn.c_attn"] == (32, 96)
    assert bare.ties_head


def test_the_command(save, tmp_path):
    _, folder = save("qwen2")
    base = save_tiny_model("qwen2", tmp_path / "base")
    runner = CliRunner()
    done = runner.invoke(app, ["lint-adapter", str(folder), "--base-model", base])
    assert done.exit_code == 4
    assert done.output.splitlines() == [
        "peft: loads",
        "vllm: does not load it",
        "  error: base_model.model.lm_head: vLLM's Qwen2ForCausalLM takes none for lm_head; "
        "train with train_unembed=False",
    ]
    done = runner.invoke(app, ["lint-adapter", str(folder), "--json"])
    assert done.exit_code == 0
    assert json.loads(done.output)["verdicts"] == {"peft": "unsure", "vllm": "unsure"}
    with pytest.raises(CheckpointError, match=r"no adapter_config\.json"):
        lint_adapter(tmp_path)


@pytest.mark.parametrize(
    "name", ["distilgpt2-r8", "gpt2-smart-review-r8", "gptneo125m-movies-r8-qv"]
)
def test_real_adapters(name, shared_data, tmp_path):
    from transformers import GPT2Config, GPTNeoConfig

    folder = shared_data / "adapters" / name
    layers = {"distilgpt2-r8": 6}.get(name, 12)
    config = GPTNeoConfig(hidden_size=768, num_layers=12, num_heads=12, attention_types=[
        [["global", "local"], 6]
    ]) if "neo" in name else GPT2Config(n_layer=layers)  # fmt: skip
    config.save_pretrained(tmp_path)
    report = lint_adapter(folder, folder_shapes(str(tmp_path)))
    assert report.verdict("peft") == "loads"
    other = lint_adapter(folder, module_shapes(tiny_base("gpt2").model), ("peft",))
    assert other.verdict("peft") == "fails"
