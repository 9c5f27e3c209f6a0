"""The base models that the training API names, as constants."""

from __future__ import annotations

from enum import StrEnum


class TinkerModel(StrEnum):
    """Short names of base models; each is its own value and goes wherever a model name goes.

    What a name stands for is in the engine's alias table (`tinker_engine.runtime.names`).
    """

    LLAMA_3_3_70B = "llama-3.3-70b"
    LLAMA_3_1_8B = "llama-3.1-8b"
    QWEN_2_5_72B = "qwen-2.5-72b"
    QWEN_3_32B = "qwen-3-32b"
    DEEPSEEK_V3 = "deepseek-v3"
    DEEPSEEK_R1 = "deepseek-r1"
    NANO = "nano"
