"""A chat model behind the SDK's sampling client: batched answers and answer likelihoods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tinker_engine.recipes.chat_format import ChatFormat, ChatMessage

if TYPE_CHECKING:
    import tinker


class ChatModel:
    """The base or an adapter, asked through chat messages.

    Args:
        sampling_client: SDK client of the base or of sampler weights.
        chat_format: the base's tokenizer and template.
        name: what reports call this model.
    """

    def __init__(
        self, sampling_client: tinker.SamplingClient, chat_format: ChatFormat, name: str
    ) -> None:
        self._client = sampling_client
        self._format = chat_format
        self.name = name

    def generate(
        self,
        prompts: Sequence[Sequence[ChatMessage]],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[str]:
        """One answer per prompt, in order; temperature 0 is greedy.

        Prompt number i is drawn with seed + i: with one seed for all of them, the same draw would
        decide how every answer begins. All prompts are submitted before the first answer is
        awaited, so the server can batch them.
        """
        import tinker

        futures = [
            self._client.sample(
                tinker.ModelInput.from_ints(self._format.prompt_tokens(prompt)),
                num_samples=1,
                sampling_params=tinker.SamplingParams(
                    max_tokens=max_tokens,
                    temperature=temperature,
                    seed=seed + place,
                    stop=[self._format.eos_token_id],
                ),
            )
            for place, prompt in enumerate(prompts)
        ]
        return [self._format.decode(f.result().sequences[0].tokens) for f in futures]

    def completion_logprobs_many(
        self, pairs: Sequence[tuple[Sequence[ChatMessage], str]]
    ) -> list[list[float]]:
        """Natural-log probabilities of each completion's tokens, its end token included."""
        import tinker

        asked: list[tuple[int, Any]] = []
        for prompt, completion in pairs:
            rendered = self._format.example(
                [*prompt, ChatMessage(role="assistant", content=completion)]
            )
            start = rendered.weights.index(1.0)
            future = self._client.compute_logprobs(
                tinker.ModelInput.from_ints(list(rendered.tokens))
            )
            asked.append((start, future))
        answers: list[list[float]] = []
        for start, future in asked:
            logprobs: list[float | None] = list(future.result())
            answers.append([value for value in logprobs[start:] if value is not None])
        return answers

    def completion_logprobs(self, prompt: Sequence[ChatMessage], completion: str) -> list[float]:
        """`completion_logprobs_many` for one pair."""
        return self.completion_logprobs_many([(prompt, completion)])[0]
