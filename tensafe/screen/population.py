"""Training the adapters of the reference population through the engine.

Every member is an ordinary adapter: one generated task, one set of hyper-parameters, private or
not. The recipes cover what users choose (rank, alpha, rate, steps, targets, noise), so that an
unusual but honest choice is not mistaken for tampering.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tensafe.screen.tasks import TASKS, task_dataset
from tinker_engine.recipes.chat_format import ChatFormat
from tinker_engine.recipes.sft import run_sft
from tinker_engine.recipes.sft_config import DEFAULT_TARGETS, PrivacyConfig, SftConfig

if TYPE_CHECKING:
    from tinker_engine.connect import Connection

Targets = Literal["all", "attention", "mlp", "query_value"]
_TARGETS: dict[Targets, tuple[str, ...]] = {
    "all": DEFAULT_TARGETS,
    "attention": ("q_proj", "k_proj", "v_proj", "o_proj"),
    "mlp": ("gate_proj", "up_proj", "down_proj"),
    "query_value": ("q_proj", "v_proj"),
}
_BATCH = 16
_LOT = 128


@dataclass(frozen=True)
class Recipe:
    """How one member is trained. `epsilon` 0 means without privacy."""

    name: str
    task: str
    rank: int
    alpha: float
    learning_rate: float
    steps: int
    targets: Targets
    epsilon: float
    lora_train: Literal["both", "B"]
    seed: int

    def facts(self) -> dict[str, str | int | float]:
        """The recipe as plain values, for the reference file."""
        return dict(vars(self))

    def config(self, examples: int) -> SftConfig:
        """The recipe as the engine's settings for a data set of this size."""
        privacy = None
        if self.epsilon > 0:
            privacy = PrivacyConfig(
                epsilon=self.epsilon,
                expected_batch_size=_LOT,
                steps=self.steps,
                train=self.lora_train,
            )
        return SftConfig(
            rank=self.rank,
            alpha=self.alpha,
            target_modules=_TARGETS[self.targets],
            seed=self.seed,
            learning_rate=self.learning_rate,
            batch_size=_BATCH,
            epochs=self.steps * _BATCH / examples,
            validation_fraction=0.0,
            max_length=512,
            checkpoint_steps=max(25, self.steps),
            privacy=privacy,
        )


def recipes() -> tuple[Recipe, ...]:
    """The members: the released defaults, one choice varied at a time, and mixtures."""
    rows: tuple[tuple[int, float, float, int, Targets, float, Literal["both", "B"]], ...] = (
        # rank, alpha, learning rate, steps, targets, epsilon, trained under noise
        (30, 64, 4e-3, 60, "all", 0.0, "both"),
        (30, 64, 4e-3, 20, "all", 0.0, "both"),
        (30, 64, 4e-3, 160, "all", 0.0, "both"),
        (30, 64, 1e-3, 60, "all", 0.0, "both"),
        (30, 64, 3e-4, 60, "all", 0.0, "both"),
        (30, 64, 1e-2, 60, "all", 0.0, "both"),
        (30, 64, 1e-4, 20, "all", 0.0, "both"),
        (4, 8, 4e-3, 80, "all", 0.0, "both"),
        (8, 16, 2e-3, 80, "all", 0.0, "both"),
        (8, 16, 4e-3, 80, "query_value", 0.0, "both"),
        (8, 32, 1e-3, 120, "attention", 0.0, "both"),
        (16, 16, 4e-3, 60, "mlp", 0.0, "both"),
        (16, 32, 2e-3, 100, "all", 0.0, "both"),
        (64, 64, 2e-3, 60, "all", 0.0, "both"),
        (64, 128, 1e-3, 80, "attention", 0.0, "both"),
        (128, 128, 1e-3, 40, "all", 0.0, "both"),
        (2, 4, 4e-3, 80, "all", 0.0, "both"),
        (16, 64, 5e-4, 100, "query_value", 0.0, "both"),
        (30, 64, 1e-2, 40, "all", 8.0, "B"),
        (30, 64, 1e-2, 40, "all", 1.0, "B"),
        (8, 16, 1e-2, 40, "all", 8.0, "B"),
        (30, 64, 2e-3, 40, "all", 8.0, "both"),
        (30, 64, 2e-2, 30, "all", 8.0, "B"),
        (30, 64, 3e-2, 40, "all", 8.0, "B"),
    )
    tasks = sorted(TASKS)
    return tuple(
        Recipe(
            f"{place:02d}-{tasks[place % len(tasks)]}", tasks[place % len(tasks)],
            rank, alpha, rate, steps, targets, epsilon, train, seed=place,
        )
        for place, (rank, alpha, rate, steps, targets, epsilon, train) in enumerate(rows)
    )  # fmt: skip


def train_population(
    engine: Connection, folder: Path, chosen: tuple[Recipe, ...], notify: Callable[[str], None]
) -> Iterator[tuple[Recipe, Path]]:
    """Train each recipe and give its PEFT folder; members that are there already are kept.

    Raises:
        EngineError: the engine refuses a run.
    """
    from tinker_engine.connect import base_info, download_adapter, load_tokenizer

    base = base_info(engine)
    chat = ChatFormat(load_tokenizer(engine))
    for recipe in chosen:
        adapter = folder / recipe.name
        if not adapter.exists():
            notify(f"training {recipe.name}: {recipe.facts()}")
            dataset = task_dataset(recipe.task, recipe.seed)
            result = run_sft(
                engine.service_client,
                chat,
                [example.messages for example in dataset.train],
                recipe.config(len(dataset.train)),
                folder / f"{recipe.name}.run",
                base_model=base.name,
                hidden_size=base.hidden_size,
                record_set=dataset.train_digest,
            )
            download_adapter(engine, result.checkpoint, adapter)
        yield recipe, adapter
