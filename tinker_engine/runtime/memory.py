"""Memory that a training request needs at least, against what there is.

The estimate counts only what no way of computing can do without: the examples themselves, one
hidden state per token and layer of the largest microbatch, and its targets. A request that is
refused could not have been served; one that passes may still run out of memory.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tinker_engine.errors import RequestTooLargeError
from tinker_engine.runtime.records import TrainDatum

_MIB = 1 << 20
_CGROUP = Path("/sys/fs/cgroup")
# Asking the system takes longer than a small request.
_ALWAYS_THERE = 1 << 20
_limit_bytes: int | None = None


@dataclass(frozen=True)
class ModelSize:
    """What the estimate needs to know of the base; `hidden_bytes` per value."""

    layers: int
    hidden_size: int
    hidden_bytes: int


def training_bytes(
    data: Sequence[TrainDatum], size: ModelSize, rows: int, *, together: int = 1
) -> int:
    """Bytes that a forward_backward takes at least, in microbatches of `rows` tokens.

    `together` consecutive data are in one microbatch, however long they are.
    """
    lengths = [len(datum.tokens) for datum in data]
    starts = range(0, len(lengths), together)
    longest = max((sum(lengths[start : start + together]) for start in starts), default=0)
    total = sum(lengths)
    rows = min(max(rows, longest), total)
    width = max((datum.targets.shape[1] for datum in data if datum.targets.ndim > 1), default=1)
    hidden = rows * size.layers * size.hidden_size * size.hidden_bytes
    # Targets int64 and weights fp32 of the microbatch; logprobs and losses of the answer.
    return hidden + rows * width * 12 + sum(8 * datum.targets.size for datum in data)


def limit_to(size_bytes: int | None) -> None:
    """What this process may use in all; None leaves it to the machine."""
    global _limit_bytes
    _limit_bytes = size_bytes


def check_memory(needed: int) -> None:
    """Raise RequestTooLargeError, with the numbers, when there isn't that much."""
    if needed < _ALWAYS_THERE:
        return
    there = available_bytes()
    if needed > there:
        raise RequestTooLargeError(
            f"the request needs at least {needed / _MIB:,.0f} MiB of memory, and "
            f"{there / _MIB:,.0f} MiB are there; send fewer or shorter examples, or fewer targets "
            "per position"
        )


def available_bytes() -> int:
    """Bytes this process can still get, as machine, container and its own limits say."""
    found = [_machine_bytes()]
    limit, used = _number(_CGROUP / "memory.max"), _number(_CGROUP / "memory.current")
    if limit is not None and used is not None:
        found.append(max(0, limit - used))
    if sys.platform != "win32":
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        if soft != resource.RLIM_INFINITY:
            found.append(max(0, soft - _pages(0)))
    if _limit_bytes is not None:
        found.append(max(0, _limit_bytes - resident_bytes()))
    return min(found)


def resident_bytes() -> int:
    """Bytes of memory this process holds; 0 where the system doesn't say."""
    return _pages(1)


def _machine_bytes() -> int:
    try:
        for line in Path("/proc/meminfo").read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    # Unknown: nothing is refused.
    return sys.maxsize


def _pages(place: int) -> int:
    """Bytes of one field of /proc/self/statm: 0 is the address space, 1 what is resident."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[place])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text("ascii"))
    except (OSError, ValueError):
        return None
