"""A packaged version in a run folder, with every record that training leaves, made without it."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tgsp"))

from sample_package import adapter, gates

from tensafe.curate import write_dataset
from tensafe.data.records import CurationReport, Dataset, Example, Message
from tensafe.pipeline.config import TrainConfig
from tensafe.pipeline.packing import pack_run
from tinker_engine.runtime.records import BaseInfo, PrivacyRecord

LAYERS = ("toxicity", "bias", "ip", "allowlist", "svd_analysis", "mahalanobis_ood")


def example(question: str, answer: str, place: int = 0) -> Example:
    """One question with its answer."""
    turns = (Message(role="user", content=question), Message(role="assistant", content=answer))
    return Example(turns, "tickets.csv", f"row {place}", f"tickets.csv:{place}")


def routing_rows(count: int) -> list[Example]:
    """Tickets of two desks."""
    return [
        example(f"Ticket {i}: my card number {i} is lost", "cards", i)
        if i % 2
        else example(f"Ticket {i}: I sent {i} euros to a friend", "transfers", i)
        for i in range(count)
    ]


def packaged_run(folder: Path, *, private: bool = False, rows: Sequence[Example] = ()) -> Path:
    """The run folder, with its package in it."""
    given = list(rows) or routing_rows(60)
    data = Dataset(tuple(given[10:]), tuple(given[:10]), CurationReport(1, 1))
    config = TrainConfig(
        data=Path("tickets.csv"), name="desk", domain="care", dp=private, epsilon=5.0
    )
    (folder / "adapter").mkdir(parents=True)
    write_dataset(data, folder / "dataset")
    _write(folder / "config.json", config.model_dump(mode="json", exclude={"out"}))
    payload = adapter()
    (folder / "adapter" / "adapter_model.safetensors").write_bytes(payload)
    (folder / "adapter" / "adapter_config.json").write_text("{}", encoding="utf-8")
    base = BaseInfo("nano", "", "LlamaForCausalLM", *map(_digest, "abc"), 512, 2048, 256)
    training = {"plan": {"steps": 9}, "examples": len(data.train), "steps": 9, "stopped": "done"}
    _write(folder / "run.json", {"version": 1, "base": asdict(base), "training": training})
    evaluation = _write(
        folder / "evaluation.json",
        {
            "train_digest": data.train_digest, "score": 0.91, "base_score": 0.12,
            "interval": {"low": 0.84, "high": 0.95}, "paired": {"p_value": 1e-9}, "items": [1] * 99,
        },
    )  # fmt: skip
    layers = [
        {"name": name, "passed": True, "score": 0.0, "threshold": 0.0, "checks": []}
        for name in LAYERS
    ]
    screening = _write(
        folder / "screening.json",
        {
            "train_digest": data.train_digest, "passed": True, "layers": layers,
            "adapter_digest": hashlib.sha256(payload).hexdigest(),
            "version": "RVUv2", "reference_digest": _digest("r"), "suites": {}, "config": {},
        },
    )  # fmt: skip
    judged = gates(private=private)
    judged = replace(
        judged,
        qa_verify=replace(judged.qa_verify, report_digest=evaluation),
        rvu_v2_pass=replace(judged.rvu_v2_pass, report_digest=screening),
    )
    _write(folder / "gates.json", asdict(judged))
    if private:
        _write(folder / "privacy.json", asdict(_privacy(data)))
    pack_run(folder, out=None, creator=None, skill_doc=None, passphrase_file=None)
    return folder


def _privacy(data: Dataset) -> PrivacyRecord:
    return PrivacyRecord(
        mechanism="dp-sgd", unit="one example", epsilon=5.0, delta=1e-5, clip_norm=0.2,
        noise_multiplier=1.1, sampling_rate=0.1, expected_batch_size=4.0, steps=9,
        planned_steps=9, max_epsilon=8.0, record_set=data.train_digest, accountant="PLD",
        accountant_version="0.6", lora_train="B", declared="Poisson", ledger_digest=_digest("l"),
    )  # fmt: skip


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _write(path: Path, value: object) -> str:
    text = json.dumps(value)
    path.write_text(text, encoding="utf-8")
    return _digest(text)
