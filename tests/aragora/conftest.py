"""Fixtures of this room: a store, and a home of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from aragora.memory import Memory


@pytest.fixture
def memory(tmp_path: Path):
    with Memory.open(str(tmp_path / "a.sqlite3")) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARAGORA_HOME", str(tmp_path / "aragora"))
    for name in ("TINKER_BASE_URL", "TINKER_API_KEY", "TINKER_BASE_MODEL"):
        monkeypatch.delenv(name, raising=False)
