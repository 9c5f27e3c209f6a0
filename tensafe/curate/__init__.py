"""Curation: cleaning, duplicates, and a split that leaks nothing.

from tensafe.curate import CurationConfig, curate_dataset

dataset = curate_dataset("tickets.csv", CurationConfig(answer_column="department"))
print(len(dataset.train), len(dataset.test), dataset.report.mappings)
"""

from tensafe.curate.config import CurationConfig
from tensafe.curate.curation import curate_dataset
from tensafe.curate.dataset_files import dataset_card, read_dataset, write_dataset
from tensafe.curate.teacher import Teacher, TeacherConfig

__all__ = [
    "CurationConfig",
    "Teacher",
    "TeacherConfig",
    "curate_dataset",
    "dataset_card",
    "read_dataset",
    "write_dataset",
]
