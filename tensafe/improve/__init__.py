"""Improvement: what users met becomes the next version of an adapter.

from tensafe.improve import ImproveConfig, improve_adapter
from tensafe.pipeline.terminal import TerminalView

with TerminalView() as view:
    done = improve_adapter(Path("runs/support"), Path("traffic.jsonl"), view=view)
print(done.comparison.new.difference, done.package)

`continuous_improve` does it again and again, from recorded traffic.
"""

from tensafe.improve.comparison import Comparison
from tensafe.improve.config import ImproveConfig
from tensafe.improve.improving import Improvement, improve_adapter
from tensafe.improve.interactions import Feedback, Interaction, read_log
from tensafe.improve.loop import LoopReport, continuous_improve
from tensafe.improve.loop_config import LoopConfig, RecordingConfig
from tensafe.improve.weak_spots import WeakSpot

__all__ = [
    "Comparison",
    "Feedback",
    "ImproveConfig",
    "Improvement",
    "Interaction",
    "LoopConfig",
    "LoopReport",
    "RecordingConfig",
    "WeakSpot",
    "continuous_improve",
    "improve_adapter",
    "read_log",
]
