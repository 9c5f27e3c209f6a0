"""Text of tokens: pieces joined are the whole, stops never show, marks of tool calls are found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from tinker_engine.base import NANO_DIR
from tinker_engine.runtime.token_text import TextStream, Vocabulary
from tinker_engine.runtime.tool_calls import CallReader

TOKENIZER: Any = AutoTokenizer.from_pretrained(NANO_DIR, local_files_only=True)
VOCABULARY = Vocabulary(TOKENIZER)
TEXTS = st.text(st.sampled_from("ab c\n1é日🎉"), max_size=40)
# Inputs are small; only a busy machine draws them slowly.
PATIENT = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
CALL = '<tool_call>\n{"name": "f", "arguments": {"é": [1]}}\n</tool_call>'


@PATIENT
@given(TEXTS, st.lists(st.text("ab c1é", min_size=1, max_size=4), max_size=3))
def test_pieces_join_to_the_text_before_the_first_stop(text: str, stops: list[str]) -> None:
    stream = TextStream(VOCABULARY, stops)
    tokens = TOKENIZER.encode(text)
    shown = ""
    places: list[int] = []
    for token in tokens:
        piece = stream.push(token)
        shown += piece.text
        places += [place for place, _ in piece.tokens]
        assert text.startswith(shown)
        assert not any(stop in shown for stop in stops)
    last = stream.close()
    shown += last.text
    places += [place for place, _ in last.tokens]
    has_stop = any(stop in text for stop in stops)
    assert stream.is_cut == has_stop
    assert not any(stop in shown for stop in stops)
    if has_stop:
        assert any(text.startswith(shown + stop) for stop in stops)
    else:
        assert shown == text == TOKENIZER.decode(tokens)
        assert places == list(range(len(tokens)))
    assert places == list(range(len(places)))


@PATIENT
@given(st.lists(st.integers(0, len(TOKENIZER) + 10), max_size=30))
def test_any_tokens_give_the_same_text_as_the_tokenizer(tokens: list[int]) -> None:
    stream = TextStream(VOCABULARY)
    shown = "".join(stream.push(token).text for token in tokens) + stream.close().text
    known = [token for token in tokens if token < len(TOKENIZER)]
    assert shown == TOKENIZER.decode(known, skip_special_tokens=True)


@pytest.mark.parametrize("name", ["llama2xs-280K-hf", "slm4096-gpt2-hf"])
def test_other_tokenizers(shared_data: Path, name: str) -> None:
    folder = shared_data / "models" / name
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    for text in ("once upon a time, a little girl", "Tom: héllo 日 🎉!", "two  spaces\nand a line"):
        tokens = tokenizer.encode(text, add_special_tokens=False)
        stream = TextStream(Vocabulary(tokenizer), is_whole=True)
        shown = "".join(stream.push(token).text for token in tokens) + stream.close().text
        assert shown == tokenizer.decode(tokens, skip_special_tokens=True)


@PATIENT
@given(st.lists(st.integers(1, 9), max_size=30), st.sampled_from(["", "So: ", "a <tool"]))
def test_tool_calls_are_found_however_the_text_is_cut(cuts: list[int], before: str) -> None:
    text = f"{before}{CALL}\n{CALL}\n"
    reader = CallReader()
    shown, found, rest = "", [], text
    for size in [*cuts, len(text)]:
        piece, calls = reader.push(rest[:size])
        rest = rest[size:]
        shown += piece
        found += calls
    shown += reader.close()
    assert shown.rstrip() == before.rstrip()
    assert [(call.name, call.arguments) for call in found] == [("f", '{"é": [1]}')] * 2
    assert found[0].id != found[1].id


@pytest.mark.parametrize(
    "text",
    [
        "plain text ",
        "a < b <tool",
        "<tool_call>\nnot json</tool_call> after",
        '<tool_call>{"name": 1}</tool_call>',
        '<tool_call>{"name": "f", "arguments": {}}',
        '<tool_call>{"name": "f", "arguments": "x"}</tool_call>\n',
    ],
)
def test_what_is_no_call_stays_text(text: str) -> None:
    reader = CallReader()
    pieces = [reader.push(letter) for letter in text]
    assert "".join(piece for piece, _ in pieces) + reader.close() == text
    assert not any(calls for _, calls in pieces)
