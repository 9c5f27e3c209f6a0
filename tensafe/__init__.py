"""TenSafe: any data in, a signed, private, tested LoRA adapter out.

    from tensafe.pipeline import TrainConfig, create_adapter
    from tensafe.pipeline.terminal import TerminalView

    with TerminalView() as view:
        outcome = create_adapter(TrainConfig(data="tickets.csv"), view)
    print(outcome.to_json())

Importing this package is cheap: torch is loaded when something is trained.
"""

from __future__ import annotations

__all__: list[str] = []
