"""What a report's sections say: one frozen model per section, made from a run's records.

Models hold plain text and numbers. Nothing here is markup: escaping is the page's, for everything.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from tensafe.evaluate import EvalReport
from tensafe.gate.records import GateRecord
from tensafe.report import wording
from tensafe.report.answers import AnswerGroup, choose_answers
from tensafe.report.curves import Plot, Point, epsilon_plot, loss_plot
from tensafe.report.records import RunRecords

State = Literal["passed", "failed", "waived", "open"]
_HIDDEN_EVIDENCE = ("layers", "contains_data")
_HIDDEN_SETTINGS = ("creator_email",)


@dataclass(frozen=True)
class Row:
    """A name and its value; `is_code` for digests and paths."""

    name: str
    value: str
    is_code: bool = False


@dataclass(frozen=True)
class Figure:
    """One of the large numbers at the top."""

    name: str
    value: str
    note: str


@dataclass(frozen=True)
class Headline:
    """The verdict and the figures that stand for it."""

    state: State
    verdict: str
    sentence: str
    figures: tuple[Figure, ...]
    digests: tuple[Row, ...]


@dataclass(frozen=True)
class Training:
    """The curves, and the facts beside them."""

    plots: tuple[Plot, ...]
    facts: tuple[Row, ...]
    is_private: bool


@dataclass(frozen=True)
class Gate:
    """One gate with its evidence in rows."""

    record: GateRecord
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Answers:
    """The held-out answers that are shown, by outcome."""

    groups: tuple[AnswerGroup, ...]
    shown: int
    tested: int


def headline(run: RunRecords) -> Headline:
    """The verdict in a word, a sentence, four figures and the digests."""
    state, verdict, sentence = _verdict(run)
    digests: list[Row] = []
    if run.outcome and run.outcome.package_digest:
        digests.append(Row("package", run.outcome.package_digest, is_code=True))
    if run.screening and run.screening.adapter_digest:
        digests.append(Row("adapter weights", run.screening.adapter_digest, is_code=True))
    return Headline(state, verdict, sentence, tuple(_figures(run)), tuple(digests))


def _verdict(run: RunRecords) -> tuple[State, str, str]:
    if run.changed:
        return (
            "failed",
            "The records don't agree",
            "Something in the run folder was changed after the run; this page shows what is there "
            "now. " + "; ".join(run.changed) + ".",
        )
    if run.gates is None:
        return (
            "open",
            "Unfinished",
            "The run has not come to its gates; the same command resumes it.",
        )
    if not run.gates.all_pass():
        failed = [gate for gate in _gate_records(run) if gate.verdict == "failed"]
        names = " and ".join(gate.name for gate in failed)
        return "failed", "No package", f"{names} said no, so nothing was packaged or signed."
    if run.outcome is None or run.outcome.package is None:
        return "open", "Gates passed, not packaged", "The run ended before its package was written."
    waived = run.gates.dp_budget.verdict == "waived"
    what = "All gates passed" if not waived else "Passed, with the privacy gate waived"
    return "passed", "Signed package", f"{what}. The package's signatures and digests verify."


def _figures(run: RunRecords) -> Iterable[Figure]:
    report = run.evaluation
    if report is None:
        yield Figure("score", "–", "not tested yet")
    elif report.interval is None or report.paired is None:
        yield Figure("score", "–", "no held-out item could be scored")
    else:
        low, high = wording.share(report.interval.low), wording.share(report.interval.high)
        yield Figure(
            "score",
            wording.share(report.score),
            f"{low} to {high} with {report.interval.level:.0%} confidence, on "
            f"{len(report.items):,} held-out items; {report.threshold:.2f} passes",
        )
        yield Figure(
            "base score",
            wording.share(report.base_score),
            f"{report.facts.base_name or 'the base'} on the same items; difference "
            f"{wording.signed(report.paired.difference)}, {wording.p_value(report.paired.p_value)}",
        )
    if run.privacy is not None:
        yield Figure(
            "epsilon",
            f"{run.privacy.epsilon:.3f}",
            f"of {run.config.epsilon:g}, at delta {run.privacy.delta:.1e}; {run.privacy.unit}",
        )
    elif not run.config.dp:
        yield Figure("epsilon", "none", "no differential privacy")
    else:
        yield Figure("epsilon", "–", "no ledger yet")
    if run.screening is not None:
        passed = sum(layer.passed for layer in run.screening.layers)
        yield Figure(
            "screening", f"{passed} of {len(run.screening.layers)}", "layers passed (RVUv2)"
        )
    else:
        yield Figure("screening", "–", "not screened yet")


def training(run: RunRecords) -> Training:
    """Curves from the event log; a step that was taken again after a kill counts once."""
    steps = {int(e["step"]): e for e in run.events.lines if e["event"] == "progress"}
    ordered = [steps[number] for number in sorted(steps)]
    plots = (
        loss_plot(
            _series(ordered, "loss"),
            _series(ordered, "validation_loss"),
            unit="per example" if run.config.dp else "per learned token",
            is_private=run.config.dp,
        ),
        epsilon_plot(_series(ordered, "epsilon"), budget=run.config.epsilon),
    )
    return Training(
        plots=tuple(plot for plot in plots if plot is not None),
        facts=tuple(_training_facts(run, len(ordered))),
        is_private=run.config.dp,
    )


def _series(steps: list[dict[str, object]], field: str) -> list[Point]:
    found = [(step["step"], step.get(field)) for step in steps]
    return [
        (float(x), float(y))
        for x, y in found
        if isinstance(x, int | float) and isinstance(y, int | float)
    ]


def _training_facts(run: RunRecords, steps: int) -> Iterable[Row]:
    plan = run.provenance.hyper_parameters if run.provenance else {}
    yield Row("steps", f"{run.outcome.steps if run.outcome else steps:,}")
    if "stopped" in plan:
        yield Row("ended", str(plan["stopped"]))
    if run.card:
        yield Row("training examples", f"{run.card.train.examples:,}")
    yield Row("LoRA", f"rank {run.config.rank}, alpha {run.config.alpha:g}")
    if run.privacy:
        privacy = run.privacy
        yield Row("noise multiplier", wording.number(privacy.noise_multiplier))
        yield Row("clip norm", wording.number(privacy.clip_norm))
        yield Row(
            "lot",
            f"{privacy.expected_batch_size:,.0f} examples a step on average, drawn with "
            f"probability {privacy.sampling_rate:.3g}",
        )
    elif not run.config.dp:
        yield Row("batch", f"{run.config.batch_size} examples")
        yield Row("passes over the data", f"{run.config.epochs:g}")
    for title, name in (("started", 0), ("last event", -1)):
        if run.events.lines:
            yield Row(title, wording.moment(float(run.events.lines[name]["time"])))
    if run.events.unreadable:
        yield Row("torn lines in the log", f"{run.events.unreadable} (a killed run leaves one)")


def gates(run: RunRecords) -> tuple[Gate, ...]:
    """The gates that have spoken, with their evidence as rows."""
    return tuple(Gate(record, tuple(_evidence(record))) for record in _gate_records(run))


def _gate_records(run: RunRecords) -> list[GateRecord]:
    if run.gates is None:
        return []
    return [run.gates.qa_verify, run.gates.rvu_v2_pass, run.gates.dp_budget]


def _evidence(record: GateRecord) -> Iterable[Row]:
    for name, value in record.evidence.items():
        if name in _HIDDEN_EVIDENCE:
            continue
        is_code = name.endswith("digest") or name in ("reference", "record_set")
        yield Row(wording.label(name), wording.value_text(value), is_code=is_code)
    if record.report_digest:
        yield Row("full report", record.report_digest, is_code=True)


def answers(report: EvalReport) -> Answers:
    """The answers to show, by the rule of `tensafe.report.answers`."""
    groups = choose_answers(report.items)
    return Answers(groups, sum(len(group.shown) for group in groups), len(report.items))


def provenance(run: RunRecords) -> tuple[Row, ...]:
    """What the adapter was made from and by, by digest."""
    origin, outcome = run.provenance, run.outcome
    rows = [Row("run folder", str(run.folder), is_code=True)]
    if outcome:
        rows.append(Row("base model", outcome.base_model))
    elif origin is None:
        rows.append(Row("base model", run.config.base_model or "the engine's default"))
    if origin:
        rows += [
            Row("code", origin.code_version),
            Row("recipe", origin.recipe),
            Row("parent", origin.parent or "none: trained from the base", bool(origin.parent)),
            Row("base weights", origin.base_weights, is_code=True),
            Row("tokenizer", origin.tokenizer, is_code=True),
            Row("chat template", origin.chat_template, is_code=True),
        ]
    elif outcome:
        rows.append(Row("base weights", outcome.base_digest, is_code=True))
    if run.card:
        rows += [
            Row("training data", run.card.train.digest, is_code=True),
            Row("test data", run.card.test.digest, is_code=True),
        ]
    rows += _judgement_digests(run)
    if run.verification and run.verification.manifest:
        creator = run.verification.manifest.view.creator
        rows.append(Row("signed by", creator.name))
        rows.append(Row("signing key", creator.public_key_fingerprint, is_code=True))
    return tuple(rows)


def _judgement_digests(run: RunRecords) -> list[Row]:
    rows: list[Row] = []
    if run.evaluation:
        rows.append(Row("evaluation report", run.evaluation.digest, is_code=True))
    if run.screening:
        rows.append(Row("screening report", run.screening.digest, is_code=True))
        rows.append(Row("adapter weights", run.screening.adapter_digest, is_code=True))
    if run.privacy:
        rows.append(Row("privacy ledger", run.privacy.ledger_digest, is_code=True))
    if run.outcome and run.outcome.package_digest:
        rows.append(Row("package", run.outcome.package_digest, is_code=True))
    return rows


def settings(run: RunRecords) -> tuple[Row, ...]:
    """Every option of the run, and the numbers that the plan derived from them."""
    chosen = run.config.model_dump(mode="json", exclude={"out", *_HIDDEN_SETTINGS})
    rows = [Row(wording.label(k), wording.value_text(v)) for k, v in chosen.items()]
    plan = run.provenance.hyper_parameters.get("plan") if run.provenance else None
    if isinstance(plan, dict):
        rows += [
            Row(f"planned: {wording.label(str(k))}", wording.value_text(v)) for k, v in plan.items()
        ]
    return tuple(rows)
