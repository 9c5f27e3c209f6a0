"""Multi-agent debates whose outcomes become training data (rooms arrive with their own release).

This package may use `tensafe` and `tinker_engine`; neither of them may import it.
"""

from __future__ import annotations

__all__: list[str] = []
