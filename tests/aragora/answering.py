"""An agent whose answers a test computes: the rules of measuring need no model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aragora.agents import AgentIdentity, Ballot, Candidate, Context, Quote, Reply
from aragora.memory.records import Role

Said = Callable[[str, int, float | None], str]


def always(answer: str) -> Said:
    """A `said` that gives one answer to everything."""

    def said(task: str, seed: int, temperature: float | None) -> str:
        del task, seed, temperature
        return answer

    return said


def first_shown(candidates: Sequence[Candidate]) -> str | None:
    """A vote that goes by place alone."""
    return candidates[0].label


class Answering:
    """Answers by a function of task, seed and temperature; votes by a function of candidates."""

    def __init__(
        self,
        name: str,
        said: Said,
        *,
        vote: Callable[[Sequence[Candidate]], str | None] | None = None,
        model: str | None = None,
    ) -> None:
        self.name = name
        self.role: Role = "proposer"
        self.seeds: list[int] = []
        self.shown: list[tuple[str, ...]] = []
        self._said = said
        self._vote = vote or first_shown
        self._model = model or name

    def identity(self) -> AgentIdentity:
        return AgentIdentity("scripted", self._model)

    async def respond(self, task: str, context: Context | None = None) -> Reply:
        assert context is not None
        self.seeds.append(context.seed)
        text = self._said(task, context.seed, context.temperature)
        return Reply(text, prompt_tokens=5, completion_tokens=1)

    async def critique(self, task: str, proposal: Quote, context: Context | None = None) -> Reply:
        raise NotImplementedError

    async def vote(
        self, task: str, candidates: Sequence[Candidate], context: Context | None = None
    ) -> Ballot:
        self.shown.append(tuple(c.answer for c in candidates))
        choice = self._vote(candidates)
        return Ballot(Reply(str(choice), prompt_tokens=3), choice, 0.75, "stated")
