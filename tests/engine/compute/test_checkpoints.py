"""Checkpoints: exact resumption, refusal of damaged or foreign ones, PEFT layout."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import torch
from tiny_models import PRIVATE, random_data, randomise

from tinker_engine.errors import CheckpointError, NotFoundError, PrivacyPolicyError, RequestError
from tinker_engine.models.adapter_files import read_adapter
from tinker_engine.runtime.records import AdamParams, SampleRequest


def train(backend, run_id: str, steps: range) -> None:
    for step in steps:
        backend.forward_backward(run_id, random_data(6, seed=step), "cross_entropy")
        backend.optim_step(run_id, AdamParams(learning_rate=1e-2, weight_decay=0.01))


def test_resumed_run_is_bit_exact(make_backend, make_spec, tmp_path):
    whole = make_backend("qwen2")
    whole.create_run("r", make_spec(), tmp_path / "l")
    train(whole, "r", range(3))
    whole.save_state("r", tmp_path / "checkpoint")
    train(whole, "r", range(3, 6))
    resumed = make_backend("qwen2")
    restored = resumed.restore_run(
        "again", tmp_path / "checkpoint", tmp_path / "l2", with_optimizer=True
    )
    assert restored == make_spec()
    train(resumed, "again", range(3, 6))
    assert whole.save_adapter("r", tmp_path / "a") == resumed.save_adapter("again", tmp_path / "b")
    config = (tmp_path / "a" / "adapter_config.json").read_bytes()
    assert config == (tmp_path / "b" / "adapter_config.json").read_bytes()


def test_load_into_an_existing_run(make_backend, make_spec, tmp_path):
    backend = make_backend()
    backend.create_run("r", make_spec(), tmp_path / "l")
    train(backend, "r", range(2))
    backend.save_state("r", tmp_path / "c")
    saved = backend.training_run("r").values.clone()
    train(backend, "r", range(2, 4))
    backend.load_into("r", tmp_path / "c", with_optimizer=False)
    run = backend.training_run("r")
    assert torch.equal(run.values, saved)
    assert run.adam.step == 0
    assert run.gradients == 0
    backend.create_run("other", make_spec(rank=2), tmp_path / "l")
    with pytest.raises(CheckpointError, match="rank"):
        backend.load_into("other", tmp_path / "c", with_optimizer=False)


def test_saving_again_replaces_the_whole_folder(make_backend, make_spec, tmp_path):
    backend = make_backend()
    backend.create_run("r", make_spec(), tmp_path / "l")
    for step in range(2):
        train(backend, "r", range(step, step + 1))
        backend.save_state("r", tmp_path / "c")
    backend.restore_run("s", tmp_path / "c", tmp_path / "l2", with_optimizer=True)
    assert backend.training_run("s").adam.step == 2
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "optimizer.safetensors", "run.json"])
def test_damaged_checkpoint_is_refused(name, make_backend, make_spec, tmp_path):
    backend = make_backend()
    backend.create_run("r", make_spec(), tmp_path / "l")
    backend.save_state("r", tmp_path / "c")
    content = bytearray((tmp_path / "c" / name).read_bytes())
    content[-9] ^= 1
    (tmp_path / "c" / name).write_bytes(content)
    with pytest.raises(CheckpointError):
        backend.restore_run("s", tmp_path / "c", tmp_path / "l2", with_optimizer=True)
    (tmp_path / "c" / name).unlink()
    with pytest.raises(CheckpointError):
        backend.restore_run("s", tmp_path / "c", tmp_path / "l2", with_optimizer=True)
    with pytest.raises(NotFoundError):
        backend.training_run("s")


def test_checkpoint_of_another_base_is_refused(make_backend, make_spec, tmp_path):
    llama, mistral = make_backend("llama"), make_backend("mistral")
    llama.create_run("r", make_spec(), tmp_path / "l")
    llama.save_state("r", tmp_path / "c")
    with pytest.raises(CheckpointError, match="belongs to base"):
        mistral.restore_run("r", tmp_path / "c", tmp_path / "l2", with_optimizer=True)


def test_private_checkpoint_keeps_its_ledger(make_backend, make_spec, tmp_path):
    backend = make_backend()
    backend.create_run("r", make_spec(privacy=PRIVATE), tmp_path / "l")
    train(backend, "r", range(2))
    backend.save_state("r", tmp_path / "c")
    spent = backend.privacy("r")
    fresh = make_backend()
    fresh.restore_run("s", tmp_path / "c", tmp_path / "l2", with_optimizer=True)
    assert fresh.privacy("s") == spent
    (tmp_path / "c" / "ledger.jsonl").write_text("")
    with pytest.raises(CheckpointError):
        fresh.restore_run("t", tmp_path / "c", tmp_path / "l3", with_optimizer=True)


def test_what_the_source_spent_after_the_checkpoint_is_inherited(make_backend, make_spec, tmp_path):
    backend = make_backend()
    backend.create_run("r", make_spec(privacy=PRIVATE), tmp_path / "l")
    train(backend, "r", range(1))
    backend.save_state("r", tmp_path / "c")
    train(backend, "r", range(1, 4))
    after = backend.training_run("r").values.clone()
    backend.restore_run("s", tmp_path / "c", tmp_path / "l2", with_optimizer=True)
    record = backend.privacy("s")
    assert record is not None
    assert record.steps == 4
    # The same steps again give the same updates, at no further cost.
    train(backend, "s", range(1, 4))
    assert torch.equal(backend.training_run("s").values, after)
    assert backend.privacy("s") == record
    train(backend, "s", range(4, 5))
    record = backend.privacy("s")
    assert record is not None
    assert record.steps == 5


def test_private_and_other_runs_do_not_mix(make_backend, make_spec, tmp_path):
    backend = make_backend()
    backend.create_run("private", make_spec(privacy=PRIVATE), tmp_path / "l")
    backend.create_run("open", make_spec(), tmp_path / "l2")
    for source, target in (("private", "open"), ("open", "private")):
        backend.save_state(source, tmp_path / source)
        with pytest.raises(PrivacyPolicyError):
            backend.load_into(target, tmp_path / source, with_optimizer=False)


def test_step_without_gradient_is_refused(make_backend, make_spec, tmp_path):
    backend = make_backend()
    backend.create_run("r", make_spec(), tmp_path / "l")
    with pytest.raises(RequestError):
        backend.optim_step("r", AdamParams())


def test_adapter_with_unsupported_parts_is_refused(make_backend, make_spec, tmp_path):
    backend = make_backend()
    backend.create_run("r", make_spec(), tmp_path / "l")
    backend.save_adapter("r", tmp_path / "a")
    path = tmp_path / "a" / "adapter_config.json"
    config = json.loads(path.read_text())
    assert read_adapter(tmp_path / "a").config.rank == 4
    path.write_text(json.dumps({**config, "use_dora": True}))
    with pytest.raises(CheckpointError, match="use_dora"):
        read_adapter(tmp_path / "a")
    path.write_text(json.dumps({**config, "r": 8}))
    with pytest.raises(CheckpointError, match="rank 8"):
        read_adapter(tmp_path / "a")


@pytest.mark.peer
@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt-neox", "gemma"])
def test_peft_gives_identical_logits(family, make_base, make_backend, make_spec, data, tmp_path):
    from peft import PeftModel

    backend = make_backend(family)
    backend.create_run("r", replace(make_spec(), alpha=5.5), tmp_path / "l")
    randomise(backend, "r")
    backend.save_adapter("r", tmp_path / "a")
    peft = PeftModel.from_pretrained(make_base(family).model, tmp_path / "a")
    backend.create_sampler("s", tmp_path / "a")
    for datum in data[:3]:
        request = SampleRequest(datum.tokens, 1, 0, 0.0, 1.0, 0, 0, (), (), True)
        (result,) = backend.sample("s", [request])
        with torch.inference_mode():
            logits = peft(input_ids=torch.from_numpy(datum.tokens)[None]).logits[0]
        expected = torch.log_softmax(logits[:-1], -1)
        expected = expected.gather(1, torch.from_numpy(datum.tokens)[1:, None])[:, 0]
        assert result.prompt_logprobs is not None
        ours = torch.tensor(result.prompt_logprobs[1:])
        assert torch.allclose(ours, expected, atol=1e-5)


@pytest.mark.peer
def test_folders_written_by_peft_are_read(make_base, make_backend, data, tmp_path):
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=3, lora_alpha=7, target_modules=["c_attn"], init_lora_weights=False)
    peft = get_peft_model(make_base("gpt2").model, config)
    peft.save_pretrained(tmp_path / "a")
    backend = make_backend("gpt2")
    backend.create_sampler("s", tmp_path / "a")
    request = SampleRequest(data[0].tokens, 1, 0, 0.0, 1.0, 0, 0, (), (), True)
    (result,) = backend.sample("s", [request])
    with torch.inference_mode():
        logits = peft(input_ids=torch.from_numpy(data[0].tokens)[None]).logits[0]
    expected = torch.log_softmax(logits[:-1], -1)
    expected = expected.gather(1, torch.from_numpy(data[0].tokens)[1:, None])[:, 0]
    assert result.prompt_logprobs is not None
    assert torch.allclose(torch.tensor(result.prompt_logprobs[1:]), expected, atol=1e-5)


def test_a_checkpoint_whose_source_lost_its_ledger_is_refused(make_backend, make_spec, tmp_path):
    backend, runs = make_backend(), tmp_path / "runs"
    backend.create_run("r", make_spec(privacy=PRIVATE), runs / "r" / "ledger")
    shutil.copytree(runs, tmp_path / "older")
    train(backend, "r", range(1))
    backend.save_state("r", tmp_path / "c")
    train(backend, "r", range(1, 3))
    backend.drop_run("r")
    moved = tmp_path / "elsewhere"
    shutil.move(runs, moved)
    # A home that was moved has the ledger where it has the run.
    backend.restore_run("s", tmp_path / "c", moved / "s" / "ledger", with_optimizer=True)
    record = backend.privacy("s")
    assert record is not None
    assert record.steps == 3
    with pytest.raises(CheckpointError, match="is missing"):
        backend.restore_run("t", tmp_path / "c", runs / "t" / "ledger", with_optimizer=True)
    shutil.move(tmp_path / "older" / "r", runs / "r")
    with pytest.raises(CheckpointError, match="rolled back"):
        backend.restore_run("u", tmp_path / "c", runs / "u" / "ledger", with_optimizer=True)
