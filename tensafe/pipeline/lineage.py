"""Which package a version continues; kept by its run and written into its own package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Parent:
    """The version before: hex SHA-256 of its package and of its payload, and its number from 1."""

    package: str
    payload: str
    version: int

    def labels(self) -> dict[str, str]:
        """What the next version's provenance says beside the digest of the parent's package."""
        return {"version": str(self.version + 1), "parent_payload": self.payload}


def parent_of(document: dict[str, Any]) -> Parent | None:
    """The parent as a run file holds it, None for a first version.

    Raises KeyError or TypeError for anything else.
    """
    found = document.get("parent")
    return None if found is None else Parent(**found)
