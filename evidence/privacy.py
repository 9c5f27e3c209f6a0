"""The engine's differential privacy: clipping, noise, epsilon, durable ledger, one-run audit.

Five claims, each against something independent: clipped gradient sums against a per-example loop
and against Opacus; the noise against its stated deviation; epsilon against dp-accounting on the
events in the ledger; the ledger against processes killed at random moments; and the whole mechanism
against an auditing attack that a deliberately broken engine must fail.
"""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats
import torch

from evidence._privacy_audit import CANARIES, audit
from evidence._privacy_kills import kill_repeatedly
from evidence._privacy_reference import loop_sum, opacus_sum, peft_model, relative_error
from evidence._report import conclude
from tinker_engine.config import EngineConfig
from tinker_engine.models.base_model import LoadedBase, freeze_base, load_base
from tinker_engine.privacy import Ledger, PrivateMechanism, SecureNoise, resolve_policy
from tinker_engine.runtime.records import AdamParams, PrivacyPolicy, RunSpec, TrainDatum
from tinker_engine.runtime.torch_backend import TorchBackend

SEVEN = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
CLAIMED_EPSILON = 1.0
AUDITS = 5
KILLS = 24
DRAWS = 200_000
POLICY = PrivacyPolicy(
    clip_norm=1.0,
    sampling_rate=0.05,
    expected_batch_size=24.0,
    delta=1e-5,
    noise_multiplier=1.1,
    max_epsilon=50.0,
)


def fp32_backend(base: LoadedBase) -> TorchBackend:
    """The engine as users run it, in fp32."""
    return TorchBackend(base, EngineConfig(precision="fp32"))


def random_examples(count: int, vocab_size: int, seed: int) -> list[TrainDatum]:
    """Examples of 5 to 40 random tokens; losses differ so much that some are clipped, some not."""
    rng = np.random.default_rng(seed)
    data: list[TrainDatum] = []
    for length in rng.integers(5, 41, count):
        tokens = rng.integers(0, vocab_size, length + 1)
        weights = (rng.random(length) < 0.5) * 10.0 ** rng.uniform(-4, 0)
        weights[-1] = weights.max() or 1e-3
        data.append(TrainDatum(tokens[:-1], tokens[1:], weights.astype(np.float32)))
    return data


def check_clipping(base_name: str) -> dict[str, Any]:
    """Relative errors of the clipped sum, for both choices of what is trained."""
    figures: dict[str, Any] = {}
    for lora_train in ("B", "both"):
        backend = fp32_backend(load_base(base_name))
        data = random_examples(24, backend.base.vocab_size, seed=1)
        spec = RunSpec(
            30, 64.0, SEVEN, seed=2, lora_train="B" if lora_train == "B" else "both", privacy=POLICY
        )
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            backend.create_run("r", spec, folder / "ledger")
            run = backend.training_run("r")
            generator = torch.Generator().manual_seed(0)
            run.values += 0.02 * torch.randn(run.values.shape, generator=generator)
            run.version += 1
            backend.save_adapter("r", folder / "adapter")
            backend.forward_backward("r", data, "cross_entropy")
            clipped = run.statistics.clipped
            loop = loop_sum(backend, "r", peft_model(base_name, folder / "adapter"), data, 1.0)
            opacus = opacus_sum(backend, "r", peft_model(base_name, folder / "adapter"), data, 1.0)
        figures[lora_train] = {
            "examples": len(data),
            "clipped": clipped,
            "values": run.layout.trainable,
            "error_to_loop": relative_error(run.accumulator, loop),
            "error_to_opacus": relative_error(run.accumulator, opacus),
        }
        print(f"clipped sum, training {lora_train}: {figures[lora_train]}", flush=True)
    figures["holds"] = all(
        f["error_to_loop"] < 1e-5 and f["error_to_opacus"] < 1e-5 and 0 < f["clipped"] < 24
        for f in (figures["B"], figures["both"])
    )
    return figures


def check_noise() -> dict[str, Any]:
    """Noise that was really released, against N(0, (noise_multiplier * clip_norm)^2)."""
    policy = resolve_policy(replace(POLICY, clip_norm=0.5, noise_multiplier=1.3))
    with tempfile.TemporaryDirectory() as folder:
        mechanism = PrivateMechanism(policy, Ledger.open(Path(folder)), SecureNoise())
        update = mechanism.release("state", np.zeros(DRAWS))
    noise = update.astype(np.float64) * policy.expected_batch_size
    stated = policy.noise_multiplier * policy.clip_norm
    low, high = scipy.stats.chi2.ppf([5e-6, 1 - 5e-6], DRAWS)
    statistic = float((noise**2).sum() / stated**2)
    p_normal = float(scipy.stats.kstest(noise / stated, "norm").pvalue)
    figures = {
        "draws": DRAWS,
        "stated_std": stated,
        "measured_std": float(noise.std()),
        "p_normal": p_normal,
        "holds": bool(low < statistic < high and p_normal > 1e-5),
    }
    print(f"noise: {figures}", flush=True)
    return figures


def check_epsilon() -> dict[str, Any]:
    """The engine's epsilon against dp-accounting's own accountant on the recorded events."""
    import dp_accounting
    from dp_accounting import pld

    backend = fp32_backend(tiny_base())
    with tempfile.TemporaryDirectory() as folder:
        backend.create_run("r", RunSpec(4, 8.0, SEVEN, 0, "B", privacy=POLICY), Path(folder))
        steps = [backend.optim_step("r", AdamParams()) for _ in range(12)]
        backend.drop_run("r")
        events = Counter(
            (e.noise_multiplier, e.sampling_rate) for e in Ledger.open(Path(folder)).events
        )
    accountant = pld.PLDAccountant()
    for (noise_multiplier, rate), count in events.items():
        gaussian = dp_accounting.GaussianDpEvent(noise_multiplier)
        accountant.compose(dp_accounting.PoissonSampledDpEvent(rate, gaussian), count)
    library = float(accountant.get_epsilon(POLICY.delta))
    engine = steps[-1].metrics["privacy:epsilon"]
    figures = {
        "events": sum(events.values()),
        "engine": engine,
        "dp_accounting": library,
        # The engine's grid is coarser, and rounds up.
        "holds": bool(library - 1e-6 <= engine <= library * 1.001),
    }
    print(f"epsilon: {figures}", flush=True)
    return figures


def check_kills() -> dict[str, Any]:
    """Nothing that left the mechanism is missing in the ledger after SIGKILL."""
    base = tiny_base()
    data = random_examples(40, base.info.vocab_size, seed=3)
    with tempfile.TemporaryDirectory() as folder:
        report = kill_repeatedly(
            lambda: fp32_backend(base), data, Path(folder), KILLS, random.Random()
        )
    figures = {
        "kills": report.kills,
        "released": report.released,
        "recorded": report.recorded,
        "replayed": report.replayed,
        "without_entry": report.without_entry,
        "differing_replays": report.differing_replays,
        "holds": report.holds,
    }
    print(f"kills: {figures}", flush=True)
    return figures


def check_audit() -> dict[str, Any]:
    """Lower bounds on epsilon that an attacker proves, for the real engine and a broken one."""
    bounds: dict[str, list[float]] = {"real": [], "unclipped": []}
    for seed in range(AUDITS):
        for kind, found in bounds.items():
            result = audit(
                lambda: fp32_backend(tiny_base()), seed, CLAIMED_EPSILON, is_clipped=kind == "real"
            )
            found.append(round(result.epsilon_at_least, 3))
            print(f"audit {seed}, {kind}: {result}", flush=True)
    return {
        "canaries": CANARIES,
        "claimed_epsilon": CLAIMED_EPSILON,
        "confidence": 0.95,
        "real": bounds["real"],
        "unclipped": bounds["unclipped"],
        "holds": max(bounds["real"]) < CLAIMED_EPSILON < min(bounds["unclipped"]),
    }


def tiny_base() -> LoadedBase:
    """A small random Llama: thousands of its gradients take seconds."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from tinker_engine.base import NANO_DIR

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=2048,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        intermediate_size=128,
        max_position_embeddings=64,
    )
    tokenizer = AutoTokenizer.from_pretrained(NANO_DIR)
    return freeze_base("tiny", str(NANO_DIR / "none"), LlamaForCausalLM(config), tokenizer, config)


def run() -> dict[str, Any]:
    """All checks; `holds` only if each does."""
    # Processes are forked below, which a pool of compute threads would not survive.
    torch.set_num_threads(1)
    figures = {
        "kills": check_kills(),
        "noise": check_noise(),
        "epsilon": check_epsilon(),
        "audit": check_audit(),
        "clipping": check_clipping("nano"),
    }
    holds = all(bool(part["holds"]) for part in figures.values())
    return {"name": "privacy", "figures": figures, "holds": holds}


if __name__ == "__main__":
    outcome = run()
    conclude(outcome["name"], outcome["figures"], holds=outcome["holds"])
