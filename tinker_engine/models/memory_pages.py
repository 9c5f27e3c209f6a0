"""Giving back pages of weight files that nothing reads any more.

Weights are mapped from their files, and hashing them touches every page. Dropping a page costs
nothing but a second reading should anyone look at it again.
"""

from __future__ import annotations

import ctypes
import mmap
import re
from collections.abc import Iterable
from pathlib import Path

from torch import Tensor

SMAPS = Path("/proc/self/smaps")
_MAPPING = re.compile(
    r"^([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ (\d+).*\n"  # addresses, permissions, offset, inode
    r"(?:[A-Z]\w+:.*\n)*?Anonymous: +(\d+) kB",
    re.MULTILINE,
)


def release_file_pages(tensors: Iterable[Tensor]) -> int:
    """Drop resident pages that lie wholly inside these CPU tensors; gives their size in bytes.

    Does something only where a tensor is mapped from a file of which no page was ever written to:
    anything else would lose its content. Linux alone; elsewhere 0.
    """
    if not SMAPS.is_file():
        return 0
    files = _unwritten_files()
    libc = ctypes.CDLL(None)
    released = 0
    for tensor in tensors:
        if tensor.device.type != "cpu" or not tensor.is_contiguous():
            continue
        start = -(-tensor.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
        stop = (tensor.data_ptr() + tensor.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
        if stop > start and any(low <= start and stop <= high for low, high in files):
            size = ctypes.c_size_t(stop - start)
            failed = libc.madvise(ctypes.c_void_p(start), size, mmap.MADV_DONTNEED)
            released += 0 if failed else stop - start
    return released


def _unwritten_files() -> list[tuple[int, int]]:
    """Address ranges of mapped files none of whose pages this process has changed."""
    return [
        (int(low, 16), int(high, 16))
        for low, high, inode, anonymous in _MAPPING.findall(SMAPS.read_text(encoding="utf-8"))
        if inode != "0" and anonymous == "0"
    ]
