"""A small real model run through transformers, as tests ask it: greedy, batched, on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tensafe.data.records import CurationReport, Dataset, Example, Message

Render = Callable[[Sequence[Message]], str]


def question_and_answer(messages: Sequence[Message]) -> str:
    """The layout of the memorised corpus: "Q: …\\nA:" and plain text for a lone assistant turn."""
    text = ""
    for message in messages:
        text += f"Q: {message['content']}\nA:" if message["role"] == "user" else ""
    if messages and messages[-1]["role"] == "assistant":
        text += (" " if text else "") + messages[-1]["content"]
    return text


class LocalModel:
    """A transformers model behind the two questions that evaluation asks of a model."""

    def __init__(self, folder: Path, render: Render = question_and_answer) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.set_num_threads(1)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder).eval()
        self.render = render
        self.context = int(self.model.config.max_position_embeddings)

    def _tokens(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False) or [1]

    def generate(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[str]:
        import torch

        assert temperature == 0.0, "tests are greedy"
        half = self.context // 2
        rows = [self._tokens(self.render(prompt))[-half:] for prompt in prompts]
        width = max(map(len, rows))
        max_tokens = min(max_tokens, self.context - width)
        pad = 0
        ids = torch.tensor([[pad] * (width - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        with torch.inference_mode():
            out = self.model.generate(
                ids,
                attention_mask=mask,
                max_new_tokens=max_tokens,
                do_sample=False,
                pad_token_id=pad,
            )
        texts = [self.tokenizer.decode(row, skip_special_tokens=True) for row in out[:, width:]]
        return [text.lstrip().split("\nQ:")[0].strip() for text in texts]

    def completion_logprobs_many(
        self, pairs: Sequence[tuple[Sequence[Message], str]]
    ) -> list[list[float]]:
        import torch

        results: list[list[float]] = []
        for prompt, completion in pairs:
            before = self._tokens(self.render(prompt)) if prompt else []
            after = self._tokens(" " + completion if prompt else completion)
            ids = torch.tensor([(before + after)[-self.context :]])
            with torch.inference_mode():
                logprobs = self.model(ids).logits.log_softmax(-1)[0]  # (T, V)
            given = logprobs[:-1].gather(1, ids[0, 1:, None])[:, 0]  # (T-1,)
            start = max(0, min(len(before), ids.shape[1] - len(after)) - 1)
            results.append(given[start:].tolist())
        return results


def asked(question: str, answer: str, place: str = "1", source: str = "faq.csv") -> Example:
    """A question-and-answer example."""
    return Example(
        (Message(role="user", content=question), Message(role="assistant", content=answer)),
        source=source,
        place=place,
        group=f"{source}:{place}",
    )


def dataset_of(train: Sequence[Example], test: Sequence[Example]) -> Dataset:
    """A dataset without a history."""
    return Dataset(tuple(train), tuple(test), CurationReport(files_read=1, bytes_read=1))


def corpus_pairs(folder: Path) -> list[Example]:
    """The questions and answers that the memorising model was trained on."""
    blocks = (folder / "corpus.txt").read_text(encoding="utf-8").split("Q: ")[1:]
    pairs = [block.strip().split("\nA: ", 1) for block in blocks]
    return [
        asked(q, a, str(i), "corpus.txt")
        for i, (q, a) in enumerate(p for p in pairs if len(p) == 2)
    ]
