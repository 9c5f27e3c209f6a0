"""The pretraining loop: Muon for the blocks, AdamW for the rest, warm-up, plateau, linear decay.

The schedule follows either the step number (`steps`) or the time spent training (`minutes`), so
that a run ends when it should on a busy machine. A checkpoint holds weights, optimisers, step and
elapsed time; batches follow from the step, so a resumed run goes on exactly (with `steps`; with
`minutes` the schedule also follows the clock).
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from tinker_engine.base.dataset import Batch, Batches, DataFiles
from tinker_engine.base.export import export
from tinker_engine.base.model import Losses, Nano, NanoConfig
from tinker_engine.base.tokenizer import END, token_id
from tinker_engine.base.worker import Worker, compute

DECAY_FROM = 0.68
WARMUP_STEPS = 60
CLIP_NORM = 1.0
EVAL_BATCHES = 5


@dataclass(frozen=True)
class TrainOptions:
    """How to train; exactly one of `steps` and `minutes` is set."""

    steps: int | None = None
    minutes: float | None = None
    seed: int = 0
    device: str = "cpu"
    tokens_per_batch: int = 4096
    muon_lr: float = 0.02
    adam_lr: float = 4e-3
    weight_decay: float = 0.02
    checkpoint_every_s: float = 300.0
    is_bf16: bool = True
    is_compiled: bool = False
    threads: int = 2


def learning_rate_factor(step: int, progress: float) -> float:
    """Share of the full learning rate: warm-up by step, then linear decay from DECAY_FROM on."""
    warm = min(1.0, (step + 1) / WARMUP_STEPS)
    fall = min(1.0, (1.0 - progress) / (1.0 - DECAY_FROM))
    return max(0.01, warm * fall)


class Trainer:
    """One run: model, optimisers, batches, and where they are in the schedule."""

    def __init__(
        self,
        config: NanoConfig,
        options: TrainOptions,
        tokenizer: Tokenizer,
        state: Path,
        out: Path,
    ) -> None:
        if (options.steps is None) == (options.minutes is None):
            raise ValueError("give either a number of steps or of minutes")
        self.options, self.tokenizer, self.state, self.out = options, tokenizer, state, out
        self.model = Nano(config, seed=options.seed).to(options.device)
        self.forward: Callable[..., Losses] = (
            torch.compile(self.model, dynamic=False) if options.is_compiled else self.model
        )
        end = token_id(tokenizer, END)
        files, size = DataFiles(state / "data"), options.tokens_per_batch
        self.batches = Batches(files, seed=options.seed, tokens_per_batch=size, end=end)
        self.held_out = Batches(
            files, seed=options.seed, tokens_per_batch=size, end=end, suffix="_held_out"
        )
        named = list(self.model.named_parameters())
        blocks = [p for n, p in named if p.dim() == 2 and "layers" in n]
        others = [p for n, p in named if not (p.dim() == 2 and "layers" in n)]
        self.optimizers: tuple[torch.optim.Optimizer, ...] = (
            torch.optim.Muon(
                blocks, lr=options.muon_lr, weight_decay=options.weight_decay, momentum=0.95
            ),
            torch.optim.AdamW(others, lr=options.adam_lr, betas=(0.9, 0.97), weight_decay=0.0),
        )
        self.base_lrs = (options.muon_lr, options.adam_lr)
        self.step = 0
        self.elapsed_s = 0.0
        self.worker: Worker | None = None
        if options.device == "cpu" and options.threads > 1:
            torch.set_num_threads(options.threads - options.threads // 2)
            self.worker = Worker(self.model, options, files.folder, end, options.threads // 2)

    @property
    def checkpoint_path(self) -> Path:
        """Where the checkpoint lies."""
        return self.state / "checkpoint.pt"

    def save(self) -> None:
        """Write the checkpoint atomically, then the exported folder `latest` beside it."""
        payload: dict[str, Any] = {
            "model": self.model.state_dict(),
            "optimizers": [o.state_dict() for o in self.optimizers],
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "seed": self.options.seed,
        }
        fresh = self.checkpoint_path.with_suffix(".tmp")
        with fresh.open("wb") as file:
            torch.save(payload, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, self.checkpoint_path)
        export(self.model, self.tokenizer, self.state / "latest")

    def load(self) -> None:
        """Go on from the checkpoint; ValueError if it was made with another seed."""
        payload: dict[str, Any] = torch.load(
            self.checkpoint_path, weights_only=True, map_location=self.options.device
        )
        if payload["seed"] != self.options.seed:
            raise ValueError(
                f"the checkpoint was made with seed {payload['seed']}; resume with the same seed"
            )
        self.model.load_state_dict(payload["model"])
        for optimizer, saved in zip(self.optimizers, payload["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.elapsed_s = payload["step"], payload["elapsed_s"]

    def losses(self, batch: Batch) -> Losses:
        """Losses of a batch under the run's precision."""
        return compute(self.forward, batch, self.options.device, is_bf16=self.options.is_bf16)

    def progress(self) -> float:
        """Share of the run that is done; 1 is the end."""
        if self.options.steps is not None:
            return self.step / self.options.steps
        assert self.options.minutes is not None
        return self.elapsed_s / (self.options.minutes * 60)

    def train_step(self) -> tuple[float, float]:
        """One update from a batch of text and one of examples; returns both losses in nats."""
        factor = learning_rate_factor(self.step, self.progress())
        for optimizer, base in zip(self.optimizers, self.base_lrs, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = base * factor
            optimizer.zero_grad()
        if self.worker is not None:
            self.worker.start(self.step)
        text_loss = self._backward(self.batches.text_batch(self.step))
        if self.worker is not None:
            chat_loss = self.worker.finish()
        else:
            chat_loss = self._backward(self.batches.chat_batch(self.step))
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP_NORM)
        for optimizer in self.optimizers:
            optimizer.step()
        self.step += 1
        return text_loss, chat_loss

    def _backward(self, batch: Batch) -> float:
        losses = self.losses(batch)
        (losses.total / 2).backward()
        return float(losses.nll_sum / losses.weight_sum)

    @torch.no_grad()
    def held_out_losses(self) -> tuple[float, float]:
        """Weighted mean losses on held-out text and on held-out examples, in nats per token."""
        sums = [[0.0, 0.0], [0.0, 0.0]]
        for n in range(EVAL_BATCHES):
            for kind, batch in enumerate(
                (self.held_out.text_batch(n), self.held_out.chat_batch(n))
            ):
                losses = self.losses(batch)
                sums[kind][0] += float(losses.nll_sum)
                sums[kind][1] += float(losses.weight_sum)
        return sums[0][0] / sums[0][1], sums[1][0] / sums[1][1]

    def run(self, log: Callable[[dict[str, Any]], None]) -> None:
        """Train to the end of the schedule, then export to `out`."""
        tokens_per_step = 2 * self.options.tokens_per_batch
        last_save = last_log = time.monotonic()
        logged_step = self.step
        text_loss = chat_loss = 0.0
        is_first = self.elapsed_s == 0
        while self.progress() < 1.0:
            started = time.monotonic()
            text_loss, chat_loss = self.train_step()
            now = time.monotonic()
            self.elapsed_s += now - started
            if now - last_log > 20 or self.step == 1:
                rate = (self.step - logged_step) * tokens_per_step / (now - last_log)
                log(
                    {
                        **self._position(),
                        "text": round(text_loss, 4),
                        "chat": round(chat_loss, 4),
                        "tokens_per_s": round(rate),
                        "eta_s": round(self.elapsed_s * (1 / max(self.progress(), 1e-9) - 1)),
                    }
                )
                last_log, logged_step = now, self.step
            if now - last_save > (self.options.checkpoint_every_s if not is_first else 120):
                log({**self._position(), **self._measure_and_save(), "checkpoint": True})
                self.elapsed_s += time.monotonic() - now
                last_save, is_first = time.monotonic(), False
        held_out = self._measure_and_save()
        export(self.model, self.tokenizer, self.out)
        if self.worker is not None:
            self.worker.close()
        log({**self._position(), **held_out, "done": True, "options": asdict(self.options)})

    def _position(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "tokens": self.step * 2 * self.options.tokens_per_batch,
            "elapsed_s": round(self.elapsed_s),
            "progress": round(self.progress(), 4),
        }

    def _measure_and_save(self) -> dict[str, float]:
        text, chat = self.held_out_losses()
        self.save()
        return {"held_out_text": round(text, 4), "held_out_chat": round(chat, 4)}


def append_log(path: Path) -> Callable[[dict[str, Any]], None]:
    """A logger that appends one JSON object per line, flushed at once."""

    def log(entry: dict[str, Any]) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    return log
