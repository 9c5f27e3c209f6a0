"""Splits examples into a training and a test side that share nothing.

A cluster holds examples that must stay together: near-duplicates and rows of one source passage.
Whole clusters go to one side. Which one is decided by the SHA-256 of the cluster's content alone,
within each label for labelled data: the same examples give the same split whatever their files
are called and in whatever order they come.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from tensafe.curate.duplicates import label_answers
from tensafe.curate.text import plain
from tensafe.data.records import Example


@dataclass(frozen=True)
class _Cluster:
    examples: tuple[Example, ...]
    digest: str
    stratum: str


def split_clusters(
    clusters: Sequence[Sequence[Example]], test_share: float
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Training and test side, each ordered by digest.

    In every stratum (a label, or a kind of example) clusters go to the test side in the order of
    their hashes while its share is not exceeded; what rounding leaves over is carried to the next
    stratum. With two clusters or more neither side is empty.
    """
    flat = [example for cluster in clusters for example in cluster]
    labels = label_answers(flat)
    prepared = [_prepare(cluster, labels) for cluster in clusters if cluster]
    strata: dict[str, list[_Cluster]] = defaultdict(list)
    for cluster in sorted(prepared, key=lambda one: one.digest):
        strata[cluster.stratum].append(cluster)
    chosen: set[str] = set()
    carry = 0.0
    for stratum in sorted(strata):
        members = strata[stratum]
        target = test_share * sum(len(one.examples) for one in members) + carry
        taken = 0
        for cluster in members:
            if taken + len(cluster.examples) <= target + 0.5:
                chosen.add(cluster.digest)
                taken += len(cluster.examples)
        carry = target - taken
    if not chosen and len(prepared) > 1:
        chosen.add(min(prepared, key=lambda one: (len(one.examples), one.digest)).digest)
    if len(chosen) == len(prepared) and len(prepared) > 1:
        chosen.discard(max(prepared, key=lambda one: (len(one.examples), one.digest)).digest)
    train = [e for one in prepared if one.digest not in chosen for e in one.examples]
    test = [e for one in prepared if one.digest in chosen for e in one.examples]
    return _ordered(train), _ordered(test)


def _prepare(examples: Sequence[Example], labels: frozenset[str]) -> _Cluster:
    joined = "\n".join(sorted(example.digest for example in examples))
    strata = Counter(_stratum(example, labels) for example in examples)
    most = max(strata.values())
    stratum = min(name for name, count in strata.items() if count == most)
    return _Cluster(tuple(examples), hashlib.sha256(joined.encode("ascii")).hexdigest(), stratum)


def _stratum(example: Example, labels: frozenset[str]) -> str:
    answer = plain(example.reference)
    return f"label {answer}" if answer in labels else f"kind {example.kind}"


def _ordered(examples: list[Example]) -> tuple[Example, ...]:
    return tuple(sorted(examples, key=lambda example: example.digest))
