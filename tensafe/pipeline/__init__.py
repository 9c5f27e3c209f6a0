"""The main job: from a folder of files to a signed, private, tested adapter.

from tensafe.pipeline import TrainConfig, create_adapter
from tensafe.pipeline.terminal import TerminalView

with TerminalView() as view:
outcome = create_adapter(TrainConfig(data="tickets.csv"), view)
print(outcome.package or outcome.gates)
"""

from __future__ import annotations

from tensafe.pipeline.config import TrainConfig
from tensafe.pipeline.create import Outcome, create_adapter

__all__ = ["Outcome", "TrainConfig", "create_adapter"]
