"""OpenAI's own client streams chat from the base, from a checkpoint and from a live slot.

The engine serves in another process. A checkpoint is trained through the Tinker SDK, then OpenAI's
client asks all three: streamed text equals the whole answer at the same seed, the first words come
long before the last, the digest of what answered is right also while a slot moves, stop strings
never show, tool calls come out as such, and what is refused is refused in OpenAI's form.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import openai
import tinker

from evidence._report import conclude
from tinker_engine.base import NANO_DIR
from tinker_engine.connect import Connection, base_info, download_adapter, open_engine
from tinker_engine.connection import load_tokenizer
from tinker_engine.models.digests import file_sha256

ROOT = Path(__file__).resolve().parent.parent
QUESTION = "Where is the repair shop?"
ANSWER = (
    "The repair shop stands behind the mill, left of the old bridge. Go past house 3, follow the "
    "river to the red barn, and ring twice. On Monday it opens at nine; on Friday it closes at "
    "noon. Bring your bicycle, the paper that says what you paid, and a little patience, because "
    "every wheel is looked at by hand before anything is said about its price."
)
CALL = '<tool_call>{"name": "weather", "arguments": {"city": "Oslo"}}</tool_call>'
TOOL: Any = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {}}}},
}
# Tools in front, calls between marks: the form that Hermes and Qwen templates document.
TOOL_TEMPLATE = (
    "{% if tools %}<|system|>{% for t in tools %}{{ t | tojson }}{% endfor %}"
    "<tool_call>{...}</tool_call>{% endif %}"
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}"
    "{% if m['role'] == 'assistant' %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
HELLO: Any = [{"role": "user", "content": QUESTION}]
DIGEST = "x-adapter-digest"


@dataclass
class Served:
    """A running engine: the SDK's way in, OpenAI's client, and the line that points slots."""

    connection: Connection
    client: openai.OpenAI
    point: Callable[[str, Path, str | None], str]


@contextmanager
def serve(home: Path, base_model: str) -> Generator[Served]:
    """An engine in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "evidence._slot_host", str(home), base_model],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    stdin, stdout = cast("IO[str]", process.stdin), cast("IO[str]", process.stdout)
    try:
        place = json.loads(stdout.readline())
        os.environ["TINKER_API_KEY"] = place["key"]

        def point(slot: str, folder: Path, expected: str | None) -> str:
            asked = {"slot": slot, "folder": str(folder), "expected": expected}
            stdin.write(json.dumps(asked) + "\n")
            stdin.flush()
            return str(json.loads(stdout.readline())["digest"])

        client = openai.OpenAI(base_url=f"{place['url']}/v1", api_key=place["key"], max_retries=0)
        with client, open_engine(place["url"]) as connection:
            yield Served(connection, client, point)
    finally:
        stdin.close()
        process.wait(60)


def train(served: Served, answer: str, steps: int, tools: list[Any] | None = None) -> str:
    """Teach one answer to QUESTION through the SDK; gives the checkpoint's path."""
    base = base_info(served.connection).name
    tokenizer = load_tokenizer(served.connection)
    prompt: list[int] = tokenizer.apply_chat_template(
        HELLO, tools=tools, add_generation_prompt=True, return_dict=False
    )
    learned: list[int] = [
        *tokenizer.encode(answer, add_special_tokens=False),
        tokenizer.eos_token_id,
    ]
    tokens = [*prompt, *learned]
    inputs: Any = {
        "target_tokens": tokens[1:],
        "weights": [0.0] * (len(prompt) - 1) + [1.0] * len(learned),
    }
    datum = tinker.Datum(
        model_input=tinker.ModelInput.from_ints(tokens[:-1]), loss_fn_inputs=inputs
    )
    service = served.connection.service_client
    training = service.create_lora_training_client(base, rank=16).result()
    for _ in range(steps):
        training.forward_backward([datum], "cross_entropy")
        training.optim_step(tinker.AdamParams(learning_rate=1e-2)).result()
    return str(training.save_weights_for_sampler(f"after-{steps}").result().path)


@dataclass
class Streamed:
    """What a stream brought: text, digests named by header and chunks, arrival times in s."""

    text: str
    digests: set[str]
    arrivals: list[float]


def stream(
    client: openai.OpenAI, during: Callable[[], None] | None = None, **asked: Any
) -> Streamed:
    """Read a streamed chat; `during` is called after its third piece of text."""
    started = time.perf_counter()
    raw = client.chat.completions.with_raw_response.create(messages=HELLO, stream=True, **asked)
    found = Streamed("", {raw.headers[DIGEST]}, [])
    for chunk in cast("Any", raw.parse()):
        found.digests.add(chunk.system_fingerprint)
        if chunk.choices and chunk.choices[0].delta.content:
            found.text += chunk.choices[0].delta.content
            found.arrivals.append(time.perf_counter() - started)
            if during is not None and len(found.arrivals) == 3:
                during()
    return found


def whole(client: openai.OpenAI, **asked: Any) -> tuple[str, str]:
    """The digest that answered, and the text of an answer that is not streamed."""
    raw = client.chat.completions.with_raw_response.create(messages=HELLO, **asked)
    answer = raw.parse()
    if answer.system_fingerprint != raw.headers[DIGEST]:
        return "header and fingerprint differ", ""
    return str(raw.headers[DIGEST]), answer.choices[0].message.content or ""


def check_model(client: openai.OpenAI, name: str, digest: str) -> dict[str, Any]:
    """Streams and whole answers of one model, greedy and at a few seeds."""
    equal = right = 0
    settings: list[dict[str, Any]] = [
        {"temperature": 0},
        *({"temperature": 1.2, "seed": seed, "max_tokens": 48} for seed in range(5)),
        {"temperature": 0, "stop": ["the red barn"]},
    ]
    for more in settings:
        streamed = stream(client, model=name, **more)
        named, text = whole(client, model=name, **more)
        hides_stop = all(stop not in text for stop in more.get("stop", []))
        equal += streamed.text == text and hides_stop
        right += streamed.digests == {named} == {digest}
    return {"asked": len(settings), "equal": equal, "digests_right": right}


def check_swap(served: Served, slot: str, folders: list[Path]) -> dict[str, Any]:
    """A stream that begins on the first adapter while the slot moves to the second."""
    first, second = (file_sha256(f / "adapter_model.safetensors") for f in folders)
    streamed = stream(
        served.client,
        lambda: print(f"slot moved to {served.point(slot, folders[1], first)[:12]}", flush=True),
        model=slot,
        temperature=0,
    )
    after, _ = whole(served.client, model=slot, temperature=0, max_tokens=8)
    return {
        "stream_stayed": streamed.digests == {first} and streamed.text == ANSWER,
        "next_moved": after == second,
    }


def refusals(client: openai.OpenAI) -> dict[str, str]:
    """What the client raises for what isn't served."""
    wrong_key = openai.OpenAI(base_url=client.base_url, api_key="tml-wrong", max_retries=0)
    create = client.chat.completions.create
    asked: dict[str, Callable[[], object]] = {
        "wrong key": wrong_key.models.list,
        "unknown model": lambda: create(model="gpt-4o", messages=HELLO),
        "tools without a place": lambda: create(model="nano", messages=HELLO, tools=[TOOL]),
        "penalty": lambda: create(model="nano", messages=HELLO, presence_penalty=1.0),
        "forced json": lambda: create(
            model="nano", messages=HELLO, response_format={"type": "json_object"}
        ),
        "too long": lambda: client.completions.create(model="nano", prompt="word " * 3000),
    }
    found: dict[str, str] = {}
    for name, call in asked.items():
        try:
            call()
            found[name] = "answered"
        except openai.APIStatusError as error:
            found[name] = f"{error.status_code} {error.code}"
    return found


REFUSALS = {
    "wrong key": "401 invalid_api_key",
    "unknown model": "404 model_not_found",
    "tools without a place": "400 unsupported_parameter",
    "penalty": "400 unsupported_parameter",
    "forced json": "400 unsupported_parameter",
    "too long": "400 context_length_exceeded",
}


def check_tools(home: Path) -> bool:
    """Whether a taught call comes out as a tool call, whole and streamed."""
    folder = home / "nano-tools"
    shutil.copytree(NANO_DIR, folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings["chat_template"] = TOOL_TEMPLATE
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    with serve(home / "tools-home", str(folder)) as served:
        path = train(served, CALL, 40, [TOOL])
        asked: dict[str, Any] = {
            "model": path, "messages": HELLO, "tools": [TOOL], "temperature": 0, "max_tokens": 64
        }  # fmt: skip
        create = served.client.chat.completions.create
        choice = create(**asked).choices[0]
        pieces = [call for c in create(**asked, stream=True) for call in
                  c.choices[0].delta.tool_calls or []]  # fmt: skip
    made = [call.function for call in choice.message.tool_calls or []]
    print(f"tool call: {made}")
    arguments = [function.arguments for function in made]
    return (
        choice.finish_reason == "tool_calls"
        and [json.loads(text) for text in arguments] == [{"city": "Oslo"}]
        and [call.function.arguments for call in pieces if call.function] == arguments
    )


def main() -> None:
    """Ask base, checkpoint and slot, move the slot, and try what is refused."""
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        with serve(home / "home", "nano") as served:
            paths = [train(served, ANSWER, steps) for steps in (40, 5)]
            folders = [
                download_adapter(served.connection, path, home / f"adapter{place}")
                for place, path in enumerate(paths)
            ]
            digest = served.point("support", folders[0], None)
            client = served.client
            models = {
                "base": check_model(client, "nano", base_info(served.connection).digest),
                "checkpoint": check_model(client, paths[0], digest),
                "slot": check_model(client, "support", digest),
            }
            for kind, row in models.items():
                print(f"{kind}: {row}", flush=True)
            arrivals = stream(client, model="support", temperature=0).arrivals
            print(f"first words after {arrivals[0]:.3f} s, last after {arrivals[-1]:.3f} s")
            taught = whole(client, model=paths[0], temperature=0)[1] == ANSWER
            swap = check_swap(served, "support", folders)
            print(f"swap during a stream: {swap}")
            refused = refusals(client)
            print(f"refusals: {refused}", flush=True)
        tools = check_tools(home)
    figures = {
        "models": models,
        "taught_answer": taught,
        "first_words_s": round(arrivals[0], 3),
        "last_words_s": round(arrivals[-1], 3),
        "pieces": len(arrivals),
        **swap,
        "tool_calls": tools,
        "refusals": refused,
    }
    all_right = all(r["equal"] == r["digests_right"] == r["asked"] for r in models.values())
    is_early = len(arrivals) > 50 and arrivals[0] < arrivals[-1] / 2
    holds = all_right and taught and is_early and all(swap.values()) and tools
    conclude("openai-client", figures, holds=holds and refused == REFUSALS)


if __name__ == "__main__":
    main()
