"""How a claim ends: one line of JSON, and exit 0 only if it holds."""

from __future__ import annotations

import json
import sys
from typing import Any, NoReturn


def conclude(name: str, figures: dict[str, Any], *, holds: bool) -> NoReturn:
    """Print the closing line and leave."""
    print(json.dumps({"name": name, "figures": figures, "holds": holds}))
    sys.exit(0 if holds else 1)
