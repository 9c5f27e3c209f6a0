"""An engine with its server in a process of its own, which points live slots when told to.

One line of JSON on stdout says where it serves. Each line {"slot", "folder", "expected"} on stdin
points a slot; the answer is one line with the digest. The admission says that this claim decided:
what a gate would examine is not part of it.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path

from tinker_engine.config import EngineConfig
from tinker_engine.runtime.adapter_shelf import identify
from tinker_engine.runtime.engine import Engine
from tinker_engine.runtime.slots import Admission
from tinker_engine.server.host import Host
from tinker_engine.storage.api_keys import new_secret

REPORT = b"openai-client: pointed for this claim, examined by no gate"


def main(home: str, base_model: str) -> None:
    """Serve until stdin ends."""
    engine = Engine.open(EngineConfig(home=Path(home), base_model=base_model, threads=1))
    host = Host(engine, "127.0.0.1", 0, new_secret())
    host.start()
    print(json.dumps({"url": host.base_url, "key": host.api_key}), flush=True)
    try:
        for line in sys.stdin:
            asked = json.loads(line)
            folder = Path(asked["folder"])
            identity = identify(folder)
            admission = Admission(
                hashlib.sha256(REPORT).hexdigest(),
                identity.digest,
                identity.config_digest,
                "evidence openai-client",
                time.time(),
            )
            slot = engine.slots.set(
                asked["slot"], folder, expected=asked["expected"], admission=admission
            )
            print(json.dumps({"digest": slot.digest}), flush=True)
    finally:
        host.stop()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
