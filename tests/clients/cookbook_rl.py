"""RL with tinker-cookbook's own loop on an environment that a rule checks: tickets to teams.

`python cookbook_rl.py MODEL_FOLDER TICKETS.jsonl LOG_FOLDER START_CHECKPOINT`. The policy sees a
ticket and says a team; the reward is 1 if it is the right one. The last line is JSON: mean reward
of every iteration, and of held-out tickets as the loop's own evaluator measured it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import chz
from tinker_cookbook import renderers
from tinker_cookbook.rl import train
from tinker_cookbook.rl.problem_env import ProblemEnv, ProblemGroupBuilder
from tinker_cookbook.rl.types import EnvGroupBuilder, RLDataset, RLDatasetBuilder
from tinker_cookbook.tokenizer_utils import get_tokenizer

RENDERER = "role_colon"
HELD_OUT = 24


class TicketEnv(ProblemEnv):
    """One ticket, one answer."""

    def __init__(self, renderer: renderers.Renderer, ticket: str, team: str) -> None:
        super().__init__(renderer, format_coef=0.0)
        self._ticket, self._team = ticket, team

    def get_question(self) -> str:
        return self._ticket

    def check_answer(self, sample_str: str) -> bool:
        return sample_str.strip() == self._team

    def check_format(self, sample_str: str) -> bool:
        return bool(sample_str.strip())

    def get_reference_answer(self) -> str:
        return self._team


class Tickets(RLDataset):
    """Batches of groups, each group the same ticket several times."""

    def __init__(self, groups: Sequence[EnvGroupBuilder], batch_size: int) -> None:
        self._groups, self._batch_size = groups, batch_size

    def get_batch(self, index: int) -> Sequence[EnvGroupBuilder]:
        return self._groups[index * self._batch_size : (index + 1) * self._batch_size]

    def __len__(self) -> int:
        return len(self._groups) // self._batch_size


@chz.chz
class TicketsBuilder(RLDatasetBuilder):
    """Reads tickets from a local file; the first ones are held out."""

    model: str
    path: str
    batch_size: int
    group_size: int

    async def __call__(self) -> tuple[RLDataset, RLDataset]:
        renderer = renderers.get_renderer(RENDERER, get_tokenizer(self.model))
        rows = [json.loads(line) for line in Path(self.path).read_text("utf-8").splitlines()]

        def groups(part: Sequence[dict[str, str]], size: int) -> list[EnvGroupBuilder]:
            thunks = [partial(TicketEnv, renderer, row["ticket"], row["team"]) for row in part]
            return [ProblemGroupBuilder(env_thunk=thunk, num_envs=size) for thunk in thunks]

        held_out = groups(rows[:HELD_OUT], 4)
        return (
            Tickets(groups(rows[HELD_OUT:], self.group_size), self.batch_size),
            Tickets(held_out, len(held_out)),
        )


def main(model: str, data: str, log: str, start: str) -> None:
    settings = train.Config(
        log_path=log,
        model_name=model,
        recipe_name="tickets_rl",
        renderer_name=RENDERER,
        load_checkpoint_path=start,
        dataset_builder=TicketsBuilder(model=model, path=data, batch_size=12, group_size=8),
        learning_rate=4e-4,
        lora_rank=16,
        max_tokens=12,
        eval_every=8,
        save_every=0,
        num_groups_to_log=0,
    )
    asyncio.run(train.main(settings))
    lines = (Path(log) / "metrics.jsonl").read_text("utf-8").splitlines()
    rows = list(map(json.loads, lines))
    reward, held_out = "env/all/reward/total", "test/env/all/reward/total"
    print(
        json.dumps(
            {
                "reward": [row[reward] for row in rows if reward in row],
                "held_out_reward": [row[held_out] for row in rows if held_out in row],
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
