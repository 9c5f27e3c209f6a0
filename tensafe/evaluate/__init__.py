"""Evaluation: does the adapter answer held-out questions, and better than its base?

from tensafe.evaluate import QaVerifyConfig, qa_verify
report = qa_verify(adapter, base, dataset, QaVerifyConfig())
print(report.score, report.interval, report.base_score)
record = report.gate()  # the qa_verify verdict with advice
path.write_text(report.to_json(), encoding="utf-8")
"""

from tensafe.evaluate.config import QaVerifyConfig
from tensafe.evaluate.facts import RunFacts
from tensafe.evaluate.items import ItemResult
from tensafe.evaluate.model import AnsweringModel
from tensafe.evaluate.qa_verify import qa_verify
from tensafe.evaluate.report import EvalReport
from tensafe.evaluate.scoring import Answered, AnswerScorer, score_answer
from tensafe.evaluate.statistics import compare_paired, wilson_interval

__all__ = [
    "AnswerScorer",
    "Answered",
    "AnsweringModel",
    "EvalReport",
    "ItemResult",
    "QaVerifyConfig",
    "RunFacts",
    "compare_paired",
    "qa_verify",
    "score_answer",
    "wilson_interval",
]
