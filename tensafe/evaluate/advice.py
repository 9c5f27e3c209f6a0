"""What to try next when the score is too low, from the run's own figures."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tensafe.evaluate.report import EvalReport

# A larger distance between training and test score is over-fitting rather than chance.
GAP = 0.15
FEW_ITEMS = 50


def advise(report: EvalReport) -> tuple[str, ...]:
    """Suggestions, the most promising first; empty only for a report without a shortfall."""
    if not report.items:
        return (
            "give data with questions and answers (two columns, or chats): text without a "
            "question trains a model but can't be scored",
        )
    advice = [
        *_about_fit(report),
        *_about_labels(report),
        *_about_sources(report),
        *_about_measurement(report),
    ]
    return tuple(advice)


def _about_fit(report: EvalReport) -> list[str]:
    facts, train = report.facts, report.train_score
    bigger = (
        f"a larger base than {facts.base_name}" if facts.base_name else "a larger base model"
    ) + " (--base-model)"
    if train is not None and train - report.score >= GAP:
        return [
            f"training items score {train:.2f}, held-out items {report.score:.2f}: the adapter "
            "learned its examples rather than the task; add more varied examples, train fewer "
            f"epochs, or lower the rank{_now(facts.rank)}"
        ]
    advice: list[str] = []
    seen = f"training items score only {train:.2f} too" if train is not None else "the score is low"
    if facts.epsilon is not None:
        count = f" (now {facts.train_examples:,})" if facts.train_examples else ""
        advice.append(
            f"{seen}, so privacy noise or capacity limits it: with epsilon {facts.epsilon:g} more "
            f"training examples{count} help most, then fewer and broader answer classes, then a "
            "larger --epsilon; --no-dp shows what is possible without privacy"
        )
    else:
        advice.append(
            f"{seen}, so the adapter has not learned the task yet: train more epochs"
            f"{_now(facts.epochs)}, or raise the rank{_now(facts.rank)}"
        )
    advice.append(f"try {bigger}: the base alone scores {report.base_score:.2f}")
    if report.paired is not None and report.paired.difference <= 0:
        advice.insert(
            0,
            f"the adapter does not beat its base ({report.base_score:.2f}): look at the learning "
            "rate and at the mask preview before anything else",
        )
    return advice


def _now(value: float | None) -> str:
    return f" (now {value:g})" if value is not None else ""


def _about_labels(report: EvalReport) -> list[str]:
    labels = [group for group in report.by_label if group.score < report.threshold]
    if not labels:
        return []
    advice: list[str] = []
    usual = median(group.train_items for group in report.by_label)
    scarce = sorted(
        (group for group in labels if group.train_items < usual),
        key=lambda group: (group.train_items, group.score),
    )[:3]
    if scarce:
        named = ", ".join(
            f"'{g.name}' ({g.train_items} examples, score {g.score:.2f})" for g in scarce
        )
        advice.append(
            f"add examples of the answers that are rare and answered badly: {named}; "
            f"an answer has {usual:g} training examples at the median"
        )
    if report.confusions and report.confusions[0].count >= 2:
        named = ", ".join(
            f"'{c.reference}' answered as '{c.answered}' {c.count} times"
            for c in report.confusions[:3]
        )
        advice.append(f"add examples that tell apart, or merge: {named}")
    return advice


def _about_sources(report: EvalReport) -> list[str]:
    advice: list[str] = []
    if len(report.by_source) > 1:
        worst = report.by_source[0]
        rest = [g for g in report.by_source[1:] if g.score >= report.threshold]
        if rest and worst.score < report.threshold:
            advice.append(
                f"{worst.name} is the weakest source ({worst.score:.2f} on {worst.items} items, "
                f"{worst.train_items} training examples): check its column mapping, or give more "
                "of it"
            )
    free = next((g for g in report.by_rule if g.name == "f1"), None)
    if free is not None and free.score < report.threshold and len(report.by_rule) > 1:
        advice.append(
            f"free-text answers score {free.score:.2f} by token overlap on {free.items} items: "
            "shorter, consistently worded answers are learned and scored better"
        )
    return advice


def _about_measurement(report: EvalReport) -> list[str]:
    advice: list[str] = []
    if len(report.items) < FEW_ITEMS and report.interval is not None:
        advice.append(
            f"only {len(report.items)} held-out items were scored, so the true score may lie "
            f"anywhere in [{report.interval.low:.2f}, {report.interval.high:.2f}]: more data "
            "makes the verdict firmer"
        )
    if report.truncated:
        advice.append(
            f"{report.truncated} references are longer than an answer may be "
            f"({report.config['max_answer_tokens']} tokens): raise max_answer_tokens"
        )
    return advice
