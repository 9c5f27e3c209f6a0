"""Multi-agent debates whose outcomes become training data.

This package may use `tensafe` and `tinker_engine`; neither of them may import it. Its rooms are
`agents`, `debate`, `ranking`, `memory` and `gauntlet`; import from those.
"""

from __future__ import annotations

__all__: list[str] = []
