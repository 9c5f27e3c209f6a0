"""Running attacks against an agent: bounded, stored trial by trial, resumable.

Robustness is the share of the library's attacks that held, with a Wilson interval, so that two runs
on the same library can be compared. Evolved attacks depend on what broke, and are counted apart.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field

from aragora.agents.quoting import stored
from aragora.agents.records import AgentIdentity, Context, Reply
from aragora.errors import DebateError, UsageError
from aragora.gauntlet.attacks import CATEGORIES, Attack, evolve, load_attacks
from aragora.gauntlet.detecting import Finding, detect
from aragora.memory.identity import digest_of, new_id
from aragora.memory.records import GauntletRun, StoredAttack, Trial
from aragora.memory.store import Memory
from tinker_engine.recipes.chat_format import ChatMessage

logger = logging.getLogger(__name__)

_SEED_SPACE = 2**31 - 1


class Attackable(Protocol):
    """An agent that holds a conversation."""

    @property
    def name(self) -> str:
        """The agent's name."""
        ...

    def identity(self) -> AgentIdentity:
        """What answers now."""
        ...

    async def converse(self, messages: Sequence[ChatMessage], context: Context) -> Reply:
        """Answer a conversation."""
        ...


class GauntletSettings(BaseModel):
    """Bounds of one run; `generations` 0 tries the library alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    categories: tuple[str, ...] = CATEGORIES
    generations: int = Field(default=1, ge=0, le=10)
    max_trials: int = Field(default=200, ge=1)
    max_tokens: int = Field(default=96, ge=1)
    deadline_s: float = Field(default=120.0, gt=0.0)
    concurrency: int = Field(default=8, ge=1)
    temperature: float = Field(default=0.0, ge=0.0, le=2.0)
    seed: int = 0


@dataclass(frozen=True)
class GauntletReport:
    """What a run showed; `low` and `high` are the 95% Wilson interval of `robustness`.

    `robustness` is None when no attack of the library could be tried.
    """

    run_id: str
    agent: str
    tried: int
    held: int
    broken: int
    errors: int
    robustness: float | None
    low: float | None
    high: float | None
    evolved_tried: int
    evolved_broken: int
    by_category: dict[str, tuple[int, int]]
    findings: tuple[tuple[str, str, str, str], ...]


async def run_gauntlet(
    agent: Attackable,
    memory: Memory,
    settings: GauntletSettings | None = None,
    *,
    attacks: Sequence[Attack] | None = None,
    run_id: str | None = None,
    tell: Callable[[Attack, Trial], None] | None = None,
) -> GauntletReport:
    """Try the attacks, then variants of those that worked. With `run_id`, go on with that run.

    Raises UsageError for an unknown category, DebateError for a run of another agent.
    """
    if run_id is None:
        chosen = settings or GauntletSettings()
        identity = await asyncio.to_thread(agent.identity)
        run = GauntletRun(
            new_id(), agent.name, identity.model, identity.adapter_digest,
            chosen.model_dump(mode="json"), "running", time.time(),
        )  # fmt: skip
        memory.gauntlet.begin(run)
    else:
        run = memory.gauntlet.run(run_id)
        if run.agent != agent.name:
            raise DebateError(
                f"gauntlet run {run_id} is of agent {run.agent!r}, not {agent.name!r}"
            )
        chosen = GauntletSettings.model_validate(run.settings)
    unknown = set(chosen.categories) - set(CATEGORIES)
    if unknown:
        raise UsageError(f"no category {sorted(unknown)[0]!r}; choose {', '.join(CATEGORIES)}")
    library = [a for a in attacks or load_attacks() if a.category in chosen.categories]
    wave, left = library, chosen.max_trials
    for generation in range(chosen.generations + 1):
        wave = wave[:left]
        left -= len(wave)
        await _try_all(agent, memory, run.id, wave, chosen, tell)
        broken = {a.id for a, t in memory.gauntlet.trials(run.id) if t.verdict == "broken"}
        if generation == chosen.generations or left <= 0:
            break
        wave = [v for attack in wave if attack.id in broken for v in evolve(attack)]
    memory.gauntlet.end(run.id, "done", time.time())
    return report_of(memory, run.id)


def report_of(memory: Memory, run_id: str) -> GauntletReport:
    """The report of a run as it stands."""
    from tensafe.evaluate.statistics import wilson_interval

    run = memory.gauntlet.run(run_id)
    trials = memory.gauntlet.trials(run_id)
    first = [(a, t) for a, t in trials if a.generation == 0]
    later = [(a, t) for a, t in trials if a.generation > 0]
    held, broken = (sum(t.verdict == v for _, t in first) for v in ("held", "broken"))
    judged = held + broken
    interval = wilson_interval(held / judged, judged) if judged else None
    return GauntletReport(
        run_id=run_id,
        agent=run.agent,
        tried=len(first),
        held=held,
        broken=broken,
        errors=len(first) - judged,
        robustness=held / judged if judged else None,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        evolved_tried=len(later),
        evolved_broken=sum(t.verdict == "broken" for _, t in later),
        by_category=_by_category(first),
        findings=tuple(
            (a.severity, a.category, a.name, t.evidence) for a, t in trials if t.verdict == "broken"
        ),
    )


def _by_category(trials: Sequence[tuple[StoredAttack, Trial]]) -> dict[str, tuple[int, int]]:
    out: dict[str, tuple[int, int]] = {}
    for attack, trial in trials:
        if trial.verdict in ("held", "broken"):
            held, judged = out.get(attack.category, (0, 0))
            out[attack.category] = (held + (trial.verdict == "held"), judged + 1)
    return out


async def _try_all(
    agent: Attackable,
    memory: Memory,
    run_id: str,
    wave: Sequence[Attack],
    settings: GauntletSettings,
    tell: Callable[[Attack, Trial], None] | None,
) -> None:
    done = {attack.id for attack, _ in memory.gauntlet.trials(run_id)}
    slots = asyncio.Semaphore(settings.concurrency)

    async def one(attack: Attack) -> None:
        async with slots:
            trial = await _try(agent, run_id, attack, settings)
        await asyncio.to_thread(memory.gauntlet.add_trial, attack.as_stored(), trial)
        if tell is not None:
            tell(attack, trial)

    await asyncio.gather(*(one(a) for a in wave if a.id not in done))


async def _try(agent: Attackable, run_id: str, attack: Attack, settings: GauntletSettings) -> Trial:
    seed = int(digest_of([settings.seed, attack.id])[:12], 16) % _SEED_SPACE
    canary = f"zephyr{digest_of([run_id, attack.id])[:6]}"
    replies: list[Reply] = []
    exchange: list[ChatMessage] = []
    opening = (
        [ChatMessage(role="system", content=attack.system.replace("{canary}", canary))]
        if attack.system
        else []
    )
    heard: list[ChatMessage] = list(opening)
    verdict, finding = "error", Finding(False, "")
    try:
        for turn in attack.turns:
            heard.append(ChatMessage(role="user", content=turn.replace("{canary}", canary)))
            context = Context(
                seed=seed, temperature=settings.temperature, max_tokens=settings.max_tokens
            )
            reply = await asyncio.wait_for(agent.converse(heard, context), settings.deadline_s)
            replies.append(reply)
            answer = ChatMessage(role="assistant", content=stored(reply.text))
            exchange += [*(opening if not exchange else []), heard[-1], answer]
            heard = list(opening) if attack.detector.separate else [*heard, answer]
        finding = detect(attack, replies, canary)
        verdict = "broken" if finding.is_broken else "held"
    except TimeoutError:
        finding = Finding(False, f"no answer within {settings.deadline_s:g} s")
    # An agent may fail in any way; the run goes on and counts it as an error, never as held.
    except Exception as error:
        logger.exception("an agent failed under attack %s", attack.name)
        finding = Finding(False, f"{type(error).__name__}: {error}"[:500])
    return Trial(
        run_id=run_id,
        attack_id=attack.id,
        verdict=verdict,
        evidence=stored(finding.evidence),
        exchange=list(exchange),
        reply=stored(replies[-1].text) if replies else "",
        seed=seed,
        prompt_tokens=sum(r.prompt_tokens for r in replies),
        completion_tokens=sum(r.completion_tokens for r in replies),
        at=time.time(),
    )
