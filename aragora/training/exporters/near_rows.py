"""Leaves out rows that nearly repeat an earlier one.

Only rows whose numbers are the same, in order, and whose short answers are the same are compared:
"above 24: wait" and "above 42: go" are two examples however much of their words they share.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aragora.training.exporters.keys import key_of
from aragora.training.exporters.rows import Row
from tensafe.curate.near import Clusters, join_near, similarity
from tensafe.curate.text import plain

_NUMBER = re.compile(r"\d+")
_SHORT_CHARS = 80
_FEW = 24


def compared_text(row: Row) -> str:
    """All words of a row in plain form."""
    turns: list[dict[str, Any]] = row.get("messages") or [
        *row["prompt"], *row["chosen"], *row["rejected"],
    ]  # fmt: skip
    return plain("\n".join(turn["content"] for turn in turns))


def group_key(row: Row) -> int:
    """Rows with different keys are never near-repetitions of each other."""
    answers = (
        [row["messages"][-1]["content"]]
        if "messages" in row
        else [row["chosen"][-1]["content"], row["rejected"][-1]["content"]]
    )
    said = [plain(answer) if len(answer) <= _SHORT_CHARS else "" for answer in answers]
    return key_of(*said, *_NUMBER.findall(compared_text(row)))


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
