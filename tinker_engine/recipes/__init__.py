"""Client-side training loops on the Tinker SDK; they run against any Tinker-compatible server.

    from tinker_engine.connect import open_engine
    from tinker_engine.recipes import ChatFormat, SftConfig, run_sft

    with open_engine() as engine:
        result = run_sft(engine.service_client, ChatFormat(tokenizer), rows, SftConfig(), folder)

Nothing here touches tensors of the model: gradients, noise and weights stay in the engine.
"""

from __future__ import annotations

from tinker_engine.recipes.chat_format import ChatFormat, ChatMessage, Rendered
from tinker_engine.recipes.chat_model import ChatModel
from tinker_engine.recipes.dpo import PreferencePair, preference_margins, run_dpo
from tinker_engine.recipes.dpo_config import DpoConfig
from tinker_engine.recipes.sft import InterruptedRunError, Progress, SftResult, run_sft
from tinker_engine.recipes.sft_config import PrivacyConfig, SftConfig

__all__ = [
    "ChatFormat",
    "ChatMessage",
    "ChatModel",
    "DpoConfig",
    "InterruptedRunError",
    "PreferencePair",
    "PrivacyConfig",
    "Progress",
    "Rendered",
    "SftConfig",
    "SftResult",
    "preference_margins",
    "run_dpo",
    "run_sft",
]
