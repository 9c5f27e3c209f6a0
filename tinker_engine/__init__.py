"""The Tinker training API on your own machine: LoRA training, sampling, privacy, checkpoints.

from tinker_engine import load_tokenizer, open_engine

with open_engine("embedded", base_model="nano") as connection:
    training = connection.service_client.create_lora_training_client("nano", rank=8).result()
    tokenizer = load_tokenizer(connection)
"""

from tinker_engine.connect import (
    Connection,
    base_info,
    connect,
    download_adapter,
    load_tokenizer,
    open_engine,
    require_privacy,
    run_privacy,
)

__all__ = [
    "Connection",
    "base_info",
    "connect",
    "download_adapter",
    "load_tokenizer",
    "open_engine",
    "require_privacy",
    "run_privacy",
]
