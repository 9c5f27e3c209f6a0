"""All tables of the database, in one place for queries and for migrations; see docs/design/0013."""

from __future__ import annotations

from aragora.memory.debate_tables import (
    CritiqueRow,
    DebateRow,
    MessageRow,
    OutcomeRow,
    ParticipantRow,
    RoundRow,
    StandingRow,
    TaskRow,
    VerdictRow,
    VoteRow,
)
from aragora.memory.evaluation_tables import EvaluationRow
from aragora.memory.gauntlet_tables import (
    AttackRow,
    GauntletRunRow,
    TrialRow,
)
from aragora.memory.job_tables import (
    JobAttemptRow,
    JobDataRow,
    JobEventRow,
    JobRow,
    RegisteredModelRow,
)
from aragora.memory.standing_tables import (
    AgentEventRow,
    CalibrationRow,
    PatternRow,
    PatternUseRow,
    RatingChangeRow,
    RatingRow,
)
from aragora.memory.table_base import Base
from aragora.memory.usage_tables import (
    DeletionRow,
    SubjectDebateRow,
    SubjectRow,
    TrainingSetRow,
    TrainingSourceRow,
)

__all__ = [
    "AgentEventRow",
    "AttackRow",
    "Base",
    "CalibrationRow",
    "CritiqueRow",
    "DebateRow",
    "DeletionRow",
    "EvaluationRow",
    "GauntletRunRow",
    "JobAttemptRow",
    "JobDataRow",
    "JobEventRow",
    "JobRow",
    "MessageRow",
    "OutcomeRow",
    "ParticipantRow",
    "PatternRow",
    "PatternUseRow",
    "RatingChangeRow",
    "RatingRow",
    "RegisteredModelRow",
    "RoundRow",
    "StandingRow",
    "SubjectDebateRow",
    "SubjectRow",
    "TaskRow",
    "TrainingSetRow",
    "TrainingSourceRow",
    "TrialRow",
    "VerdictRow",
    "VoteRow",
]
