"""A run folder with every record that `tensafe train` leaves, made without training."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path

from sample_package import adapter, gates

from tensafe.curate import write_dataset
from tensafe.data.records import Dataset
from tensafe.pipeline.config import TrainConfig
from tinker_engine.runtime.records import BaseInfo, PrivacyRecord

_LAYERS = ("toxicity", "bias", "ip", "allowlist", "svd_analysis", "mahalanobis_ood")


def finished_run(folder: Path, data: Dataset, config: TrainConfig) -> Path:
    """The folder, its gates passed; private when `config.dp`, with epsilon 5 spent."""
    (folder / "adapter").mkdir(parents=True)
    write_dataset(data, folder / "dataset")
    write_record(folder / "config.json", config.model_dump(mode="json", exclude={"out"}))
    payload = adapter()
    (folder / "adapter" / "adapter_model.safetensors").write_bytes(payload)
    (folder / "adapter" / "adapter_config.json").write_text("{}", encoding="utf-8")
    base = BaseInfo("nano", "", "LlamaForCausalLM", *[_digest(x) for x in "abc"], 512, 2048, 256)
    plan = {"steps": 9, "trained_tokens": 120, "total_tokens": 480}
    training = {"plan": plan, "examples": len(data.train), "steps": 9, "stopped": "done"}
    write_record(folder / "run.json", {"version": 1, "base": asdict(base), "training": training})
    evaluation = write_record(
        folder / "evaluation.json",
        {
            "train_digest": data.train_digest, "score": 0.91, "base_score": 0.12,
            "interval": {"low": 0.84, "high": 0.95}, "paired": {"p_value": 1e-9}, "items": [1] * 99,
        },
    )  # fmt: skip
    layers = [
        {"name": name, "passed": True, "score": 0.0, "threshold": 0.0, "checks": []}
        for name in _LAYERS
    ]
    screening = write_record(
        folder / "screening.json",
        {
            "train_digest": data.train_digest, "passed": True, "layers": layers,
            "adapter_digest": hashlib.sha256(payload).hexdigest(),
            "version": "RVUv2", "reference_digest": _digest("r"), "suites": {}, "config": {},
        },
    )  # fmt: skip
    judged = gates(private=config.dp)
    judged = replace(
        judged,
        qa_verify=replace(judged.qa_verify, report_digest=evaluation),
        rvu_v2_pass=replace(judged.rvu_v2_pass, report_digest=screening),
    )
    write_record(folder / "gates.json", asdict(judged))
    if config.dp:
        write_record(folder / "privacy.json", asdict(_privacy(data)))
    return folder


def write_record(path: Path, value: object) -> str:
    """Write JSON; gives its hex SHA-256, by which gate records name it."""
    text = json.dumps(value)
    path.write_text(text, encoding="utf-8")
    return _digest(text)


def _privacy(data: Dataset) -> PrivacyRecord:
    return PrivacyRecord(
        mechanism="dp-sgd", unit="one example", epsilon=5.0, delta=1e-5, clip_norm=0.2,
        noise_multiplier=1.1, sampling_rate=0.1, expected_batch_size=4.0, steps=9,
        planned_steps=9, max_epsilon=8.0, record_set=data.train_digest, accountant="PLD",
        accountant_version="0.6", lora_train="B", declared="Poisson", ledger_digest=_digest("l"),
    )  # fmt: skip


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
