"""Leaves out rows that nearly repeat an earlier one.

Only rows whose numbers are the same, in order, and whose short answers are the same are compared:
"above 24: wait" and "above 42: go" are two examples however much of their words they share.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from aragora.training.exporters.keys import key_of, plain_form
from aragora.training.exporters.rows import Row, turns_of
from tensafe.curate.near import Clusters, join_near, similarity

_NUMBER = re.compile(r"\d+")
_SHORT_CHARS = 80
_FEW = 24


def compared_text(row: Row) -> str:
    """All words of a row in plain form."""
    return "\n".join(plain_form(turn["content"]) for turn in turns_of(row))


def group_key(row: Row) -> int:
    """Rows with different keys are never near-repetitions of each other."""
    turns = turns_of(row)
    answers = turns[-1:] if "messages" in row else turns[-2:]
    said = [turn["content"] for turn in answers]
    short = [plain_form(answer) if len(answer) <= _SHORT_CHARS else "" for answer in said]
    return key_of(*short, *_NUMBER.findall("\n".join(turn["content"] for turn in turns)))


def kept_rows(rows: Sequence[Row], limit: float) -> list[bool]:
    """Which rows stay: the first of each group of near-repetitions."""
    keys = np.fromiter((group_key(row) for row in rows), np.uint64, len(rows))
    return first_of_each([compared_text(row) for row in rows], keys, limit).tolist()


def first_of_each(
    texts: Sequence[str], keys: NDArray[np.uint64], limit: float
) -> NDArray[np.bool_]:
    """Which of the plain texts (n,) have no earlier text with their key and alike to `limit`."""
    keep = np.ones(len(texts), np.bool_)
    order = np.argsort(keys, kind="stable")
    edges = np.flatnonzero(np.diff(keys[order])) + 1
    for members in np.split(order, edges):
        if len(members) < 2:
            continue
        mine = [texts[int(member)] for member in members]
        clusters = Clusters(len(mine))
        if len(mine) <= _FEW:
            for (i, one), (j, other) in combinations(enumerate(mine), 2):
                if similarity(one, other) >= limit:
                    clusters.join(i, j)
        else:
            join_near(clusters, range(len(mine)), mine, limit)
        keep[members[clusters.roots() != np.arange(len(mine))]] = False
    return keep
