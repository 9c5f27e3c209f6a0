"""How many prepared matrix products torch's libraries may keep.

oneDNN and its wrapper in torch keep one prepared product, with its buffers, for every shape they
met, 1,024 of them by default. Rows differ from pass to pass here, so that is hundreds of MB after a
few hundred sequences, for products that hardly ever come back. Those of one pass fit into
the bound; `make evidence NAME=speed-sft` measures the memory and the speed.
"""

from __future__ import annotations

import os

KEPT = "80"
VARIABLES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")


def bound_library_caches() -> None:
    """Bound both caches unless the environment does; has to come before the first product."""
    for variable in VARIABLES:
        os.environ.setdefault(variable, KEPT)
