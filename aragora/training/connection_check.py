"""Whether the engine that the environment names can be used, and what to do if not."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass
from typing import Any

from aragora.errors import AragoraError, UsageError

# What the SDK takes: keys, and the JSON web tokens that hosted Tinker hands out.
_USABLE_PREFIXES = ("tml-", "eyJ")


@dataclass(frozen=True)
class ConnectionStatus:
    """What a connection check found. `is_ok` is False when something failed; `message` says what.

    `latency_s` is the time of one sampled token.
    """

    is_ok: bool
    message: str
    kind: str = ""
    base_url: str = ""
    models: tuple[str, ...] = ()
    base_model: str = ""
    latency_s: float | None = None

    def to_json(self) -> dict[str, Any]:
        """All facts as JSON."""
        return asdict(self)


def check_api_key(engine: str | None = None) -> None:
    """Raise UsageError when the SDK can't use the key in the environment; the key isn't shown."""
    key = os.environ.get("TINKER_API_KEY", "")
    if not key or engine == "embedded" or key.startswith(_USABLE_PREFIXES):
        return
    raise UsageError(
        "TINKER_API_KEY can't be used: the Tinker SDK takes keys that begin with tml-, and this "
        f"one has {len(key)} other characters. Give the key of your Tinker account, or of a "
        "tinker-engine server together with TINKER_BASE_URL; without a key (unset TINKER_API_KEY) "
        "everything runs on the embedded engine"
    )


def check_connection(base_model: str | None, engine: str | None) -> ConnectionStatus:
    """Connect, list the models and sample one token; failures are part of the answer."""
    from aragora.agents.models import offered_models
    from aragora.agents.served_model import served_model
    from tinker_engine.errors import EngineError

    try:
        check_api_key(engine)
        served = served_model(base_model, engine)
        connection = served.connection
        models = tuple(offered_models(connection))
        began = time.monotonic()
        latency_s = _sample_once(served, began)
    except (AragoraError, EngineError) as error:
        return ConnectionStatus(False, str(error))
    # The SDK has errors of its own for what a server refuses or a network loses.
    except Exception as error:
        return ConnectionStatus(False, f"{type(error).__name__}: {error}")
    return ConnectionStatus(
        True,
        f"{connection.kind} engine answers with {served.name}",
        connection.kind,
        connection.base_url,
        models,
        served.name,
        latency_s,
    )


def _sample_once(served: Any, began: float) -> float:
    import tinker

    client = served.load(None)
    tokens = served.prompt_tokens([{"role": "user", "content": "Hello."}])
    client.sample(
        tinker.ModelInput.from_ints(tokens),
        num_samples=1,
        sampling_params=tinker.SamplingParams(max_tokens=1, temperature=0.0),
    ).result()
    return time.monotonic() - began
