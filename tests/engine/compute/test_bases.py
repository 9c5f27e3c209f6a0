"""Loading bases, finding LoRA targets, and refusing what can't work."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import SEVEN, random_data
from transformers import BertConfig, BertLMHeadModel

from evidence._tiny_families import CONFIGS, save_tiny_model
from tinker_engine.config import EngineConfig
from tinker_engine.errors import ModelLoadError, NonFiniteError, RequestError
from tinker_engine.models import load_base
from tinker_engine.models.targets import linear_modules, resolve_targets
from tinker_engine.protocol.metadata import ATTENTION_TARGETS, MLP_TARGETS, UNEMBED_TARGETS
from tinker_engine.runtime.records import AdamParams
from tinker_engine.runtime.torch_backend import TorchBackend


@pytest.mark.parametrize("family", CONFIGS)
def test_every_family_learns(family, make_backend, make_spec, data, tmp_path):
    backend = make_backend(family)
    backend.create_run("r", make_spec(), tmp_path / "l")
    losses = []
    for _ in range(6):
        losses.append(backend.forward_backward("r", data, "cross_entropy").loss_sum)
        backend.optim_step("r", AdamParams(learning_rate=2e-2))
    assert losses[-1] < 0.8 * losses[0]
    assert backend.forward("r", data, "cross_entropy").loss_sum < losses[-1]


@pytest.mark.parametrize("name", ["llama2xs-280K-hf", "slm4096-gpt2-hf"])
def test_real_folders_load(name, shared_data, tmp_path):
    source = shared_data / "models" / name
    base = load_base(str(source))
    assert base.info.name == name
    shutil.copytree(source, tmp_path / "elsewhere")
    copy = load_base(str(tmp_path / "elsewhere")).info
    assert (copy.digest, copy.tokenizer_digest) == (base.info.digest, base.info.tokenizer_digest)
    backend = TorchBackend(base)
    stop = backend.encode_stop("the")
    assert stop
    assert base.tokenizer.decode(list(stop)).strip() == "the"


def test_defaults_map_to_the_names_a_family_uses(make_base):
    suffixes, names = resolve_targets(make_base("gpt2").model, SEVEN)
    assert suffixes == ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    assert len(names) == 8
    suffixes, names = resolve_targets(make_base("gpt-neox").model, SEVEN)
    assert suffixes == (
        "attention.dense",
        "attention.query_key_value",
        "mlp.dense_4h_to_h",
        "mlp.dense_h_to_4h",
    )
    assert len(names) == 8
    suffixes, names = resolve_targets(make_base("llama").model, SEVEN)
    assert set(suffixes) == set(SEVEN)
    assert len(names) == 14


@pytest.mark.parametrize("family", CONFIGS)
def test_attention_mlp_and_head_are_all_there_is(family, make_base):
    """What the flags train_attn, train_mlp and train_unembed choose, in every family."""
    model = make_base(family).model
    groups = (ATTENTION_TARGETS, MLP_TARGETS, UNEMBED_TARGETS)
    names = [set(resolve_targets(model, group)[1]) for group in groups]
    assert names[2] == {"lm_head"}
    assert sum(map(len, names)) == len(set.union(*names)) == len(linear_modules(model))
    assert all(any(word in name for word in ("attn", "attention")) for name in names[0])
    assert all(".mlp." in name for name in names[1])


def test_a_head_of_another_name_is_found():
    config = BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, is_decoder=True
    )
    suffixes, names = resolve_targets(BertLMHeadModel(config), UNEMBED_TARGETS)
    assert list(suffixes) == names == ["cls.predictions.decoder"]


@pytest.mark.parametrize("targets", [(), ("nonsense",), ("q_proj",), ("c_attn", "q_proj")])
def test_targets_that_match_nothing_are_refused(targets, make_base):
    with pytest.raises(ModelLoadError):
        resolve_targets(make_base("gpt2").model, targets)


@pytest.mark.parametrize("name", ["/no/such/folder", "no-such-name", "./here"])
def test_unknown_bases_are_refused(name):
    with pytest.raises(ModelLoadError, match="base model"):
        load_base(name)


def test_folders_without_a_model_are_refused(tmp_path):
    with pytest.raises(ModelLoadError, match=r"config\.json"):
        load_base(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ModelLoadError, match="weight files"):
        load_base(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelLoadError, match="can't be loaded"):
        load_base(str(tmp_path))


def test_a_family_that_squashes_scores_loads_from_its_folder(make_base, tmp_path):
    base = load_base(save_tiny_model("gemma2", tmp_path / "gemma2"))
    tokens = torch.arange(20)[None]
    with torch.inference_mode():
        logits = base.model(input_ids=tokens).logits
        expected = make_base("gemma2").model(input_ids=tokens).logits
    assert torch.equal(logits, expected)
    # The cap is in force: without it the logits are others.
    for module in base.model.modules():
        if hasattr(module, "attn_logit_softcapping"):
            module.attn_logit_softcapping = None
    with torch.inference_mode():
        assert not torch.allclose(base.model(input_ids=tokens).logits, expected, atol=1e-2)


def test_missing_weights_are_refused(make_base, tmp_path):
    base = make_base("llama")
    base.model.save_pretrained(tmp_path)
    base.tokenizer.save_pretrained(tmp_path)
    assert load_base(str(tmp_path)).info.architecture == "LlamaForCausalLM"
    weights = load_file(tmp_path / "model.safetensors")
    del weights["model.layers.0.mlp.down_proj.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelLoadError, match="incomplete"):
        load_base(str(tmp_path))


def test_bad_data_is_refused_and_adds_nothing(make_backend, make_spec, tmp_path):
    backend = make_backend()
    backend.create_run("r", make_spec(), tmp_path / "l")
    good, other = random_data(2)
    kind = type(good)
    bad = [
        kind(good.tokens, good.targets[:-1], good.weights),
        kind(good.tokens[:0], good.targets[:0], good.weights[:0]),
        kind(good.tokens + 96, good.targets, good.weights),
        kind(good.tokens, -good.targets - 1, good.weights),
        kind(good.tokens, good.targets, good.weights * np.float32("nan")),
        kind(*(np.resize(part, 65) for part in (good.tokens, good.targets, good.weights))),
    ]
    for datum in bad:
        with pytest.raises(RequestError, match="datum 1"):
            backend.forward_backward("r", [other, datum], "cross_entropy")
    huge = kind(good.tokens, good.targets, np.full(len(good.weights), 3e38, np.float32))
    with pytest.raises(NonFiniteError):
        backend.forward_backward("r", [other, huge], "cross_entropy")
    assert backend.training_run("r").gradients == 0
    assert not backend.training_run("r").accumulator.any()


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_used_is_refused(device, make_base, monkeypatch):
    module = torch.cuda if device == "cuda" else torch.backends.mps
    for is_there, words in ((False, "finds none on this machine"), (True, "on the CPU alone")):
        monkeypatch.setattr(module, "is_available", lambda answer=is_there: answer)
        with pytest.raises(RequestError, match=words):
            TorchBackend(make_base("llama"), EngineConfig(device=device))
