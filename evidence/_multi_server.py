"""A server whose private runs draw seeded noise: `python -m evidence._multi_server HOME`.

Seeded noise protects nobody; it is here so that one private run can be trained twice and compared.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tinker_engine.config import EngineConfig
from tinker_engine.models import load_base
from tinker_engine.runtime.engine import Engine
from tinker_engine.runtime.torch_backend import TorchBackend
from tinker_engine.server.host import Host
from tinker_engine.storage.api_keys import new_secret


class SeededNoise:
    """The same numbers in every run."""

    def __init__(self) -> None:
        self._generator = np.random.default_rng(1234)

    def normal(self, size: int) -> npt.NDArray[np.float64]:
        return self._generator.standard_normal(size)


def main() -> None:
    """Print address and key, then serve until interrupted."""
    parser = argparse.ArgumentParser()
    parser.add_argument("home", type=Path)
    options = parser.parse_args()
    # Progress of the library's own start is of no interest here.
    logging.disable(logging.INFO)
    config = EngineConfig(home=options.home, base_model="nano", threads=1, precision="fp32")
    config.home.mkdir(parents=True, exist_ok=True)
    engine = Engine(config, TorchBackend(load_base("nano"), config, noise=SeededNoise))
    engine.start()
    server = Host(engine, "127.0.0.1", 0, new_secret())
    print(json.dumps({"base_url": server.base_url, "api_key": server.api_key}), flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()


if __name__ == "__main__":
    main()
