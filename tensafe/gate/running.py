"""What is running: the base model as the engine states it, for the load gate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensafe.gate.load_records import RunningBase

if TYPE_CHECKING:
    from tinker_engine.connect import Connection


def running_base(engine: Connection) -> RunningBase:
    """Identity and modules of the engine's base model.

    Raises:
        EngineError: the server is not this engine, or can't be reached.
    """
    from tinker_engine.connect import base_info, base_shape

    info, shape = base_info(engine), base_shape(engine)
    return RunningBase(
        name=info.name,
        architecture=info.architecture,
        digest=info.digest,
        tokenizer_digest=info.tokenizer_digest,
        chat_template_digest=info.chat_template_digest,
        modules=shape.modules,
        num_experts=shape.num_experts,
    )
