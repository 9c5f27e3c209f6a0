"""The card of an export: what is in the file, where it is from, what was left out. No texts."""

from __future__ import annotations

import json
from typing import Any

from aragora.training.exporters.rows import ExportReport

_SOURCES = {
    "debate": "answers that won a debate",
    "expert": "answers of experts that agree with what won",
    "critique": "critiques after which the answer became better",
    "pattern": "issue and suggestion, with success in the past",
    "head_to_head": "the winning answer against one that lost, same prompt",
    "domain": "an expert's answer against a non-expert's, same prompt",
    "calibration": "stated confidences, nearer to and farther from what came true",
    "attack": "attacks with a reply that held",
    "defence": "a reply that held against one that broke, same prompt",
}


def card_of(
    name: str, digest: str, rows: int, report: ExportReport, settings: dict[str, Any]
) -> str:
    """The card of a file as Markdown with the front matter that dataset hubs read."""
    parts = [
        "\n".join(("---", f"pretty_name: {json.dumps(name)}", "license: unknown", "---")),
        f"# {name}",
        f"{rows:,} rows ({report.kind}) from {report.records_read:,} stored {report.unit}. Each "
        "row's `provenance` names the records behind its words and their digests.",
        _section("Rows by source", _sources(report)),
        _section("Left out", _counted(report.left_out) or ["Nothing."]),
        _section("Debates that the filters left", _funnel(report)),
        _section("Personal data and secrets", _pii(report, settings)),
        _section("Held-out tasks", [_HELD_OUT]),
        _section("Settings", ["```json", json.dumps(settings, indent=2, sort_keys=True), "```"]),
        _section("Digest", [f"SHA-256 of the file: `{digest}`"]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


_HELD_OUT = (
    "Tasks of held-out debates and items of registered benchmarks were left out: the same words, "
    "or four fifths of an item's own word 8-grams. Paraphrases are not found."
)


def _sources(report: ExportReport) -> list[str]:
    lines = [
        f"- {count:,}: {_SOURCES.get(source, source)} (`{source}`)"
        for source, count in sorted(report.by_source.items())
    ]
    if report.replayed:
        lines.append(f"- {report.replayed:,}: rows of earlier exports, mixed in")
    return lines


def _funnel(report: ExportReport) -> list[str]:
    return [f"- {left:,} {name}" for name, left in report.funnel]


def _counted(counts: dict[str, int]) -> list[str]:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [f"- {count:,}: {name}" for name, count in ordered]


def _pii(report: ExportReport, settings: dict[str, Any]) -> list[str]:
    rule = {
        "drop": "Rows with any finding were left out.",
        "redact": "Each finding was replaced by a mark such as [EMAIL].",
        "keep": "The rows were not screened.",
    }[str(settings["pii"])]
    return [
        *(_counted(report.pii) or ["None found."]),
        "",
        f"{rule} Found by pattern and check digit; names and postal addresses are not looked for.",
    ]


def _section(title: str, lines: list[str]) -> str:
    return "\n".join((f"## {title}", "", *lines)) if lines else ""
