"""llama.cpp as a contender, run by any interpreter that has llama-cpp-python.

Reads {path, prompts: {batch: [[...], ...]}, new} on stdin; prints new tokens per CPU-second of each
batch, prompts as one batch, then one token of every sequence at a time, and what the build makes
use of. The settings are the best of those tried (micro-batches of 64, 512 and 2,048, flash
attention on and off, one cache and one for each sequence). Needs nothing of this project.
"""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
from typing import Any

lib: Any = import_module("llama_cpp")
numpy: Any = import_module("numpy")


def fill(batch: Any, rows: list[tuple[int, int, int, bool]]) -> None:
    """Rows of (token, position, sequence, wants logits)."""
    batch.n_tokens = len(rows)
    for i, (token, position, sequence, wants) in enumerate(rows):
        batch.token[i], batch.pos[i] = token, position
        batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence
        batch.logits[i] = wants


def run(model: Any, prompts: list[list[int]], new: int) -> float:
    """New tokens per CPU-second."""
    count, length = len(prompts), len(prompts[0])
    params = lib.llama_context_default_params()
    params.n_ctx = count * 256
    params.n_batch = max(512, count * length)
    params.flash_attn_type, params.kv_unified = 1, False
    params.n_seq_max = count
    params.n_threads = params.n_threads_batch = 1
    context = lib.llama_init_from_model(model, params)
    if not context:
        raise SystemExit("llama.cpp made no context")
    vocab = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(model))
    batch = lib.llama_batch_init(count * length, 0, 1)
    started = time.process_time()
    rows = [
        (token, at, sequence, at == length - 1)
        for sequence, prompt in enumerate(prompts)
        for at, token in enumerate(prompt)
    ]
    made = 0
    for step in range(new):
        fill(batch, rows)
        if lib.llama_decode(context, batch) != 0:
            raise SystemExit("llama.cpp could not decode")
        logits = numpy.ctypeslib.as_array(lib.llama_get_logits(context), (count, vocab))
        chosen = logits.argmax(axis=1).tolist()
        rows = [(token, length + step, sequence, True) for sequence, token in enumerate(chosen)]
        made += len(chosen)
    spent = time.process_time() - started
    lib.llama_batch_free(batch)
    lib.llama_free(context)
    return made / spent


def _say_nothing(*_: object) -> None:
    """In place of llama.cpp's log."""


def main() -> None:
    """One model, every batch: once to warm up, then measured."""
    asked = json.load(sys.stdin)
    lib.llama_backend_init()
    quiet = lib.llama_log_callback(_say_nothing)
    lib.llama_log_set(quiet, None)
    model = lib.llama_model_load_from_file(asked["path"].encode(), lib.llama_model_default_params())
    if not model:
        raise SystemExit("llama.cpp can't load the model")
    rates: dict[str, float] = {}
    for batch, prompts in asked["prompts"].items():
        run(model, prompts, 4)
        rates[f"plain {batch}"] = run(model, prompts, asked["new"])
    abilities = lib.llama_print_system_info().decode()
    print(json.dumps({"rates": rates, "has_avx512_bf16": "AVX512_BF16 = 1" in abilities}))


if __name__ == "__main__":
    main()
