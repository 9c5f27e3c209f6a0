"""Which columns and layouts are recognised, and how they become messages."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tensafe.data import ColumnChoice, Example, Extraction, ReadOptions, extract, find_files
from tensafe.data.layouts import Skipped


def jsonl(tmp_path: Path, *records: object) -> Path:
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    return path


def table(tmp_path: Path, header: list[str], rows: list[list[str]]) -> Path:
    path = tmp_path / "data.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def read(path: Path, options: ReadOptions | None = None) -> tuple[Extraction, list[Any]]:
    (file,) = find_files(path).files
    extraction = extract(file, options or ReadOptions())
    return extraction, list(extraction.items)


def turns(example: Example) -> list[tuple[str, str]]:
    return [(turn["role"], turn["content"]) for turn in example.messages]


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"question": "Who?", "answer": "Me"}, [("user", "Who?"), ("assistant", "Me")]),
        ({"prompt": "Who?", "completion": " Me"}, [("user", "Who?"), ("assistant", "Me")]),
        ({"prompt": "Who?", "response": "Me"}, [("user", "Who?"), ("assistant", "Me")]),
        (
            {"instruction": "Translate.", "input": "chat", "output": "cat"},
            [("user", "Translate.\n\nchat"), ("assistant", "cat")],
        ),
        (
            {"instruction": "Name a cat.", "input": "", "output": "Tom"},
            [("user", "Name a cat."), ("assistant", "Tom")],
        ),
        (
            {"system": "Be short.", "question": "Who?", "answer": "Me"},
            [("system", "Be short."), ("user", "Who?"), ("assistant", "Me")],
        ),
        (
            {"context": "Tom is a cat.", "question": "Who is Tom?", "answers": {"text": ["a cat"]}},
            [("user", "Tom is a cat.\n\nWho is Tom?"), ("assistant", "a cat")],
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": "Hi"},
                    {"role": "assistant", "content": "Yo"},
                ]
            },
            [("user", "Hi"), ("assistant", "Yo")],
        ),
        (
            {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Yo"}]},
            [("user", "Hi"), ("assistant", "Yo")],
        ),
    ],
)
def test_layouts(tmp_path: Path, record: object, expected: list[tuple[str, str]]) -> None:
    extraction, (example,) = read(jsonl(tmp_path, record))
    assert turns(example) == expected
    assert extraction.mapping


def test_a_long_chat_learns_its_last_answer(tmp_path: Path) -> None:
    chat = [("assistant", "Welcome!"), ("user", "A"), ("assistant", "b"), ("user", "C"),
            ("user", "D"), ("assistant", "e"), ("user", "thanks")]  # fmt: skip
    messages = [{"role": role, "content": content} for role, content in chat]
    extraction, (example,) = read(jsonl(tmp_path, {"messages": messages}))
    assert turns(example) == [
        ("user", "A"), ("assistant", "b"), ("user", "C\n\nD"), ("assistant", "e"),
    ]  # fmt: skip
    assert example.kind == "chat"
    assert "last assistant turn is learned" in extraction.mapping


def test_chats_that_answer_nobody_are_counted(tmp_path: Path) -> None:
    only_user = {"messages": [{"role": "user", "content": "Hello?"}]}
    tool = {"messages": [{"role": "user", "content": "x"}, {"role": "tool", "content": "y"}]}
    _, items = read(jsonl(tmp_path, only_user, tool))
    assert [item.reason for item in items if isinstance(item, Skipped)] == [
        "chat without an answer to a user",
        "chat with a turn of unknown role 'tool'",
    ]


def test_preferred_answers_are_learned_and_rejected_ones_are_not(tmp_path: Path) -> None:
    me = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Me"}]
    you = [me[0], {"role": "assistant", "content": "You"}]
    records = [
        {"prompt": "Who?", "chosen": "Me", "rejected": "You"},
        {"prompt": [me[0]], "chosen": [me[1]], "rejected": [you[1]]},
        {"chosen": me, "rejected": you},
        {
            "chosen": "\n\nHuman: Who?\n\nAssistant: Me",
            "rejected": "\n\nHuman: Who?\n\nAssistant: ",
        },
    ]
    extraction, items = read(jsonl(tmp_path, *records))
    assert [turns(item) for item in items] == [[("user", "Who?"), ("assistant", "Me")]] * 4
    assert "preferred answer is learned" in extraction.mapping


def test_compared_texts_without_a_question_are_left_out(tmp_path: Path) -> None:
    _, items = read(jsonl(tmp_path, {"chosen": "Me", "rejected": "You"}))
    assert all(isinstance(item, Skipped) and "preference" in item.reason for item in items)


def test_several_layouts_in_one_file(tmp_path: Path) -> None:
    chat = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]}
    pair = {"question": "Who?", "answer": "Me"}
    _, items = read(jsonl(tmp_path, chat, pair, {"chosen": "a", "rejected": "b"}))
    assert [type(item) for item in items] == [Example, Example, Skipped]


def test_classification_takes_the_message_alone(tmp_path: Path) -> None:
    labels = ["cards", "cash", "top ups"]
    rows = [[str(i), "2024-01-02", f"Message {i} about a thing", labels[i % 3]] for i in range(30)]
    extraction, items = read(table(tmp_path, ["id", "created", "text", "category"], rows))
    assert turns(items[0]) == [("user", "Message 0 about a thing"), ("assistant", "cards")]
    assert "question = 'text', answer = 'category'" in extraction.mapping
    assert "3 labels" in extraction.mapping


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("When did event {i} take place?", "20{i:02d}-03-14"),
        ("Where do I find page {i}?", "https://x.example/{i}"),
        ("How do I write part {i}?", "<p>As <b>part {i}</b></p>"),
    ],
)
def test_a_column_called_answer_is_one_whatever_it_holds(
    tmp_path: Path, question: str, answer: str
) -> None:
    labels = ["events", "people", "places"]
    rows = [[question.format(i=i), answer.format(i=i), labels[i % 3]] for i in range(40)]
    extraction, items = read(table(tmp_path, ["question", "answer", "category"], rows))
    assert "question = 'question', answer = 'answer'" in extraction.mapping
    assert turns(items[3])[-1] == ("assistant", answer.format(i=3))


def test_unknown_names_are_understood_by_content(tmp_path: Path) -> None:
    labels = ["red", "green"]
    rows = [
        [labels[i % 2], f"https://x.example/{i}", f"The quick fox number {i}"] for i in range(20)
    ]
    extraction, items = read(table(tmp_path, ["foo", "bar", "baz"], rows))
    assert turns(items[0]) == [("user", "The quick fox number 0"), ("assistant", "red")]
    assert "by content" in extraction.mapping


def test_a_reply_is_preferred_to_a_label_and_text_to_html(tmp_path: Path) -> None:
    rows = [
        [f"How do I do thing {i}?", f"<p>Do {i}</p>", f"Do {i} now please", "faq"]
        for i in range(20)
    ]
    header = ["question", "answer_html", "answer", "category"]
    _, items = read(table(tmp_path, header, rows))
    assert items[3].reference == "Do 3 now please"


def test_named_columns_win(tmp_path: Path) -> None:
    rows = [[f"text number {i}", f"other {i}", f"label {i % 2}"] for i in range(12)]
    path = table(tmp_path, ["text", "other", "label"], rows)
    choice = ReadOptions(ColumnChoice(("text", "other"), "label"))
    extraction, items = read(path, choice)
    assert items[1].prompt[-1]["content"] == "text: text number 1\nother: other 1"
    assert "as given" in extraction.mapping
    _, only_answer = read(path, ReadOptions(ColumnChoice(answer="other")))
    assert turns(only_answer[0]) == [("user", "text number 0"), ("assistant", "other 0")]


def test_one_sided_rows_are_counted_by_reason(tmp_path: Path) -> None:
    rows = [["Who?", "Me"], ["", "Me"], ["Who?", " "], ["Where?", "Here"]]
    _, items = read(table(tmp_path, ["question", "answer"], rows))
    assert [item.reason for item in items if isinstance(item, Skipped)] == [
        "no question",
        "no answer",
    ]


def test_a_table_without_text_says_what_it_has(tmp_path: Path) -> None:
    _, (problem,) = read(table(tmp_path, ["a", "b"], [["1", "2"], ["3", "4"]]))
    assert "no question and answer among its columns: 'a' (number), 'b' (number)" in problem.reason


def test_rows_of_one_passage_share_a_group(tmp_path: Path) -> None:
    rows = [
        ["Tom is a cat.", "Who?", "Tom"],
        ["Tom is a cat.", "What?", "cat"],
        ["Else.", "A?", "b"],
    ]
    _, items = read(table(tmp_path, ["context", "question", "answer"], rows))
    assert items[0].group == items[1].group != items[2].group


def test_prose_column_of_a_table(tmp_path: Path) -> None:
    rows = [[f"{i}", f"Chapter {i}. " + "It was a dark and stormy night. " * 20] for i in range(3)]
    _, items = read(table(tmp_path, ["id", "body"], rows))
    assert {item.kind for item in items} == {"text"}
    assert len(items) == 3
