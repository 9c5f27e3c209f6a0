"""From a round's debates to a candidate: export what they showed, mix in earlier rows, train."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aragora.loop.settings import LoopSettings
from aragora.memory import Memory
from aragora.training.exporters import DPOExporter, SFTExporter
from aragora.training.job_records import TrainingSettings
from aragora.training.model_registry import ModelRegistry
from aragora.training.results import OnProgress, TrainingResult
from aragora.training.training_plan import TrainingPlan, carry_out
from aragora.training.training_records import TrainingRecords, read_records

if TYPE_CHECKING:
    from aragora.agents.served_model import ServedModel

SFT_FILE, DPO_FILE = "sft.jsonl", "dpo.jsonl"
ADAPTER_NAME = "loop"
_MOMENT = timedelta(milliseconds=1)


def export_round(
    memory: Memory,
    folder: Path,
    earlier: list[Path],
    counts: dict[str, Any],
    settings: LoopSettings,
    *,
    with_critiques: bool,
) -> dict[str, Any]:
    """Write the round's rows with replayed ones of earlier rounds; gives counts and digests.

    Outcomes of debates alone decide what is learned: agents are of one version, so that ratings
    tell them apart by chance, and no rating is asked for.
    """
    shared: dict[str, Any] = {
        "splits": ("train",),
        "since": datetime.fromtimestamp(counts["since"], UTC) - _MOMENT,
        "until": datetime.fromtimestamp(counts["until"], UTC) + _MOMENT,
        "min_confidence": settings.min_confidence,
        "pii": settings.pii,
        "replay_share": settings.replay,
        "seed": settings.seed,
    }

    def before(name: str) -> tuple[Path, ...]:
        return tuple(f / name for f in earlier if (f / name).is_file()) if settings.replay else ()

    sft = SFTExporter(memory).write(
        folder / SFT_FILE,
        include_patterns=False,
        include_experts=False,
        include_critiques=with_critiques,
        replay=before(SFT_FILE),
        **shared,
    )
    record: dict[str, Any] = {
        "sft_rows": sft.report.rows,
        "sft": sft.report.explain(),
        "sft_digest": sft.report.digest,
        "dpo_rows": 0,
        "dpo": "",
        "dpo_digest": "",
    }
    if settings.dpo_epochs > 0.0:
        dpo = DPOExporter(memory).write(
            folder / DPO_FILE,
            min_elo_difference=0.0,
            include_calibration=False,
            include_domain_specific=False,
            replay=before(DPO_FILE),
            **shared,
        )
        record |= {
            "dpo_rows": dpo.report.rows,
            "dpo": dpo.report.explain(),
            "dpo_digest": dpo.report.digest,
        }
    return record


def training_rows(folder: Path) -> TrainingRecords:
    """What a round trains on, read back from its files."""
    conversations, preferences = (
        read_records(folder / name) if (folder / name).is_file() else TrainingRecords((), ())
        for name in (SFT_FILE, DPO_FILE)
    )
    return TrainingRecords(conversations.conversations, preferences.preferences)


def train_candidate(
    served: ServedModel,
    registry: ModelRegistry,
    folder: Path,
    settings: LoopSettings,
    *,
    parent: str,
    number: int,
    on_progress: OnProgress | None = None,
) -> TrainingResult:
    """SFT, then DPO, from the version in use; goes on where it was interrupted."""
    rows = training_rows(folder)
    plan = TrainingPlan(
        training_type="combined" if rows.conversations and rows.preferences else "sft",
        adapter_name=ADAPTER_NAME,
        conversations=rows.conversations,
        preferences=rows.preferences,
        settings=training_settings(settings, parent=parent, number=number),
        run_key=f"loop round {number}",
    )
    return carry_out(plan, served, folder / "training", registry, on_progress=on_progress)


def training_settings(settings: LoopSettings, *, parent: str, number: int) -> TrainingSettings:
    """What the training of a round is told."""
    return TrainingSettings(
        lora_rank=settings.lora_rank,
        learning_rate=settings.learning_rate,
        epochs=settings.epochs,
        dpo_epochs=settings.dpo_epochs or 1.0,
        beta=settings.beta,
        seed=settings.seed + number,
        parent_model_id=parent,
    )


def sources_of(folder: Path) -> list[str]:
    """Debates that a round's rows came from, for checks of where they come from."""
    found: list[str] = []
    for name in (SFT_FILE, DPO_FILE):
        if (folder / name).is_file():
            for line in (folder / name).read_text("utf-8").split("\n"):
                if line:
                    found.append(str(json.loads(line)["provenance"]["debate_id"]))
    return found
