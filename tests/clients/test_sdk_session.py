"""The script that every supported SDK version must pass, with the installed version."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tinker_engine.config import EngineConfig
from tinker_engine.connect import base_info, open_engine

SCRIPT = Path(__file__).with_name("sdk_session.py")


def test_a_session_with_the_base_named_by_its_folder(tmp_path: Path) -> None:
    config = EngineConfig(home=tmp_path, base_model="nano", threads=1)
    with open_engine("embedded", config=config) as connection:
        environ = {
            **os.environ,
            "TINKER_BASE_URL": connection.base_url,
            "TINKER_API_KEY": connection.api_key,
            "NO_PROXY": "127.0.0.1",
            "HF_HUB_OFFLINE": "1",
        }
        done = subprocess.run(
            [sys.executable, str(SCRIPT), base_info(connection).path],
            env=environ,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
            timeout=240,
        )
    assert done.returncode == 0, done.stdout
    reached = json.loads(done.stdout.splitlines()[-1])
    assert reached["last_loss"] < reached["first_loss"]
    assert max(reached["sampler_trainer_gap"], reached["resume_gap"]) < 1e-4
    assert len(reached["custom_loss"]) == 3
