"""`qa_verify`: generated answers on the held-out split against references, adapter and base.

Owns the choice of items, the length of answers and the assembly of the report. The same items,
prompts and lengths go to both models; nothing of a reference reaches a model but the longest
reference length of its source.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

from tensafe.data.records import Dataset, Example
from tensafe.errors import EvaluationError
from tensafe.evaluate.breakdown import by_group, closed_labels, confusions
from tensafe.evaluate.config import QaVerifyConfig
from tensafe.evaluate.facts import RunFacts
from tensafe.evaluate.items import Coverage, ItemResult
from tensafe.evaluate.model import AnsweringModel
from tensafe.evaluate.normalise import normalised
from tensafe.evaluate.report import EvalReport
from tensafe.evaluate.scoring import Answered, AnswerScorer, score_answer
from tensafe.evaluate.selection import AnswerLengths, answer_lengths, by_hash, choose, has_answer
from tensafe.evaluate.statistics import compare_paired, wilson_interval


def qa_verify(
    adapter: AnsweringModel,
    base: AnsweringModel,
    dataset: Dataset,
    config: QaVerifyConfig | None = None,
    *,
    facts: RunFacts | None = None,
    scorers: Sequence[AnswerScorer] = (),
    labelled: Sequence[Example] | None = None,
) -> EvalReport:
    """Score the adapter and its base on the held-out items.

    Args:
        adapter: the model under test.
        base: the same base without the adapter.
        dataset: its test side is asked; its train side shows labels and what was seen.
        config: thresholds and sizes.
        facts: what is known of the training run, for advice.
        scorers: further opinions, reported beside the score.
        labelled: examples whose repeated answers are labels, where there is no train side.

    Raises:
        EvaluationError: a model or a scorer gave another number of answers than it was asked for.
    """
    config = config or QaVerifyConfig()
    chosen, coverage = choose(dataset, config)
    labels = closed_labels(
        dataset.train if labelled is None else labelled,
        min_repeats=config.closed_min_repeats,
        max_words=config.closed_max_words,
    )
    probes = by_hash([e for e in dataset.train if has_answer(e)])[: config.train_probe_items]
    lengths = answer_lengths(base, chosen, config)
    answers = _answers(adapter, chosen, lengths)
    base_answers = _answers(base, chosen, lengths)
    items = tuple(
        _result(example, answer, base_answer, labels)
        for example, answer, base_answer in zip(chosen, answers, base_answers, strict=True)
    )
    train_score = _train_score(adapter, probes if items else [], lengths, labels)
    truncated = sum(lengths.is_truncated(example) for example in chosen)
    return _report(
        dataset, config, items, labels, coverage, truncated, train_score, len(probes),
        facts or RunFacts(train_examples=len(dataset.train)),
        _extra_scores(scorers, chosen, answers, base_answers),
    )  # fmt: skip


def _answers(
    model: AnsweringModel, examples: Sequence[Example], lengths: AnswerLengths
) -> list[str]:
    groups: dict[int, list[int]] = defaultdict(list)
    for place, example in enumerate(examples):
        groups[lengths.tokens_for(example)].append(place)
    answers = [""] * len(examples)
    for max_tokens, places in sorted(groups.items()):
        given = model.generate([examples[i].prompt for i in places], max_tokens=max_tokens)
        if len(given) != len(places):
            raise EvaluationError(f"a model gave {len(given)} answers to {len(places)} prompts")
        for place, answer in zip(places, given, strict=True):
            answers[place] = answer
    return answers


def _result(example: Example, answer: str, base_answer: str, labels: dict[str, int]) -> ItemResult:
    reference = normalised(example.reference)
    label = reference if reference in labels else ""
    score = score_answer(answer, example.reference, is_closed=bool(label))
    base_score = score_answer(base_answer, example.reference, is_closed=bool(label))
    return ItemResult(
        digest=example.digest,
        source=example.source,
        place=example.place,
        prompt=example.prompt[-1]["content"],
        reference=example.reference,
        label=label,
        rule=score.rule,
        answer=answer,
        base_answer=base_answer,
        score=score.value,
        base_score=base_score.value,
        is_exact=score.is_exact,
    )


def _train_score(
    adapter: AnsweringModel,
    probes: Sequence[Example],
    lengths: AnswerLengths,
    labels: dict[str, int],
) -> float | None:
    if not probes:
        return None
    answers = _answers(adapter, probes, lengths)
    return math.fsum(
        score_answer(answer, e.reference, is_closed=normalised(e.reference) in labels).value
        for e, answer in zip(probes, answers, strict=True)
    ) / len(probes)


def _extra_scores(
    scorers: Sequence[AnswerScorer],
    chosen: Sequence[Example],
    answers: Sequence[str],
    base_answers: Sequence[str],
) -> dict[str, dict[str, float]]:
    if not chosen:
        return {}
    extra: dict[str, dict[str, float]] = {}
    for scorer in scorers:
        means: dict[str, float] = {}
        for side, given in (("adapter", answers), ("base", base_answers)):
            answered = [
                Answered(e.prompt, e.reference, answer)
                for e, answer in zip(chosen, given, strict=True)
            ]
            values = scorer.scores(answered)
            if len(values) != len(answered) or not all(0.0 <= v <= 1.0 for v in values):
                raise EvaluationError(
                    f"scorer {scorer.name!r} must give one value in [0, 1] for each of "
                    f"{len(answered)} answers"
                )
            means[side] = math.fsum(values) / len(values)
        extra[scorer.name] = means
    return extra


def _report(
    dataset: Dataset,
    config: QaVerifyConfig,
    items: tuple[ItemResult, ...],
    labels: dict[str, int],
    coverage: Coverage,
    truncated: int,
    train_score: float | None,
    train_items: int,
    facts: RunFacts,
    extra_scores: dict[str, dict[str, float]],
) -> EvalReport:
    scores = [item.score for item in items]
    base_scores = [item.base_score for item in items]
    mean = math.fsum(scores) / len(items) if items else 0.0
    base_mean = math.fsum(base_scores) / len(items) if items else 0.0
    level = config.confidence
    trained = [example for example in dataset.train if example.kind != "text"]
    return EvalReport(
        config=config.model_dump(),
        train_digest=dataset.train_digest,
        test_digest=dataset.test_digest,
        coverage=coverage,
        items=items,
        score=mean,
        base_score=base_mean,
        interval=wilson_interval(mean, len(items), level=level) if items else None,
        base_interval=wilson_interval(base_mean, len(items), level=level) if items else None,
        paired=compare_paired(scores, base_scores) if items else None,
        exact_share=sum(item.is_exact for item in items) / len(items) if items else 0.0,
        by_source=by_group(items, lambda i: i.source, Counter(e.source for e in trained)),
        by_rule=by_group(items, lambda i: i.rule, {}),
        by_label=by_group(items, lambda i: i.label, labels),
        confusions=confusions(items, labels),
        truncated=truncated,
        train_score=train_score,
        train_items=train_items if train_score is not None else 0,
        facts=facts,
        extra_scores=extra_scores,
    )
