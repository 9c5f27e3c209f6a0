"""The dataset card: `README.md` beside a curated data set, for people who get to see the data.

States counts, sources, mappings, what was dropped, languages, personal data, the split rule and
the digests. It holds no text of the examples. The license is unknown unless the owner gave one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tensafe.data.domains import DomainGuess, classify_domain
from tensafe.data.languages import SHORT, UNCLEAR, count_languages
from tensafe.data.records import CurationReport, Dataset, Example

_SAMPLE_EXAMPLES = 1000
_LISTED = 50
_KINDS = {
    "email": "e-mail addresses", "phone": "phone numbers", "card": "card numbers",
    "iban": "account numbers (IBAN)", "ssn": "US social security numbers", "ip": "IP addresses",
    "secret": "passwords, keys and tokens",
}  # fmt: skip
_SPLIT_RULE = (
    "Near-duplicates and rows about one source passage form clusters; a cluster stands on one side "
    "as a whole. Which side is decided by the SHA-256 of its content, within each label where the "
    "answers are labels: names and order of files change nothing."
)


@dataclass(frozen=True)
class CardFacts:
    """What the card states beside what the data set itself says."""

    name: str
    source: str
    domain: str
    license: str | None = None


def dataset_domain(dataset: Dataset) -> DomainGuess:
    """The field of the training side, told from the thousand examples with the smallest digests."""
    return classify_domain(_text(example) for example in dataset.train[:_SAMPLE_EXAMPLES])


def describe_dataset(dataset: Dataset, facts: CardFacts) -> str:
    """The card as Markdown, with the front matter that dataset hubs read."""
    report = dataset.report
    languages = count_languages(
        _text(example) for example in (*dataset.train, *dataset.test)[:_SAMPLE_EXAMPLES]
    )
    parts = [
        *_front_matter(facts, languages),
        f"# Dataset of {facts.name}",
        f"Made from `{facts.source}`. Field: {facts.domain}. "
        f"License of the data: {facts.license or 'unknown (the owner stated none)'}.",
        _section("Counts", _counts(dataset)),
        _section("Sources", _sources(report)),
        _section("Left out", _left_out(report)),
        _section("Languages", _languages(languages)),
        _section("Personal data and secrets", _pii(report)),
        _section("Split", [_SPLIT_RULE, *report.notes]),
        _section(
            "Digests",
            [
                "SHA-256 over the sorted digests of the examples:",
                f"- train `{dataset.train_digest}`",
                f"- test `{dataset.test_digest}`",
            ],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(facts: CardFacts, languages: Mapping[str, int]) -> list[str]:
    known = sorted(set(languages) - {SHORT, UNCLEAR}, key=lambda name: -languages[name])
    lines = ["---", f"pretty_name: {_quoted(facts.name)}"]
    lines.append(f"license: {_quoted(facts.license or 'unknown')}")
    if known:
        lines += ["language:", *(f"- {_quoted(name)}" for name in known[:_LISTED])]
    lines += ["tags:", f"- {_quoted(facts.domain)}", "---"]
    return ["\n".join(lines)]


def _counts(dataset: Dataset) -> list[str]:
    rows = ["| side | examples | questions | chats | passages |", "|---|---|---|---|---|"]
    for side, examples in (("train", dataset.train), ("test", dataset.test)):
        kinds = Counter(example.kind for example in examples)
        rows.append(
            f"| {side} | {len(examples):,} | {kinds['qa']:,} | {kinds['chat']:,} "
            f"| {kinds['text']:,} |"
        )
    return ["\n".join(rows)]


def _sources(report: CurationReport) -> list[str]:
    names = sorted({*report.kept_by_source, *report.mappings})
    rows = ["| file | examples kept | how it was understood |", "|---|---|---|"]
    for name in names[:_LISTED]:
        kept = report.kept_by_source.get(name, 0)
        rows.append(f"| {_cell(name)} | {kept:,} | {_cell(report.mappings.get(name, ''))} |")
    if len(names) > _LISTED:
        rows.append(f"| and {len(names) - _LISTED} more | | see card.json |")
    return [f"{report.files_read} files read, {report.bytes_read:,} bytes.", "\n".join(rows)]


def _left_out(report: CurationReport) -> list[str]:
    lines = [f"- {count:,}: {reason}" for reason, count in report.dropped.items()]
    for part in report.unreadable[:_LISTED]:
        where = f"{part.source} ({part.place})" if part.place else part.source
        lines.append(f"- {where}: {part.reason}")
    if len(report.unreadable) > _LISTED:
        lines.append(f"- and {len(report.unreadable) - _LISTED} more, see card.json")
    return ["\n".join(lines) or "Nothing."]


def _languages(languages: Mapping[str, int]) -> list[str]:
    total = sum(languages.values())
    names = {SHORT: "too short to tell", UNCLEAR: "not clear"}
    ordered = sorted(languages.items(), key=lambda item: (item[0] in names, -item[1]))
    shares = ", ".join(f"{names.get(name, name)} {count / total:.1%}" for name, count in ordered)
    return [f"In {total:,} of the examples: {shares}."]


def _pii(report: CurationReport) -> list[str]:
    what = (
        "Each was replaced by a mark such as [EMAIL]."
        if report.is_redacted
        else "They were counted and left as they are (no redaction was asked for)."
    )
    if not report.pii:
        return ["None found by pattern and check digit. Names and addresses are not looked for."]
    counts = "\n".join(f"- {_KINDS.get(kind, kind)}: {n:,}" for kind, n in report.pii.items())
    return [
        counts,
        f"{what} Found by pattern and check digit in all that was read; names and postal "
        "addresses are not looked for.",
    ]


def _section(title: str, blocks: Sequence[str]) -> str:
    return "\n\n".join([f"## {title}", *blocks])


def _text(example: Example) -> str:
    return "\n".join(turn["content"] for turn in example.messages)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _quoted(text: str) -> str:
    """A YAML double-quoted scalar; JSON strings are that."""
    import json

    return json.dumps(text, ensure_ascii=False)
