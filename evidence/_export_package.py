"""A small trained adapter in a signed package, for the claim on exports."""

from __future__ import annotations

import csv
from pathlib import Path

from evidence._gate_packages import good_package
from evidence._train import ROOT
from tensafe.tgsp import Identity, KeyStore
from tinker_engine.runtime.records import BaseInfo

TRAINED_ON = 640
PROMPTS = 20
RANK, ALPHA = 16, 32.0


def tickets() -> list[tuple[str, str]]:
    """Message and team of the example company's tickets, in file order."""
    path = ROOT / "examples" / "helpdesk" / "data" / "tickets.csv"
    with path.open(encoding="cp1252", newline="") as file:
        return [(row["message"], row["team"]) for row in csv.DictReader(file)]


def train(folder: Path) -> tuple[Path, BaseInfo]:
    """Train on the embedded engine through the SDK; gives the adapter folder and base facts."""
    from tinker_engine.connect import base_info, download_adapter, load_tokenizer, open_engine
    from tinker_engine.recipes.chat_format import ChatFormat, ChatMessage
    from tinker_engine.recipes.sft import run_sft
    from tinker_engine.recipes.sft_config import SftConfig

    conversations = [
        [ChatMessage(role="user", content=message), ChatMessage(role="assistant", content=team)]
        for message, team in tickets()[:TRAINED_ON]
    ]
    config = SftConfig(rank=RANK, alpha=ALPHA, privacy=None, epochs=1.0, validation_fraction=0.0)
    with open_engine("embedded", base_model="nano") as engine:
        base = base_info(engine)
        chat = ChatFormat(load_tokenizer(engine))
        result = run_sft(
            engine.service_client, chat, conversations, config, folder / "training",
            base_model=base.name, hidden_size=base.hidden_size,
        )  # fmt: skip
        return download_adapter(engine, result.checkpoint, folder / "adapter"), base


def package(folder: Path, adapter: Path, base: BaseInfo, passphrase: str) -> Path:
    """The adapter in a package by the one writer; what is shown about exports needs no more."""
    store = KeyStore(folder / "home")
    signer = store.create(Identity("Evidence", "evidence@example.org"), passphrase)
    return good_package(folder / "export-parity.tgsp", adapter, base, signer)
