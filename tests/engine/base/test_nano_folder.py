"""The shipped model folder: what a user gets with `NANO_DIR`."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from tinker_engine.base import NANO_DIR
from tinker_engine.base.model import Nano, NanoConfig, packed_mask

SIZE_LIMIT_BYTES = 12_000_000
CONVERSATIONS: list[list[dict[str, str]]] = [
    [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "Hello!"}],
    [
        {"role": "system", "content": "Label what people write."},
        {"role": "user", "content": "where is my lamp, ordered in May?"},
        {"role": "assistant", "content": "late_lamp"},
        {"role": "user", "content": " and its colour\n"},
        {"role": "assistant", "content": "1 red\n2 blue"},
    ],
]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(NANO_DIR)


@pytest.fixture(scope="module")
def model() -> Any:
    return AutoModelForCausalLM.from_pretrained(NANO_DIR, dtype=torch.float32).eval()


def test_folder_is_small() -> None:
    assert sum(f.stat().st_size for f in NANO_DIR.rglob("*") if f.is_file()) < SIZE_LIMIT_BYTES


def test_weights_are_stored_in_bf16() -> None:
    assert AutoModelForCausalLM.from_pretrained(NANO_DIR).dtype == torch.bfloat16


def test_naming_the_folder_does_not_import_torch() -> None:
    code = (
        "import sys, tinker_engine.base as b; assert b.NANO_DIR; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@settings(max_examples=200, deadline=None)
@given(text=st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=200))
def test_tokenizer_gives_any_text_back(tokenizer: Any, text: str) -> None:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == text


def test_digits_are_single_tokens(tokenizer: Any) -> None:
    assert tokenizer.tokenize("2026") == ["2", "0", "2", "6"]


@pytest.mark.parametrize("messages", CONVERSATIONS)
def test_each_prompt_is_a_token_prefix_of_the_conversation(tokenizer: Any, messages: Any) -> None:
    def ids(part: Any, *, is_prompt: bool) -> list[int]:
        text = tokenizer.apply_chat_template(part, tokenize=False, add_generation_prompt=is_prompt)
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    whole = ids(messages, is_prompt=False)
    assert whole[-1] == tokenizer.eos_token_id
    for n, message in enumerate(messages):
        if message["role"] == "assistant":
            prompt, until = (
                ids(messages[:n], is_prompt=True),
                ids(messages[: n + 1], is_prompt=False),
            )
            assert whole[: len(prompt)] == prompt
            assert whole[: len(until)] == until
            answer = tokenizer.decode(until[len(prompt) :])
            assert answer == message["content"] + tokenizer.eos_token


def test_a_turn_costs_one_token_besides_its_text(tokenizer: Any) -> None:
    text = tokenizer.apply_chat_template(CONVERSATIONS[0], tokenize=False)
    assert text == "<|user|>hello<|assistant|>Hello!<|end|>"
    assert len(tokenizer(text)["input_ids"]) == len(tokenizer("helloHello!")["input_ids"]) + 3


def test_greedy_answers_end_by_themselves(model: Any, tokenizer: Any) -> None:
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hello there!"}], tokenize=False, add_generation_prompt=True
    )
    inputs = tokenizer(prompt, return_tensors="pt")
    out = model.generate(input_ids=inputs["input_ids"], max_new_tokens=64)[0]
    answer = out[inputs["input_ids"].shape[1] :]
    assert answer[-1] == tokenizer.eos_token_id
    assert len(answer) > 1


def test_training_forward_agrees_with_transformers(model: Any) -> None:
    own = Nano(NanoConfig(), seed=0)
    own.load_state_dict({k: v for k, v in model.state_dict().items() if k != "lm_head.weight"})
    ids = torch.randint(5, 4096, (2, 40), generator=torch.Generator().manual_seed(1))
    positions = torch.arange(40).expand(2, 40)
    with torch.no_grad():
        hidden = own.features(ids, positions, packed_mask(positions))
        logits = hidden @ own.model.embed_tokens.weight.T
        torch.testing.assert_close(logits, model(ids).logits, atol=1e-3, rtol=1e-3)
