"""Everything that debates leave behind, in one database.

from aragora.memory import Memory

memory = Memory.open()  # SQLite under ~/.aragora, or ARAGORA_DATABASE_URL
for stored in memory.debates.iterate(DebateFilter(domain="reading")):
    print(stored.task.text, stored.outcome)
"""

from __future__ import annotations

from aragora.memory.debates import DebateFilter, StoredDebate
from aragora.memory.identity import answer_key, make_task, new_id
from aragora.memory.store import Memory

__all__ = ["DebateFilter", "Memory", "StoredDebate", "answer_key", "make_task", "new_id"]
