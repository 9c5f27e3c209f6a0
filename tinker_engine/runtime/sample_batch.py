"""The running batch of all sampling requests, one step at a time.

A step appends one token to every running row, whatever its adapter, reads a bounded part of the
prompts that wait, and starts rows behind those that are read. A request never waits for another's
end, a long prompt stalls nobody, and what a request gets is a function of itself alone.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tinker_engine.errors import NonFiniteError, RequestError
from tinker_engine.numerics.cross_entropy import mixed_logits
from tinker_engine.numerics.network import Decoder, Piece
from tinker_engine.runtime.prefix_cache import SHORTEST, PrefixCache, shared_tokens
from tinker_engine.runtime.prompt_scores import PromptScores, has_prompt_scores, prompt_scores
from tinker_engine.runtime.records import SampledSequence, SampleRequest, SampleResult
from tinker_engine.runtime.sample_models import SampledModel, SampledWeights
from tinker_engine.runtime.sample_watch import Watch
from tinker_engine.runtime.sampler import (
    Row,
    TextRules,
    check_request,
    choose,
    likeliest,
    room_of,
)

logger = logging.getLogger(__name__)

MOST_ROWS = 128
# Prompt tokens read in a step: few while rows run, as each of them waits for it.
READ_IDLE = 2048
READ_RUNNING = 256


@dataclass(eq=False)
class Ticket:
    """One request on its way through the batch; `begun` of its samples have started.

    Memory is promised to it before it is needed: `first_bytes` when it is opened, then
    `prompt_bytes` for as long as samples are to start, and `row_bytes` for each that runs.
    """

    model: SampledModel
    request: SampleRequest
    watch: Watch
    room: int
    row_bytes: int
    prompt_bytes: int
    first_bytes: int
    prompt: Any = None
    hidden: list[Tensor] = field(default_factory=list[Tensor])
    scores: PromptScores = field(default_factory=PromptScores)
    is_settled: bool = False
    begun: int = 0
    sequences: dict[int, SampledSequence] = field(default_factory=dict[int, SampledSequence])

    @property
    def is_read(self) -> bool:
        """Whether the whole prompt has been read."""
        return self.prompt is not None and self.prompt.read == len(self.request.prompt)

    def result(self) -> SampleResult:
        """The answer, once all samples have ended."""
        return SampleResult(
            [self.sequences[sample] for sample in range(self.request.num_samples)],
            prompt_logprobs=self.scores.logprobs,
            topk_prompt_logprobs=self.scores.topk,
            prompt_targets=self.scores.targets,
            prompt_targets_layout=self.request.prompt_targets_layout,
            prompt_alt_tokens=self.scores.alternatives,
        )


Ended = tuple[Ticket, SampleResult | Exception]


class SampleBatch:
    """Requests go in by `add` and come out of `step`, in whatever order they end."""

    def __init__(
        self,
        rules: TextRules,
        make_decoder: Callable[[], Decoder],
        weights: SampledWeights,
        prefixes: PrefixCache,
        limit_bytes: int,
    ) -> None:
        self._rules = rules
        self._make_decoder = make_decoder
        self._decoder = make_decoder()
        self._weights = weights
        self._prefixes = prefixes
        self._limit = limit_bytes
        self._waiting: deque[Ticket] = deque()
        self._open: list[Ticket] = []
        self._rows: dict[int, tuple[Ticket, Row]] = {}
        self._next_row = 0
        self._ended: list[Ended] = []

    def add(self, model: SampledModel, request: SampleRequest, watch: Watch) -> Ticket:
        """Take in a request; raises RequestError for one that can never be answered."""
        check_request(request, self._rules)
        room = room_of(request, self._rules)
        length = len(request.prompt)
        row_bytes = self._decoder.bytes_for(length + max(room - 1, 0)) if room > 0 else 0
        prompt_bytes = self._decoder.bytes_for(length)
        first_bytes = prompt_bytes + row_bytes
        if self._decoder.piece_tokens is None:
            # All samples start at once, in a cache that holds the prompt as well.
            first_bytes, prompt_bytes = max(prompt_bytes, row_bytes * request.num_samples), 0
        if first_bytes > self._limit:
            raise RequestError(
                f"a prompt of {length} tokens with {room} new ones needs "
                f"{first_bytes / 1e6:.1f} MB of keys and values; this engine has "
                f"{self._limit / 1e6:.1f} MB for them (sample_memory_bytes): ask for fewer tokens"
            )
        ticket = Ticket(model, request, watch, room, row_bytes, prompt_bytes, first_bytes)
        self._waiting.append(ticket)
        return ticket

    @property
    def is_busy(self) -> bool:
        """Whether a step has something to do."""
        return bool(self._waiting or self._open or self._rows)

    @property
    def row_count(self) -> int:
        """Rows that are running."""
        return len(self._rows)

    def step(self) -> list[Ended]:
        """One token for every row and a bounded part of the prompts; what has ended by it."""
        self._ended = []
        with torch.inference_mode():
            self._leave()
            if self._rows:
                self._advance()
            self._admit()
            self._read()
            self._begin()
        return self._ended

    def abandon(self, error: Exception) -> list[Ended]:
        """Give up all that is under way, after a step failed; what waits is left to wait."""
        under_way = [*self._open, *(ticket for ticket, _ in self._rows.values())]
        self._open, self._rows = [], {}
        self._decoder = self._make_decoder()
        return [(ticket, error) for ticket in dict.fromkeys(under_way)]

    def _leave(self) -> None:
        """Free what belongs to cancelled requests."""
        running = [ticket for ticket, _ in self._rows.values()]
        for ticket in dict.fromkeys([*self._waiting, *self._open, *running]):
            if ticket.watch.is_cancelled():
                self._fail(ticket, RequestError("cancelled by the client"))

    def _fail(self, ticket: Ticket, error: Exception) -> None:
        """Take a request out, with all that is its own, and leave the others as they are."""
        self._waiting = deque(t for t in self._waiting if t is not ticket)
        self._open = [t for t in self._open if t is not ticket]
        mine = [number for number, (owner, _) in self._rows.items() if owner is ticket]
        self._drop(mine, wipe=True)
        self._ended.append((ticket, error))

    def _drop(self, numbers: Sequence[int], *, wipe: bool = False) -> None:
        for number in numbers:
            del self._rows[number]
        if numbers:
            self._decoder.drop(numbers, wipe=wipe)

    def _advance(self) -> None:
        spans = self._decoder.spans()
        numbers = [number for _, rows in spans for number in rows]
        tokens = torch.tensor([self._rows[number][1].tokens[-1] for number in numbers])
        weights = self._weights.of(self._models([self._rows[n][0] for n in numbers]))
        adapted = {key: model.adapted for key, model in weights.items()}
        hidden = self._decoder.advance(tokens, adapted)
        logits = mixed_logits([(weights[key].head, len(rows)) for key, rows in spans], hidden)
        rows = [self._rows[number] for number in numbers]
        self._take(rows, logits)
        over = [n for n in numbers if n in self._rows and self._rows[n][1].stop_reason is not None]
        for number in over:
            ticket, row = self._rows[number]
            self._remember(ticket, row, number)
        self._drop(over)

    def _take(self, rows: Sequence[tuple[Ticket, Row]], logits: Tensor) -> None:
        """Choose a token for each row; a row that can't take it fails its request alone."""
        failed: set[int] = set()
        chosen = choose([row for _, row in rows], logits)
        for (ticket, row), (token, logprob, logits_V) in zip(rows, chosen, strict=True):
            if id(ticket) in failed:
                continue
            try:
                count = ticket.request.topk_sample_logprobs
                top = None if logits_V is None else likeliest(logits_V, count)
                row.take(token, logprob, top, self._rules)
            # Whatever is wrong with one request (its decoding, its watcher) is that one's alone.
            except Exception as error:
                if not isinstance(error, NonFiniteError):
                    logger.exception("a sampling request failed")
                failed.add(id(ticket))
                self._fail(ticket, error)
                continue
            if row.stop_reason is not None:
                self._end(ticket, row)

    def _end(self, ticket: Ticket, row: Row) -> None:
        ticket.sequences[row.sample] = row.sequence()
        if len(ticket.sequences) == ticket.request.num_samples:
            self._ended.append((ticket, ticket.result()))

    def _remember(self, ticket: Ticket, row: Row, number: int) -> None:
        """Keep what a conversation is likely to go on from."""
        if ticket.request.num_samples == 1:
            said = torch.tensor(row.tokens[:-1], dtype=torch.int64)
            tokens = torch.cat([torch.from_numpy(ticket.request.prompt), said]).numpy()
            kept = self._decoder.keep(number, tokens)
            if kept is not None:
                self._prefixes.put(ticket.model.key, kept)

    def _held_bytes(self) -> int:
        """What is promised to requests that are under way."""
        opened = sum(t.first_bytes if t.begun == 0 else t.prompt_bytes for t in self._open)
        return opened + sum(ticket.row_bytes for ticket, _ in self._rows.values())

    def _admit(self) -> None:
        """Open waiting requests in their order while rows and memory last."""
        held = self._held_bytes()
        left: deque[Ticket] = deque()
        while self._waiting:
            ticket = self._waiting[0]
            is_full = len(self._open) + len(self._rows) >= MOST_ROWS
            if is_full or held + ticket.first_bytes > self._limit:
                break
            self._waiting.popleft()
            if self._opens(ticket):
                held += ticket.first_bytes
            else:
                left.append(ticket)
        left.extend(self._waiting)
        self._waiting = left

    def _opens(self, ticket: Ticket) -> bool:
        """Begin to read a prompt, unless another that is being read begins alike: then wait."""
        tokens, key = ticket.request.prompt, ticket.model.key
        source, shared = None, 0
        if self._decoder.piece_tokens is not None and not has_prompt_scores(ticket.request):
            ahead = [
                shared_tokens(tokens[:-1], other.request.prompt)
                for other in self._open
                if other.model.key == key and not other.is_read
            ]
            source, shared = self._prefixes.longest(key, tokens)
            if max(ahead, default=0) >= shared + SHORTEST:
                return False
        self._prefixes.reused_tokens += shared
        ticket.prompt = self._decoder.begin(tokens, source, shared)
        self._open.append(ticket)
        return True

    def _read(self) -> None:
        """Read the next pieces of prompts, as many as a step allows."""
        budget = READ_RUNNING if self._rows else READ_IDLE
        pieces: list[tuple[Ticket, Piece]] = []
        for ticket in self._open:
            if not ticket.is_read and budget > 0:
                piece = self._piece(ticket)
                if pieces and piece.length > budget:
                    break
                pieces.append((ticket, piece))
                budget -= piece.length
        if not pieces:
            return
        try:
            self._read_pieces(pieces)
        # One prompt must not fail its neighbours, whatever is wrong with it.
        except Exception as error:
            logger.exception("reading prompts failed")
            if len(pieces) == 1:
                self._fail(pieces[0][0], error)
                return
            for each in pieces:
                try:
                    self._read_pieces([each])
                except Exception as own:
                    self._fail(each[0], own)

    def _piece(self, ticket: Ticket) -> Piece:
        size, stop = self._decoder.piece_tokens, len(ticket.request.prompt)
        if size is not None:
            stop = min(stop, (ticket.prompt.read // size + 1) * size)
        wants_all = has_prompt_scores(ticket.request)
        return Piece(ticket.prompt, ticket.model.key, stop, wants_all)

    def _read_pieces(self, pieces: Sequence[tuple[Ticket, Piece]]) -> None:
        weights = self._weights.of(self._models([ticket for ticket, _ in pieces]))
        adapted = {key: model.adapted for key, model in weights.items()}
        found = self._decoder.read([piece for _, piece in pieces], adapted)
        for (ticket, piece), hidden in zip(pieces, found, strict=True):
            if not piece.wants_all:
                ticket.hidden.clear()
            ticket.hidden.append(hidden)

    def _begin(self) -> None:
        """Start samples of prompts that are read, while rows and memory last."""
        held = self._held_bytes()
        starting: list[tuple[Ticket, Row, Tensor]] = []
        for ticket in [t for t in self._open if t.is_read]:
            if not ticket.is_settled:
                self._settle_prompt(ticket)
            while ticket.begun < ticket.request.num_samples:
                needed = ticket.row_bytes if ticket.begun else 0
                taken = len(self._rows) + len(starting)
                is_full = taken >= MOST_ROWS or held + needed > self._limit
                if is_full and self._decoder.piece_tokens is not None:
                    break
                row = Row(ticket.request, ticket.begun, ticket.room, ticket.watch)
                ticket.begun += 1
                held += needed
                if ticket.room == 0:
                    self._end(ticket, row)
                else:
                    starting.append((ticket, row, ticket.hidden[-1][-1]))
        self._start(starting)
        self._open = [t for t in self._open if t.begun < t.request.num_samples]

    def _settle_prompt(self, ticket: Ticket) -> None:
        """What is to be done once when a prompt has been read."""
        ticket.is_settled = True
        if has_prompt_scores(ticket.request):
            (head,) = (m.head for m in self._weights.of([ticket.model]).values())
            hidden = torch.cat(ticket.hidden)
            ticket.scores = prompt_scores(head, ticket.request, hidden[:-1])
            ticket.hidden = [hidden[-1:]]
        if self._decoder.piece_tokens is not None:
            self._prefixes.put(ticket.model.key, ticket.prompt)

    def _start(self, starting: list[tuple[Ticket, Row, Tensor]]) -> None:
        """First tokens of new rows; those that go on get a place in the decoder."""
        if not starting:
            return
        starting.sort(key=lambda entry: entry[0].model.key)
        weights = self._weights.of(self._models([ticket for ticket, _, _ in starting]))
        heads = [(weights[ticket.model.key].head, 1) for ticket, _, _ in starting]
        merged: list[tuple[Any, int]] = []
        for head, count in heads:
            if merged and merged[-1][0] is head:
                merged[-1] = (head, merged[-1][1] + count)
            else:
                merged.append((head, count))
        logits = mixed_logits(merged, torch.stack([hidden for _, _, hidden in starting]))
        self._take([(ticket, row) for ticket, row, _ in starting], logits)
        gone = {id(ticket) for ticket, outcome in self._ended if isinstance(outcome, Exception)}
        new: dict[int, tuple[Ticket, list[int]]] = {}
        for ticket, row, _ in starting:
            if row.stop_reason is None and id(ticket) not in gone:
                self._rows[self._next_row] = (ticket, row)
                new.setdefault(id(ticket), (ticket, []))[1].append(self._next_row)
                self._next_row += 1
        for ticket, numbers in new.values():
            self._decoder.add(ticket.model.key, ticket.prompt, numbers, ticket.room)

    @staticmethod
    def _models(tickets: Sequence[Ticket]) -> list[SampledModel]:
        return list({ticket.model.key: ticket.model for ticket in tickets}.values())
