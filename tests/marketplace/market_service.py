"""A running service for this room's tests, and signed requests as a client makes them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from tensafe.gate.load_records import RunningBase
from tensafe.marketplace.proof import Action, sign_action
from tensafe.marketplace.service.config import MarketConfig
from tensafe.marketplace.service.host import MarketHost
from tensafe.tgsp import KeyPair

# A busy machine must not fail a test of behaviour.
HTTP = httpx.Client(timeout=120.0)


@contextlib.contextmanager
def serving(folder: Path, *bases: RunningBase, **settings: Any) -> Iterator[MarketHost]:
    """A service on a free loopback port."""
    config = MarketConfig(folder=folder, **settings)
    with MarketHost(config, bases) as host:
        yield host


def ask(url: str, signer: KeyPair, action: Action, path: str, /, **changes: Any) -> httpx.Response:
    """A signed request; `changes` falsify parts of it after it was signed."""
    fields = changes.pop("fields", {})
    audience = changes.pop("audience", url)
    challenge = changes.pop("challenge", None) or new_challenge(url)
    signed = sign_action(signer, action, audience=audience, challenge=challenge, **fields)
    return HTTP.post(f"{url}/api/v1{path}", json={**signed.model_dump(), **changes})


def new_challenge(url: str) -> str:
    return HTTP.post(f"{url}/api/v1/challenges").json()["challenge"]
