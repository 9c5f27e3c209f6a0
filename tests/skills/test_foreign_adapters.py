"""Reading adapters that were made elsewhere: what is understood, and what is refused and why."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lora_samples import MODULE, PREFIX, peft_folder, tensors
from safetensors.numpy import load, save

from tensafe.errors import DataError, TensafeError, UsageError, VerificationError
from tensafe.pipeline.import_packaging import package_import
from tensafe.tgsp.foreign import PeftAdapter, find_adapter, fitting_targets, write_peft


def imported(
    path: Path, out: Path, *, alpha: float | None = None, allow_pickle: bool = False
) -> PeftAdapter:
    found = find_adapter(path, allow_pickle=allow_pickle)
    return write_peft(found, out, alpha=alpha, base_model=None)


def test_a_peft_folder_keeps_its_very_bytes(tmp_path: Path) -> None:
    source = peft_folder(tmp_path / "lora")
    adapter = imported(source, tmp_path / "out")
    assert (adapter.rank, adapter.alpha, adapter.base_model) == (2, 4.0, "nano")
    assert adapter.modules == (MODULE,)
    written = (tmp_path / "out" / "adapter_model.safetensors").read_bytes()
    assert written == (source / "adapter_model.safetensors").read_bytes()
    assert not adapter.is_renamed


@pytest.mark.parametrize(
    "form", ["{m}.lora_{s}.weight", "{p}{m}.lora_{s}.default.weight", "{m}.lora_{s}"]
)
def test_other_spellings_of_the_names_are_put_right_and_values_kept(
    tmp_path: Path, form: str
) -> None:
    adapter = imported(peft_folder(tmp_path / "lora", tensors(form=form)), tmp_path / "out")
    assert adapter.is_renamed
    written = load((tmp_path / "out" / "adapter_model.safetensors").read_bytes())
    assert set(written) == set(tensors())
    for name, values in tensors().items():
        assert np.array_equal(written[name], values)


def test_rs_lora_becomes_the_alpha_that_computes_the_same(tmp_path: Path) -> None:
    source = peft_folder(tmp_path / "lora", use_rslora=True)
    adapter = imported(source, tmp_path / "out")
    assert adapter.alpha / adapter.rank == pytest.approx(4 / 2**0.5)
    assert "rsLoRA" in adapter.notes[0]


def test_a_lone_file_needs_an_alpha_and_takes_a_config_beside_it(tmp_path: Path) -> None:
    lone = tmp_path / "lora.safetensors"
    lone.write_bytes(save(tensors()))
    with pytest.raises(UsageError, match=r"which alpha .* give --alpha"):
        imported(lone, tmp_path / "a")
    adapter = imported(lone, tmp_path / "b", alpha=8)
    assert (adapter.alpha, adapter.base_model) == (8.0, None)
    beside = peft_folder(tmp_path / "lora")
    adapter = imported(beside / "adapter_model.safetensors", tmp_path / "c")
    assert (adapter.alpha, adapter.base_model) == (4.0, "nano")
    with pytest.raises(UsageError, match="says 4"):
        imported(beside, tmp_path / "d", alpha=9)


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_a_pickle_needs_leave_and_gives_its_tensors_alone(
    tmp_path: Path, wrapper: str | None
) -> None:
    state: Any = {name: torch.from_numpy(values) for name, values in tensors().items()}
    path = tmp_path / "lora.bin"
    torch.save({wrapper: state} if wrapper else state, path)
    with pytest.raises(UsageError, match="--allow-pickle"):
        imported(path, tmp_path / "no", alpha=4)
    imported(path, tmp_path / "out", alpha=4, allow_pickle=True)
    written = load((tmp_path / "out" / "adapter_model.safetensors").read_bytes())
    for name, values in tensors().items():
        assert np.array_equal(written[name], values)


class Bomb:
    """Would make a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return (Path.touch, (self.trace,))


def test_code_in_a_pickle_is_refused_and_never_run(tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    for path in (tmp_path / "zip.pt", tmp_path / "bare.pt"):
        if path.name == "zip.pt":
            torch.save({"weight": Bomb(trace)}, path)
        else:
            path.write_bytes(pickle.dumps({"weight": Bomb(trace)}))
        with pytest.raises(VerificationError, match="something other than tensors"):
            imported(path, tmp_path / "out", allow_pickle=True)
    disguised = tmp_path / "lora.safetensors"
    disguised.write_bytes((tmp_path / "zip.pt").read_bytes())
    with pytest.raises(VerificationError, match="zip archive"):
        imported(disguised, tmp_path / "out", allow_pickle=True)
    assert not trace.exists()


def _without_b() -> Any:
    return {name: values for name, values in tensors().items() if "lora_A" in name}


def _with(**more: Any) -> Any:
    return {**tensors(), **more}


@pytest.mark.parametrize(
    ("weights", "config", "error", "words"),
    [
        (None, {"use_dora": True}, DataError, "use_dora"),
        (None, {"modules_to_save": ["lm_head"]}, DataError, "modules_to_save"),
        (None, {"bias": "all"}, DataError, "bias all"),
        (None, {"peft_type": "IA3"}, DataError, "IA3"),
        (None, {"rank_pattern": {"q_proj": 4}}, DataError, "rank_pattern"),
        (None, {"r": 3}, VerificationError, "declare rank 3, the tensors have 2"),
        (None, {"lora_alpha": None}, UsageError, "--alpha"),
        (None, {"lora_alpha": "four"}, DataError, "expected a positive number"),
        (None, {"lora_alpha": float("nan")}, DataError, "expected a positive number"),
        (_without_b(), {}, VerificationError, "missing"),
        (_with(**{"model.embed.weight": np.ones((2, 2), np.float32)}), {}, VerificationError,
         "no half of a LoRA pair"),
        ({"lora_unet_down.lora_down.weight": np.ones((2, 2), np.float32)}, {}, VerificationError,
         "kohya"),
        ({k: v * np.nan for k, v in tensors().items()}, {}, VerificationError, "not finite"),
        (_with(**{f"{PREFIX}x.lora_A.weight": np.ones((3, 8), np.float32)}), {}, VerificationError,
         "one rank"),
    ],
)  # fmt: skip
def test_what_can_not_be_expressed_is_refused_by_name(
    tmp_path: Path, weights: Any, config: dict[str, object], error: type[Exception], words: str
) -> None:
    source = peft_folder(tmp_path / "lora", weights, **config)
    with pytest.raises(error, match=words):
        imported(source, tmp_path / "out")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: None, "no such file or folder"),
        (lambda p: p.mkdir(), "there is no adapter_config.json"),
        (lambda p: p.write_bytes(b"GGUF1234"), "GGUF"),
        (lambda p: p.write_bytes(b""), "0 bytes"),
    ],
)
def test_a_path_without_an_adapter_says_what_was_expected(
    tmp_path: Path, make: Any, words: str
) -> None:
    path = tmp_path / "thing"
    make(path)
    with pytest.raises(TensafeError, match=words):
        find_adapter(path, allow_pickle=False)


def test_a_config_that_is_no_json_is_named(tmp_path: Path) -> None:
    source = peft_folder(tmp_path / "lora")
    (source / "adapter_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"adapter_config\.json: not valid JSON"):
        find_adapter(source, allow_pickle=False)


def test_weights_that_changed_after_they_were_judged_are_not_packaged(tmp_path: Path) -> None:
    adapter = imported(peft_folder(tmp_path / "lora"), tmp_path / "out")
    weights = adapter.folder / "adapter_model.safetensors"
    weights.write_bytes(save({name: values * 2 for name, values in tensors().items()}))
    judged: Any = SimpleNamespace(adapter=adapter)
    nothing: Any = None
    with pytest.raises(VerificationError, match="changed while it was judged"):
        package_import(judged, nothing, nothing, nothing, nothing, None)


def test_targets_are_the_shortest_names_that_match_exactly() -> None:
    base = {f"h.{i}.{name}": (8, 8) for i in (0, 1) for name in ("attn.q", "attn.v", "mlp.q")}
    assert fitting_targets(["h.0.attn.v", "h.1.attn.v"], base) == ["v"]
    # `q` would match the MLP's as well.
    attention = ["h.0.attn.q", "h.1.attn.q"]
    assert fitting_targets(attention, base) == attention
    with pytest.raises(DataError, match=r"no linear module .h\.9\.attn\.q.*--base-model"):
        fitting_targets(["h.9.attn.q"], base)


@pytest.mark.parametrize(
    ("name", "pairs", "suffixes"),
    [
        ("distilgpt2-r8", 6, {"c_attn"}),
        ("gpt2-smart-review-r8", 12, {"c_attn"}),
        ("gptneo125m-movies-r8-qv", 24, {"q_proj", "v_proj"}),
    ],
)
def test_real_adapters_are_understood(
    tmp_path: Path, shared_data: Path, name: str, pairs: int, suffixes: set[str]
) -> None:
    source = shared_data / "adapters" / name
    adapter = imported(source, tmp_path / "out")
    declared = json.loads((source / "adapter_config.json").read_text(encoding="utf-8"))
    assert (adapter.rank, adapter.alpha) == (8, 16.0)
    assert adapter.base_model == declared["base_model_name_or_path"]
    assert len(adapter.modules) == pairs
    assert {module.rsplit(".", 1)[-1] for module in adapter.modules} == suffixes
    written = (tmp_path / "out" / "adapter_model.safetensors").read_bytes()
    assert written == (source / "adapter_model.safetensors").read_bytes()
