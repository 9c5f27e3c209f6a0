"""Private runs of the recipe that are killed and resumed: no step is drawn twice."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tinker_engine.config import EngineConfig
from tinker_engine.connect import Connection, load_tokenizer
from tinker_engine.connection import run_privacy
from tinker_engine.privacy import Ledger
from tinker_engine.recipes import ChatFormat, Progress, SftConfig, run_sft, training_loop
from tinker_engine.recipes.chat_format import ChatMessage
from tinker_engine.recipes.sft_config import PrivacyConfig
from tinker_engine.recipes.sft_state import read_state

STEPS = 5
CONFIG = SftConfig(
    rank=4,
    checkpoint_steps=1000,
    privacy=PrivacyConfig(epsilon=8.0, expected_batch_size=2, steps=STEPS),
)
ROWS: list[list[ChatMessage]] = [
    [
        {"role": "user", "content": f"Where is parcel {i}?"},
        {"role": "assistant", "content": "On its way."},
    ]
    for i in range(8)
]


class KilledError(Exception):
    """Ends the recipe at once, without a last checkpoint."""


def train(connection: Connection, folder: Path, *, kill_after: int = 0) -> None:
    """Train, or go on; killed once the step was done."""

    def progressed(progress: Progress) -> None:
        if progress.step == kill_after:
            raise KilledError

    run_sft(
        connection.service_client,
        ChatFormat(load_tokenizer(connection)),
        ROWS,
        CONFIG,
        folder,
        base_model="nano",
        hidden_size=256,
        on_progress=progressed,
    )


def drawn(home: Path, before: set[Path]) -> list[str]:
    """All updates that were ever drawn, by the ledgers that were made since."""
    events: set[str] = set()
    for file in set(home.rglob("ledger.sqlite")) - before:
        ledger = Ledger.open(file.parent)
        events.update(event.event_id for event in ledger.events)
        ledger.close()
    return sorted(events)


def test_steps_between_two_kills_are_not_drawn_anew(
    connection: Connection, config: EngineConfig, tmp_path: Path
) -> None:
    home = config.home
    before = set(home.rglob("ledger.sqlite"))
    for kill_after in (1, 3):
        with pytest.raises(KilledError):
            train(connection, tmp_path, kill_after=kill_after)
        state = read_state(tmp_path)
        assert state is not None
        # The step after it had been submitted already.
        deadline = time.monotonic() + 200
        while run_privacy(connection, state.run_id).steps < kill_after + 1:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    train(connection, tmp_path)
    assert len(drawn(home, before)) == STEPS


def test_a_private_run_checkpoints_before_its_ledger_forgets(
    connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As the ledger keeps 64 updates, which would take as many steps here.
    monkeypatch.setattr(training_loop, "KEPT_UPDATES", 2)
    with pytest.raises(KilledError):
        train(connection, tmp_path, kill_after=3)
    state = read_state(tmp_path)
    assert state is not None
    assert state.step == 2
