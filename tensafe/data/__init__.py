"""Reading data of any kind, and the records it becomes.

from tensafe.data import analyze_data

for file in analyze_data("corpus").files:
print(file.name, file.mapping, file.examples)
"""

from tensafe.data.analysis import Analysis, FileAnalysis, analyze_data
from tensafe.data.columns import ColumnChoice
from tensafe.data.domains import DOMAINS, DomainGuess, classify_domain
from tensafe.data.extraction import Extraction, ReadOptions, extract
from tensafe.data.files import FileWalk, SourceFile, find_files
from tensafe.data.records import CurationReport, Dataset, Example, Message, Unreadable, set_digest

__all__ = [
    "DOMAINS",
    "Analysis",
    "ColumnChoice",
    "CurationReport",
    "Dataset",
    "DomainGuess",
    "Example",
    "Extraction",
    "FileAnalysis",
    "FileWalk",
    "Message",
    "ReadOptions",
    "SourceFile",
    "Unreadable",
    "analyze_data",
    "classify_domain",
    "extract",
    "find_files",
    "set_digest",
]
