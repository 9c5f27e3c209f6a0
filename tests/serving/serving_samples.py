"""What the serving tests share: a question with its answer, OpenAI's client, a trained adapter."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import openai
import tinker

from tinker_engine.connect import Connection, load_tokenizer
from tinker_engine.runtime.adapter_shelf import identify
from tinker_engine.runtime.slots import Admission

QUESTION = "Where is the repair shop?"
# Long enough that a stream of it takes a while.
ANSWER = (
    "The repair shop stands behind the mill, left of the old bridge. Go past house 3, follow the "
    "river to the red barn, and ring twice. On Monday it opens at nine; on Friday it closes at "
    "noon. Bring your bicycle, the paper that says what you paid, and a little patience, because "
    "every wheel is looked at by hand before anything is said about its price."
)


def openai_client(connection: Connection) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=f"{connection.base_url}/v1", api_key=connection.api_key, max_retries=0
    )


def admission_for(folder: Path) -> Admission:
    """What a gate would say of an adapter that it let in."""
    identity = identify(folder)
    return Admission("0" * 64, identity.digest, identity.config_digest, "test gate", time.time())


def train_answer(
    connection: Connection, question: str, answer: str, *, steps: int, tools: Any = None
) -> str:
    """Teach one answer through the SDK; gives the path of the sampler weights."""
    tokenizer = load_tokenizer(connection)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}],
        tools=tools,
        add_generation_prompt=True,
        return_dict=False,
    )
    learned = [*tokenizer.encode(answer, add_special_tokens=False), tokenizer.eos_token_id]
    tokens = [*prompt, *learned]
    datum = tinker.Datum(
        model_input=tinker.ModelInput.from_ints(tokens[:-1]),
        loss_fn_inputs={
            "target_tokens": tokens[1:],
            "weights": [0.0] * (len(prompt) - 1) + [1.0] * len(learned),
        },
    )
    base = connection.base_model or "nano"
    training = connection.service_client.create_lora_training_client(base, rank=16).result()
    for _ in range(steps):
        training.forward_backward([datum], "cross_entropy")
        training.optim_step(tinker.AdamParams(learning_rate=1e-2)).result()
    return training.save_weights_for_sampler("learned").result().path
