"""Training from debates: which models there are, how they are made, and which one is better.

from aragora.training import TinkerClient

async with TinkerClient() as client:
    result = await client.train_sft(training_data="sft.jsonl", adapter_name="aragora")
    print(await client.sample("Which is dearer, $5 or $7?", model_id=result.model_id))
"""

from __future__ import annotations

from aragora.training.ab_statistics import AnytimeTest, WinRate, power, tasks_needed, win_rate
from aragora.training.connection_check import ConnectionStatus
from aragora.training.evaluator import TinkerEvaluator
from aragora.training.evaluator_records import ABTestResult, EvaluationTask
from aragora.training.exporters import DPOExporter, GauntletExporter, SFTExporter
from aragora.training.job_records import JobStatus, TrainingJob, TrainingSettings
from aragora.training.model_registry import ModelMetadata, ModelRegistry, get_registry
from aragora.training.results import TrainingProgress, TrainingResult
from aragora.training.tinker_client import TinkerClient
from aragora.training.tinker_model import TinkerModel
from aragora.training.training_scheduler import TrainingScheduler

__all__ = [
    "ABTestResult",
    "AnytimeTest",
    "ConnectionStatus",
    "DPOExporter",
    "EvaluationTask",
    "GauntletExporter",
    "JobStatus",
    "ModelMetadata",
    "ModelRegistry",
    "SFTExporter",
    "TinkerClient",
    "TinkerEvaluator",
    "TinkerModel",
    "TrainingJob",
    "TrainingProgress",
    "TrainingResult",
    "TrainingScheduler",
    "TrainingSettings",
    "WinRate",
    "get_registry",
    "power",
    "tasks_needed",
    "win_rate",
]
