"""Pages of weight files are given back, and only where nothing can be lost."""

from __future__ import annotations

import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from tinker_engine.models.memory_pages import release_file_pages

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="drops pages on Linux alone")


@pytest.fixture
def mapped(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"w": torch.arange(300_000, dtype=torch.float32)}, path)
    with safe_open(path, "pt") as file:
        yield file.get_tensor("w")


def test_a_mapped_weight_reads_the_same_after_its_pages_went(mapped):
    before = mapped.clone()
    assert release_file_pages([mapped]) > 1_000_000
    assert torch.equal(mapped, before)


def test_a_weight_that_was_written_to_stays(mapped):
    mapped[7] = -1.0
    assert release_file_pages([mapped]) == 0
    assert mapped[7] == -1.0


def test_memory_without_a_file_stays():
    assert release_file_pages([torch.ones(300_000), torch.ones(300_000)[::2]]) == 0
