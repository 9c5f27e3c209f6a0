"""A second process that does the example batches while the first does the text.

Both share the weights' memory. One thread each and one meeting per step keep a busy machine from
stalling the run, as threads inside every operation would: each would wait for the slower one at
every turn.
"""

import os
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.multiprocessing as mp
from torch import Tensor

from tinker_engine.base.dataset import Batch, Batches, DataFiles
from tinker_engine.base.model import Losses, Nano, NanoConfig, packed_mask

if TYPE_CHECKING:
    from tinker_engine.base.train import TrainOptions


def compute(forward: Callable[..., Losses], batch: Batch, device: str, *, is_bf16: bool) -> Losses:
    """The losses of a batch, with its tensors moved to the device."""
    tokens, targets, positions, weights = (t.to(device) for t in batch)
    with torch.autocast(device, torch.bfloat16, enabled=is_bf16):
        return forward(tokens, positions, packed_mask(positions), targets, weights)


def _serve(
    pipe: Connection,
    config: NanoConfig,
    options: "TrainOptions",
    weights: dict[str, Tensor],
    grads: dict[str, Tensor],
    folder: Path,
    end: int,
    threads: int,
) -> None:
    torch.set_num_threads(threads)
    model = Nano(config, seed=options.seed)
    for name, parameter in model.named_parameters():
        parameter.data = weights[name]
    forward: Callable[..., Losses] = (
        torch.compile(model, dynamic=False) if options.is_compiled else model
    )
    batches = Batches(
        DataFiles(folder), seed=options.seed, tokens_per_batch=options.tokens_per_batch, end=end
    )
    parent = os.getppid()
    while True:
        while not pipe.poll(5):
            if os.getppid() != parent:  # the trainer died
                return
        step: int | None = pipe.recv()
        if step is None:
            return
        model.zero_grad()
        losses = compute(forward, batches.chat_batch(step), "cpu", is_bf16=options.is_bf16)
        (losses.total / 2).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None
            grads[name].copy_(parameter.grad)
        pipe.send(float(losses.nll_sum / losses.weight_sum))


class Worker:
    """`start(step)` begins a step's example batch, `finish()` adds its gradients to the model's."""

    def __init__(
        self, model: Nano, options: "TrainOptions", folder: Path, end: int, threads: int
    ) -> None:
        self.model = model
        model.share_memory()
        weights = {name: p.data for name, p in model.named_parameters()}
        self.grads = {name: torch.zeros_like(w).share_memory_() for name, w in weights.items()}
        context = mp.get_context("spawn")
        self.pipe, other = context.Pipe()
        arguments = (other, model.config, options, weights, self.grads, folder, end, threads)
        self.process = context.Process(target=_serve, args=arguments, daemon=True)
        self.process.start()

    def start(self, step: int) -> None:
        """Begin the gradients of a step's example batch."""
        self.pipe.send(step)

    def finish(self) -> float:
        """Wait, add the gradients to the model's, and give the loss in nats.

        Raises RuntimeError if the process died.
        """
        while not self.pipe.poll(5):
            if not self.process.is_alive():
                raise RuntimeError(
                    "the worker process died; see its traceback above and go on with --resume"
                )
        loss: float = self.pipe.recv()
        for name, parameter in self.model.named_parameters():
            assert parameter.grad is not None
            parameter.grad += self.grads[name]
        return loss

    def close(self) -> None:
        """End the process."""
        self.pipe.send(None)
        self.process.join()
