"""A teacher over real HTTP on loopback: what is kept, what is dropped, and what is never sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tensafe.curate import CurationConfig, Teacher, TeacherConfig, curate_dataset
from tensafe.curate.grounding import read_pairs, why_not_grounded
from tensafe.curate.teacher import KEY_VARIABLE, UNREADABLE
from tensafe.errors import TeacherError, UsageError

PASSAGE = (
    "The harbour of Low Town was dug in 1612. Ships waited there for the tide, and the harbour "
    "master rang a bell when it turned. Fishermen still use the old quay in winter."
)
Answer = Callable[[str], tuple[int, object]]


class Endpoint:
    """A small chat endpoint on loopback that records what it was asked."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.answer: Answer = lambda passage: (200, "[]")
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._send(200, {"data": [{"id": "first"}]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                endpoint.requests.append({"key": self.headers.get("Authorization"), **body})
                status, said = endpoint.answer(body["messages"][-1]["content"])
                content = {"choices": [{"message": {"content": said}}]}
                self._send(status, content if isinstance(said, str) else said)

            def _send(self, status: int, value: object) -> None:
                data = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Retry-After", "0")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "book.txt"
    others = (f"On day {n} the tide was {n} feet high and nobody came. " * 4 for n in range(6))
    path.write_text("\n\n".join(["Harbour", PASSAGE, "Tides", *others]), encoding="utf-8")
    return path


def reply(*pairs: tuple[str, str]) -> str:
    return json.dumps([{"question": question, "answer": answer} for question, answer in pairs])


def test_grounded_pairs_are_kept_and_others_counted(endpoint: Endpoint, book: Path) -> None:
    endpoint.answer = lambda passage: (
        (200, reply(
            ("When was the harbour of Low Town dug?", "It was dug in 1612."),
            ("Who rang the bell?", "The mayor rang it."),
            ("What does the passage say?", "The harbour was dug."),
        ))
        if "Low Town" in passage
        else (200, "I can't.")
    )  # fmt: skip
    with Teacher(TeacherConfig(url=endpoint.url)) as teacher:
        dataset = curate_dataset(book, CurationConfig(passage_chars=220), teacher=teacher)
    examples = [*dataset.train, *dataset.test]
    (pair,) = [example for example in examples if example.kind == "qa"]
    assert (pair.prompt[0]["content"], pair.reference) == (
        "When was the harbour of Low Town dug?", "It was dug in 1612.",
    )  # fmt: skip
    assert pair.place.endswith("written by first")
    passage = next(e for e in examples if e.kind == "text" and "Low Town" in e.reference)
    assert passage.group == pair.group
    dropped = dataset.report.dropped
    assert dropped["teacher's answer not grounded in its passage"] == 1
    assert dropped["teacher's question that can't be understood without its passage"] == 1
    assert dropped[UNREADABLE] == len(endpoint.requests) - 1
    assert any("written by first" in note for note in dataset.report.notes)


def test_prose_is_read_for_the_teacher_only(endpoint: Endpoint, book: Path) -> None:
    endpoint.answer = lambda passage: (200, reply(("What is high on that day?", "The tide.")))
    with Teacher(TeacherConfig(url=endpoint.url, model="named")) as teacher:
        dataset = curate_dataset(book, CurationConfig(include_prose=False), teacher=teacher)
    assert {example.kind for example in (*dataset.train, *dataset.test)} == {"qa"}
    assert {request["model"] for request in endpoint.requests} == {"named"}


def test_the_key_goes_into_the_header_and_nowhere_else(
    endpoint: Endpoint, book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "sk-very-secret")
    endpoint.answer = lambda passage: (401, {"error": "no sk-very-secret"})
    replies = tmp_path / "run" / "teacher.jsonl"
    with (
        Teacher(TeacherConfig(url=endpoint.url, model="m"), replies) as teacher,
        pytest.raises(TeacherError) as caught,
    ):
        curate_dataset(book, teacher=teacher)
    assert endpoint.requests[0]["key"] == "Bearer sk-very-secret"
    assert "401" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert not replies.exists()


def test_a_run_that_goes_on_asks_nothing_twice(
    endpoint: Endpoint, book: Path, tmp_path: Path
) -> None:
    settings = TeacherConfig(url=endpoint.url, model="m")
    replies = tmp_path / "teacher.jsonl"
    endpoint.answer = lambda passage: (200, reply(("What is high on that day?", "The tide.")))
    with Teacher(settings, replies) as teacher:
        first = curate_dataset(book, teacher=teacher)
    asked = len(endpoint.requests)
    cut = replies.read_text(encoding="utf-8")[:-5]
    replies.write_text(cut, encoding="utf-8")
    with Teacher(settings, replies) as teacher:
        second = curate_dataset(book, teacher=teacher)
    assert len(endpoint.requests) == asked + 1
    assert (first.train_digest, first.test_digest) == (second.train_digest, second.test_digest)


def test_a_busy_teacher_is_asked_again_and_a_dead_one_is_named(
    endpoint: Endpoint, book: Path
) -> None:
    def busy_once(passage: str) -> tuple[int, object]:
        return (503, {}) if len(endpoint.requests) == 1 else (200, "[]")

    endpoint.answer = busy_once
    with Teacher(TeacherConfig(url=endpoint.url, model="m")) as teacher:
        curate_dataset(book, teacher=teacher)
    endpoint.answer = lambda passage: (500, {})
    with (
        Teacher(TeacherConfig(url=endpoint.url, model="m")) as teacher,
        pytest.raises(TeacherError, match=r"HTTP 500, 4 times"),
    ):
        curate_dataset(book, teacher=teacher)


def test_wrong_endpoints_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for url in ("ftp://x/v1", "http://user:key@x/v1", "https://x/v1?key=1", "nowhere"):
        with pytest.raises(ValidationError):
            TeacherConfig(url=url)
    assert TeacherConfig(url="http://x/v1/chat/completions").url == "http://x/v1"
    monkeypatch.setenv(KEY_VARIABLE, "k")
    with pytest.raises(UsageError, match="not encrypted"):
        Teacher(TeacherConfig(url="http://models.example/v1"))


@pytest.mark.parametrize(
    ("question", "answer", "is_kept"),
    [
        ("When was the harbour dug?", "In 1612.", True),
        ("When was the harbour dug?", "In 1613.", False),
        ("What did the harbour master ring?", "A bell, when the tide turned.", True),
        ("What did the harbour master ring?", "A golden bell.", False),
        ("Who uses the quay?", "Fisherman use the quay.", False),
        ("Who uses the quay?", "The fishermen used the quays.", True),
        ("Who uses the quay?", "It is the.", False),
        ("Why do cats purr?", "The bell.", False),
        ("", "The bell.", False),
    ],
)
def test_grounding(question: str, answer: str, is_kept: bool) -> None:
    assert (why_not_grounded(question, answer, PASSAGE) is None) is is_kept


def test_replies_are_read_as_json_or_marked_lines() -> None:
    pair = ("Who?", "Me.")
    assert read_pairs(f"Sure:\n```json\n{reply(pair)}\n```") == [pair]
    assert read_pairs("Q: Who?\nA: Me.\n\nQ: When?\nA: Now.") == [pair, ("When?", "Now.")]
    assert read_pairs('[{"question": 1, "answer": null}, 3]') == []
    assert read_pairs("nothing [here") == []
