"""Three adapters that others trained and published: in, signed, verified, let in, out, and in PEFT.

The questions of the quality gate are answered beforehand by the adapter itself on the base that
carries it, so the gate checks that the packaged adapter says what the original says, and nothing
about how good that is: the base is a stand-in with random weights. For the same reason the figures
of the screening's behaviour layers, which compare adapter and base, mean nothing here.
"""

from __future__ import annotations

import csv
import json
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.numpy import load

from evidence._stand_in_bases import stand_in
from tensafe.evaluate import QaVerifyConfig
from tensafe.gate.load_gate import judge_package
from tensafe.gate.running import running_base
from tensafe.pipeline.import_config import ImportConfig
from tensafe.pipeline.importing import import_adapter
from tensafe.skills.tg_tinker.quiet import QuietView
from tensafe.tgsp import KeyPair, verify_package
from tensafe.tgsp.export import export_package
from tensafe.tgsp.reader import open_package
from tensafe.tgsp.trust import TrustedCreator, TrustStore
from tinker_engine.connect import load_tokenizer, open_engine, upload_adapter
from tinker_engine.recipes.chat_format import ChatFormat
from tinker_engine.recipes.chat_model import ChatModel

CAVEAT = (
    "stand-in bases with random weights, qa_verify against each adapter's own answers: shows that "
    "adapters are carried unchanged, nothing about their quality"
)
QUESTIONS = 20
# As many as qa_verify asks for at most, so that it asks for neither more nor less.
ANSWER_TOKENS = QaVerifyConfig().max_answer_tokens


@dataclass(frozen=True)
class Journey:
    """What became of one adapter; its `tensors` were compared bit for bit."""

    name: str
    gates: dict[str, str]
    verdict: str
    gate_accepts: bool
    tensors: int
    same_in_package: bool
    same_in_peft: bool
    logit_difference: float
    seconds: float

    @property
    def is_carried(self) -> bool:
        """Whether it came through every step and out again the same; no word on its quality."""
        return (
            self.gates == {"qa_verify": "passed", "rvu_v2_pass": "passed", "dp_budget": "waived"}
            and self.verdict == "trusted"
            and self.gate_accepts
            and self.tensors > 0
            and self.same_in_package
            and self.same_in_peft
            and self.logit_difference == 0.0
        )


def journey(adapter: Path, shared: Path, folder: Path, signer: KeyPair) -> Journey:
    """Bring one adapter all the way through; what a gate refuses ends it with its reasons."""
    started = time.monotonic()
    name = adapter.name
    base = stand_in(name, folder / "bases" / name)
    questions = folder / f"{name}.jsonl"
    with open_engine("embedded", base_model=str(base)) as engine:
        running = running_base(engine)
        write_answers(engine, adapter, shared, questions)
    config = ImportConfig(
        source=adapter, name=name, eval_data=questions, base_model=str(base), out=folder / name
    )
    outcome = import_adapter(config, signer, QuietView())
    gates = {gate: record.verdict for gate, record in vars(outcome.gates).items()}
    if outcome.package is None:
        for record in vars(outcome.gates).values():
            print(f"  {record.name} {record.verdict}: {record.reason}", flush=True)
        return Journey(name, gates, "no package", False, 0, False, False, 1.0, 0.0)
    package = outcome.package.path
    trust = TrustStore({signer.public.fingerprint: TrustedCreator(signer.public, "2026-01-01")})
    verdict = verify_package(package, trust).verdict
    report = judge_package(package, running, trust)
    exported = export_package(
        package, "safetensors", trust, out=folder / f"{name}-out", base_model=str(base)
    ).folder
    original = load((adapter / "adapter_model.safetensors").read_bytes())
    with open_package(package) as opened:
        packed = load(bytes(opened.payload))
    state, difference = in_peft(base, adapter, exported)
    return Journey(
        name,
        gates,
        verdict,
        report.accepted,
        len(original),
        same(original, packed),
        same(original, state),
        difference,
        round(time.monotonic() - started, 1),
    )


def write_answers(engine: Any, adapter: Path, shared: Path, path: Path) -> None:
    """What the original adapter says to real customers' messages."""
    with (shared / "tables" / "banking77" / "train.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    messages = [row["text"] for row in rows[:: len(rows) // QUESTIONS][:QUESTIONS]]
    path_of = upload_adapter(engine, adapter)
    client = engine.service_client.create_sampling_client(model_path=path_of).result()
    model = ChatModel(client, ChatFormat(load_tokenizer(engine)), adapter.name)
    answers = model.generate(
        [[{"role": "user", "content": message}] for message in messages],
        max_tokens=ANSWER_TOKENS,
    )
    with path.open("w", encoding="utf-8") as file:
        for question, answer in zip(messages, answers, strict=True):
            file.write(json.dumps({"question": question, "answer": answer}) + "\n")


def in_peft(base: Path, original: Path, exported: Path) -> tuple[dict[str, Any], float]:
    """The exported tensors as PEFT holds them, and how far its logits are from the original's."""
    import torch
    from peft import PeftModel, get_peft_model_state_dict
    from transformers import AutoModelForCausalLM

    tokens = torch.arange(5, 69).reshape(1, -1)
    logits: list[Any] = []
    state: dict[str, Any] = {}
    for folder in (original, exported):
        bare: Any = AutoModelForCausalLM.from_pretrained(base, local_files_only=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            adapted: Any = PeftModel.from_pretrained(bare, str(folder)).eval()
        with torch.inference_mode():
            logits.append(adapted(input_ids=tokens).logits)
        state = {k: v.numpy() for k, v in get_peft_model_state_dict(adapted).items()}
    return state, float((logits[0] - logits[1]).abs().max())


def same(original: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether both hold the same tensors, bit for bit."""
    return original.keys() == other.keys() and all(
        values.dtype == other[name].dtype and values.tobytes() == other[name].tobytes()
        for name, values in original.items()
    )
