"""Splits examples into a training and a test side that share nothing.

A cluster holds examples that must stay together: near-duplicates and rows of one source passage.
Whole clusters go to one side. Which one is decided by the SHA-256 of the cluster's content alone,
within each label for labelled data: the same examples give the same split whatever their files
are called and in whatever order they come.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tensafe.curate.clusters import Positions
from tensafe.curate.rows import KINDS, Flags, Rows
from tensafe.curate.text import plain
from tensafe.data.records import Example


@dataclass(frozen=True)
class _Clusters:
    """Clusters in ascending order of their digest; `roots` names each by its first member."""

    roots: Positions
    sizes: Positions
    digests: list[bytes]
    strata: Positions


def split_clusters(
    clusters: Sequence[Sequence[Example]], test_share: float
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Training and test side, each ordered by digest."""
    rows = Rows(example for cluster in clusters for example in cluster)
    if not len(rows):
        return (), ()
    sizes = np.array([len(cluster) for cluster in clusters], np.int64)
    roots = np.repeat(np.cumsum(sizes) - sizes, sizes)
    sides = split_rows(rows, np.arange(len(rows)), roots, test_share)
    train, test = (tuple(rows.examples.read(row) for row in side.tolist()) for side in sides)
    return train, test


def split_rows(
    rows: Rows, kept: Positions, roots: Positions, test_share: float
) -> tuple[Positions, Positions]:
    """The rows of the training and of the test side, each ordered by digest.

    `roots[i]` names the cluster of `kept[i]` by the smallest i in it. In every stratum (a label,
    or a kind of example) clusters go to the test side in the order of their hashes while its
    share is not exceeded; what rounding leaves over is carried to the next stratum. With two
    clusters or more neither side is empty.
    """
    by_digest = np.argsort(_comparable(rows.digests[kept]), kind="stable")
    clusters = _clusters(rows, kept, roots, by_digest)
    is_test = np.zeros(len(kept), np.bool_)
    is_test[clusters.roots[_chosen(clusters, test_share)]] = True
    is_test = is_test[roots]
    return kept[by_digest[~is_test[by_digest]]], kept[by_digest[is_test[by_digest]]]


def _comparable(digests: NDArray[np.uint8]) -> NDArray[np.bytes_]:
    """Digests (n, 32) as values that sort like their hex forms."""
    return np.ascontiguousarray(digests).view("S32").reshape(-1)


def _clusters(rows: Rows, kept: Positions, roots: Positions, by_digest: Positions) -> _Clusters:
    members = by_digest[np.argsort(roots[by_digest], kind="stable")]
    names, starts, sizes = np.unique(roots[members], return_index=True, return_counts=True)
    hexed = rows.digests[kept[members]].tobytes().hex()
    digests: list[bytes] = []
    for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
        mine = [hexed[64 * at : 64 * at + 64] for at in range(start, start + size)]
        digests.append(hashlib.sha256("\n".join(mine).encode("ascii")).digest())
    strata = _most_frequent(_strata(rows, kept), roots)
    order = np.array(sorted(range(len(digests)), key=digests.__getitem__), np.int64)
    return _Clusters(names[order], sizes[order], [digests[i] for i in order], strata[order])


def _strata(rows: Rows, kept: Positions) -> Positions:
    """For each kept row the place of its stratum's name among all names in order."""
    labels = rows.label_keys(kept)
    answers = rows.answer_keys[kept]
    found, first = np.unique(answers, return_index=True)
    holder = kept[first[np.searchsorted(found, labels)]]
    names = [f"label {plain(rows.examples.read(row).reference)}" for row in holder.tolist()]
    names += [f"kind {kind}" for kind in KINDS]
    rank = np.empty(len(names), np.int64)
    rank[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
    strata = rank[len(labels) + rows.kinds[kept]]
    labelled = np.flatnonzero(np.isin(answers, labels))
    strata[labelled] = rank[np.searchsorted(labels, answers[labelled])]
    return strata


def _most_frequent(strata: Positions, roots: Positions) -> Positions:
    """For each cluster in order of its root the stratum of most members, the first among equals."""
    order = np.lexsort((strata, roots))
    runs = np.flatnonzero(
        np.append(True, (np.diff(roots[order]) != 0) | (np.diff(strata[order]) != 0))
    )
    counts = np.diff(np.append(runs, len(order)))
    root, stratum = roots[order[runs]], strata[order[runs]]
    best = np.lexsort((stratum, -counts, root))
    _, first = np.unique(root[best], return_index=True)
    return stratum[best[first]]


def _chosen(clusters: _Clusters, test_share: float) -> Flags:
    """Which clusters are held out."""
    chosen = np.zeros(len(clusters.sizes), np.bool_)
    order = np.argsort(clusters.strata, kind="stable")
    _, starts = np.unique(clusters.strata[order], return_index=True)
    carry = 0.0
    for members in np.split(order, starts[1:]):
        sizes = clusters.sizes[members].tolist()
        target = test_share * sum(sizes) + carry
        taken = 0
        for cluster, size in zip(members.tolist(), sizes, strict=True):
            if taken + size <= target + 0.5:
                chosen[cluster] = True
                taken += size
        carry = target - taken
    if len(chosen) > 1 and not chosen.any():
        chosen[int(np.argmin(clusters.sizes))] = True
    elif len(chosen) > 1 and chosen.all():
        largest = np.flatnonzero(clusters.sizes == clusters.sizes.max())
        chosen[int(largest[-1])] = False
    return chosen
