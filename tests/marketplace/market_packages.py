"""Package files for this room's tests, each signed by whom the test says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evidence._market_packages import TrainedPackage, variant
from tensafe.tgsp import Identity, KeyPair

OPERATOR = "correct horse battery"
ADA = KeyPair.generate(Identity("Ada", "ada@example.org"))


class Shelf:
    """Makes package files from one trained package."""

    def __init__(self, trained: TrainedPackage) -> None:
        self.trained = trained
        self.base = trained.base

    def put(self, folder: Path, name: str, signer: KeyPair, **told: Any) -> Path:
        """A package file NAME.tgsp."""
        path = folder / f"{name}.tgsp"
        path.write_bytes(variant(self.trained.data, signer, name, **told))
        return path


def stranger(name: str = "Eve") -> KeyPair:
    """A key that no home knows."""
    return KeyPair.generate(Identity(name, f"{name.lower()}@example.org"))
