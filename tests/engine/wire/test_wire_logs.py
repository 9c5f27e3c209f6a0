"""Logs and metrics of a served engine: complete, in form, and without what users send."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from test_wire_owners import belongings, make_run, open_session, sample
from wire_bodies import forward_backward, json_datum

from tinker_engine.cli import main
from tinker_engine.server.logs import HumanLines, JsonLines

KEY = "tml-SECRETKEY-of-the-log-test-1234"
SECRET = "SECRET-5a1c"


class Served:
    """A `tinker-engine serve` process, its log in a file."""

    def __init__(self, home: Path) -> None:
        self.log = home / "log.jsonl"
        environment = {
            **os.environ,
            "TINKER_ENGINE_HOME": str(home / "state"),
            "TINKER_ENGINE_API_KEY": KEY,
            "TINKER_ENGINE_LOG_FORMAT": "json",
        }
        self._stream = self.log.open("w")
        command = [sys.executable, "-m", "tinker_engine.cli", "serve", "--json", "--metrics-open"]
        self._process = subprocess.Popen(
            [*command, "--port", "0", "--threads", "1"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=self._stream,
            text=True,
        )
        assert self._process.stdout is not None
        self.base_url = json.loads(self._process.stdout.readline())["base_url"]

    def stop(self) -> None:
        self._process.terminate()
        self._process.communicate(timeout=60)
        self._stream.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    server = Served(tmp_path_factory.mktemp("served"))
    yield server
    server.stop()


def secret_bodies(run_id: str, sampler_id: str) -> list[tuple[str, str, Any]]:
    """Requests that carry the secret in every field that takes text, right or wrong."""
    datum = json_datum([5, 6, 7])
    odd = {**datum, "loss_fn_inputs": {SECRET: {"data": [1.0], "dtype": SECRET, "shape": [1]}}}
    new = {"session_id": SECRET, "model_seq_id": 0, "base_model": SECRET}
    place = f"/training_runs/{run_id}/checkpoints/weights/{SECRET}"
    session = {"tags": [SECRET], "user_metadata": {SECRET: SECRET}, "display_name": SECRET}
    return [
        ("POST", "/create_session", {**session, "sdk_version": SECRET, "project_id": SECRET}),
        ("POST", "/create_session", {"tags": SECRET}),
        ("POST", "/client/config", {"sdk_version": SECRET}),
        ("POST", "/session_heartbeat", {"session_id": SECRET}),
        ("POST", f"/sessions/{SECRET}/finish", {"reason": {"type": SECRET}, "detail": SECRET}),
        ("POST", "/create_model", {**new, "user_metadata": {"lora_alpha": SECRET}}),
        ("POST", "/create_model", {**new, "lora_config": {"rank": SECRET}}),
        ("POST", "/get_info", {"model_id": SECRET}),
        ("POST", "/forward_backward", forward_backward(run_id, None, odd)),
        ("POST", "/forward_backward", {"model_id": run_id, SECRET: SECRET}),
        ("POST", "/forward_backward", forward_backward(SECRET, 1, datum)),
        ("POST", "/optim_step", {"model_id": run_id, "adam_params": {SECRET: SECRET}}),
        (
            "POST",
            "/save_weights",
            {"model_id": run_id, "path": SECRET, "user_metadata": {"a": SECRET}},
        ),
        ("POST", "/save_weights", {"model_id": run_id, "path": f"../{SECRET}"}),
        ("POST", "/save_weights_for_sampler", {"model_id": run_id, "kind": SECRET}),
        ("POST", "/load_weights", {"model_id": run_id, "path": f"tinker://{SECRET}/weights/a"}),
        ("POST", "/asample", {**sample(sampler_id, 90), "prompt": {"chunks": [{"type": SECRET}]}}),
        ("POST", "/asample", _with_stop(sampler_id)),
        ("POST", "/asample", {**sample(SECRET, 1)}),
        ("POST", "/retrieve_future", {"request_id": SECRET}),
        ("POST", "/cancel_future", {"request_id": SECRET}),
        ("POST", "/weights_info", {"tinker_path": SECRET}),
        ("POST", "/telemetry", {"events": [SECRET]}),
        ("PUT", f"{place}/ttl", {"ttl_seconds": SECRET}),
        ("DELETE", place, None),
        ("GET", f"/{SECRET}", None),
        ("GET", f"/training_runs?limit={SECRET}", None),
    ]


def _with_stop(sampler_id: str) -> dict[str, Any]:
    body = sample(sampler_id, 91)
    body["sampling_params"]["stop"] = [SECRET]
    return body


def log_with(served: Served, request_id: str) -> str:
    """The log once a request's line is in it: a line is written after its answer has gone out."""
    until = time.monotonic() + 30
    while True:
        text = served.log.read_text("utf-8")
        whole = text[: text.rfind("\n") + 1]
        if request_id in whole or time.monotonic() > until:
            return whole
        time.sleep(0.05)


def test_nothing_that_users_send_is_in_the_log(served: Served) -> None:
    headers = {"X-API-Key": KEY, "X-Idempotency-Key": SECRET, "User-Agent": SECRET}
    with httpx.Client(
        base_url=f"{served.base_url}/api/v1", headers=headers, trust_env=False, timeout=60
    ) as client:
        del client.headers["X-Idempotency-Key"]
        things = belongings(client)
        for number, (method, path, body) in enumerate(
            secret_bodies(things.run_id, things.sampler_id)
        ):
            key = {"X-Idempotency-Key": f"{SECRET}-{number}"}
            answer = client.request(method, path, json=body, headers=key)
            assert answer.status_code < 500
        client.post("/forward_backward", content=SECRET.encode() * 9)
        httpx.get(f"{client.base_url}sessions", headers={"X-API-Key": SECRET}, trust_env=False)
        asked = client.get("/sessions")
    text = log_with(served, asked.headers["x-request-id"])
    lines = [json.loads(line) for line in text.splitlines()]
    for secret in (SECRET, "SECRETKEY", things.run_id, "[5, 6, 7"):
        assert secret not in text
    requests = [line for line in lines if line["logger"] == "tinker_engine.requests"]
    assert len(requests) > 30
    mine = next(r for r in requests if r["request_id"] == asked.headers["x-request-id"])
    assert mine["route"] == "/api/v1/sessions"
    assert (mine["key"], mine["method"], mine["status"]) == ("local", "GET", 200)
    assert 0 < mine["seconds"] < 10
    assert {r["status"] for r in requests} >= {200, 400, 401, 404}
    assert any(r["key"] is None for r in requests if r["status"] == 401)


def metrics_at_rest(served: Served) -> httpx.Response:
    """The metrics once nothing is in line any more; earlier requests are answered at submission."""
    until = time.monotonic() + 30
    while True:
        answer = httpx.get(f"{served.base_url}/metrics", trust_env=False)
        if "\ntinker_engine_queue_depth 0" in answer.text or time.monotonic() > until:
            return answer
        time.sleep(0.05)


def test_metrics_are_prometheus_and_count(served: Served) -> None:
    answer = metrics_at_rest(served)
    assert answer.headers["content-type"].startswith("text/plain")
    families = {f.name: f for f in text_string_to_metric_families(answer.text)}
    values = {
        (s.name, *sorted(s.labels.values())): s.value for f in families.values() for s in f.samples
    }
    assert values["tinker_engine_tokens_total", "trained"] >= 3
    assert values["tinker_engine_tokens_total", "sampled"] >= 2
    assert values["tinker_engine_finished_total", "done", "forward_backward"] >= 1
    assert values["tinker_engine_runs_loaded",] >= 1
    assert values["tinker_engine_samplers_open",] >= 1
    assert values["tinker_engine_queue_depth",] == 0
    assert values["process_resident_memory_bytes",] > 1e8
    count = values["tinker_engine_request_seconds_count", "/api/v1/create_session"]
    assert count == sum(
        value
        for key, value in values.items()
        if key[0] == "tinker_engine_requests_total" and "/api/v1/create_session" in key
    )
    assert count >= 3
    assert SECRET not in answer.text
    documented = (Path(__file__).parents[3] / "docs" / "operating.md").read_text("utf-8")
    for name in families:
        if name.startswith("tinker_engine_"):
            assert f"`{name}" in documented, name


def test_a_failure_is_logged_without_its_words() -> None:
    def record() -> logging.LogRecord:
        try:
            try:
                raise ValueError(f"the prompt was {SECRET}")
            except ValueError as error:
                raise RuntimeError(SECRET) from error
        except RuntimeError:
            return logging.LogRecord("a", logging.ERROR, "f", 1, "it failed", (), sys.exc_info())

    line = json.loads(JsonLines(is_private=True).format(record()))
    assert "ValueError" in line["traceback"]
    assert "test_wire_logs.py" in line["traceback"]
    assert SECRET not in str(line)
    assert SECRET not in HumanLines(is_private=True).format(record())
    assert SECRET in HumanLines(is_private=False).format(record())


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("prot = 1", "did you mean port?"),
        ("port = 'x'", "port: Input should be a valid integer"),
        ("port = ", "can't be read as TOML"),
        ("api_key = 'tml-a-key-of-my-own-1234'", "chmod 600"),
        ("metrics_open = true\nhost = '0.0.0.0'", "metrics_open"),
        ("host = '0.0.0.0'", "keys create"),
    ],
)
def test_a_wrong_settings_file_is_one_line(
    content: str,
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "engine.toml"
    file.write_text(content)
    file.chmod(0o644)
    monkeypatch.setenv("TINKER_ENGINE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["tinker-engine", "serve", "--config", str(file)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert expected in capsys.readouterr().err


def test_options_win_over_environment_over_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tinker_engine.commands.settings import read_config

    file = tmp_path / "engine.toml"
    file.write_text("port = 1\nmax_runs = 1\nthreads = 1\nlog_format = 'json'\n")
    monkeypatch.setenv("TINKER_ENGINE_CONFIG", str(file))
    monkeypatch.setenv("TINKER_ENGINE_MAX_RUNS", "2")
    monkeypatch.setenv("TINKER_ENGINE_THREADS", "2")
    config = read_config(threads=3, port=None)
    assert (config.port, config.max_runs, config.threads) == (1, 2, 3)
    assert config.log_format == "json"
    assert read_config(tmp_path / "engine.toml", max_runs=9).limits.max_runs == 9


def test_status_command(
    served: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*words: str) -> tuple[Any, str]:
        monkeypatch.setattr(sys, "argv", ["tinker-engine", "status", "--url", *words])
        with pytest.raises(SystemExit) as stopped:
            main()
        caught = capsys.readouterr()
        return stopped.value.code, caught.out + caught.err

    monkeypatch.delenv("TINKER_ENGINE_API_KEY", raising=False)
    monkeypatch.delenv("TINKER_API_KEY", raising=False)
    assert run(served.base_url, "--health") == (0, "ok\n")
    code, told = run("http://127.0.0.1:9", "--health")
    assert (code, "no engine answers" in told) == (1, True)
    monkeypatch.setenv("TINKER_API_KEY", KEY)
    code, told = run(served.base_url)
    assert code == 0
    assert "runs in memory" in told
    assert "ok answers" in told
    code, told = run(served.base_url, "--json")
    assert {check["name"] for check in json.loads(told)["checks"]} >= {"answers", "disk space"}


def test_a_request_of_a_stranger_is_no_route(served: Served) -> None:
    client = httpx.Client(base_url=f"{served.base_url}/api/v1", trust_env=False)
    assert make_run(client, "x", 0).status_code == 401
    client.headers["X-API-Key"] = KEY
    assert open_session(client)
