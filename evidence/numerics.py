"""Losses, gradients, AdamW and sampling equal PEFT, autograd and torch, in every model family.

Tiny random models of each family, saved and loaded as folders, with a random adapter on attention,
MLP and head. For each loss: loss and gradient, plain and clipped per example, against transformers
and PEFT with autograd. AdamW after 50 steps of a real run against torch.optim.AdamW on the same
gradients. Logprobs of sampled tokens and prompts against the training forward pass.
"""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import torch

from evidence._report import conclude
from evidence._tiny_families import CONFIGS, save_tiny_model
from evidence.losses import EXAMPLES, SEVEN, check, examples, start_run
from evidence.privacy import fp32_backend
from tinker_engine.models import load_base
from tinker_engine.runtime.losses import LOSSES
from tinker_engine.runtime.records import AdamParams, LossName, SampleRequest, TrainDatum

TARGETS = (*SEVEN, "lm_head")
GRADIENT_BOUND = 1e-5
SAMPLER_BOUND = 1e-4
STEPS = 50
ADAMW_BOUND = 1e-6
SHORT = {"cross_entropy": "xent", "importance_sampling": "imp", "gspo": "gspo"}


def family_errors(family: str, folder: Path) -> dict[str, dict[str, float]]:
    """Of each loss on one family; gradient and loss errors, and how many examples were clipped."""
    base = save_tiny_model(family, folder)
    return {name: check(cast(LossName, name), base, TARGETS) for name in LOSSES}


def sampler_gap(base: str) -> float:
    """Largest difference of a logprob between sampler and training forward pass."""
    backend = fp32_backend(load_base(base))
    rng = np.random.default_rng(3)
    prompts = [rng.integers(0, backend.base.vocab_size, n) for n in (1, 5, 17, 30, 30)]
    asked = [
        SampleRequest(p, 2, 12, 1.0, 1.0, 0, seed, (), (), prompt_logprobs=True)
        for seed, p in enumerate(prompts)
    ]
    with tempfile.TemporaryDirectory() as folder:
        start_run(backend, Path(folder), None, TARGETS)
        backend.save_adapter("r", Path(folder) / "adapter")
        backend.create_sampler("s", Path(folder) / "adapter")
        results = backend.sample("s", asked)
        largest = 0.0
        for prompt, result in zip(prompts, results, strict=True):
            for sequence in result.sequences:
                tokens = np.concatenate([prompt, np.array(sequence.tokens)])
                datum = TrainDatum(tokens[:-1], tokens[1:], np.ones(len(tokens) - 1, np.float32))
                (own,) = backend.forward("r", [datum], "cross_entropy").logprobs
                read = cast("list[float]", (result.prompt_logprobs or [])[1:])
                sampled = np.array([*read, *sequence.logprobs])
                largest = max(largest, float(np.abs(sampled - own).max()))
    return largest


def adamw_error(base: str) -> dict[str, float]:
    """Relative difference of a run's parameters to torch's after 50 steps, and clipped steps."""
    backend = fp32_backend(load_base(base))
    params = AdamParams(3e-3, 0.9, 0.95, 1e-8, weight_decay=0.05)
    with tempfile.TemporaryDirectory() as folder:
        start_run(backend, Path(folder), None, TARGETS)
        run = backend.training_run("r")
        theirs = torch.nn.Parameter(run.values[: run.layout.trainable].clone())
        optimizer = torch.optim.AdamW(
            [theirs], lr=3e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.05
        )
        data = examples(backend, "cross_entropy")
        clipped = 0
        for step in range(STEPS):
            backend.forward_backward("r", data, "cross_entropy")
            theirs.grad = run.accumulator.clone()
            # Every other step is clipped to half its length.
            clip_norm = float(run.accumulator.norm()) * (0.5 if step % 2 else 2.0)
            norm = torch.nn.utils.clip_grad_norm_([theirs], clip_norm)
            clipped += float(norm) > clip_norm
            optimizer.step()
            backend.optim_step("r", replace(params, grad_clip_norm=clip_norm))
        ours, reference = run.values[: run.layout.trainable], theirs.detach()
        error = float((ours - reference).norm() / reference.norm())
    return {"error": error, "steps": STEPS, "clipped_steps": clipped}


def told(family: str, errors: dict[str, dict[str, float]], gap: float, adamw: float) -> str:
    """One line of the table."""
    cells = [
        f"{max(v for k, v in row.items() if k.endswith('error')):.1e}" for row in errors.values()
    ]
    return f"{family:<15}" + "".join(f"{c:>9}" for c in [*cells, f"{gap:.1e}", f"{adamw:.1e}"])


def main() -> None:
    """Check all families, print one line each."""
    # PEFT warns of adapters on tied heads and on both kinds of linear modules: both are meant.
    warnings.simplefilter("ignore")
    names = [SHORT.get(name, name) for name in LOSSES]
    print(f"{'largest error':<15}" + "".join(f"{n:>9}" for n in [*names, "sampler", "adamw"]))
    figures: dict[str, dict[str, float]] = {}
    is_mixed = True
    for family in CONFIGS:
        with tempfile.TemporaryDirectory() as name:
            errors = family_errors(family, Path(name))
            gap, adamw = sampler_gap(name), adamw_error(name)
        print(told(family, errors, gap, adamw["error"]), flush=True)
        # Some examples were clipped and some were not, and so were steps.
        is_mixed &= all(
            0 < row["clipped"] < EXAMPLES for row in errors.values() if "clipped" in row
        )
        is_mixed &= 0 < adamw["clipped_steps"] < STEPS
        figures[family] = {
            "gradient": max(row["error"] for row in errors.values()),
            "clipped_gradient": max(row.get("clipped_error", 0.0) for row in errors.values()),
            "loss": max(row["loss_error"] for row in errors.values()),
            "sampler": gap,
            "adamw": adamw["error"],
            "clipped_steps": adamw["clipped_steps"],
        }
    holds = is_mixed and all(
        max(row["gradient"], row["clipped_gradient"], row["loss"]) < GRADIENT_BOUND
        and row["sampler"] < SAMPLER_BOUND
        and row["adamw"] < ADAMW_BOUND
        for row in figures.values()
    )
    print(f"bounds: {GRADIENT_BOUND:g} relative, sampler {SAMPLER_BOUND:g}, AdamW {ADAMW_BOUND:g}")
    conclude("numerics", {"losses": list(LOSSES), "families": figures}, holds=holds)


if __name__ == "__main__":
    main()
