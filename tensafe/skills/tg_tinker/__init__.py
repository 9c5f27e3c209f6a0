"""TG Tinker: make, judge, package, export and improve LoRA adapters from any data.

    from tensafe.skills.tg_tinker import LoraConfig, TGTinker

    with TGTinker() as tinker:
        dataset = tinker.curate_dataset("tickets.csv")
        checkpoint = tinker.train_sft(dataset, LoraConfig(rank=16), name="tickets")
        print(tinker.evaluate(checkpoint, dataset.test).score)
        package = tinker.package_tgsp(checkpoint, {"license": "MIT"})

Importing this package is cheap: torch is loaded when something is trained.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensafe.skills.tg_tinker.lora_config import LoraConfig

if TYPE_CHECKING:
    from tensafe.skills.tg_tinker.checkpoint import Checkpoint
    from tensafe.skills.tg_tinker.tinker import TGTinker

__all__ = ["Checkpoint", "LoraConfig", "TGTinker"]


def __getattr__(name: str) -> object:
    """Load the heavy half on first use."""
    if name == "TGTinker":
        from tensafe.skills.tg_tinker.tinker import TGTinker

        return TGTinker
    if name == "Checkpoint":
        from tensafe.skills.tg_tinker.checkpoint import Checkpoint

        return Checkpoint
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
