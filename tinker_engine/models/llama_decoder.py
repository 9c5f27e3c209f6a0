"""Reading prompts and continuing rows of a Llama-family model, adapters mixed as they come.

Prompts are read in pieces as flat rows without padding; pieces of equal length behind equally long
beginnings are attended to together. Rows of one model lie side by side, so that mixed batches need
one product for all rows that share a weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from tinker_engine.models.llama_panes import CacheShape, LlamaPrompt, Pane, pane_positions
from tinker_engine.numerics.attention import Rotation, by_kv_head, into_rows, rotate
from tinker_engine.numerics.decoder_parts import rms_norm
from tinker_engine.numerics.network import Piece
from tinker_engine.numerics.packing import Group
from tinker_engine.runtime.records import IntArray

if TYPE_CHECKING:
    from tinker_engine.models.llama_network import AdaptedLlama, LlamaNetwork

# A row starts in a pane with this much room, where it may grow so far, before it has to move.
ROOM = 64
SCORE_ELEMENTS = 1 << 23  # attention scores that are held at a time


class LlamaDecoder:
    """Implements `tinker_engine.numerics.network.Decoder`."""

    piece_tokens: int | None = 256

    def __init__(self, network: LlamaNetwork, dtype: torch.dtype) -> None:
        self._network = network
        heads = network.shape
        self._shape = CacheShape(len(network.blocks), heads.kv_heads, heads.width, dtype)
        self._panes: dict[tuple[str, int], Pane] = {}
        self._places: dict[int, Pane] = {}

    def bytes_for(self, positions: int) -> int:
        return self._shape.bytes_for(pane_positions(positions))

    def begin(self, tokens: IntArray, source: LlamaPrompt | None, shared: int) -> LlamaPrompt:
        return LlamaPrompt.begin(tokens, self._shape, source, shared)

    def add(self, key: str, prompt: LlamaPrompt, rows: Sequence[int], room: int) -> None:
        self._place(key, rows, prompt, prompt.read + min(room, ROOM))

    def spans(self) -> list[tuple[str, list[int]]]:
        spans: list[tuple[str, list[int]]] = []
        for key, pane in self._ordered():
            if spans and spans[-1][0] == key:
                spans[-1][1].extend(pane.owners)
            else:
                spans.append((key, list(pane.owners)))
        return spans

    def drop(self, rows: Sequence[int], *, wipe: bool = False) -> None:
        leaving = {row for row in rows if self._places.pop(row, None) is not None}
        for pane in self._panes.values():
            slots = [slot for slot, row in enumerate(pane.owners) if row in leaving]
            pane.remove(slots, wipe=wipe)
        self._panes = {at: pane for at, pane in self._panes.items() if pane.owners}

    def keep(self, row: int, tokens: IntArray) -> LlamaPrompt | None:
        pane = self._places.get(row)
        if pane is None:
            return None
        return pane.copy(pane.owners.index(row), tokens)

    def _make_room(self) -> None:
        """Move rows that fill their pane to a larger one."""
        for (key, positions), pane in list(self._panes.items()):
            full = [slot for slot, length in enumerate(pane.lengths) if length == positions]
            for slot in full:
                copy = pane.copy(slot, np.zeros(positions, dtype=np.int64))
                self._place(key, [pane.owners[slot]], copy, positions + 1)
            pane.remove(full, wipe=False)
        self._panes = {at: pane for at, pane in self._panes.items() if pane.owners}

    def read(self, pieces: Sequence[Piece], weights: Mapping[str, AdaptedLlama]) -> list[Tensor]:
        network = self._network
        order = sorted(
            range(len(pieces)),
            key=lambda i: (pieces[i].key, pieces[i].prompt.read, pieces[i].length),
        )
        ordered = [pieces[i] for i in order]
        adapted = network.mix([(weights[p.key], p.length) for p in ordered])
        spans = [slice(p.prompt.read, p.stop) for p in ordered]
        ids = np.concatenate([p.prompt.tokens[s] for p, s in zip(ordered, spans, strict=True)])
        positions = torch.cat([torch.arange(s.start, s.stop) for s in spans])
        rotation = network.rotation(positions, torch.float32)
        groups = _groups(ordered)
        wanted = _wanted(ordered)
        x = network.embed(torch.from_numpy(ids))
        last = len(network.blocks) - 1
        for i, (base, block) in enumerate(zip(network.blocks, adapted.blocks, strict=True)):
            qkv = network.project(base, block, x, None).float()
            y = self._attend_pieces(i, qkv, rotation, ordered, groups)
            if i == last:
                # Behind the last attention only those rows count that are asked for.
                x, y = x[wanted], y[wanted]
                adapted_last = network.mix(
                    [(weights[p.key], p.length if p.wants_all else 1) for p in ordered]
                )
                block = adapted_last.blocks[i]
            x = network.finish(base, block, x, y.to(adapted.dtype), None)
        hidden = rms_norm(x, network.final_norm, network.eps, torch.float32)
        found = hidden.split([p.length if p.wants_all else 1 for p in ordered])
        for piece in ordered:
            piece.prompt.read = piece.stop
        return [found[order.index(i)] for i in range(len(pieces))]

    def advance(self, tokens: Tensor, weights: Mapping[str, AdaptedLlama]) -> Tensor:
        network = self._network
        ordered = self._ordered()
        adapted = network.mix([(weights[key], len(pane.owners)) for key, pane in ordered])
        lengths = [torch.tensor(pane.lengths) for _, pane in ordered]
        rotation = network.rotation(torch.cat(lengths), torch.float32)
        later = [_later(each) for each in lengths]
        x = network.embed(tokens)
        for i, (base, block) in enumerate(zip(network.blocks, adapted.blocks, strict=True)):
            qkv = network.project(base, block, x, None).float()
            parts: list[Tensor] = []
            start = 0
            for (_, pane), each, mask in zip(ordered, lengths, later, strict=True):
                stop = start + len(pane.owners)
                rows = slice(start, stop)
                turned = Rotation(rotation.cos[rows], rotation.sin[rows])
                parts.append(self._attend_rows(i, qkv[rows], turned, pane, each, mask))
                start = stop
            y = torch.cat(parts) if len(parts) > 1 else parts[0]
            x = network.finish(base, block, x, y.to(adapted.dtype), None)
        for _, pane in ordered:
            pane.lengths = [length + 1 for length in pane.lengths]
        self._make_room()
        return rms_norm(x, network.final_norm, network.eps, torch.float32)

    def _ordered(self) -> list[tuple[str, Pane]]:
        return [(key, self._panes[key, size]) for key, size in sorted(self._panes)]

    def _place(self, key: str, rows: Sequence[int], prompt: LlamaPrompt, needed: int) -> None:
        positions = pane_positions(needed)
        pane = self._panes.get((key, positions))
        if pane is None:
            pane = self._panes[key, positions] = Pane.empty(self._shape, positions)
        pane.add(rows, prompt, prompt.read)
        for row in rows:
            self._places[row] = pane

    def _attend_rows(
        self,
        layer: int,
        qkv: Tensor,
        rotation: Rotation,
        pane: Pane,
        lengths: Tensor,
        later: Tensor,
    ) -> Tensor:
        """One query of each row of a pane over all it holds, its own key included (n, H * d)."""
        heads, kv_heads, width = self._network.shape
        count, used = later.shape
        rotated = rotation.cos.shape[1]
        kind = self._shape.dtype
        q_k = rotate(qkv[:, :rotated], rotation, width).to(kind).unflatten(1, (-1, width))
        slots = torch.arange(count)
        keys, values = pane.keys[layer, :count], pane.values[layer, :count]
        keys[slots, :, :, lengths] = q_k[:, heads:]
        values[slots, :, lengths] = qkv[:, rotated:].to(kind).unflatten(1, (-1, width))
        q = q_k[:, :heads].reshape(count, kv_heads, -1, width)
        scores = torch.matmul(q, keys[..., :used]).float().mul_(width**-0.5)
        weights = torch.softmax(scores.add_(later[:, None, None]), dim=-1).to(kind)
        return torch.matmul(weights, values[:, :, :used]).reshape(count, -1)

    def _attend_pieces(
        self,
        layer: int,
        qkv: Tensor,
        rotation: Rotation,
        pieces: Sequence[Piece],
        groups: Sequence[Group],
    ) -> Tensor:
        """Attention of all pieces (rows, H * d); their keys and values are put in their caches."""
        shape = self._network.shape
        heads, kv_heads, width = shape
        rotated = rotation.cos.shape[1]
        q_k = rotate(qkv[:, :rotated], rotation, width).to(self._shape.dtype)
        q, k = q_k[:, : heads * width], q_k[:, heads * width :]
        v = qkv[:, rotated:].to(self._shape.dtype)
        y = torch.empty_like(q)
        for group in groups:
            rows = slice(group.start, group.stop)
            members = pieces[group.first : group.first + group.count]
            past = members[0].prompt.read
            stop = past + group.length
            kept: list[Tensor] = []
            for slot, part in enumerate((k, v)):
                fresh = part[rows].reshape(group.count, group.length, kv_heads, width)
                fresh = fresh.transpose(1, 2)  # (n, KV, T, d)
                for member, own in zip(members, fresh, strict=True):
                    member.prompt.cache[layer, slot, :, past:stop] = own
                if past:
                    fresh = torch.stack([m.prompt.cache[layer, slot, :, :stop] for m in members])
                kept.append(fresh.reshape(-1, stop, width))
            queries = by_kv_head(q[rows], group, shape)  # (n * KV, rep * T, d)
            into_rows(_causal(queries, kept[0], kept[1], group.length), y[rows], group, shape)
        return y


def _causal(q: Tensor, k: Tensor, v: Tensor, length: int) -> Tensor:
    """Queries (b, rep * T, d) of the last `length` places over keys and values (b, S, d)."""
    places = k.shape[1]
    later = torch.full((length, places), -torch.inf, dtype=q.dtype).triu_(places - length + 1)
    output = torch.empty_like(q)
    step = max(1, SCORE_ELEMENTS // (q.shape[1] * places))
    for first in range(0, len(q), step):
        some = slice(first, first + step)
        scores = torch.bmm(q[some], k[some].transpose(1, 2)).mul_(q.shape[2] ** -0.5)
        scores.view(len(scores), -1, length, places).add_(later)
        torch.bmm(torch.softmax(scores, dim=-1), v[some], out=output[some])
    return output


def _later(lengths: Tensor) -> Tensor:
    """Minus infinity (n, used) at places behind the token that each row is about to get."""
    used = int(lengths.max()) + 1
    later = torch.zeros(len(lengths), used)
    return later.masked_fill_(torch.arange(used)[None] > lengths[:, None], -torch.inf)


def _groups(pieces: Sequence[Piece]) -> list[Group]:
    """Sorted pieces of one length behind equally long beginnings, taken together."""
    groups: list[Group] = []
    row = 0
    for k, piece in enumerate(pieces):
        last = groups[-1] if groups else None
        is_alike = (
            last is not None
            and last.length == piece.length
            and pieces[k - 1].prompt.read == piece.prompt.read
        )
        if last is not None and is_alike:
            groups[-1] = Group(last.start, last.count + 1, last.length, last.first)
        else:
            groups.append(Group(row, 1, piece.length, k))
        row += piece.length
    return groups


def _wanted(pieces: Sequence[Piece]) -> Tensor:
    """Rows whose hidden states are asked for."""
    wanted: list[int] = []
    row = 0
    for piece in pieces:
        stop = row + piece.length
        wanted.extend(range(row if piece.wants_all else stop - 1, stop))
        row = stop
    return torch.tensor(wanted)
