"""Logs as people really write them: several layouts, feedback beside or inside, bad lines named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensafe.errors import DataError
from tensafe.improve.interactions import (
    Feedback,
    feedback_of,
    interaction_json,
    read_interaction,
    read_log,
)

ASKED = {"role": "user", "content": "Where is my card?"}
ANSWERED = {"role": "assistant", "content": "transfers"}


def write(path: Path, *lines: object) -> Path:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts), encoding="utf-8")
    return path


def test_the_answer_stands_in_the_messages_or_beside_them(tmp_path: Path) -> None:
    completion = {
        "choices": [{"message": {"role": "assistant", "content": "cards"}}],
        "system_fingerprint": "ab" * 32,
    }
    log = read_log(
        write(
            tmp_path / "log.jsonl",
            {"messages": [ASKED, ANSWERED]},
            {"id": "b", "messages": [ASKED], "response": "cards"},
            {"id": "c", "messages": [ASKED], "response": completion},
        )
    )
    assert [one.answer for one in log.interactions] == ["transfers", "cards", "cards"]
    assert [one.asked for one in log.interactions] == ["Where is my card?"] * 3
    assert log.interactions[2].adapter_digest == "ab" * 32
    assert len({one.id for one in log.interactions}) == 3


def test_what_cannot_be_used_is_named_and_the_rest_is_used(tmp_path: Path) -> None:
    good = {"messages": [ASKED, ANSWERED]}
    log = read_log(
        write(
            tmp_path / "log.jsonl",
            "{",
            good,
            {"messages": [ASKED]},
            {**good, "rating": 9},
            {"messages": [{"role": "tool", "content": "x"}, ANSWERED]},
            "[]",
        )
    )
    assert len(log.interactions) == 1
    assert [part.place for part in log.unreadable] == [
        "line 1", "line 3", "line 4", "line 5", "line 6",
    ]  # fmt: skip
    assert "response" in log.unreadable[1].reason
    assert "1 to 5" in log.unreadable[2].reason


def test_a_file_without_any_interaction_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 1: .*messages"):
        read_log(write(tmp_path / "log.jsonl", {"question": "x"}))
    with pytest.raises(DataError, match="empty"):
        read_log(write(tmp_path / "empty.jsonl", ""))
    with pytest.raises(DataError, match="No such file"):
        read_log(tmp_path / "absent.jsonl")


def test_feedback_from_elsewhere_is_put_to_its_interaction(tmp_path: Path) -> None:
    log = write(tmp_path / "log.jsonl", {"id": "a", "messages": [ASKED, ANSWERED], "thumbs": "up"})
    said = write(
        tmp_path / "said.jsonl", {"id": "a", "thumbs": "down"}, {"id": "a", "edit": "cards"}
    )
    assert read_log(log, said).interactions[0].feedback == Feedback(0.0, "cards", "")
    with pytest.raises(DataError, match="'nobody'"):
        read_log(log, {"nobody": Feedback(1.0)})
    with pytest.raises(DataError, match=r"line 1: .*id"):
        read_log(log, write(tmp_path / "bad.jsonl", {"thumbs": "down"}))


@pytest.mark.parametrize(
    ("record", "rating"),
    [
        ({"rating": 1}, 0.0), ({"rating": 5}, 1.0), ({"rating": 3}, 0.5), ({"score": 0.25}, 0.25),
        ({"thumbs": "Up"}, 1.0), ({"thumbs": "down"}, 0.0), ({"thumbs": True}, 1.0),
        ({"thumbs": False}, 0.0), ({"thumbs": -1}, 0.0), ({}, None),
        ({"rating": 5, "thumbs": "down"}, 0.0),
    ],
)  # fmt: skip
def test_ratings_of_all_scales(record: dict[str, object], rating: float | None) -> None:
    assert feedback_of(record).rating == rating


@pytest.mark.parametrize(
    "record", [{"rating": 0}, {"rating": True}, {"score": 1.5}, {"score": float("nan")},
               {"thumbs": "sideways"}, {"thumbs": 5}, {"edit": 3}],
)  # fmt: skip
def test_ratings_that_are_none_are_refused(record: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(record))):
        feedback_of(record)


@given(
    texts=st.lists(st.text(min_size=1).filter(str.strip), min_size=2, max_size=2),
    rating=st.one_of(st.none(), st.floats(0, 1)),
    edit=st.text(),
)
def test_what_is_written_is_read_again(texts: list[str], rating: float | None, edit: str) -> None:
    messages = [
        {"role": "user", "content": texts[0]}, {"role": "assistant", "content": texts[1]},
    ]  # fmt: skip
    record = {"id": "x", "messages": messages, "edit": edit, "score": rating}
    one = read_interaction(record)
    assert read_interaction(json.loads(json.dumps(interaction_json(one)))) == one
