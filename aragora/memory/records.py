"""What the rest of aragora knows of the store: frozen records, one for each table.

Field names are the columns' names; meanings stand in `tables` and in docs/design/0013. A record is
never changed: the store gives new ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Role = Literal["proposer", "critic", "judge"]
Phase = Literal["propose", "critique", "revise", "vote", "judge"]
# What became of one turn. Only `ok` texts count; `cut` was too long and is kept up to the limit.
Status = Literal["ok", "cut", "empty", "timeout", "crashed", "unreadable", "over_budget"]
Split = Literal["train", "held_out", "none"]
DebateState = Literal["running", "done", "failed"]
Basis = Literal["verifier", "votes"]
NO_TARGET = -1
OVERALL = ""


@dataclass(frozen=True)
class Task:
    """What is debated. `id` is `task_digest` of the other three texts; no answer key is held."""

    id: str
    text: str
    context: str = ""
    domain: str = "general"
    source: str = ""
    created_at: float = 0.0


@dataclass(frozen=True)
class Debate:
    """One debate's settings and state; `labels` are the caller's own words about it."""

    id: str
    task_id: str
    domain: str
    split: Split
    protocol_name: str
    protocol_digest: str
    protocol: dict[str, Any]
    seed: int
    state: DebateState
    started_at: float
    ended_at: float | None = None
    error: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    labels: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Participant:
    """Who sat on a seat, with the ratings they had when the debate began."""

    debate_id: str
    seat: int
    agent: str
    kind: str
    role: Role
    model: str
    base_digest: str | None = None
    adapter: str | None = None
    adapter_digest: str | None = None
    elo_before: float | None = None
    domain_elo_before: float | None = None


@dataclass(frozen=True)
class Message:
    """One turn. `target` is the seat a critique is about, else -1; `id` is 0 until stored.

    `prompt` is a list of chat messages; `answer` what was read out of `text`, `answer_key` its
    normal form (equal keys are equal answers). `text_chars` counts what the agent gave,
    `neutralised` the marks taken out of what it was shown of others.
    """

    debate_id: str
    round: int
    phase: Phase
    seat: int
    target: int
    status: Status
    attempts: int
    text: str
    seed: int
    started_at: float
    latency_s: float
    prompt: list[Any] = field(default_factory=list[Any])
    prompt_digest: str = ""
    text_chars: int = 0
    error: str | None = None
    answer: str | None = None
    answer_key: str | None = None
    confidence: float | None = None
    confidence_source: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    stop_reason: str | None = None
    cost_usd: float = 0.0
    model: str = ""
    adapter_digest: str | None = None
    temperature: float = 0.0
    max_tokens: int = 0
    neutralised: int = 0
    id: int = 0

    @property
    def is_usable(self) -> bool:
        """Whether the text counts as something said."""
        return self.status in ("ok", "cut")

    @property
    def is_whole(self) -> bool:
        """Whether the text ends where its agent ended it, not at a limit."""
        return self.status == "ok" and self.stop_reason != "length"

    @property
    def turn(self) -> tuple[int, int, int, int]:
        """Sorts a debate's messages by whose turn it was; `id` tells who answered first."""
        return (self.round, get_args(Phase).index(self.phase), self.seat, self.target)


@dataclass(frozen=True)
class Round:
    """Answers after a round: how many seats gave each answer key, and the largest one's share."""

    debate_id: str
    number: int
    answers: dict[str, Any]
    agreement: float
    started_at: float
    ended_at: float


@dataclass(frozen=True)
class Critique:
    """A critique with the scores of its target before and after, on the given basis."""

    message_id: int
    debate_id: str
    seat: int
    target_seat: int
    before_message_id: int
    after_message_id: int | None
    issue: str
    suggestion: str
    score_before: float | None = None
    score_after: float | None = None
    basis: str | None = None
    improved: bool | None = None


@dataclass(frozen=True)
class Vote:
    """One vote; a vote that can't be counted has no choice and says why in `invalid`."""

    message_id: int
    debate_id: str
    round: int
    seat: int
    choice_seat: int | None
    confidence: float | None
    invalid: str | None = None


@dataclass(frozen=True)
class Outcome:
    """How a debate ended; `confidence` in [0, 1] is the weight behind the answer."""

    debate_id: str
    consensus: str
    is_reached: bool
    decided_by: str
    winner_seat: int | None
    answer: str | None
    answer_key: str | None
    confidence: float
    agreement: float
    rounds: int
    stopped: str


@dataclass(frozen=True)
class Standing:
    """A proposer's place (1 is best, equal is tied), with its first and last answer."""

    debate_id: str
    seat: int
    place: int
    score: float
    first_message_id: int | None
    final_message_id: int | None


@dataclass(frozen=True)
class Verdict:
    """What a verifier said of a message; `uses_key` when it knew the right answer."""

    debate_id: str
    message_id: int
    verifier: str
    score: float
    uses_key: bool
    at: float
    id: int = 0


@dataclass(frozen=True)
class Rating:
    """A rating now; `domain` "" is overall. `sigma` is openskill's, None for Elo."""

    agent: str
    domain: str
    system: str
    value: float
    sigma: float | None = None
    games: int = 0
    wins: int = 0
    draws: int = 0
    losses: int = 0
    updated_at: float = 0.0


@dataclass(frozen=True)
class RatingChange:
    """One step of a rating's history; `score` in [0, 1] is what the agent made of the debate."""

    debate_id: str
    agent: str
    adapter_digest: str | None
    domain: str
    system: str
    before: float
    after: float
    sigma_before: float | None
    sigma_after: float | None
    score: float
    at: float
    id: int = 0


@dataclass(frozen=True)
class Calibration:
    """A confidence and whether it came true, on the given basis (`verifier` or `outcome`)."""

    debate_id: str
    message_id: int | None
    agent: str
    adapter_digest: str | None
    domain: str
    confidence: float
    is_right: bool
    basis: str
    at: float
    id: int = 0


@dataclass(frozen=True)
class Pattern:
    """An issue and a suggestion, how often used, and how often an improvement followed."""

    id: str
    domain: str
    issue: str
    suggestion: str
    uses: int
    successes: int
    first_at: float
    last_at: float


@dataclass(frozen=True)
class AgentEvent:
    """What happened to an agent's adapters: admitted, refused or switched."""

    agent: str
    kind: str
    adapter: str
    adapter_digest: str | None
    before: str | None
    reason: str
    at: float
    id: int = 0


@dataclass(frozen=True)
class GauntletRun:
    """One run of attacks against one agent."""

    id: str
    agent: str
    model: str
    adapter_digest: str | None
    settings: dict[str, Any]
    state: str
    started_at: float
    ended_at: float | None = None


@dataclass(frozen=True)
class StoredAttack:
    """One attack as stored; `content` is the attack's whole definition."""

    id: str
    name: str
    category: str
    severity: str
    generation: int
    operator: str | None
    parent_id: str | None
    content: dict[str, Any]


@dataclass(frozen=True)
class Trial:
    """One attack tried: verdict `broken`, `held` or `error`, with the whole exchange."""

    run_id: str
    attack_id: str
    verdict: str
    evidence: str
    exchange: list[Any]
    reply: str
    seed: int
    prompt_tokens: int
    completion_tokens: int
    at: float
    id: int = 0


@dataclass(frozen=True)
class Deletion:
    """What remains of a deletion."""

    subject_id: str | None
    reason: str
    debates: int
    training_sets: list[Any]
    at: float
    id: int = 0


@dataclass(frozen=True)
class TrainingSet:
    """An exported training file, by the digest of its bytes."""

    id: str
    kind: str
    digest: str
    rows: int
    settings: dict[str, Any]
    created_at: float


@dataclass(frozen=True)
class TrainingSource:
    """Which record made a row's part (`completion`, `chosen`, `rejected`, …)."""

    training_set_id: str
    row: int
    part: str
    record_kind: str
    record_id: str
    debate_id: str | None


@dataclass(frozen=True)
class Evaluation:
    """One A/B test: its figures, the tasks' texts by key, and every trial."""

    id: str
    kind: str
    agent: str
    adapter_digest: str | None
    baseline: str
    figures: dict[str, Any]
    texts: dict[str, Any]
    trials: list[Any]
    at: float
