"""What the recorder passes on and what it keeps, before a real engine on loopback."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tensafe.errors import UsageError
from tensafe.improve.interactions import Feedback, Interaction
from tensafe.improve.loop_config import Consent, RecordingConfig
from tensafe.improve.recorder import Recorder, answer_text
from tensafe.improve.recorder_server import RecorderServer
from tensafe.improve.traffic import TooMuchFeedbackError, TrafficStore
from tinker_engine.connect import Connection, base_info, open_engine

BODY = {
    "model": "nano",
    "messages": [{"role": "user", "content": "Mail jo@example.org about the card, please."}],
    "max_tokens": 6,
    "temperature": 0,
}
YES = {"x-consent-to-learning": "yes"}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINKER_ENGINE_HOME", str(tmp_path_factory.mktemp("engine")))
        with open_engine("embedded") as connection:
            yield connection


@pytest.fixture
def store(tmp_path: Path) -> TrafficStore:
    return TrafficStore(tmp_path / "traffic")


class Client:
    """A client of the recorder."""

    def __init__(self, url: str, key: str) -> None:
        self._http = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, trust_env=False, timeout=300
        )

    def ask(self, headers: dict[str, str] | None = None, **changes: Any) -> httpx.Response:
        return self._http.post("/v1/chat/completions", json={**BODY, **changes}, headers=headers)

    def tell(self, **said: Any) -> httpx.Response:
        return self._http.post("/v1/feedback", json=said)

    def get(self, route: str) -> httpx.Response:
        return self._http.get(route)


def serve(
    engine: Connection, store: TrafficStore, consent: Consent = "header", rate: float = 1.0
) -> RecorderServer:
    config = RecordingConfig(consent=consent, sample_rate=rate, max_stored=50)
    return RecorderServer(engine.base_url, Recorder(store, config, "nano"))


def test_nothing_is_stored_by_default(engine: Connection, store: TrafficStore) -> None:
    assert RecordingConfig().consent == "off"
    with serve(engine, store, "off") as server:
        answer = Client(server.url, engine.api_key).ask(YES)
    assert answer.status_code == 200
    assert "x-interaction-id" not in answer.headers
    assert list(store.folder.iterdir()) == []


def test_consented_exchanges_are_stored_redacted_with_what_was_said_of_them(
    engine: Connection, store: TrafficStore
) -> None:
    with serve(engine, store) as server:
        client = Client(server.url, engine.api_key)
        assert "x-interaction-id" not in client.ask().headers
        answer = client.ask(YES)
        key = answer.headers["x-interaction-id"]
        said = client.tell(id=key, thumbs="down", correction="no, call +49 30 901820 instead")
        assert said.json() == {"id": key, "stored": True}
        direct = httpx.post(
            f"{engine.base_url}/v1/chat/completions", json=BODY, trust_env=False, timeout=300,
            headers={"Authorization": f"Bearer {engine.api_key}"},
        )  # fmt: skip
    content = answer.json()["choices"][0]["message"]["content"]
    assert content == direct.json()["choices"][0]["message"]["content"]
    (one,) = store.interactions()
    digest = base_info(engine).digest
    assert answer.headers["x-adapter-digest"] == one.adapter_digest == digest
    assert one.id == key
    assert one.asked == "Mail [EMAIL] about the card, please."
    assert one.feedback == Feedback(0.0, "", "no, call [PHONE] instead")
    kept = b"".join(path.read_bytes() for path in store.folder.iterdir())
    assert b"example.org" not in kept
    assert b"901820" not in kept
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in store.folder.iterdir())


def test_streams_pass_unchanged_and_are_stored(engine: Connection, store: TrafficStore) -> None:
    with serve(engine, store, "all") as server:
        client = Client(server.url, engine.api_key)
        streamed = client.ask(stream=True)
        whole = client.ask()
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert streamed.text.rstrip().endswith("data: [DONE]")
    text = answer_text(streamed.content, is_stream=True)
    assert text == whole.json()["choices"][0]["message"]["content"]
    assert [one.answer for one in store.interactions()] == [text, text]


def test_rate_model_and_limits_are_heeded(engine: Connection, store: TrafficStore) -> None:
    with serve(engine, store, "all", rate=0.0) as server:
        assert "x-interaction-id" not in Client(server.url, engine.api_key).ask().headers
    recorder = Recorder(store, RecordingConfig(consent="all", max_stored=1), "support")
    assert recorder.wants({"model": "support"}, consents=False)
    assert not recorder.wants({"model": "nano"}, consents=True)
    recorder.keep("a", {"messages": BODY["messages"]}, "cards", "")
    assert not recorder.wants({"model": "support"}, consents=True)
    recorder.keep("b", {"messages": "no list"}, "cards", "")
    assert len(store) == 1


def test_bodies_and_feedback_are_bounded(
    engine: Connection, store: TrafficStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINKER_ENGINE_MAX_BODY_BYTES", "20000")
    with serve(engine, store, "all") as server:
        client = Client(server.url, engine.api_key)
        key = client.ask().headers["x-interaction-id"]
        http = httpx.Client(base_url=server.url, trust_env=False, timeout=300)
        for route in ("/v1/chat/completions", "/v1/embeddings"):
            # In pieces as well: no length is declared then.
            for content in (b"x" * 20001, iter([b"x" * 9000] * 3)):
                answer = http.post(route, content=content)
                assert answer.status_code == 413
                assert "larger than 20000 bytes" in answer.json()["error"]["message"]
        assert client.tell(id=key, correction="x" * 70000).status_code == 413
        assert client.tell(id=key, correction="no " * 20000, thumbs="down").status_code == 200
        assert client.tell(id=key, correction="so " * 20000).status_code == 200
        full = client.tell(id=key, correction="on " * 20000)
        assert full.status_code == 429
        assert "131072 bytes in all" in full.json()["error"]["message"]
    # The next process counts what was said before it.
    with pytest.raises(TooMuchFeedbackError):
        TrafficStore(store.folder).add_feedback(key, Feedback(correction="on " * 20000))
    (one,) = store.interactions()
    assert one.feedback.correction.startswith("so so")


def test_errors_and_other_routes_are_the_engines_own(
    engine: Connection, store: TrafficStore
) -> None:
    with serve(engine, store, "all") as server:
        client = Client(server.url, engine.api_key)
        assert client.get("/v1/models").json()["data"]
        refused = client.ask(temperature=-1)
        assert refused.status_code == 400
        assert "x-interaction-id" not in refused.headers
        assert Client(server.url, "tml-not-a-key-of-this-server").ask().status_code == 401
        assert client.tell(id="nobody", thumbs="up").status_code == 404
        key = client.ask().headers["x-interaction-id"]
        assert client.tell(id=key, thumbs="sideways").status_code == 400
        assert client.tell(id=key).status_code == 404
        with pytest.raises(UsageError, match="can't listen"):
            RecorderServer("http://127.0.0.1:1", Recorder(store, RecordingConfig(), "nano"),
                           port=int(server.url.rpartition(":")[2]))  # fmt: skip
    assert len(store) == 1
    with RecorderServer("http://127.0.0.1:1", Recorder(store, RecordingConfig(), "x")) as lost:
        assert Client(lost.url, "k").ask().status_code == 502


def test_a_line_cut_inside_a_character_is_passed_over(store: TrafficStore) -> None:
    turns = ({"role": "user", "content": "wo?"}, {"role": "assistant", "content": "Köln"})
    store.record(Interaction("a", turns))  # type: ignore[arg-type]
    with (store.folder / "traffic.jsonl").open("ab") as file:
        file.write('\n{"id": "b", "messages": "ö'.encode()[:-1])
    again = TrafficStore(store.folder)
    again.record(Interaction("c", turns))  # type: ignore[arg-type]
    assert [found.id for found in again.interactions()] == ["a", "c"]


def test_a_line_that_a_kill_cut_short_is_passed_over(store: TrafficStore) -> None:
    turns = ({"role": "user", "content": "q"}, {"role": "assistant", "content": "a"})
    one = Interaction("a", turns)  # type: ignore[arg-type]
    store.record(one)
    with (store.folder / "traffic.jsonl").open("a") as file:
        file.write('\n{"id": "b", "messages": [{"role"')
    again = TrafficStore(store.folder)
    again.record(Interaction("c", turns))  # type: ignore[arg-type]
    assert [found.id for found in again.interactions()] == ["a", "c"]
    again.add_feedback("c", Feedback(1.0))
    again.add_feedback("c", Feedback(None, "", "no"))
    assert again.interactions()[1].feedback == Feedback(1.0, "", "no")
    assert json.loads((store.folder / "feedback.jsonl").read_text().split("\n")[1])["id"] == "c"
