"""Models of an open engine: a version by its files, or anything by its `tinker://` path."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tensafe.evaluate import AnsweringModel

if TYPE_CHECKING:
    from tinker_engine.connect import Connection


def model_of(engine: Connection, adapter: Path) -> AnsweringModel:
    """The model of a PEFT folder; raises as `upload_adapter` does."""
    from tinker_engine.connect import upload_adapter

    return sampler(engine, upload_adapter(engine, adapter))


def sampler(engine: Connection, path: str) -> AnsweringModel:
    """The model behind a `tinker://` path."""
    from tinker_engine.connect import load_tokenizer
    from tinker_engine.recipes.chat_format import ChatFormat
    from tinker_engine.recipes.chat_model import ChatModel

    client = engine.service_client.create_sampling_client(model_path=path).result()
    return ChatModel(client, ChatFormat(load_tokenizer(engine)), path)
