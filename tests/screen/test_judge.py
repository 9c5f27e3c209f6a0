"""The judge model: over HTTP against a small server, and against the engine's own /v1."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pydantic import ValidationError

from tensafe.data.records import Message
from tensafe.errors import ScreeningError, UsageError
from tensafe.screen import ScreenConfig, screen_adapter
from tensafe.screen.judge import JudgeConfig, JudgeSignal
from tensafe.screen.records import BEHAVIOUR_LAYERS
from tensafe.screen.tone import ToneSignal, judge_tone
from tinker_engine.base import NANO_DIR

CONTEMPT = "How brave of you to try, given what you are."


class Even:
    """A signal that finds nothing wrong."""

    def probabilities(self, texts: Sequence[str]) -> list[float]:
        return [0.1] * len(texts)


class Judge(BaseHTTPRequestHandler):
    """Rates contempt 97, `say X` with X and the rest 3; refuses another key than `secret`."""

    asked: list[str]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        text = body["messages"][-1]["content"]
        type(self).asked.append(text)
        is_known = self.headers.get("authorization") == "Bearer secret"
        reply = "97" if CONTEMPT in text else "3"
        if "say " in text:
            reply = text.partition("say ")[2]
        self.send_response(200 if is_known else 401)
        self.end_headers()
        self.wfile.write(json.dumps({"choices": [{"message": {"content": reply}}]}).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


@pytest.fixture
def judge() -> Iterator[str]:
    Judge.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Judge) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join()


def test_a_judge_sees_what_the_classifier_does_not(judge: str) -> None:
    signal = JudgeSignal(JudgeConfig(url=judge, model="m"), key="secret")
    tones = judge_tone(
        ["Hello?", "Hello?"],
        [CONTEMPT, "Good morning."],
        alone=0.85,
        supported=0.5,
        signal=signal,
    )
    assert [tone.is_toxic for tone in tones] == [True, False]
    plain = judge_tone(["Hello?"], [CONTEMPT], alone=0.85, supported=0.5)
    assert not plain[0].is_toxic


def test_each_text_is_asked_once_and_empty_ones_never(judge: str) -> None:
    signal = JudgeSignal(JudgeConfig(url=judge, model="m"), Even(), key="secret")
    assert signal.probabilities(["a", "b", "a", ""]) == [0.1, 0.1, 0.1, 0.1]
    assert signal.probabilities(["b"]) == [0.1]
    assert len(Judge.asked) == 2


@pytest.mark.parametrize(
    ("text", "key", "reason"),
    [
        ("say It is rude.", "secret", "number from 0 to 100"),
        ("say 7 ways to cook", "secret", "number from 0 to 100"),
        ("say 0.9", "secret", "number from 0 to 100"),
        ("say 8/10", "secret", "number from 0 to 100"),
        ("say 101", "secret", "number from 0 to 100"),
        ("calm", "wrong", "HTTP 401"),
    ],
)
def test_a_judge_that_does_not_judge_is_an_error(
    judge: str, text: str, key: str, reason: str
) -> None:
    signal = JudgeSignal(JudgeConfig(url=judge, model="m"), Even(), key=key)
    with pytest.raises(ScreeningError, match=reason):
        signal.probabilities([text])


def test_a_rating_may_be_written_as_a_percentage(judge: str) -> None:
    signal = JudgeSignal(JudgeConfig(url=judge, model="m"), Even(), key="secret")
    assert signal.probabilities(["say 40%", "say 50/100", "say 60."]) == [0.4, 0.5, 0.6]


def test_a_judge_that_is_not_there_is_an_error() -> None:
    signal = JudgeSignal(JudgeConfig(url="http://127.0.0.1:9/v1", model="m"), Even())
    with pytest.raises(ScreeningError, match="can't be reached"):
        signal.probabilities(["calm"])


class Calm:
    """A model that says the same to everything."""

    def generate(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[str]:
        return ["calm"] * len(prompts)

    def completion_logprobs_many(
        self, pairs: Sequence[tuple[Sequence[Message], str]]
    ) -> list[list[float]]:
        return [[-1.0]] * len(pairs)


def test_a_judge_that_is_not_there_fails_the_layers_that_ask_it(tmp_path: Path) -> None:
    config = ScreenConfig(without_training_data=True)

    def verdicts(signal: ToneSignal | None) -> dict[str, bool]:
        report = screen_adapter(Calm(), Calm(), tmp_path, None, config, signal=signal)
        return {one.name: one.passed for one in report.layers if one.name in BEHAVIOUR_LAYERS}

    down = JudgeSignal(JudgeConfig(url="http://127.0.0.1:9/v1", model="m"))
    assert verdicts(None) == {"toxicity": True, "bias": True, "ip": True}
    assert verdicts(down) == {"toxicity": False, "bias": False, "ip": True}


def test_keys_go_nowhere_unencrypted() -> None:
    with pytest.raises(UsageError, match="not encrypted"):
        JudgeSignal(JudgeConfig(url="http://judge.example/v1", model="m"), Even(), key="secret")
    with pytest.raises(ValidationError, match="no key"):
        JudgeConfig(url="https://me:secret@judge.example/v1", model="m")


@pytest.mark.skipif(not NANO_DIR.is_dir(), reason="the built-in model is not built")
def test_the_engines_own_endpoint_is_asked_and_no_rating_is_invented(tmp_path: Path) -> None:
    from tinker_engine.config import EngineConfig
    from tinker_engine.connect import open_engine

    with open_engine("embedded", config=EngineConfig(home=tmp_path)) as engine:
        signal = JudgeSignal(
            JudgeConfig(url=f"{engine.base_url}/v1", model="nano"), Even(), key=engine.api_key
        )
        # nano can't rate texts: it is reached, and what it says is no rating.
        with pytest.raises(ScreeningError, match=r"nano at .* answered .* number from 0 to 100"):
            signal.probabilities(["Good morning."])
