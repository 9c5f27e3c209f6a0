"""What the guide takes for granted: debates to export, models to compare, adapters let in.

Its reader has held debates, attacked agents, registered models before. All of it is made here in
homes of their own, with `nano` under the guide's names of models.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aragora.agents import AgentIdentity, Ballot, Candidate, Context, Quote, Reply
from aragora.agents.adapters import PackageAdmission
from aragora.agents.api_agents import TinkerAgent
from aragora.agents.chat_agent import ChatAgent, Completion
from aragora.debate import Arena, Environment, load_protocol
from aragora.gauntlet import GauntletSettings, run_gauntlet
from aragora.memory import Memory
from aragora.memory.records import Rating
from aragora.training import ModelMetadata, TinkerClient, TrainingScheduler, get_registry
from evidence._gate_packages import good_package
from tensafe.screen.tasks import task_dataset
from tensafe.tgsp import ensure_signing_key, passphrase_source
from tinker_engine.runtime.names import BUILTIN_ALIASES

DEBATES = 16
_RATINGS = {"ann": 1720.0, "bob": 1400.0}


def write_aliases(engine_home: Path) -> None:
    """`nano` under all names of the guide."""
    engine_home.mkdir(parents=True, exist_ok=True)
    lines = [f'"{name}" = "nano"' for name in BUILTIN_ALIASES]
    (engine_home / "aliases.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


class Debater:
    """A participant that says what it was given; the debates are about what is exported of them."""

    def __init__(self, name: str, answer: str, role: str = "proposer") -> None:
        self.name, self.role, self._answer = name, role, answer

    def identity(self) -> AgentIdentity:
        """No model."""
        return AgentIdentity("script", "none")

    async def respond(self, task: str, context: Context | None = None) -> Reply:
        """The answer, with the prompt it belongs to."""
        return Reply(self._answer, prompt=({"role": "user", "content": task},))

    async def critique(self, task: str, proposal: Quote, context: Context | None = None) -> Reply:
        """A flaw."""
        prompt = f"{task}\n> {proposal.text}"
        said = '{"issue": "no reason is given", "suggestion": "name the larger digit"}'
        return Reply(said, prompt=({"role": "user", "content": prompt},))

    async def vote(
        self, task: str, candidates: Sequence[Candidate], context: Context | None = None
    ) -> Ballot:
        """For the first one, quite sure."""
        reply = Reply(candidates[0].label, prompt=({"role": "user", "content": f"Vote: {task}"},))
        return Ballot(reply, candidates[0].label, 0.95, "stated")


class Attacked(ChatAgent):
    """An agent that refuses everything, or does everything."""

    def __init__(self, name: str, reply: str) -> None:
        super().__init__(name)
        self._reply = reply

    def identity(self) -> AgentIdentity:
        """No model."""
        return AgentIdentity("script", "none")

    async def complete(
        self, messages: Any, *, seed: int, temperature: float, max_tokens: int
    ) -> Completion:
        """The same reply always."""
        return Completion(self._reply, 10, 10, "stop", self.identity())


async def hold_debates(memory: Memory) -> None:
    """Debates with a clear winner, rated far above the loser, and two runs of the gauntlet."""
    now = time.time()
    protocol = load_protocol("judge", rounds=1, critique=False, revise=False, stop_when_agreed=0.0)
    memory.standings.apply(
        [
            Rating(name, domain, "elo", elo, updated_at=now)
            for name, elo in _RATINGS.items()
            for domain in ("", "security")
        ],
        [],
    )
    for number in range(DEBATES):
        low, high = 11 + 3 * number, 13 + 5 * number
        agents = [
            Debater("ann", f"Of {low} and {high} dollars, {high} is dearer by {high - low}."),
            Debater("bob", f"It is {low}, because it was named first in this question {number}."),
            Debater("jo", "-", role="judge"),
        ]
        task = f"Item {number}: which is dearer, {low} dollars or {high} dollars?"
        env = Environment(task, domain="security", split="train")
        await Arena(env, agents, protocol, memory=memory, seed=number).run()
    for name, reply in (
        ("careful", "No, I can't help with that; it could harm somebody."),
        ("eager", "Sure. To break into a locked car, first push a wire under the seal, then pull."),
    ):
        settings = GauntletSettings(categories=("jailbreak",), generations=0, max_trials=20, seed=1)
        await run_gauntlet(Attacked(name, reply), memory, settings)


async def let_adapters_in(folder: Path) -> None:
    """Two adapters, trained and let into the sets of the guide's agents by the load gate."""
    signer = ensure_signing_key("Ada", passphrase=passphrase_source())
    async with TinkerClient() as client:
        for seed, name in ((11, "security-expert"), (12, "performance-expert")):
            rows = [{"messages": e.messages} for e in task_dataset("sorting", seed).train[:160]]
            made = await client.train_sft(
                rows, adapter_name=f"aragora-{name.removesuffix('-expert')}-v1", lora_rank=8,
                epochs=2, learning_rate=2e-3, seed=seed,
            )  # fmt: skip
            await client.save_checkpoint(made.model_id, folder / name)
            for agent_name in ("tinker-security", "multi-expert"):
                agent = TinkerAgent(agent_name, admission=PackageAdmission())
                running = agent.open().running()
                if running is None:
                    raise RuntimeError("the engine doesn't say what it runs")
                package = folder / f"{name}.tgsp"
                if not package.exists():
                    good_package(package, folder / name, running, signer)
                agent.admit(name, package)


async def prepare(folder: Path) -> None:
    """Everything that has to be there before the guide's first line."""
    with Memory.open() as memory:
        await hold_debates(memory)
    registry = get_registry()
    for model_id in ("old-model-v1", "very-old-model"):
        registry.register(ModelMetadata(model_id=model_id, base_model="nano"))
    with TrainingScheduler(workers=0) as scheduler:
        # A job without data, which fails; the guide asks why.
        await scheduler.schedule_sft(
            model="llama-3.3-70b", domains=("nobody debated this",), job_id="job-id"
        )
        scheduler.run_worker(until_idle=True)
    await let_adapters_in(folder)


async def readers_names() -> dict[str, Any]:
    """The variables that the guide's blocks take from their reader."""
    from aragora.training import JobStatus

    other = TinkerAgent("other", "llama-3.1-8b")
    task = "Item 3: which is dearer, 20 dollars or 28 dollars?"
    return {
        "env": Environment(task, domain="security"),
        "other_agents": other,
        "protocol": load_protocol("debate", rounds=1, max_tokens=16, deadline_s=300.0),
        "prompt": task,
        "model_id": "aragora-sft-v1",
        "job_id": "job-id",
        "context": Context(max_tokens=16),
        "security_task": task,
        "performance_task": task,
        "my_tinker_agent": TinkerAgent("mine", model_id="aragora-sft-v1"),
        "my_baseline_agent": TinkerAgent("base"),
        "my_agent": TinkerAgent("mine", model_id="aragora-sft-v1"),
        "standard_tasks": ["Design a rate limiter", "Optimize database queries"],
        "claude": TinkerAgent("claude"),
        "gpt4": TinkerAgent("gpt4"),
        "gemini": TinkerAgent("gemini"),
        "JobStatus": JobStatus,
    }
