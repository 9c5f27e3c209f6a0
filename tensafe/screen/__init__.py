"""RVUv2 screening: what an adapter says, against its base, and what its weights look like.

from tensafe.screen import ScreenConfig, screen_adapter
report = screen_adapter(adapter, base, adapter_dir, dataset, ScreenConfig())
for layer in report.layers:
    print(layer.name, layer.passed, layer.score, layer.threshold, layer.reason)
record = report.gate()  # the rvu_v2_pass verdict
"""

from tensafe.screen.config import ScreenConfig
from tensafe.screen.records import Finding, LayerResult, ScreenReport
from tensafe.screen.screening import screen_adapter, screen_weights

__all__ = [
    "Finding",
    "LayerResult",
    "ScreenConfig",
    "ScreenReport",
    "screen_adapter",
    "screen_weights",
]
