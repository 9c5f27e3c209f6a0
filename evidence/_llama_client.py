"""llama.cpp itself on exported files, run by any interpreter that has llama-cpp-python.

Reads one JSON object on stdin (base, adapter, prompts, max_tokens) and writes one on stdout: per
prompt the token ids that llama.cpp makes of the text, its greedy continuation with and without the
adapter, and the logits after the prompt. Needs nothing of this project.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from typing import Any

F32 = 0


def answers(base: str, adapter: str | None, asked: dict[str, Any]) -> list[dict[str, Any]]:
    """Greedy continuations of every prompt, all arithmetic in fp32."""
    llama_cpp: Any = import_module("llama_cpp")
    model = llama_cpp.Llama(
        model_path=base, lora_path=adapter, n_ctx=512, n_threads=1, n_threads_batch=1,
        logits_all=True, type_k=F32, type_v=F32, verbose=False,
    )  # fmt: skip
    end = model.token_eos()
    results: list[dict[str, Any]] = []
    for prompt in asked["prompts"]:
        tokens = model.tokenize(prompt.encode("utf-8"), add_bos=False, special=True)
        model.reset()
        model.eval(tokens)
        logits = model.scores[model.n_tokens - 1].copy()
        made: list[int] = []
        while len(made) < asked["max_tokens"]:
            chosen = int(model.scores[model.n_tokens - 1].argmax())
            made.append(chosen)
            if chosen == end:
                break
            model.eval([chosen])
        results.append({"tokens": tokens, "made": made, "logits": [float(x) for x in logits]})
    return results


def main() -> None:
    """One request, one answer."""
    asked = json.load(sys.stdin)
    json.dump(
        {
            "adapter": answers(asked["base"], asked["adapter"], asked),
            "plain": answers(asked["base"], None, asked),
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
