"""Agents on the Tinker API: a base model with adapters that were let in, and nothing else.

    agent = TinkerAgent(name="ann")  # the embedded engine's `nano`, or what TINKER_* names
    reply = await agent.respond("Which is dearer, $5 or $7?")

Everything is sampled through the official SDK (`tinker_engine.connect`). An adapter is used only
after `admit` (see `aragora.agents.adapters`); a refused one leaves the agent as it was. Besides, a
`model_id` names what was trained on the engine itself: by the registry, which answers for its
digest, or by a `tinker://` path, for which the caller does. Files from elsewhere have to be let in.
"""

from __future__ import annotations

import asyncio
import logging
import math
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from aragora.agents.adapters import (
    AdapterAdmission,
    AdapterSet,
    AdmissionRequest,
    AdmittedAdapter,
    NoAdmission,
    Verdict,
)
from aragora.agents.chat_agent import ChatAgent, Completion
from aragora.agents.prompts import MAX_TOTAL_CHARS, Prompts, Style
from aragora.agents.quoting import MAX_QUOTE_CHARS
from aragora.agents.reading import MAX_ANSWER_CHARS
from aragora.agents.records import AgentIdentity, Ballot, Candidate, Context, Reply
from aragora.errors import AdapterRefusedError, AgentError, UsageError
from aragora.memory.records import AgentEvent, Role
from tinker_engine.recipes.chat_format import ChatMessage

if TYPE_CHECKING:
    from aragora.agents.served_model import ServedModel
    from tensafe.tgsp.manifest import CreatorPart

logger = logging.getLogger(__name__)

Voting = Literal["written", "likelihood"]
_BRIEF_QUOTE_CHARS = 240
_BRIEF_TOTAL_CHARS = 720


class TinkerAgent(ChatAgent):
    """A debate agent on a Tinker-compatible engine.

    Args:
        name: what ratings are kept under.
        model: base model (name, alias); None is TINKER_BASE_MODEL or the engine's own.
        model_id: a `tinker://` path of sampler weights, or an id that `find_model` knows. Opening
            raises AdapterRefusedError for a model that the registry got from a folder or a path,
            or that answers with other weights than were registered.
        adapter: an admitted adapter to begin with.
        role: proposer, critic or judge.
        voting: `written` asks for a choice and a confidence; `likelihood` takes both from the
            probabilities that the model gives the candidates as answers. None: by likelihood on
            bases with a short context, else written.
        admission: the gate that `admit` asks; the default refuses everything.
        on_event: told of every adapter admitted, refused or switched to.
        find_model: from a model id to its `tinker://` path; the model registry by default.
    """

    def __init__(
        self,
        name: str,
        model: str | None = None,
        model_id: str | None = None,
        adapter: str | None = None,
        role: Role = "proposer",
        *,
        engine: str | None = None,
        persona: str = "",
        temperature: float = 0.7,
        style: Style | None = None,
        voting: Voting | None = None,
        adapters: AdapterSet | None = None,
        admission: AdapterAdmission | None = None,
        on_event: Callable[[AgentEvent], None] | None = None,
        find_model: Callable[[str], str] | None = None,
    ) -> None:
        super().__init__(name, role=role, persona=persona, temperature=temperature)
        self._model, self._engine = model, engine
        self._style: Style | None = style
        self._voting: Voting | None = voting
        self._model_id = model_id
        self._find_model = find_model
        self._adapters = adapters or AdapterSet.of(name)
        self._admission = admission or NoAdmission()
        self._on_event = on_event
        self._served: ServedModel | None = None
        self._loaded: dict[str, tuple[str, CreatorPart]] = {}
        # What answers: path and digest belong together and change in one assignment.
        self._active: tuple[str | None, AdmittedAdapter | None] = (None, None)
        self._model_digest: str | None = None
        if adapter is not None:
            self.set_adapter(adapter)

    def open(self) -> ServedModel:
        """The connected model, connecting on first use; raises what connecting raises."""
        if self._served is None:
            from aragora.agents.served_model import served_model

            served = served_model(self._model, self._engine)
            fitting: Style = "brief" if served.is_small else "full"
            style = fitting if self._style is None else self._style
            self._prompts = Prompts(
                style,
                persona=self.persona,
                quote_chars=_BRIEF_QUOTE_CHARS if style == "brief" else MAX_QUOTE_CHARS,
                total_chars=_BRIEF_TOTAL_CHARS if style == "brief" else MAX_TOTAL_CHARS,
            )
            if self._voting is None:
                self._voting = "likelihood" if style == "brief" else "written"
            if self._model_id is not None and self._active[1] is None:
                self._active = (self._path_of(self._model_id, served), None)
            self._served = served
        return self._served

    def identity(self) -> AgentIdentity:
        """The base that is really served, and the adapter on it."""
        served = self.open()
        return self._identity(served, *self._active)

    def admit(self, adapter: str, package: Path) -> Verdict:
        """Ask the gate for a package; when it says yes, it is loaded and may be switched to.

        Raises AdapterRefusedError with the gate's reason; the agent stays as it was.
        """
        served = self.open()
        active = self._active[1]
        request = AdmissionRequest(
            self._name, adapter, package, served.running(), active.digest if active else None
        )
        verdict = self._admission.judge(request)
        if not (verdict.is_admitted and verdict.payload_digest and verdict.package_digest):
            self._tell("refused", adapter, verdict.payload_digest or None, verdict.reason)
            raise AdapterRefusedError(f"{package}: not admitted as {adapter!r}: {verdict.reason}")
        member = AdmittedAdapter(
            name=adapter,
            package=str(package.resolve()),
            digest=verdict.payload_digest,
            package_digest=verdict.package_digest,
            reason=verdict.reason,
            at=time.time(),
            base=_base_of(served),
        )
        self._load(served, member)
        self._adapters.add(member)
        self._tell("admitted", adapter, member.digest, verdict.reason)
        return verdict

    def set_adapter(self, adapter: str | None) -> None:
        """Switch to an admitted adapter (None: the bare base); turns already begun keep theirs.

        Raises AdapterRefusedError for any other; the agent keeps the one it had.
        """
        if adapter is None:
            self._active = (None, None)
            self._tell("switched", "", None, "back to the bare base")
            return
        try:
            member = self._adapters.get(adapter)
            path = self._load(self.open(), member)
        except AdapterRefusedError as error:
            self._tell("refused", adapter, None, str(error))
            raise
        self._tell("switched", adapter, member.digest, member.reason)
        self._active = (path, member)

    async def complete(
        self, messages: Sequence[ChatMessage], *, seed: int, temperature: float, max_tokens: int
    ) -> Completion:
        """One sample of the active adapter."""
        served = await asyncio.to_thread(self.open)
        path, member = self._active
        tokens = served.prompt_tokens(messages)
        got = await served.sample(
            path, tokens, seed=seed, temperature=temperature, max_tokens=max_tokens
        )
        identity = self._identity(served, path, member)
        return Completion(got.text, len(tokens), len(got.tokens), got.stop_reason, identity)

    async def respond(self, task: str, context: Context | None = None) -> Reply:
        """Answer the task, or revise one's answer."""
        await asyncio.to_thread(self.open)
        return await super().respond(task, context)

    async def stream(self, task: str, context: Context | None = None) -> AsyncIterator[str]:
        """`respond` in pieces, each given out before the next one is computed.

        At temperature 0 the pieces join to what `respond` gives.
        """
        context = context or Context()
        served = await asyncio.to_thread(self.open)
        path, _ = self._active
        temperature = self.temperature if context.temperature is None else context.temperature
        prompt = served.prompt_tokens(self._prompts.respond(task, context).messages)
        pieces = served.sample_pieces(
            path, prompt, seed=context.seed, temperature=temperature, max_tokens=context.max_tokens
        )
        async for piece in pieces:
            yield piece

    async def vote(
        self, task: str, candidates: Sequence[Candidate], context: Context | None = None
    ) -> Ballot:
        """A written vote, or one by likelihood (see `voting`)."""
        await asyncio.to_thread(self.open)
        if self._voting == "written":
            return await super().vote(task, candidates, context)
        return await self._vote_by_likelihood(task, candidates, context or Context())

    async def _vote_by_likelihood(
        self, task: str, candidates: Sequence[Candidate], context: Context
    ) -> Ballot:
        """Probabilities of the distinct answers as completions of the task, made to sum to 1.

        One answer alone gets its own probability, not certainty.
        """
        served = self.open()
        path, member = self._active
        prompt = Prompts("brief", persona=self.persona).vote(task, candidates, Context())
        answers = list(dict.fromkeys(c.answer[:MAX_ANSWER_CHARS] for c in candidates))
        scored = await asyncio.gather(
            *(served.logprob(path, prompt.messages, answer) for answer in answers)
        )
        logs = [log for log, _ in scored]
        best = max(range(len(answers)), key=lambda i: logs[i])
        if math.isinf(logs[best]):
            raise AgentError(f"no candidate fits into the context of {served.name}")
        total = 1.0 if len(answers) == 1 else sum(math.exp(log - logs[best]) for log in logs)
        confidence = math.exp(logs[0]) if len(answers) == 1 else 1.0 / total
        choice = next(c.label for c in candidates if c.answer[:MAX_ANSWER_CHARS] == answers[best])
        reply = Reply(
            text=f"{choice} ({confidence:.3f})",
            prompt=prompt.messages,
            identity=self._identity(served, path, member),
            prompt_tokens=sum(count for _, count in scored),
            stop_reason="stop",
            seed=context.seed,
            neutralised=prompt.neutralised,
            extra={"logprobs": dict(zip(answers, logs, strict=True))},
        )
        return Ballot(reply, choice, confidence, "likelihood", self._role)

    def _identity(
        self, served: ServedModel, path: str | None, member: AdmittedAdapter | None
    ) -> AgentIdentity:
        name = member.name if member else (self._model_id if path is not None else None)
        digest = member.digest if member else (self._model_digest if path is not None else None)
        return AgentIdentity("tinker", served.name, served.base_digest, name, digest)

    def _path_of(self, model_id: str, served: ServedModel) -> str:
        """The path of a model; notes the digest that answers there, where the server tells it."""
        from aragora.training.checkpoints import served_digest
        from aragora.training.model_registry import get_registry

        expected = ""
        if model_id.startswith("tinker://"):
            path = model_id
        elif self._find_model is not None:
            path = self._find_model(model_id)
        else:
            model = get_registry().get(model_id)
            if model.base_model != served.name:
                raise UsageError(
                    f"model {model_id!r} was trained on {model.base_model}, and agent "
                    f"{self._name!r} speaks to {served.name}; give model={model.base_model!r}"
                )
            if not model.checkpoint:
                raise UsageError(f"{model_id!r} has no weights: {model.notes or 'none were kept'}")
            if not model.is_trained_here:
                raise AdapterRefusedError(
                    f"model {model_id!r} was not trained here ({model.notes or 'registered'}): "
                    "pack its adapter, and let the package in with admit"
                )
            path, expected = model.checkpoint, model.adapter_digest
        digest = served_digest(served, path)
        if expected and digest != expected:
            raise AdapterRefusedError(
                f"{path} answers with {digest[:12] or 'a digest that it does not tell'}, and "
                f"{model_id!r} was registered with {expected[:12]}"
            )
        self._model_digest = digest or None
        return path

    def _load(self, served: ServedModel, member: AdmittedAdapter) -> str:
        """The path of an adapter on the engine.

        Each time, base and creator have to be what the gate would still let in; the package is
        read once, and must be the one that was admitted.
        """
        from tensafe.errors import TensafeError
        from tinker_engine.errors import EngineError

        if member.base != _base_of(served):
            raise AdapterRefusedError(
                f"adapter {member.name!r} was let in for base {member.base[:16] or 'unknown'}, and "
                f"agent {self._name!r} speaks to {served.name} ({_base_of(served)[:16]}); admit "
                "its package for that one"
            )
        try:
            loaded = self._loaded.get(member.package_digest)
            if loaded is None:
                loaded = self._loaded[member.package_digest] = self._read(served, member)
            path, creator = loaded
            _require_trusted(creator)
        except (TensafeError, EngineError, OSError) as error:
            raise AdapterRefusedError(f"adapter {member.name!r}: {error}") from error
        return path

    def _read(self, served: ServedModel, member: AdmittedAdapter) -> tuple[str, CreatorPart]:
        """Verify a package by the trust store and upload its adapter; its path and creator."""
        import shutil

        from tensafe.screen.subject import write_adapter_files
        from tensafe.tgsp import load_trust, open_package, package_digest, trust_path, verify

        with tempfile.TemporaryDirectory() as scratch:
            copy, folder = Path(shutil.copy(member.package, scratch)), Path(scratch) / "files"
            if package_digest(copy) != member.package_digest:
                raise AdapterRefusedError(
                    f"{member.package} is no longer what was admitted as {member.name!r}"
                )
            with open_package(copy) as package:
                view = verify(package, load_trust(trust_path())).require().view
                write_adapter_files(package, view, folder)
            path = served.upload(folder)
            served.load(path)
        return path, view.creator

    def _tell(self, kind: str, adapter: str, digest: str | None, reason: str) -> None:
        active = self._active[1]
        before = active.name if active else None
        logger.info("%s: adapter %r %s: %s", self._name, adapter, kind, reason)
        if self._on_event is not None:
            event = AgentEvent(self._name, kind, adapter, digest, before, reason, time.time())
            self._on_event(event)


def _base_of(served: ServedModel) -> str:
    """What tells bases apart: the digest, the name on servers that don't give one."""
    return served.base_digest or served.name


def _require_trusted(creator: CreatorPart) -> None:
    """Raises VerificationError unless the trust store holds the creator today."""
    from datetime import UTC, datetime

    from tensafe.errors import VerificationError
    from tensafe.tgsp import load_trust, trust_path
    from tensafe.tgsp.verification import trust_finding

    found = trust_finding(creator, load_trust(trust_path()), datetime.now(UTC))
    if found.state != "trusted":
        raise VerificationError(f"its creator's key is {found.state}: {found.reason}")


class TinkerLlamaAgent(TinkerAgent):
    """Llama 3.3 70B unless another model is named."""

    def __init__(self, name: str, model: str | None = "llama-3.3-70b", **settings: object) -> None:
        super().__init__(name, model, **settings)  # pyright: ignore[reportArgumentType]


class TinkerQwenAgent(TinkerAgent):
    """Qwen 2.5 72B unless another model is named."""

    def __init__(self, name: str, model: str | None = "qwen-2.5-72b", **settings: object) -> None:
        super().__init__(name, model, **settings)  # pyright: ignore[reportArgumentType]


class TinkerDeepSeekAgent(TinkerAgent):
    """DeepSeek V3 unless another model is named."""

    def __init__(self, name: str, model: str | None = "deepseek-v3", **settings: object) -> None:
        super().__init__(name, model, **settings)  # pyright: ignore[reportArgumentType]
