"""Pairs out of glossaries, exercises, prose, tables and sections, and what is left out."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensafe.data import Example, ReadOptions, extract, find_files
from tensafe.data.boilerplate import (
    CAPTION,
    CELLS,
    CONTENTS,
    LICENCE,
    LINK,
    NOISE,
    PAGE_NUMBER,
    reason_to_leave,
    repeated_lines,
    running_heads,
    without_repeated,
)
from tensafe.data.items import Paragraph
from tensafe.data.layouts import Skipped
from tensafe.data.questions import Pair, find_definitions, find_structured
from tensafe.data.questions.sections import question_from
from tensafe.data.questions.sentences import is_request, needs_figure, split_sentences


def read(folder: Path, name: str, text: str) -> tuple[list[Example], Counter[str]]:
    (folder / name).write_text(text, encoding="utf-8")
    (file,) = find_files(folder / name).files
    items = list(extract(file, ReadOptions()).items)
    skipped = Counter(item.reason for item in items if isinstance(item, Skipped))
    return [item for item in items if isinstance(item, Example)], skipped


def pairs(examples: list[Example]) -> list[tuple[str, str]]:
    return [(e.prompt[0]["content"], e.reference) for e in examples if e.kind == "qa"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "Glossary\n\ntare: the weight of an empty box\n\nnet: the weight of the goods"),
        ("b.txt", "Key Terms\n\ntare: the weight of an empty box\nnet: the weight of the goods"),
        ("c.md", "# Terms\n\n## Glossary\n\n**tare**: the weight of an empty box\n\n"
                 "**net** - the weight of the goods\n"),
        ("d.md", "## Glossary\n\n- **tare:** the weight of an empty box\n"
                 "- **net:** the weight of the goods\n"),
        ("e.md", "## Definitions\n\ntare\n: the weight of an empty box\n\n"
                 "net\n: the weight of the goods\n"),
        ("f.md", "| Term | Definition |\n|---|---|\n| tare | the weight of an empty box |\n"
                 "| net | the weight of the goods |\n"),
    ],
)  # fmt: skip
def test_terms_with_definitions(tmp_path: Path, name: str, text: str) -> None:
    examples, _ = read(tmp_path, name, text)
    assert pairs(examples) == [
        ('What does "tare" mean?', "the weight of an empty box"),
        ('What does "net" mean?', "the weight of the goods"),
    ]


def test_glossary_references_are_resolved_or_left_out(tmp_path: Path) -> None:
    examples, skipped = read(
        tmp_path,
        "a.txt",
        "Glossary\n\ntare: the weight of an empty box\n\nbox weight: see tare\n\nlost: see found\n"
        "\nThe Next Chapter: A Story of Boxes\n\n" + "Boxes are carried by hand. " * 5,
    )
    assert pairs(examples)[1] == ('What does "box weight" mean?', "the weight of an empty box")
    assert skipped == {"glossary entry that only points to another one": 1}
    assert any("A Story of Boxes" in e.reference for e in examples if e.kind == "text")


@pytest.mark.parametrize(
    "text",
    [
        "MS KAY: I ask you.\n\nMR DAY: You do not.\n\nMS KAY: I do ask.\n\nMR DAY: So it is.",
        "Date: 4 May\n\nPlace: Rome\n\nTeacher: Mr Grey\n\nRoom: number four",
        "Note: this is not a term.",
    ],
)
def test_colons_alone_make_no_glossary(tmp_path: Path, text: str) -> None:
    examples, _ = read(tmp_path, "a.txt", text)
    assert pairs(examples) == []


def test_exercises_with_solutions(tmp_path: Path) -> None:
    text = """Self-Check Questions

What is tare?

The weight of an empty box.

It is printed on the box.

A box weighs 2 kg empty. Explain why that matters.

Freight is paid by weight.

How heavy is the box shown in ?

Two kilograms.

Which of the following are heavy?

1. lead
2. wool

1. Lead is.
2. Wool is not.

Review Questions

What is net?

What is gross?

References

Weighing Office. “Boxes.”
"""
    examples, skipped = read(tmp_path, "a.txt", text)
    assert pairs(examples) == [
        ("What is tare?", "The weight of an empty box.\n\nIt is printed on the box."),
        ("A box weighs 2 kg empty. Explain why that matters.", "Freight is paid by weight."),
        ("Which of the following are heavy?\n1. lead\n2. wool", "1. Lead is.\n2. Wool is not."),
    ]
    assert skipped["exercise without an answer"] == 2
    assert skipped["list of references"] == 2
    assert skipped["exercise that needs a figure, a table or an equation not in the text"] == 1


def test_numbered_questions_with_answers_further_on(tmp_path: Path) -> None:
    text = (
        "# Book\n\n## Exercises\n\n1. What is tare?\n\n2. What is net?\n\n3. What is left?\n\n"
        "## Answers\n\n1. The weight of the box.\n2. The weight of the goods.\n"
    )
    examples, skipped = read(tmp_path, "a.md", text)
    assert pairs(examples) == [
        ("What is tare?", "The weight of the box."),
        ("What is net?", "The weight of the goods."),
    ]
    assert skipped["exercise without an answer"] == 1


def test_problem_and_solution_marks(tmp_path: Path) -> None:
    examples, _ = read(tmp_path, "a.txt", "Problem 1: Add two and two.\nSolution: It is four.\n")
    assert pairs(examples) == [("Add two and two.", "It is four.")]


@pytest.mark.parametrize(
    ("sentence", "question"),
    [
        ("A tariff is a tax that is paid on imported goods.", "What is a tariff?"),
        ("Tariffs are taxes that governments place on imported goods.", "What are tariffs?"),
        ("The term “tare” refers to the weight of an empty box.", 'What does "tare" mean?'),
        ("The weight of an empty box is called the tare.", 'What does "tare" mean?'),
        ("GDP is defined as the value of all goods made in a year.", 'What does "GDP" mean?'),
        ("Inflation is a general and ongoing rise in prices.", "What is Inflation?"),
    ],
)
def test_definitions_in_prose(sentence: str, question: str) -> None:
    found = list(find_definitions(f"Weights matter. {sentence} That is all.", "line 1"))
    assert [(pair.question, pair.answer) for pair in found] == [(question, sentence)]


@pytest.mark.parametrize(
    "sentence",
    [
        "It is a tax that is paid on imported goods.",
        "This is called the tare of the box.",
        "The answer is a number that nobody knows yet.",
        "A higher price means that people will buy less of it.",
        "A firm is considering an investment that will earn money.",
        "Scarcity is a good reason to think about economics again.",
        "A tariff is a tax that is shown in the table below.",
        "Lead is the heaviest of the metals that they weighed.",
        "A tariff is a tax that, as shown in , is paid on goods.",
    ],
)
def test_sentences_that_define_nothing(sentence: str) -> None:
    assert list(find_definitions(sentence, "line 1")) == []


def test_a_definition_stays_with_its_passage(tmp_path: Path) -> None:
    body = "A tariff is a tax that is paid on imported goods. " + "Trade goes on all year. " * 8
    examples, _ = read(tmp_path, "a.txt", f"Trade\n\n{body}\n\nAgain\n\n{body}")
    (pair,) = [example for example in examples if example.kind == "qa"]
    passages = [example for example in examples if example.kind == "text"]
    assert [passage.group == pair.group for passage in passages] == [True, False]


def test_sections_of_markdown(tmp_path: Path) -> None:
    examples, _ = read(
        tmp_path,
        "a.md",
        "# Manual\n\n## Overview\n\nThis manual is about bikes and how to look after them well, "
        "every day of the year.\n\n## How to reset the lock\n\nHold the key for ten seconds.\n\n"
        "## 2. Returns\n\nBikes come back by noon.\n",
    )
    assert pairs(examples) == [
        ("How do you reset the lock?", "Hold the key for ten seconds."),
        ("Explain: Returns", "Bikes come back by noon."),
    ]
    assert question_from("Chapter 3") is None


def test_tables_of_words_give_facts_and_tables_of_figures_do_not(tmp_path: Path) -> None:
    words = "| Error | Cause |\n|---|---|\n| Lamp red | No charge |\n| Lamp blue | No signal |\n"
    figures = "| Year | Sales |\n|---|---|\n| 2001 | 100 |\n| 2002 | 200 |\n"
    asks = "| Question | Answer |\n|---|---|\n| Is it on? | Yes |\n| Is it off? | No |\n"
    examples, _ = read(tmp_path, "a.md", f"{words}\n{figures}\n{asks}")
    assert pairs(examples) == [
        ("Lamp red: what is the cause?", "No charge"),
        ("Lamp blue: what is the cause?", "No signal"),
        ("Is it on?", "Yes"),
        ("Is it off?", "No"),
    ]


def test_a_question_alone_is_not_answered_by_another_order(tmp_path: Path) -> None:
    examples, _ = read(
        tmp_path,
        "a.txt",
        "Why do prices rise?\n\nIf wages rise, explain what happens to prices.\n\n"
        "A Million-Dollar Loaf of Bread?\n\nBread was dear in those days, and it stayed so.\n",
    )
    assert pairs(examples) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("17", PAGE_NUMBER),
        ("Page 3 of 12", PAGE_NUMBER),
        ("- xiv -", PAGE_NUMBER),
        ("Chapter 1 ........ 3\nChapter 2 ........ 9", CONTENTS),
        ("© 2021 Boxes Ltd. All rights reserved.", LICENCE),
        ("[1]: http://boxes.example/tare", LINK),
        ("Boxes in a row. (Credit: A. Nobody/Flickr)", CAPTION),
        ("10\n20\n$30", CELLS),
        ("l I . ' , ; j l ~ ` ^ i", NOISE),
        ("~#@ ;:%& )(*& ^%$ #@! ~~~ {}[] ..;;", CELLS),
        ("The tare is 12 kg.", None),
        ("Copyright protects what people write.", None),
        ("- one\n- two", None),
        ("if (x > 0) { return y[i] + 1; }", None),
    ],
)
def test_boilerplate_is_named(text: str, reason: str | None) -> None:
    found = reason_to_leave(text)
    assert found == reason or (reason in (CELLS, NOISE) and found in (CELLS, NOISE))


def test_running_heads_of_text_and_pages(tmp_path: Path) -> None:
    heads = [f"The Box Manual {number}" for number in range(2, 30, 4)]
    body = "Boxes are weighed before they are sent, and again when they arrive at the port. "
    text = "\n\n".join(part for head in heads for part in (head, body * 2))
    examples, skipped = read(tmp_path, "a.txt", text)
    assert skipped["running head or foot"] == len(heads)
    assert not any("Box Manual" in example.reference for example in examples)
    assert running_heads(["Chapter 1", "Chapter 2", "Chapter 3", "Chapter 4"]) == frozenset()
    pages = [
        f"Box Manual\nText of page {n} says something\nmore {n * 'x'}\n{n}" for n in range(1, 9)
    ]
    cleaned, removed = without_repeated(pages[4], repeated_lines(pages))
    assert removed >= 2
    assert "more xxxxx" in cleaned
    assert "Box Manual" not in cleaned


def test_sentences() -> None:
    assert split_sentences("The U.S. is big. Dr. Low said so. “Is it?” Yes.") == [
        "The U.S. is big.", "Dr. Low said so.", "“Is it?”", "Yes.",
    ]  # fmt: skip
    assert is_request("There are two firms. Explain why.")
    assert not is_request("Firms explain little.")
    assert needs_figure("Using the data in the table below, find x.")
    assert not needs_figure("Sit at the table and find x.")


paragraph = st.builds(
    Paragraph,
    st.text(alphabet="ab:?.1 \nAQ|-", min_size=1, max_size=40),
    st.just("line 1"),
    st.integers(0, 2),
)


@given(st.lists(paragraph, max_size=12))
def test_no_paragraph_is_lost_or_doubled(items: list[Paragraph]) -> None:
    """What makes no pair and isn't counted as left out is given on as it was."""
    out = list(find_structured(iter(items)))
    given_on = Counter(id(part) for part in out if isinstance(part, Paragraph))
    assert all(count == 1 for count in given_on.values())
    letters = sum(char.isalnum() for item in items for char in item.text)
    kept = sum(
        char.isalnum()
        for part in out
        for char in (
            part.text
            if isinstance(part, Paragraph)
            else part.question + part.answer
            if isinstance(part, Pair)
            else ""
        )
    )
    assert kept <= letters + 40 * sum(isinstance(part, Pair) for part in out)


def test_the_textbook(shared_data: Path, tmp_path: Path) -> None:
    """The first seventh of a real book; the whole of it is judged by the evidence."""
    book = (shared_data / "text" / "openstax" / "economics.txt").read_text(encoding="utf-8")
    examples, _ = read(tmp_path, "economics.txt", book[:400_000])
    questions = [example for example in examples if example.kind == "qa"]
    terms = [example for example in questions if "#term " in example.group]
    assert len(terms) >= 100
    assert len(questions) - len(terms) >= 60
