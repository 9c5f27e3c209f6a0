"""Several adapters as one: the sum of their weight changes, exactly, at the sum of their ranks.

    sum_i (alpha_i / r_i) B_i A_i  =  [s_1 B_1 ... s_n B_n] [A_1; ...; A_n],   s_i = w alpha_i / r_i

with the weight w (1 / n unless given) the same for all. Each member went through the load gate by
itself; what they do together is the red team's question. All members have to have the same modules,
for the engine's layout knows one rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tensafe.errors import UsageError

if TYPE_CHECKING:
    from tinker_engine.runtime.adapter_shelf import AdapterIdentity


def compose(
    folders: Sequence[Path], target: Path, *, weight: float | None = None
) -> AdapterIdentity:
    """Write the composed adapter as a PEFT folder; the same members give the same bytes.

    Raises:
        UsageError: fewer than two members, or they adapt different modules.
        CheckpointError: a member can't be read.
    """
    import torch

    from tinker_engine.models.adapter_files import AdapterConfig, read_adapter, write_adapter
    from tinker_engine.runtime.adapter_shelf import identify

    if len(folders) < 2:
        raise UsageError(f"a composed adapter takes at least two packages, not {len(folders)}")
    share = 1.0 / len(folders) if weight is None else weight
    files = [read_adapter(folder) for folder in folders]
    modules = sorted(files[0].factors)
    if any(sorted(member.factors) != modules for member in files):
        raise UsageError("the adapters change different modules: ask for a gated set instead")
    rank = sum(member.config.rank for member in files)
    factors = {
        module: (
            torch.cat([member.factors[module][0] for member in files], dim=0),  # (sum r, in)
            torch.cat(
                [
                    member.factors[module][1] * (share * member.config.alpha / member.config.rank)
                    for member in files
                ],
                dim=1,
            ),  # (out, sum r)
        )
        for module in modules
    }
    first = files[0].config
    # alpha = rank, so that the factors stand as they are.
    config = AdapterConfig(first.base_model, rank, float(rank), first.targets, first.fan_in_fan_out)
    write_adapter(target, config, factors)
    return identify(target)
