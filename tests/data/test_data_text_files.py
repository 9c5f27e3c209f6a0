"""Encodings, line ends and bad input of CSV, TSV, JSONL and JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tensafe.data import Example, ReadOptions, Unreadable, extract, find_files
from tensafe.data.encoding import detect_encoding, repair_mojibake


def read(path: Path) -> tuple[list[Example], list[Unreadable]]:
    (file,) = find_files(path).files
    items = list(extract(file, ReadOptions()).items)
    examples = [item for item in items if isinstance(item, Example)]
    return examples, [item for item in items if isinstance(item, Unreadable)]


def pairs(examples: list[Example]) -> list[tuple[str, str]]:
    return [(example.prompt[-1]["content"], example.reference) for example in examples]


FRENCH = "Où est passée ma carte — elle coûte 5 € ?", "L’hôtel a gardé votre carte à la réception."
GERMAN = "Wie groß ist die Tür, können wir sie öffnen?", "Größe für Räume über dem Gewölbe"
JAPANESE = "パスワードを忘れました。どうすればいいですか?", "設定の画面を開いて再設定してください。"


@pytest.mark.parametrize(
    ("codec", "pair"),
    [
        ("utf-8", FRENCH),
        ("utf-8-sig", FRENCH),
        ("utf-16", FRENCH),
        ("utf-16-le", FRENCH),
        ("utf-16-be", GERMAN),
        ("utf-32", GERMAN),
        ("cp1252", FRENCH),
        ("latin-1", GERMAN),
        ("shift_jis", JAPANESE),
        ("euc_jp", JAPANESE),
        ("iso2022_jp", JAPANESE),
        ("gb18030", ("如何重置我的密码?", "请打开设置页面然后选择重置密码。")),
        (
            "koi8_r",
            ("Как сбросить пароль от карты?", "Откройте страницу настроек и нажмите кнопку."),
        ),
    ],
)
@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_any_encoding_is_read(
    tmp_path: Path, codec: str, pair: tuple[str, str], ending: str
) -> None:
    question, answer = pair
    if ending == ".csv":
        text = f'question,answer\n"{question}","{answer}"\nplain ascii?,yes indeed\n'
    else:
        record = {"question": question, "answer": answer}
        text = json.dumps(record, ensure_ascii=False) + "\n"
    path = tmp_path / f"data{ending}"
    path.write_bytes(text.encode(codec))
    examples, problems = read(path)
    assert pairs(examples)[0] == (question, answer)
    assert not problems


def test_a_few_broken_bytes_do_not_change_the_encoding(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    rows = "".join(f"Où est la carte numéro {i}?,à la banque\n" for i in range(40))
    path.write_bytes(b"question,answer\n" + rows.encode() + b"caf\xe9?,broken here\n")
    examples, problems = read(path)
    assert detect_encoding(path).codec == "utf-8"
    assert len(examples) == 41
    assert examples[0].prompt[-1]["content"] == "Où est la carte numéro 0?"
    assert "1 bytes are not valid utf-8" in problems[0].reason


@pytest.mark.parametrize("text", ["größer", "naïve café", "5 €", "日本語", "plain"])
def test_right_text_is_not_repaired(text: str) -> None:
    assert repair_mojibake(text) == text


def test_real_mojibake_is_repaired() -> None:
    assert repair_mojibake("Où est l’hôtel?".encode().decode("cp1252")) == "Où est l’hôtel?"


def test_jsonl_splits_at_newlines_only(tmp_path: Path) -> None:
    text = "one\u2028two\u2029three\x85four\x0cfive"
    record = json.dumps({"question": text, "answer": "fine"}, ensure_ascii=False)
    path = tmp_path / "data.jsonl"
    path.write_text(f"{record}\n{record}\r\n\n", encoding="utf-8", newline="")
    examples, problems = read(path)
    assert pairs(examples) == [(text, "fine")] * 2
    assert not problems


def test_bad_jsonl_lines_are_named_and_the_rest_is_used(tmp_path: Path) -> None:
    good = '{"question": "What is it?", "answer": "A thing."}'
    bad = ['{"question": "cut', "not json", "42", "[" * 100_000]
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join([good, *bad, good]), encoding="utf-8")
    examples, problems = read(path)
    assert len(examples) == 2
    assert [problem.place for problem in problems] == ["line 2", "line 3", "line 4", "line 5"]
    assert all(problem.reason and problem.advice for problem in problems)


def test_quoted_newlines_delimiters_and_quotes_stay_in_their_field(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(
        b'question,answer\r\n"First line\r\nsecond, line?","He said ""yes""."\r\nNext?,Done\r\n'
    )
    examples, _ = read(path)
    assert pairs(examples) == [
        ("First line\r\nsecond, line?", 'He said "yes".'),
        ("Next?", "Done"),
    ]
    assert [example.place for example in examples] == ["line 2", "line 4"]


def test_ragged_rows_are_named(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text(
        "question,answer,note\nWhere is it?,Here,x\nShort?,row\nToo,many,fields,here\n"
        "Last?,one,,\n",
        encoding="utf-8",
    )
    examples, problems = read(path)
    assert [question for question, _ in pairs(examples)] == ["Where is it?", "Short?", "Last?"]
    assert problems[0].place == "line 4"
    assert "4 fields where the header has 3" in problems[0].reason


def test_a_quote_never_closed_costs_one_line(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    rows = "".join(f"Question {i}?,Answer {i}\n" for i in range(50))
    path.write_text(f'question,answer\nBefore?,yes\n"broken,row\n{rows}', encoding="utf-8")
    examples, problems = read(path)
    assert len(examples) == 51
    assert [problem.place for problem in problems] == ["line 3"]


def test_a_stray_quote_of_a_csv_costs_its_own_line(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text(
        'question,answer\n"How do I reset it?,Open settings\n"Where is it?","See ""tracking"""\n'
        '"He said "yes" to whom?",Nobody\n"Two\nlines, here?","Yes"\n'
        f'"Who said "{"ever and " * 8000}on"?",He\n',
        encoding="utf-8",
    )
    examples, problems = read(path)
    assert pairs(examples) == [
        ("Where is it?", 'See "tracking"'),
        ('He said "yes" to whom?', "Nobody"),
        ("Two\nlines, here?", "Yes"),
    ]
    assert [(problem.place, problem.reason) for problem in problems] == [
        ("line 2", "a quote is opened here and never closed"),
        ("line 7", "text follows a closing quote"),
    ]


@pytest.mark.parametrize("closing", ["", 'and left"'])
def test_stray_quotes_between_tabs_are_text(tmp_path: Path, closing: str) -> None:
    path = tmp_path / "data.tsv"
    rows = [
        ("ham" if i % 3 else "spam", f"{chr(34) if i % 50 == 7 else ''}Call me tomorrow, {i} times")
        for i in range(200)
    ]
    rows[20] = ("ham", f"Later then my friend {closing}")
    rows[30] = ("ham", '"Great" said my friend')
    path.write_text("label\ttext\n" + "\n".join(map("\t".join, rows)), encoding="utf-8")
    examples, problems = read(path)
    assert pairs(examples) == [(text.strip(), label) for label, text in rows]
    assert not problems


def test_quoted_newlines_and_tabs_of_a_tsv_stay_in_their_field(tmp_path: Path) -> None:
    path = tmp_path / "data.tsv"
    path.write_bytes(
        b'question\tanswer\r\n"Two\r\nlines?"\t"With a\ttab and ""marks"".\r\nAnd\tmore"\r\n'
        b"Next?\tDone\r\n"
    )
    examples, problems = read(path)
    assert pairs(examples) == [
        ("Two\r\nlines?", 'With a\ttab and "marks".\r\nAnd\tmore'),
        ("Next?", "Done"),
    ]
    assert not problems


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "question;answer\nWhere, exactly?;Here, there\nWhen?;Now, please\n"),
        ("b.tsv", "question\tanswer\nWhere, exactly?\tHere, there\nWhen?\tNow, please\n"),
        ("c.csv", "question\tanswer\nWhere, exactly?\tHere, there\nWhen?\tNow, please\n"),
        ("d.csv", "question|answer\nWhere, exactly?|Here, there\nWhen?|Now, please\n"),
        ("e.csv", "sep=;\nquestion;answer\nWhere, exactly?;Here, there\nWhen?;Now, please\n"),
        ("f.csv", '\ufeffquestion,answer\n"Where, exactly?","Here, there"\nWhen?,"Now, please"'),
        ("g.csv", 'question,answer\r"Where, exactly?","Here, there"\rWhen?,"Now, please"\r'),
    ],
)  # fmt: skip
def test_dialects_are_found(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_bytes(text.encode())
    examples, problems = read(tmp_path / name)
    assert pairs(examples) == [("Where, exactly?", "Here, there"), ("When?", "Now, please")]
    assert not problems


@pytest.mark.parametrize(
    ("header", "more"),
    [
        ("question,answer,,", ",,"),
        ("question,answer,note,note", ",a,b"),
        ("question,answer,2023", ",7"),
        ("No.,question,answer", ""),
    ],
)
def test_ordinary_headers_are_no_data(tmp_path: Path, header: str, more: str) -> None:
    path = tmp_path / "data.csv"
    before = "1," if header.startswith("No") else ""
    rows = [f"{before}Where is part {i}?,It is here {i}{more}" for i in range(3)]
    path.write_text("\n".join([header, *rows]), encoding="utf-8")
    examples, problems = read(path)
    assert pairs(examples) == [(f"Where is part {i}?", f"It is here {i}") for i in range(3)]
    assert not problems


def test_a_label_that_is_a_known_name_makes_no_header(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    rows = [f"Tell me of {i},{('question', 'request')[i % 2]},{i}" for i in range(40)]
    path.write_text("\n".join(rows), encoding="utf-8")
    examples, _ = read(path)
    assert pairs(examples)[0] == ("Tell me of 0", "question")
    assert len(examples) == 40


def test_a_table_without_header_is_understood_by_content(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    rows = [f"My card number {i} was swallowed,{('cards', 'cash')[i % 2]}" for i in range(40)]
    path.write_text("\n".join(rows), encoding="utf-8")
    examples, _ = read(path)
    assert len(examples) == 40
    assert pairs(examples)[1] == ("My card number 1 was swallowed", "cash")


@pytest.mark.parametrize(
    "value",
    [
        [{"question": "Who?", "answer": "Me"}, {"question": "When?", "answer": "Now"}],
        {"data": [{"question": "Who?", "answer": "Me"}, {"question": "When?", "answer": "Now"}]},
        {"question": ["Who?", "When?"], "answer": ["Me", "Now"]},
        {"1": {"question": "Who?", "answer": "Me"}, "2": {"question": "When?", "answer": "Now"}},
        {"Who?": "Me", "When?": "Now"},
    ],
)
def test_shapes_of_json(tmp_path: Path, value: object) -> None:
    path = tmp_path / "data.json"
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")
    examples, problems = read(path)
    assert pairs(examples) == [("Who?", "Me"), ("When?", "Now")]
    assert not problems


def test_a_json_array_that_breaks_off_keeps_what_came_before(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    whole = json.dumps([{"question": f"Number {i}?", "answer": "x" * 500} for i in range(5000)])
    path.write_text(whole[: len(whole) // 2], encoding="utf-8")
    examples, problems = read(path)
    assert len(examples) in range(2400, 2600)
    assert problems[0].place == f"record {len(examples) + 1}"


def test_jsonl_under_the_wrong_ending(tmp_path: Path) -> None:
    records = [{"question": f"Number {i}?", "answer": "yes"} for i in range(3)]
    (tmp_path / "lines.json").write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    (tmp_path / "array.jsonl").write_text(json.dumps(records, indent=2), encoding="utf-8")
    assert len(read(tmp_path / "lines.json")[0]) == 3
    assert len(read(tmp_path / "array.jsonl")[0]) == 3


@pytest.mark.parametrize("name", ["batches.jsonl", "batches.json", "indented.json"])
def test_what_follows_the_first_array_is_read(tmp_path: Path, name: str) -> None:
    batches = [
        [{"question": f"What is {i}.{j}?", "answer": f"It is {j}."} for j in range(3)]
        for i in range(50)
    ]
    single = {"question": "And at last?", "answer": "An object."}
    indent = 1 if name.startswith("indented") else None
    lines = [json.dumps(value, indent=indent) for value in (*batches, single)]
    (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    examples, problems = read(tmp_path / name)
    assert len(examples) == 151
    assert pairs(examples)[-1] == ("And at last?", "An object.")
    assert not problems


def test_what_follows_an_array_and_is_no_json_is_named(tmp_path: Path) -> None:
    record = json.dumps([{"question": "Who?", "answer": "Me"}])
    (tmp_path / "data.json").write_text(f"{record}\n; more to come", encoding="utf-8")
    (tmp_path / "data.jsonl").write_text(f"{record}\noops\n{record}", encoding="utf-8")
    examples, problems = read(tmp_path / "data.json")
    assert (len(examples), [problem.place for problem in problems]) == (1, ["record 2"])
    examples, problems = read(tmp_path / "data.jsonl")
    assert (len(examples), [problem.place for problem in problems]) == (2, ["line 2"])


def test_a_line_may_hold_the_turns_of_a_chat(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Me"}]
    (tmp_path / "data.jsonl").write_text("\n".join([json.dumps(chat)] * 3), encoding="utf-8")
    examples, problems = read(tmp_path / "data.jsonl")
    assert pairs(examples) == [("Who?", "Me")] * 3
    assert not problems


def test_elements_of_a_list_that_are_no_objects_are_named(tmp_path: Path) -> None:
    good = {"question": "Who?", "answer": "Me"}
    path = tmp_path / "data.json"
    path.write_text(json.dumps({"data": [good, 5, None, good]}), encoding="utf-8")
    examples, problems = read(path)
    assert [example.place for example in examples] == ["data[1]", "data[4]"]
    assert [problem.place for problem in problems] == ["data[2]", "data[3]"]
    squad = {"paragraphs": [{"context": "Me.", "qas": [{"question": "Who?", "answers": ["Me"]}]}]}
    path.write_text(json.dumps({"data": [squad, 5, squad]}), encoding="utf-8")
    examples, problems = read(path)
    assert [example.place for example in examples] == [
        "article 1, paragraph 1, question 1",
        "article 3, paragraph 1, question 1",
    ]
    assert [problem.place for problem in problems] == ["data[2]"]


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "json", "txt", "md", "pdf", "parquet"])
@pytest.mark.parametrize(
    "content", [b"", b"\0\0\0\0", b"\xff\xfe", b"\x89PNG\r\n\x1a\n" + bytes(99)]
)
def test_rubbish_is_named_and_never_raises(tmp_path: Path, ending: str, content: bytes) -> None:
    path = tmp_path / f"rubbish.{ending}"
    path.write_bytes(content)
    examples, problems = read(path)
    if not examples:
        assert problems
        assert all(problem.reason and problem.advice for problem in problems)
