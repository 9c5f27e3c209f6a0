"""The closed loop: debate, export, train, measure, attack, gate, swap in if better, repeat.

    outcome = run_loop(tasks, LoopSettings(rounds=3), folder)

The folder holds everything of the loop: its database, registry, rounds, packages and state. Called
again with the same settings it goes on behind the last finished step, also after a kill.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aragora.agents.adapters import AdapterSet, PackageAdmission
from aragora.agents.tinker_agent import TinkerAgent
from aragora.debate import load_protocol
from aragora.errors import AdapterRefusedError, UsageError
from aragora.loop.debating import debate_tasks
from aragora.loop.deciding import decide
from aragora.loop.gating import judge_candidate
from aragora.loop.learning import export_round, train_candidate
from aragora.loop.measuring import measure
from aragora.loop.settings import LoopSettings
from aragora.loop.state import LoopState, Measured, Version, measured, read_state, resumed, step
from aragora.loop.tasks import TaskSet
from aragora.memory import Memory
from aragora.training.model_registry import ModelRegistry
from aragora.training.results import TrainingResult

if TYPE_CHECKING:
    from aragora.agents.served_model import ServedModel
    from tensafe.tgsp import KeyPair

Tell = Callable[[str], None]
DATABASE, REGISTRY, ADAPTERS = "aragora.sqlite3", "model_registry.json", "adapters.json"
DEBATES = "debates.json"


def run_loop(
    tasks: TaskSet,
    settings: LoopSettings,
    folder: Path,
    *,
    engine: str | None = None,
    tell: Tell | None = None,
) -> LoopState:
    """Run or resume a loop to its end; gives all versions.

    Raises UsageError for a folder that holds another loop, and what training or an engine raises.
    """
    from aragora.agents.served_model import served_model
    from tensafe.tgsp import ensure_signing_key, passphrase_source

    if settings.deal > len(tasks.train):
        raise UsageError(
            f"{len(tasks.train)} training tasks can't be dealt into {settings.deal} rounds"
        )
    folder.mkdir(parents=True, exist_ok=True)
    # Asked for first: a missing passphrase should not surface after an hour.
    signer = ensure_signing_key(passphrase=passphrase_source())
    served = served_model(settings.model, engine)
    with Memory.open(str(folder / DATABASE)) as memory:
        loop = _Loop(tasks, settings, folder, served, engine, memory, signer, tell or _silent)
        return asyncio.run(loop.run())


def _silent(line: str) -> None:
    del line


@dataclass
class _Loop:
    tasks: TaskSet
    settings: LoopSettings
    folder: Path
    served: ServedModel
    engine: str | None
    memory: Memory
    signer: KeyPair
    tell: Tell

    async def run(self) -> LoopState:
        known = read_state(self.folder)
        if known is None:
            state = LoopState(self.settings, self.tasks.digest, self.served.name)
        else:
            state = resumed(known, self.settings, self.tasks.digest, self.folder)
            if state.base_model != self.served.name:
                raise UsageError(f"{self.folder} holds a loop on {state.base_model}")
        self.settings = state.settings
        self.protocol = load_protocol(
            self.settings.protocol,
            temperature=self.settings.temperature,
            max_tokens=self.settings.max_tokens,
        )
        self.registry = ModelRegistry(self.folder / REGISTRY)
        # One set for all debaters: they are seats of one version.
        self.adapters = AdapterSet(self.folder / ADAPTERS)
        self.agents = [
            TinkerAgent(
                f"debater-{place + 1}",
                self.settings.model,
                engine=self.engine,
                temperature=self.settings.temperature,
                adapters=self.adapters,
                admission=PackageAdmission(),
                on_event=self.memory.standings.add_event,
            )
            for place in range(self.settings.agents)
        ]
        state.save(self.folder)
        if not state.versions:
            base = await self._base()
            state = replace(state, versions=(base,))
            state.save(self.folder)
            self._told(base)
        await asyncio.to_thread(self._use, state.current)
        while not state.ended:
            number = state.rounds_done + 1
            version = await self._round(number, state)
            state = replace(state, versions=(*state.versions, version))
            state = replace(state, ended=self._end(state))
            state.save(self.folder)
            self._told(version)
            if version.used:
                await asyncio.to_thread(self._use, version)
        self.tell(f"ended: {state.ended}")
        return state

    def _end(self, state: LoopState) -> str:
        """Why the loop is over, "" where it goes on."""
        idle = 0
        for version in reversed(state.versions[1:]):
            if version.used:
                break
            idle += 1
        if idle >= self.settings.patience:
            return f"nothing got better for {idle} rounds"
        return "all rounds done" if state.rounds_done >= self.settings.rounds else ""

    def _use(self, version: Version) -> None:
        name = version.model_id or None
        for agent in self.agents:
            agent.set_adapter(name)

    async def _base(self) -> Version:
        self.tell(f"version 0: {self.served.name} as it is")
        place = self.folder / "rounds" / "0"
        check, test, attacked = await self._measure(place, None, "version-0")
        return Version(
            0, "", "", check, test, attacked["robustness"], attacked["run"], used=True,
            reason="the base",
        )  # fmt: skip

    async def _round(self, number: int, state: LoopState) -> Version:
        place = self.folder / "rounds" / str(number)
        place.mkdir(parents=True, exist_ok=True)
        current = state.current
        dealt = self.tasks.of_round((number - 1) % self.settings.deal + 1, self.settings.deal)
        self.tell(f"round {number}: {len(dealt)} debates of version {current.number}")
        counts = await self._debates(place, dealt, number)
        # What rounds showed whose candidate was not used is still to be learned.
        unlearned = self.folder / "rounds" / str(current.number + 1) / DEBATES
        exported = step(
            place / "export.json",
            lambda: export_round(
                self.memory,
                place,
                [self.folder / "rounds" / str(n) for n in range(1, current.number + 1)],
                {**counts, "since": step(unlearned, dict)["since"]},
                self.settings,
                with_critiques=self.protocol.critique,
            ),
        )
        self.tell(f"  {exported['sft_rows']} answers and {exported['dpo_rows']} pairs to learn")
        version = Version(
            number, "", "", current.check, current.test, None, "", parent=current.number,
            sft_rows=exported["sft_rows"], dpo_rows=exported["dpo_rows"],
            debates=counts["debates"], reached=counts["reached"],
            debate_tokens=counts["prompt_tokens"] + counts["completion_tokens"],
        )  # fmt: skip
        if not exported["sft_rows"]:
            return replace(version, reason="the debates gave nothing to learn")
        training = await asyncio.to_thread(self._train, place, number, current)
        check, test, attacked = await self._measure(place, training.checkpoint, training.model_id)
        judged = await asyncio.to_thread(
            step,
            place / "gates.json",
            lambda: judge_candidate(self.served, training, place, self.tasks.check, self.signer),
        )
        version = replace(
            version, model_id=training.model_id, checkpoint=training.checkpoint, check=check,
            test=test, robustness=attacked["robustness"], gauntlet_run=attacked["run"],
            gates=dict(judged["verdicts"]), package=judged["package"],
            adapter_digest=judged["adapter_digest"],
        )  # fmt: skip
        known = [v.robustness for v in state.versions if v.used and v.robustness is not None]
        return await asyncio.to_thread(
            self._decided, version, current, judged, max(known, default=None)
        )

    async def _debates(self, place: Path, dealt: Any, number: int) -> dict[str, Any]:
        path = place / DEBATES
        if path.is_file():
            return step(path, dict)
        quarter = max(1, len(dealt) // 4)

        def told(done: int, total: int) -> None:
            if done % quarter == 0 or done == total:
                self.tell(f"  {done} of {total} debates")

        counts = await debate_tasks(
            self.agents, dealt, self.protocol, self.memory, self.settings, number, told
        )
        return step(path, lambda: counts)

    def _train(self, place: Path, number: int, current: Version) -> TrainingResult:
        def work() -> dict[str, Any]:
            result = train_candidate(
                self.served, self.registry, place, self.settings,
                parent=current.model_id, number=number,
            )  # fmt: skip
            self.tell(f"  trained {result.model_id}: {result.steps} steps, loss {result.loss}")
            return {**asdict(result), "history": [asdict(h) for h in result.history]}

        record = step(place / "training.json", work)
        fields: dict[str, Any] = {**record}
        fields["history"] = ()
        return TrainingResult(**fields)

    async def _measure(
        self, place: Path, checkpoint: str | None, name: str
    ) -> tuple[Measured, Measured, dict[str, Any]]:
        agent = TinkerAgent(
            name, self.settings.model, checkpoint, engine=self.engine,
            temperature=self.settings.temperature, adapters=AdapterSet(None),
        )  # fmt: skip
        parts: list[Measured] = []
        for part, tasks in (("check", self.tasks.check), ("test", self.tasks.test)):
            path = place / f"measured-{part}.json"
            if not path.is_file():
                found = asdict(await measure(agent, tasks, self.settings))
                step(path, lambda found=found: found)
            parts.append(measured(step(path, dict)))
        path = place / "gauntlet.json"
        if not path.is_file():
            attacked = await self._attack(agent)
            step(path, lambda: attacked)
        return parts[0], parts[1], step(path, dict)

    async def _attack(self, agent: TinkerAgent) -> dict[str, Any]:
        """The whole library; a run that was cut off goes on."""
        from aragora.gauntlet import GauntletSettings, run_gauntlet

        if not self.settings.gauntlet:
            return {"robustness": None, "run": "", "held": 0, "broken": 0, "errors": 0}
        settings = GauntletSettings(generations=0, seed=self.settings.seed)
        begun = [r for r in self.memory.gauntlet.runs(agent.name) if r.state == "running"]
        report = await run_gauntlet(
            agent, self.memory, settings, run_id=begun[-1].id if begun else None
        )
        return {
            "robustness": report.robustness,
            "run": report.run_id,
            "held": report.held,
            "broken": report.broken,
            "errors": report.errors,
        }

    def _decided(
        self,
        version: Version,
        current: Version,
        judged: dict[str, Any],
        most_robust: float | None,
    ) -> Version:
        """Swap in when it is better and every gate says yes; the load gate has the last word."""
        no = decide(version, current, judged, self.settings, most_robust=most_robust)
        if no:
            return replace(version, used=False, reason=no)
        try:
            verdict = self.agents[0].admit(version.model_id, Path(version.package))
        except AdapterRefusedError as error:
            return replace(
                version, reason=str(error), gates={**(version.gates or {}), "load_gate": "failed"}
            )
        gates = {**(version.gates or {}), "load_gate": "passed"}
        gain = version.check.accuracy - current.check.accuracy
        reason = f"{gain:+.1%} on the tasks that decide; {verdict.reason}"
        # The registry chooses by what it knows, so the reported half must not reach it.
        self.registry.update_metrics(
            version.model_id,
            win_rate=version.check.accuracy,
            evaluation=f"single-answer accuracy on the {len(version.check.single)} held-out tasks "
            "that decide",
        )
        return replace(version, used=True, reason=reason, gates=gates)

    def _told(self, version: Version) -> None:
        robust = "" if version.robustness is None else f", robustness {version.robustness:.0%}"
        self.tell(
            f"version {version.number}: single {version.test.accuracy:.1%}, majority "
            f"{version.test.majority_accuracy:.1%}, greedy {version.test.greedy_accuracy:.1%}"
            f"{robust}; {'used' if version.used else 'not used'}: {version.reason}"
        )
