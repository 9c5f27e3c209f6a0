"""Disjoint sets over the integers 0..count-1, each named by its smallest member."""

from __future__ import annotations

from collections import defaultdict
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.int64]


class Clusters:
    """Sets that only ever grow together; eight bytes a member."""

    def __init__(self, count: int) -> None:
        self._parent: Positions = np.arange(count, dtype=np.int64)

    def find(self, member: int) -> int:
        """The smallest member of the set."""
        parent = self._parent
        while (above := int(parent[member])) != member:
            parent[member] = parent[above]
            member = int(parent[member])
        return member

    def join(self, one: int, other: int) -> None:
        """Makes one set of two."""
        a, b = self.find(one), self.find(other)
        if a != b:
            self._parent[max(a, b)] = min(a, b)

    def join_all(self, one: Positions, other: Positions) -> int:
        """Joins `one[i]` with `other[i]` for every i; by how many the number of sets fell."""
        roots = self.roots()
        a, b = roots[one], roots[other]
        apart = a != b
        if not apart.any():
            return 0
        a, b = a[apart], b[apart]
        nodes, places = np.unique(np.concatenate((a, b)), return_inverse=True)
        sparse: Any = import_module("scipy.sparse")
        graph: Any = import_module("scipy.sparse.csgraph")
        edges = sparse.coo_array(
            (np.ones(len(a), np.int8), (places[: len(a)], places[len(a) :])),
            shape=(len(nodes), len(nodes)),
        )
        count, part = graph.connected_components(edges, directed=False)
        # Nodes ascend, so the first one of each part is its smallest.
        _, first = np.unique(part, return_index=True)
        self._parent[nodes] = nodes[first[part]]
        return len(nodes) - int(count)

    def roots(self) -> Positions:
        """For every member the smallest member of its set; not to be written to."""
        parent = self._parent
        while True:
            above = parent[parent]
            if np.array_equal(above, parent):
                break
            parent = above
        self._parent = parent
        return parent

    def sets(self) -> list[list[int]]:
        """All sets, each ascending, ordered by smallest member."""
        found: dict[int, list[int]] = defaultdict(list)
        for member, root in enumerate(self.roots().tolist()):
            found[root].append(member)
        return list(found.values())
