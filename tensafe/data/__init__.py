"""Reading data of any kind, and the records it becomes.

    from tensafe.data import find_files, extract, ReadOptions

    for file in find_files("corpus").files:
        extraction = extract(file, ReadOptions())
        print(file.name, extraction.mapping)
"""

from tensafe.data.columns import ColumnChoice
from tensafe.data.extraction import Extraction, ReadOptions, extract
from tensafe.data.files import FileWalk, SourceFile, find_files
from tensafe.data.records import CurationReport, Dataset, Example, Message, Unreadable, set_digest

__all__ = [
    "ColumnChoice",
    "CurationReport",
    "Dataset",
    "Example",
    "Extraction",
    "FileWalk",
    "Message",
    "ReadOptions",
    "SourceFile",
    "Unreadable",
    "extract",
    "find_files",
    "set_digest",
]
