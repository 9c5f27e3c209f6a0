"""A process that is killed, and the one that takes over its home."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tinker

from tinker_engine.config import EngineConfig
from tinker_engine.connect import open_engine, run_privacy
from tinker_engine.storage.checkpoints import CheckpointFolders

FIRST_LIFE = """
import json, os, signal, sys
import tinker
from pathlib import Path
from tinker_engine.config import EngineConfig
from tinker_engine.connect import open_engine, run_privacy

home, metadata = Path(sys.argv[1]), json.loads(sys.argv[2])
connection = open_engine("embedded", config=EngineConfig(home=home, threads=1))
client = connection.service_client.create_lora_training_client(
    "nano", rank=4, seed=3, train_unembed=False, user_metadata=metadata
).result()
datum = tinker.Datum(
    model_input=tinker.ModelInput.from_ints([5, 6, 7, 8]),
    loss_fn_inputs={"target_tokens": [6, 7, 8, 9], "weights": [1.0] * 4},
)
def step():
    client.forward_backward([datum], "cross_entropy")
    return client.optim_step(tinker.AdamParams(learning_rate=1e-2)).result().metrics

for _ in range(2):
    step()
path = client.save_state("second").result().path
loss = client.forward([datum], "cross_entropy").result().metrics["loss:sum"]
third = step()
facts = {"path": path, "loss": loss, "third": third, "run": client.model_id}
Path(sys.argv[3]).write_text(json.dumps(facts))
client.forward_backward([datum] * 64, "cross_entropy")
os.kill(os.getpid(), signal.SIGKILL)
"""

PRIVATE = {
    "dp_clip_norm": "1.0",
    "dp_sampling_rate": "0.1",
    "dp_expected_batch_size": "4",
    "dp_delta": "1e-5",
    "dp_noise_multiplier": "1.1",
}
DATUM = tinker.Datum(
    model_input=tinker.ModelInput.from_ints([5, 6, 7, 8]),
    loss_fn_inputs={"target_tokens": [6, 7, 8, 9], "weights": [1.0] * 4},
)


def first_life(folder: Path, metadata: dict[str, str]) -> dict[str, object]:
    facts = folder / "facts.json"
    done = subprocess.run(
        [sys.executable, "-c", FIRST_LIFE, str(folder / "home"), json.dumps(metadata), str(facts)],
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    return json.loads(facts.read_text())


def test_training_goes_on_exactly_after_a_kill(tmp_path: Path) -> None:
    facts = first_life(tmp_path, {})
    with open_engine("embedded", config=EngineConfig(home=tmp_path / "home", threads=1)) as second:
        service = second.service_client
        client = service.create_training_client_from_state_with_optimizer(
            str(facts["path"])
        ).result()
        before = client.forward([DATUM], "cross_entropy").result().metrics["loss:sum"]
        assert before == facts["loss"]
        client.forward_backward([DATUM], "cross_entropy").result()
        third = client.optim_step(tinker.AdamParams(learning_rate=1e-2)).result().metrics
        assert third == facts["third"]
        # The old run itself is gone from memory, and the error says how to go on.
        rest = tinker.RestClient(base_url=second.base_url, api_key=second.api_key)
        listed = rest.list_checkpoints(str(facts["run"])).result().checkpoints
        assert [c.tinker_path for c in listed] == [facts["path"]]
        import httpx

        answer = httpx.post(
            f"{second.base_url}/api/v1/optim_step",
            json={"model_id": facts["run"], "seq_id": 99, "adam_params": {}},
            headers={"X-API-Key": second.api_key},
            trust_env=False,
        )
        assert answer.status_code == 404
        assert str(facts["path"]) in answer.json()["error"]
        lost = httpx.post(
            f"{second.base_url}/api/v1/retrieve_future",
            json={"request_id": f"{facts['run']}:1"},
            headers={"X-API-Key": second.api_key},
            trust_env=False,
        )
        assert lost.status_code in (200, 410)
        # A damaged checkpoint is refused, and nothing else is.
        folder = CheckpointFolders(tmp_path / "home" / "runs").folder(_path(str(facts["path"])))
        target = folder / "adapter_model.safetensors"
        content = bytearray(target.read_bytes())
        content[-1] ^= 1
        target.write_bytes(content)
        with pytest.raises(tinker.RequestFailedError, match="digest"):
            service.create_training_client_from_state(str(facts["path"])).result()


def test_a_killed_private_run_keeps_what_it_spent(tmp_path: Path) -> None:
    facts = first_life(tmp_path, PRIVATE)
    with open_engine("embedded", config=EngineConfig(home=tmp_path / "home", threads=1)) as second:
        client = second.service_client.create_training_client_from_state_with_optimizer(
            str(facts["path"])
        ).result()
        record = run_privacy(second, client.model_id)
        # Three steps were released before the kill, although the checkpoint knows two.
        assert record.steps == 3
        assert record.noise_multiplier == 1.1
        third = facts["third"]
        assert isinstance(third, dict)
        assert record.epsilon == pytest.approx(third["privacy:epsilon"], rel=1e-9)


def _path(text: str):
    from tinker_engine.protocol.paths import parse_path

    return parse_path(text)
