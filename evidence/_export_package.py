"""A small trained adapter in a signed package, for the claim on exports."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path
from typing import Any

from evidence._train import ROOT
from tensafe.gate.records import GateRecord, ThreeGates
from tensafe.tgsp import (
    EvaluationInfo,
    Identity,
    KeyStore,
    LoraShape,
    ModelInfo,
    PackageMetadata,
    Provenance,
    ScreeningInfo,
    SkillFacts,
    SkillInfo,
    write_package,
    write_skill_doc,
)
from tensafe.tgsp.keys import now

TRAINED_ON = 640
PROMPTS = 20
RANK, ALPHA = 16, 32.0


def tickets() -> list[tuple[str, str]]:
    """Message and team of the example company's tickets, in file order."""
    path = ROOT / "examples" / "helpdesk" / "data" / "tickets.csv"
    with path.open(encoding="cp1252", newline="") as file:
        return [(row["message"], row["team"]) for row in csv.DictReader(file)]


def train(folder: Path) -> tuple[Path, Any]:
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


def package(folder: Path, adapter: Path, base: Any, passphrase: str) -> Path:
    """The adapter in a package by the one writer.

    The gate records and figures are this script's input, shaped as a run's; what is shown about
    exports does not depend on what they say.
    """
    signer = KeyStore(folder / "home").create(
        Identity("Evidence", "evidence@example.org"), passphrase
    )
    model = ModelInfo(base.architecture, base.name)
    lora = LoraShape(RANK, ALPHA, (
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    ))  # fmt: skip
    skill = SkillInfo("Names the team that a helpdesk message belongs to.")
    evaluation = EvaluationInfo(0.9, (0.8, 0.95), 0.1, 100, _hex("evaluation"))
    path = folder / "export-parity.tgsp"
    write_package(
        path,
        payload=adapter / "adapter_model.safetensors",
        metadata=PackageMetadata(
            name="export-parity",
            domain="customer support",
            created=now(),
            model=model,
            lora=lora,
            skill=skill,
            screening=ScreeningInfo(
                ("allowlist", "svd_analysis", "mahalanobis_ood"), True, now(), _hex("screening"),
                {"report_digest": _hex("screening")},
            ),
            provenance=Provenance(
                _hex("train"), _hex("test"), base.digest, base.tokenizer_digest,
                base.chat_template_digest, "evidence", "sft",
            ),
            privacy=None,
            evaluation=evaluation,
            skill_doc=write_skill_doc(
                SkillFacts(
                    "export-parity", "customer support", model, lora, skill, evaluation, (), None,
                    signer.identity, trained_on=TRAINED_ON,
                )
            ),
        ),
        gates=ThreeGates(
            GateRecord("qa_verify", "passed", 0.9, 0.8, "in", report_digest=_hex("evaluation")),
            GateRecord("rvu_v2_pass", "passed", 0.0, 0.0, "in", report_digest=_hex("screening")),
            GateRecord("dp_budget", "waived", 0.0, 8.0, "trained without privacy"),
        ),
        signer=signer,
    )  # fmt: skip
    return path


def _hex(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
