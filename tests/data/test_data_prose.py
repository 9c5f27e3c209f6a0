"""Questions with answers in running text, passages, and PDF text."""

from __future__ import annotations

from pathlib import Path

import pytest

from tensafe.data import Example, ReadOptions, extract, find_files
from tensafe.data.layouts import Skipped
from tensafe.data.passages import unwrap
from tensafe.data.pdf import split_paragraphs


def read(path: Path, options: ReadOptions | None = None) -> list[Example]:
    (file,) = find_files(path).files
    return [
        item for item in extract(file, options or ReadOptions()).items if isinstance(item, Example)
    ]


def pairs(examples: list[Example]) -> list[tuple[str, str]]:
    return [(e.prompt[0]["content"], e.reference) for e in examples if e.kind == "qa"]


@pytest.mark.parametrize(
    "text",
    [
        "Q: Where is it?\nA: In the hall.\n\nQ: When?\nA: At noon.\n",
        "Q1. Where is it?\n\nA1. In the hall.\n\nQ2. When?\n\nA2. At noon.\n",
        "Question: Where is it?\nAnswer: In the hall.\nQuestion: When?\nAnswer: At noon.",
        "**Q: Where is it?**\n\nA: In the hall.\n\n**Q: When?**\n\nA: At noon.\n",
        "**Where is it?**\nIn the hall.\n\n**When?** At noon.\n",
        "Where is it?\n\nIn the hall.\n\nWhen?\n\nAt noon.\n",
        "\r\n".join(["Q: Where is it?", "A: In the hall.", "", "Q: When?", "A: At noon."]),
        "Q: Where\nis it?\nA: In the\nhall.\n\nQ: When? A: At noon.",
    ],
)
def test_faq_patterns_in_text(tmp_path: Path, text: str) -> None:
    path = tmp_path / "faq.txt"
    path.write_bytes(text.encode())
    found = [(q.replace("\n", " "), a.replace("\n", " ")) for q, a in pairs(read(path))]
    assert found == [("Where is it?", "In the hall."), ("When?", "At noon.")]


def test_markdown_headings_that_ask(tmp_path: Path) -> None:
    path = tmp_path / "faq.md"
    path.write_text(
        "---\ntitle: x\n---\n# All about it\n\n"
        + "This page is long enough to be a passage of its own, with words that say nothing. " * 2
        + "\n\n## Where is it?\nIn the hall.\n\nOr in the yard.\n\n### Really?\n- yes\n- no\n"
        "## Opening hours\n\nAlways.\n\n```\n# Not a heading?\n\ncode\n```\n",
        encoding="utf-8",
    )
    examples = read(path)
    assert pairs(examples) == [
        ("Where is it?", "In the hall.\n\nOr in the yard."),
        ("Really?", "- yes\n- no"),
        ("Explain: Opening hours", "Always.\n\n```\n# Not a heading?\n\ncode\n```"),
    ]
    prose = [example.reference for example in examples if example.kind == "text"]
    assert prose[0].startswith("All about it\n\nThis page")
    assert not any("In the hall" in text for text in prose)


def test_comments_and_unfilled_templates_teach_nothing(tmp_path: Path) -> None:
    path = tmp_path / "card.md"
    path.write_text(
        "# Card\n\n## Uses\n\n<!-- Say what it is for,\nin two lines. -->\n\n"
        "[More Information Needed]\n\n## Limits\n\nIt was tested on <!-- really? -->bicycles "
        "alone, in the rain and in the sun.\n\n- **Author:** TODO\n\n"
        "```\n<!-- code stays -->\n```\n",
        encoding="utf-8",
    )
    (file,) = find_files(path).files
    items = list(extract(file, ReadOptions()).items)
    shown = str([item.messages for item in items if isinstance(item, Example)])
    assert "bicycles alone" in shown
    assert "<!-- code stays -->" in shown
    for hidden in ("Say what", "two lines", "really", "More Information", "TODO"):
        assert hidden not in shown
    reasons = [item.reason for item in items if isinstance(item, Skipped)]
    assert reasons.count("template that was never filled in") == 2


@pytest.mark.parametrize(
    "opening",
    [
        "Write `<!--` to open a comment.",
        "Write ``a ` <!--`` to open one.",
        "Write <!-- to open a comment.",
        "<!-- left -->Write <!-- to open one.",
    ],
)
def test_what_never_closes_hides_nothing(tmp_path: Path, opening: str) -> None:
    path = tmp_path / "guide.md"
    rest = "".join(f"## What is part {i}?\n\nPart {i} is this one.\n\n" for i in range(20))
    path.write_text(f"# Guide\n\n{opening}\n\n{rest}", encoding="utf-8")
    assert pairs(read(path)) == [
        (f"What is part {i}?", f"Part {i} is this one.") for i in range(20)
    ]
    closed = rest.replace("Part 7", "Part 7 <!-- or\neight -->")
    path.write_text(f"# Guide\n\nWrite `<!--`.\n\n{closed}", encoding="utf-8")
    assert pairs(read(path))[7] == ("What is part 7?", "Part 7\nis this one.")
    assert len(pairs(read(path))) == 20


def test_questions_nobody_answers_stay_prose(tmp_path: Path) -> None:
    path = tmp_path / "exercises.txt"
    path.write_text(
        "Why is the sky blue?\n\nWhy is grass green?\n\nWhich?\n\n1. red\n2. blue\n3. green\n",
        encoding="utf-8",
    )
    assert pairs(read(path)) == []


def test_passages_are_cut_at_paragraphs_and_grouped(tmp_path: Path) -> None:
    paragraphs = [f"Paragraph {i} says something. " * 12 for i in range(60)]
    path = tmp_path / "book.txt"
    path.write_text("\n\n".join(paragraphs), encoding="utf-8")
    examples = read(path, ReadOptions(passage_chars=1000))
    assert all(example.kind == "text" and len(example.messages) == 1 for example in examples)
    assert max(len(example.reference) for example in examples) <= 1100
    assert "".join(e.reference for e in examples).replace("\n", "").count("Paragraph") == 720
    assert 2 <= len({example.group for example in examples}) < len(examples)


def test_prose_can_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    path.write_text("A long sentence about something or other. " * 20, encoding="utf-8")
    assert len(read(path)) == 1
    assert read(path, ReadOptions(include_prose=False)) == []


def test_one_endless_line_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "line.txt"
    path.write_text("x" * 10_000, encoding="utf-8")
    examples = read(path)
    assert sum(len(example.reference) for example in examples) == 10_000
    assert max(len(example.reference) for example in examples) <= 1800


def test_lines_broken_to_fit_are_joined_and_verse_is_not() -> None:
    wrapped = (
        "This is a line that was broken at the right\nmargin of the page and goes on until\nhere."
    )
    assert "\n" not in unwrap(wrapped)
    assert unwrap("- one\n- two\n- three") == "- one\n- two\n- three"
    verse = "Shall I compare thee to a summer's day, my friend\nNo\nThou art more lovely"
    assert unwrap(verse).count("\n") == 2


def test_pdf_lines_become_paragraphs() -> None:
    page = (
        "The manual of the machine\nThis paragraph fills the whole width of the page and goes on\n"
        "with a second line that is as long as the first one was, and\nends here.\n"
        "Another one starts here and fills the whole width of the page\nas well.\n"
        "Q: Is this a question?\nA: It is."
    )
    found = list(split_paragraphs(page))
    assert found[0] == "The manual of the machine"
    assert found[1].endswith("ends here.")
    assert found[-2:] == ["Q: Is this a question?", "A: It is."]
