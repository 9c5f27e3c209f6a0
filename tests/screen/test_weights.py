"""The weight layers on real PEFT adapters and on copies with one thing made wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from tensafe.errors import ScreeningError
from tensafe.screen.adapter_weights import CONFIG, WEIGHTS, LoraPair, read_weights
from tensafe.screen.allowlist import allowlist
from tensafe.screen.config import ScreenConfig, WeightLimits
from tensafe.screen.features import FEATURES, features
from tensafe.screen.ood import mahalanobis_ood
from tensafe.screen.reference import Reference, load_reference
from tensafe.screen.screening import screen_weights
from tensafe.screen.spectrum import module_spectrum, singular_values, svd_analysis

SETTINGS = ScreenConfig()
Tensors = dict[str, np.ndarray]


@pytest.fixture(scope="session")
def reference() -> Reference:
    return load_reference()[0]


@pytest.fixture
def copy(adapters: list[Path], tmp_path: Path) -> Callable[..., Path]:
    """A copy of the GPT-Neo adapter with its tensors or configuration changed."""

    def make(tensors: Callable[[Tensors], None] | None = None, **options: object) -> Path:
        folder = tmp_path / f"copy{len(list(tmp_path.iterdir()))}"
        shutil.copytree(adapters[-1], folder)
        for path in folder.iterdir():
            path.chmod(0o644)
        if tensors is not None:
            values = load_file(folder / WEIGHTS)
            tensors(values)
            save_file(values, folder / WEIGHTS)
        config = json.loads((folder / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps({**config, **options}))
        return folder

    return make


def verdict(folder: Path) -> str:
    """ "" when the allowlist passes, else its reason."""
    result = allowlist(read_weights(folder), SETTINGS)
    return "" if result.passed else result.reason


def test_real_adapters_hold_nothing_but_lora(adapters: list[Path]) -> None:
    assert len(adapters) == 3
    assert [verdict(folder) for folder in adapters] == ["", "", ""]


def first_b(tensors: Tensors) -> str:
    return next(name for name in sorted(tensors) if "lora_B" in name)


def poison(value: float) -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        tensors[first_b(tensors)][0, 0] = value

    return change


def extra(name: str) -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        tensors[name] = np.ones((4, 4), dtype=np.float32)

    return change


def drop_one(tensors: Tensors) -> None:
    del tensors[first_b(tensors)]


def widen(tensors: Tensors) -> None:
    name = first_b(tensors)
    tensors[name] = np.concatenate([tensors[name], tensors[name]])


def integers(tensors: Tensors) -> None:
    name = first_b(tensors)
    tensors[name] = tensors[name].astype(np.int32)


@pytest.mark.parametrize(
    ("change", "options", "reason"),
    [
        (poison(float("nan")), {}, "not finite"),
        (poison(float("inf")), {}, "not finite"),
        (extra("base_model.model.lm_head.weight"), {}, "unexpected tensor"),
        (extra("base_model.model.transformer.h.0.mlp.c_fc.lora_A.weight"), {}, "unexpected tensor"),
        (drop_one, {}, "unexpected tensor"),
        (widen, {}, "different shapes"),
        (integers, {}, "unexpected tensor"),
        (None, {"r": 4}, "has rank 8, not 4"),
        (None, {"r": 100000}, "rank"),
        (None, {"r": True}, "rank"),
        (None, {"lora_alpha": 1e6}, "alpha / rank"),
        (None, {"lora_alpha": 0}, "alpha / rank"),
        (None, {"lora_alpha": "16"}, "alpha / rank"),
        (None, {"target_modules": ["q_proj"]}, "undeclared module"),
        (None, {"target_modules": "all-linear"}, "target_modules"),
        (None, {"peft_type": "IA3"}, "peft_type"),
        (None, {"task_type": "SEQ_CLS"}, "task_type"),
        (None, {"bias": "all"}, "bias"),
        (None, {"use_dora": True}, "use_dora"),
        (None, {"modules_to_save": ["lm_head"]}, "modules_to_save"),
        (None, {"auto_mapping": {"base_model_class": "X"}}, "auto_mapping"),
        (None, {"layer_replication": [[0, 4]]}, "layer_replication"),
    ],
)
def test_anything_else_is_refused(
    copy: Callable[..., Path],
    change: Callable[[Tensors], None] | None,
    options: dict[str, object],
    reason: str,
) -> None:
    assert reason in verdict(copy(change, **options))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "code.py", "second.safetensors"])
def test_files_that_run_code_or_hide_weights_are_refused(
    copy: Callable[..., Path], name: str
) -> None:
    folder = copy()
    (folder / name).write_bytes(b"x")
    assert name in verdict(folder)


def test_a_renamed_pickle_is_not_read(copy: Callable[..., Path]) -> None:
    import pickle

    folder = copy()
    (folder / WEIGHTS).write_bytes(pickle.dumps({"lora": 1}))
    with pytest.raises(ScreeningError, match="safetensors"):
        read_weights(folder)
    results, digest, _ = screen_weights(folder, SETTINGS)
    assert [result.passed for result in results] == [False, False, False]
    assert digest == ""


def test_bfloat16_and_float16_values_are_those_of_torch(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file as save_torch

    generator = torch.Generator().manual_seed(3)
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        tensors = {
            f"base_model.model.h.0.q_proj.lora_{side}.weight": torch.randn(
                shape, generator=generator
            ).to(dtype)
            for side, shape in (("A", (2, 5)), ("B", (7, 2)))
        }
        save_torch(tensors, tmp_path / WEIGHTS)
        (tmp_path / CONFIG).write_text(json.dumps({"r": 2, "lora_alpha": 4}))
        pair = read_weights(tmp_path).pairs[0]
        expected = tensors["base_model.model.h.0.q_proj.lora_A.weight"].double().numpy()
        assert np.array_equal(pair.a, expected)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), rank=st.integers(1, 9), scale=st.floats(0.01, 8.0))
def test_singular_values_are_those_of_the_full_update(seed: int, rank: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    out, width = rng.integers(1, 24, size=2)
    pair = LoraPair("m", rng.standard_normal((rank, width)), rng.standard_normal((out, rank)))
    expected = np.linalg.svd(scale * pair.b @ pair.a, compute_uv=False)
    found = singular_values(pair, scale)
    kept = min(len(found), len(expected))
    assert np.allclose(found[:kept], expected[:kept], atol=1e-9 * max(1.0, float(expected[0])))
    assert np.allclose(expected[kept:], 0.0, atol=1e-9 * max(1.0, float(expected[0])))


def test_spectrum_figures_of_known_updates() -> None:
    flat = LoraPair("flat", np.eye(4), np.eye(4))
    spectrum = module_spectrum(flat, 2.0)
    assert spectrum.rms == pytest.approx(1.0)  # four entries of 2 in sixteen
    assert spectrum.effective_rank == pytest.approx(4.0)
    assert spectrum.top_share == pytest.approx(0.25)
    spike = LoraPair("spike", np.eye(4)[:2], np.outer(np.ones(4), [1.0, 0.0]))
    assert module_spectrum(spike, 1.0).effective_rank == pytest.approx(1.0)


def test_an_adapter_that_changes_nothing_fails(
    copy: Callable[..., Path], reference: Reference
) -> None:
    def silence(tensors: Tensors) -> None:
        for name, value in tensors.items():
            if "lora_B" in name:
                value[:] = 0

    weights = read_weights(copy(silence))
    result = svd_analysis(weights, reference, SETTINGS)
    assert not result.passed
    assert "unchanged" in result.reason
    assert not mahalanobis_ood(weights, reference, SETTINGS).passed


def test_an_update_put_into_one_module_fails(
    copy: Callable[..., Path], reference: Reference
) -> None:
    def spike(tensors: Tensors) -> None:
        tensors[first_b(tensors)] *= 3000.0

    weights = read_weights(copy(spike))
    assert not svd_analysis(weights, reference, SETTINGS).passed
    assert not mahalanobis_ood(weights, reference, SETTINGS).passed


def test_an_update_blown_up_everywhere_fails(
    copy: Callable[..., Path], reference: Reference
) -> None:
    def blow(tensors: Tensors) -> None:
        for name, value in tensors.items():
            if "lora_B" in name:
                value *= 1e5

    results, _, _ = screen_weights(copy(blow), SETTINGS)
    assert [r.passed for r in results] == [True, False, False]


def test_real_adapters_pass_all_weight_layers(adapters: list[Path]) -> None:
    for folder in adapters:
        results, digest, reference_digest = screen_weights(folder, SETTINGS)
        assert [(r.name, r.passed) for r in results if not r.passed] == [], folder.name
        assert len(digest) == len(reference_digest) == 64


def test_without_a_reference_the_layers_that_need_it_fail(
    adapters: list[Path], tmp_path: Path
) -> None:
    limits = WeightLimits(reference=tmp_path / "absent.json")
    results, _, _ = screen_weights(adapters[0], ScreenConfig(weights=limits))
    assert [r.passed for r in results] == [True, False, False]
    assert "tensafe.screen.fit" in results[1].reason


@pytest.mark.parametrize("damage", ["{}", "not json", '{"mean": [NaN]}'])
def test_a_damaged_reference_fails_closed(
    adapters: list[Path], tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "reference.json"
    path.write_text(damage)
    results, _, _ = screen_weights(adapters[0], ScreenConfig(weights=WeightLimits(reference=path)))
    assert [r.passed for r in results] == [True, False, False]


def test_members_of_the_population_lie_within_its_threshold(reference: Reference) -> None:
    inside = [
        reference.distance(np.array(m.features)) <= reference.threshold for m in reference.members
    ]
    assert all(inside)
    left_out = [m.distance_left_out <= reference.threshold for m in reference.members]
    assert sum(left_out) >= 0.9 * len(left_out)


def test_features_do_not_depend_on_the_names_or_number_of_layers(adapters: list[Path]) -> None:
    weights = read_weights(adapters[0])
    assert features(weights).shape == (len(FEATURES),)
    assert np.isfinite(features(weights)).all()
