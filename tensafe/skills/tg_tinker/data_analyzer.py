"""What is in the data, and of which field of knowledge it is."""

from __future__ import annotations

from pathlib import Path

from tensafe.data.analysis import Analysis
from tensafe.data.analysis import analyze_data as _analyze
from tensafe.data.domains import DomainGuess, classify_domain

__all__ = ["Analysis", "DomainGuess", "analyze_data", "classify_domain"]


def analyze_data(data_path: Path | str) -> Analysis:
    """Format, volume, layout, languages, personal data and field of a file or folder.

    Raises:
        DataError: the path does not exist.
    """
    return _analyze(Path(data_path))
