"""What `analyze_data` says of files: layout, languages, duplicates, findings, field."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tensafe.data import DOMAINS, analyze_data, classify_domain
from tensafe.data.languages import SHORT, language_of

GERMAN = (
    "Die Lieferung kam erst nach drei Wochen an, und der Karton war auf einer Seite aufgerissen. "
    "Bitte schicken Sie mir so bald wie möglich einen Ersatz."
)
ENGLISH = (
    "The parcel arrived after three weeks, and the box was torn open on one side. Please send a "
    "replacement as soon as you can, my order number is on the slip."
)


def records(folder: Path, name: str, rows: list[object]) -> Path:
    path = folder / name
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("rows", "layout"),
    [
        ([{"question": f"Why {i}?", "answer": f"For reason {i}."} for i in range(30)], "Q&A"),
        ([{"text": f"Message {i}", "label": "ab"[i % 2]} for i in range(40)], "classification"),
        ([{"prompt": "p", "chosen": f"ok {i}", "rejected": "no"} for i in range(9)], "preference"),
        (
            [
                {"messages": [{"role": "user", "content": f"Hi {i}"},
                              {"role": "assistant", "content": "Hello"}]}
                for i in range(9)
            ],
            "chat",
        ),
        ([{"text": f"{ENGLISH} {i} " * 3} for i in range(9)], "plain text"),
        ([{"a": 1, "b": 2}] * 5, "none"),
    ],
)  # fmt: skip
def test_layout_of_a_file(tmp_path: Path, rows: list[object], layout: str) -> None:
    records(tmp_path, "data.jsonl", rows)
    assert [file.layout for file in analyze_data(tmp_path).files] == [layout]


def test_few_answers_that_repeat_are_labels_only_where_they_are_most(tmp_path: Path) -> None:
    rows = [{"question": f"Is {i} even?", "answer": "yes" if i % 10 == 0 else f"{i} is odd"}
            for i in range(50)]  # fmt: skip
    records(tmp_path, "data.jsonl", list(rows))
    assert analyze_data(tmp_path).files[0].layout == "Q&A"


@pytest.mark.parametrize(
    ("text", "layout"),
    [
        ("# Shop\n\n## Opening hours\n\nIt is open from nine to five on weekdays.\n", "plain text"),
        ("# Shop\n\n| name | terms |\n|---|---|\n| Wren | MIT |\n| Bison | BSD |\n", "plain text"),
        ("# Shop\n\n## When is it open?\n\nFrom nine to five on weekdays.\n", "Q&A"),
        ("| Question | Answer |\n|---|---|\n| Is it open? | Yes. |\n| Why? | It pays. |\n", "Q&A"),
    ],
)  # fmt: skip
def test_questions_made_from_headings_and_heads_dont_change_what_a_text_is(
    tmp_path: Path, text: str, layout: str
) -> None:
    (tmp_path / "page.md").write_text(text, encoding="utf-8")
    (file,) = analyze_data(tmp_path).files
    assert file.layout == layout
    assert file.examples["qa"] >= 1


def test_duplicates_are_counted_within_and_across_files(tmp_path: Path) -> None:
    rows: list[object] = [{"question": f"What is {i}?", "answer": f"It is {i}."} for i in range(10)]
    records(tmp_path, "a.jsonl", [*rows, {"question": "what is 3?", "answer": "It is 3"}])
    records(tmp_path, "b.jsonl", [rows[0], {"question": "New?", "answer": "Yes, new."}])
    analysis = analyze_data(tmp_path)
    assert [file.duplicates for file in analysis.files] == [1, 1]
    assert analysis.duplicates == 2


def test_findings_are_counted_by_kind_and_never_shown(tmp_path: Path) -> None:
    rows: list[object] = [
        {"question": "How do I reach you?", "answer": "Write to anna.k@example.org."},
        {"question": "And by phone?", "answer": "Call +49 30 901820 or +49 30 901821."},
    ]
    analysis = analyze_data(records(tmp_path, "data.jsonl", rows))
    assert analysis.pii == {"email": 1, "phone": 2}
    assert "anna.k" not in json.dumps(analysis.to_json())


def test_languages_are_told_where_texts_are_long_enough(tmp_path: Path) -> None:
    rows: list[object] = [{"question": f"{ENGLISH} {i}", "answer": "Yes"} for i in range(6)]
    rows += [{"question": f"{GERMAN} {i}", "answer": "Ja"} for i in range(4)]
    rows += [{"question": f"ok {i}", "answer": "ja"} for i in range(5)]
    (file,) = analyze_data(records(tmp_path, "data.jsonl", rows)).files
    assert file.languages == {"en": 6, "de": 4, SHORT: 5}
    assert file.language == "en"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (GERMAN, "de"),
        ("Le colis est arrivé après trois semaines et la boîte était déchirée sur un côté.", "fr"),
        ("El paquete llegó después de tres semanas y la caja estaba rota por un lado.", "es"),
        ("包裹三周后才到，而且盒子的一边已经破了。请尽快给我寄一个新的来。", "zh"),
        ("Hello", SHORT),
        ("", SHORT),
    ],
)
def test_language_of_a_text(text: str, language: str) -> None:
    assert language_of(text) == language


def test_the_order_of_rows_changes_nothing_but_places(tmp_path: Path) -> None:
    rows: list[object] = [{"question": f"{ENGLISH} {i}", "answer": str(i)} for i in range(700)]
    one = analyze_data(records(tmp_path, "data.jsonl", rows))
    other = analyze_data(records(tmp_path, "data.jsonl", rows[::-1]))
    assert one == other


def test_ideographs_weigh_more_tokens_than_letters(tmp_path: Path) -> None:
    chinese = analyze_data(records(tmp_path, "a.jsonl", [{"question": "包" * 40, "answer": "包"}]))
    latin = analyze_data(records(tmp_path, "b.jsonl", [{"question": "a" * 40, "answer": "a"}]))
    assert chinese.estimated_tokens >= 41 > latin.estimated_tokens >= 10


SENTENCES = {
    "customer support": "Hello, my order has not arrived and I was charged twice. Can you help me?",
    "medical": "The patient developed a fever and a cough and got an antibiotic at the hospital.",
    "legal": "The licensee shall indemnify the licensor against any breach of this agreement.",
    "finance": "Inflation rose, so the central bank raised its interest rate and bond yields fell.",
    "software": "Run pip install, import the module in Python; the API returns JSON by default.",
    "security": "The attacker used phishing to steal a private key and decrypt the ciphertext.",
    "education": "The teacher gave the students homework and graded the exam in the classroom.",
    "science": "Electrons orbit the nucleus of an atom; photons carry the electromagnetic force.",
    "general": "We walked along the river to the old castle and ate ice cream with friends.",
}


def test_every_domain_has_a_sentence() -> None:
    assert set(SENTENCES) == set(DOMAINS)


@pytest.mark.parametrize("domain", DOMAINS)
def test_domain_of_a_sentence_with_its_reasons(domain: str) -> None:
    guess = classify_domain(SENTENCES[domain])
    assert guess.domain == domain
    assert guess.confidence == guess.shares[domain] > 0.35
    assert abs(sum(guess.shares.values()) - 1) < 0.01
    if domain != "general":
        words = SENTENCES[domain].lower()
        assert guess.evidence
        assert all(term[:4] in words for term in guess.evidence)


def test_a_stray_term_decides_nothing() -> None:
    guess = classify_domain("On Sunday the doctor came by for tea and told us of his trip.")
    assert guess.domain == "general"


def test_no_text_is_no_evidence() -> None:
    guess = classify_domain(["", " -- ", "包裹三周后才到"])
    assert (guess.domain, guess.confidence, guess.passages) == ("general", 0.0, 0)


def test_domain_of_an_analysis_ignores_texts_the_lexicon_can_not_read(tmp_path: Path) -> None:
    rows: list[object] = [{"question": f"{GERMAN} {i}", "answer": GERMAN} for i in range(20)]
    rows += [{"question": SENTENCES["medical"], "answer": f"{i}"} for i in range(5)]
    analysis = analyze_data(records(tmp_path, "data.jsonl", rows))
    assert classify_domain(analysis).domain == "medical"
