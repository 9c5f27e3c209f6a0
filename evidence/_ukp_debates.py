"""Arguments that people compared (UKPConvArg1Strict) as debates, and preferences learned from them.

First: two arguments for one side become the proposals of a real debate, and a judge that never saw
the label decides: the higher mean log-probability of a token under `nano`. The exported pairs are
compared with what people said, beside choosing the longer one.

Then: preference training on the people's pairs, in three folds over whole topics, so that each
topic is judged by a model that never saw it. What counts is DPO's own reward, the gain in
log-probability over the base. Exact tests over pairs, and over topics, because pairs share
arguments.
"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aragora.agents import AgentIdentity, Ballot, Candidate, Context, Quote, Reply
from aragora.debate import Arena, Environment, load_protocol
from aragora.memory import Memory
from aragora.training import DPOExporter
from aragora.training.ab_statistics import win_rate
from evidence._train import shared_data
from tensafe.evaluate.statistics import mcnemar_exact
from tinker_engine.connect import Connection, load_tokenizer, open_engine
from tinker_engine.recipes.chat_format import ChatFormat, ChatMessage
from tinker_engine.recipes.chat_model import ChatModel
from tinker_engine.recipes.dpo import PreferencePair, run_dpo
from tinker_engine.recipes.dpo_config import DpoConfig

DEBATES, FOLDS, TRAINED = 400, 3, 1200
CONFIG = DpoConfig(
    rank=16,
    alpha=32.0,
    beta=0.1,
    batch_size=16,
    epochs=1.0,
    learning_rate=1e-3,
    max_length=320,
    validation_fraction=0.0,
    checkpoint_steps=1000,
)
ALPHA = 0.05


@dataclass(frozen=True)
class Compared:
    """Two arguments of one topic, and whether people found the first more convincing."""

    topic: str
    first: str
    second: str
    is_first: bool

    @property
    def human(self) -> tuple[str, str]:
        """The better and the worse argument, by people."""
        return (self.first, self.second) if self.is_first else (self.second, self.first)


def read_pairs() -> list[Compared]:
    """All pairs, by topic."""
    folder = shared_data() / "preference" / "ukp_convincing_arguments"
    found: list[Compared] = []
    for path in sorted(folder.glob("*.csv")):
        for line in path.read_text("utf-8").splitlines()[1:]:
            _, label, *said = line.split("\t")
            first, second = (text.replace("<br/>", "\n").strip() for text in said)
            found.append(Compared(path.stem, first, second, label == "a1"))
    return found


def question(topic: str) -> str:
    """What both arguments answer."""
    about, _, side = topic.partition("_")
    about, side = (" ".join(part.replace("-", " ").split()) for part in (about, side))
    return f"{about.capitalize()}? Argue for: {side}."


def prompt_of(topic: str) -> list[ChatMessage]:
    """The question as a chat."""
    return [ChatMessage(role="user", content=question(topic))]


def _answer(text: str) -> list[ChatMessage]:
    return [ChatMessage(role="assistant", content=text)]


Scores = dict[tuple[str, str], list[float]]


def scores_under(model: ChatModel, pairs: Sequence[Compared]) -> Scores:
    """Log-probabilities of the tokens of every argument in the pairs."""
    said = sorted({(p.topic, text) for p in pairs for text in (p.first, p.second)})
    logprobs = model.completion_logprobs_many([(prompt_of(t), text) for t, text in said])
    return dict(zip(said, logprobs, strict=True))


class Speaker:
    """Says what somebody once wrote."""

    role = "proposer"

    def __init__(self, name: str, text: str) -> None:
        self.name, self.text = name, text

    def identity(self) -> AgentIdentity:
        return AgentIdentity("written", "none")

    async def respond(self, task: str, context: Context | None = None) -> Reply:
        return Reply(self.text, prompt=(ChatMessage(role="user", content=task),))

    async def critique(self, task: str, proposal: Quote, context: Context | None = None) -> Reply:
        raise NotImplementedError("nobody is asked for a critique here")

    async def vote(
        self, task: str, candidates: Sequence[Candidate], context: Context | None = None
    ) -> Ballot:
        raise NotImplementedError("only the judge votes here")


class LikelihoodJudge(Speaker):
    """Chooses the text whose tokens the base finds likelier on average."""

    role = "judge"

    def __init__(self, topic: str, scores: Scores) -> None:
        super().__init__("likelihood", "")
        self.topic, self.scores = topic, scores

    async def vote(
        self, task: str, candidates: Sequence[Candidate], context: Context | None = None
    ) -> Ballot:
        means = {c.label: _mean(self.scores[self.topic, c.text]) for c in candidates}
        best = max(means, key=lambda label: means[label])
        share = 1.0 / sum(2.718281828 ** (mean - means[best]) for mean in means.values())
        return Ballot(Reply(best), best, share, "likelihood")


async def debate_all(memory: Memory, pairs: Sequence[Compared], scores: Scores) -> None:
    """A debate for each pair; nothing in it knows the label."""
    protocol = load_protocol("judge", rounds=1, critique=False, revise=False, stop_when_agreed=0.0)
    for pair in pairs:
        agents = [
            Speaker("first", pair.first),
            Speaker("second", pair.second),
            LikelihoodJudge(pair.topic, scores),
        ]
        env = Environment(question(pair.topic), domain="persuasion", split="train")
        await Arena(env, agents, protocol, memory=memory, seed=0).run()


def agreement(pairs: Sequence[Compared], scores: Scores, home: Path) -> dict[str, Any]:
    """What the exported pairs have in common with what people said."""
    truth = {(p.topic, frozenset(p.human)): p.human[0] for p in pairs}
    topics = {question(p.topic): p.topic for p in pairs}
    with Memory.open(str(home / "ukp.sqlite3")) as memory:
        asyncio.run(debate_all(memory, pairs, scores))
        rows = DPOExporter(memory).export(min_elo_difference=0, near_duplicates=1.0)
    judged: list[bool] = []
    longer: list[bool] = []
    for row in rows:
        chosen, rejected = row["chosen"][0]["content"], row["rejected"][0]["content"]
        topic = topics[row["prompt"][0]["content"]]
        better = truth[topic, frozenset((chosen, rejected))]
        judged.append(better == chosen)
        longer.append(better == max(chosen, rejected, key=len))
    print(rows.report.explain())
    return {
        "debates": len(pairs),
        "exported": len(rows),
        "agreement": _share(judged),
        "length_agreement": _share(longer),
    }


def learned(connection: Connection, chat: ChatFormat, pairs: list[Compared], home: Path) -> Scores:
    """Rewards (one value) of all arguments, each by the fold that never saw its topic."""
    topics = sorted({p.topic for p in pairs})
    rewards: Scores = {}
    for fold in range(FOLDS):
        held = set(topics[fold::FOLDS])
        rest = [p for p in pairs if p.topic not in held]
        trained = random.Random(fold).sample(rest, min(TRAINED, len(rest)))
        rows = [
            PreferencePair(prompt_of(p.topic), _answer(p.human[0]), _answer(p.human[1]))
            for p in trained
        ]
        began = time.monotonic()
        result = run_dpo(
            connection.service_client,
            chat,
            rows,
            CONFIG,
            home / f"fold-{fold}",
            base_model="nano",
            hidden_size=256,
            has_dpo_loss="dpo" in connection.capabilities().get("losses", ()),
        )
        tested = [p for p in pairs if p.topic in held]
        client = connection.service_client.create_sampling_client(model_path=result.checkpoint)
        for key, logprobs in scores_under(ChatModel(client, chat, "dpo"), tested).items():
            rewards[key] = [sum(logprobs)]
        last = result.history[-10:]
        print(
            f"fold {fold}: {result.steps} steps, {time.monotonic() - began:.0f} s, "
            f"training accuracy at the end {sum(p.accuracy or 0 for p in last) / len(last):.3f}",
            flush=True,
        )
    return rewards


def compared(
    pairs: Sequence[Compared], ours: Sequence[bool], theirs: Sequence[bool]
) -> dict[str, Any]:
    """Both ways of ranking on the same pairs, with an exact test over pairs and one over topics."""
    by_topic: dict[str, list[float]] = defaultdict(list)
    for pair, one, other in zip(pairs, ours, theirs, strict=True):
        by_topic[pair.topic].append(0.5 + 0.5 * (one - other))
    better = sum(a and not b for a, b in zip(ours, theirs, strict=True))
    worse = sum(b and not a for a, b in zip(ours, theirs, strict=True))
    return {
        "gain": round((better - worse) / len(pairs), 4),
        "p_pairs": mcnemar_exact(better, worse),
        "p_topics": win_rate(by_topic).test.p_value,
    }


def preference() -> tuple[dict[str, Any], bool]:
    """Part three: figures, and whether the trained model beats base and length."""
    pairs = read_pairs()
    with tempfile.TemporaryDirectory() as name, open_engine("embedded") as connection:
        home = Path(name)
        os.environ["ARAGORA_HOME"] = str(home)
        chat = ChatFormat(load_tokenizer(connection))
        base = connection.service_client.create_sampling_client(base_model="nano")
        scores = scores_under(ChatModel(base, chat, "nano"), pairs)
        sample = random.Random(1).sample(pairs, DEBATES)
        judge = agreement(sample, scores, home)
        print("debates", judge, flush=True)
        rewards = learned(connection, chat, pairs, home)
    ranked: dict[str, list[bool]] = defaultdict(list)
    for pair in pairs:
        better, worse = ((pair.topic, text) for text in pair.human)
        gains = [rewards[key][0] - sum(scores[key]) for key in (better, worse)]
        ranked["dpo_reward"].append(gains[0] > gains[1])
        ranked["base_sum"].append(sum(scores[better]) > sum(scores[worse]))
        ranked["base_mean"].append(_mean(scores[better]) > _mean(scores[worse]))
        ranked["length"].append(len(better[1]) > len(worse[1]))
    accuracy = {way: _share(right) for way, right in ranked.items()}
    over = {
        way: compared(pairs, ranked["dpo_reward"], ranked[way])
        for way in ("base_sum", "base_mean", "length")
    }
    figures = {"pairs": len(pairs), "judge": judge, "accuracy": accuracy, "over": over}
    print("held-out topics", accuracy, over, flush=True)
    holds = judge["exported"] > 0 and all(
        one["gain"] > 0 and one["p_pairs"] < ALPHA and one["p_topics"] < ALPHA
        for one in over.values()
    )
    return figures, holds


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _share(values: Sequence[bool]) -> float:
    return round(sum(values) / max(1, len(values)), 4)
