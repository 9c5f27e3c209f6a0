"""The page that tells an improvement to a person: what was weak, what was done, what it came to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensafe.improve.current import Current

if TYPE_CHECKING:
    from tensafe.improve.comparison import SetResult
    from tensafe.improve.improving import Improvement


def tell(improvement: Improvement, current: Current) -> str:
    """The page in Markdown; it quotes users, so it belongs to the owner of the data."""
    plan, comparison = improvement.plan, improvement.comparison
    package = improvement.package
    parts = [
        f"# Version {improvement.version} of {current.run.config.adapter_name}",
        "",
        f"Package: {package.name}" if package else "**No package**: something said no.",
        f"It continues version {current.parent.version} (package {current.parent.package[:16]}).",
        "",
        "## What users met",
        "",
        ", ".join(f"{count} {name}" for name, count in sorted(plan.verdicts.items())),
        "",
        "| weak spot | size | bad | answered | wanted | for instance |",
        "|---|---|---|---|---|---|",
    ]
    for spot in plan.weak_spots:
        example = _cell(spot.examples[0]) if spot.examples else ""
        parts.append(
            f"| {_cell(spot.name)} | {spot.size} | {spot.bad} | {_counts(spot.answers)} "
            f"| {_counts(spot.wanted)} | {example} |"
        )
    how = ", ".join(f"{count} by {name}" for name, count in sorted(plan.how.items())) or "none"
    parts += [
        "",
        "## What was done",
        "",
        f"- better answers: {how}; {plan.unresolved} stay open for a person "
        "(`needs_a_person.jsonl`); "
        f"{plan.confirmed} answers were confirmed",
        f"- {plan.new_train} new training examples, {plan.replayed} replayed "
        f"({plan.budget.replay}), {plan.new_test} new ones held out",
        f"- privacy: {plan.budget.reason}",
        "",
        "## Old against new",
        "",
        "| test set | items | old | new | difference | p |",
        "|---|---|---|---|---|---|",
        _row("what must not be forgotten", comparison.old),
        _row("what is new", comparison.new),
        "",
    ]
    parts += [f"- against it: {reason}" for reason in comparison.reasons]
    gates = vars(improvement.outcome.gates).values()
    parts += [f"- {record.name}: {record.verdict}, {record.reason}" for record in gates]
    return "\n".join(parts) + "\n"


def _row(name: str, result: SetResult) -> str:
    if result.difference is None:
        return f"| {name} | 0 | | | | |"
    return (
        f"| {name} | {result.items} | {result.old_score:.3f} | {result.new_score:.3f} "
        f"| {result.difference:+.3f} | {result.p_value:.2g} |"
    )


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{_cell(text)} ({count})" for text, count in counts.items())


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")[:80]
