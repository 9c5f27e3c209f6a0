"""The project's own marketplace service: an HTTP interface and a web page over one catalogue."""

from __future__ import annotations

from tensafe.marketplace.service.app import create_app
from tensafe.marketplace.service.config import MarketConfig
from tensafe.marketplace.service.host import MarketHost

__all__ = ["MarketConfig", "MarketHost", "create_app"]
