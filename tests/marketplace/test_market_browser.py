"""The marketplace's page in a real browser: used as a person does, and attacked."""

from __future__ import annotations

from pathlib import Path

import pytest
from market_packages import Shelf
from market_service import serving

from evidence._market_browser import browser_program, use_marketplace
from evidence.marketplace import published
from tensafe.tgsp import KeyPair

pytestmark = pytest.mark.slow  # starts Chromium, several seconds


def test_the_page_is_used_and_attacked(shelf: Shelf, ada: KeyPair, tmp_path: Path) -> None:
    if browser_program() is None:
        pytest.skip("playwright or Chromium is not installed")
    with serving(tmp_path / "market", shelf.base) as host:
        assert all(published(tmp_path, host.url, shelf.trained, ada).values())
        shown = use_marketplace(host.url, tmp_path / "pictures")
    assert shown.is_right, shown
