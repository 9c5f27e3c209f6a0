"""When the time of a Trainer begins to count."""

from __future__ import annotations

from typing import Any

import transformers

from evidence._speed_meter import Meter


class AtFirstStep(transformers.TrainerCallback):
    """Starts the meter with the first step: loading and packing aren't the step's."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._meter.start()
