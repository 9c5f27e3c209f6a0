"""Which engine `connect` opens, what a foreign server lacks, and the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import tinker

import tinker_engine
from tinker_engine.cli import main
from tinker_engine.config import EngineConfig
from tinker_engine.connect import (
    Connection,
    base_info,
    connection_of,
    download_adapter,
    load_tokenizer,
    open_engine,
    require_privacy,
)
from tinker_engine.errors import (
    AuthenticationError,
    ModelLoadError,
    NotFoundError,
    RequestError,
    ServerUnavailableError,
    UnsupportedByServerError,
)
from tinker_engine.runtime.names import OfferedBase, read_aliases, resolve


class OtherServer(BaseHTTPRequestHandler):
    """A Tinker-compatible server of somebody else: it has no engine routes."""

    def do_GET(self) -> None:
        body = b'{"detail": "Not Found"}'
        self.send_response(404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def other_server() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), OtherServer)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TINKER_BASE_URL", "TINKER_API_KEY", "TINKER_BASE_MODEL"):
        monkeypatch.delenv(name, raising=False)


def test_url_and_environment_choose_the_door(
    other_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RequestError, match="TINKER_API_KEY"):
        open_engine(other_server)
    monkeypatch.setenv("TINKER_API_KEY", "tml-some-key")
    assert open_engine(other_server).kind == "server"
    hosted = open_engine()
    assert hosted.kind == "hosted"
    monkeypatch.setenv("TINKER_BASE_URL", other_server)
    assert open_engine().base_url == other_server
    assert open_engine("hosted").kind == "hosted"
    with pytest.raises(RequestError, match="embedded, hosted or a URL"):
        open_engine("somewhere")


def test_foreign_server_is_refused_before_training(
    other_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TINKER_API_KEY", "tml-some-key")
    connection = open_engine(other_server)
    for ask in (
        lambda: require_privacy(connection),
        lambda: base_info(connection),
        lambda: download_adapter(connection, "tinker://a:train:0/weights/b", tmp_path / "x"),
    ):
        with pytest.raises(UnsupportedByServerError, match="embedded"):
            ask()


def test_server_that_is_down_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINKER_API_KEY", "tml-some-key")
    with pytest.raises(ServerUnavailableError, match="does not answer"):
        require_privacy(open_engine("http://127.0.0.1:1"))


def test_own_server_by_url(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINKER_API_KEY", connection.api_key)
    remote = open_engine(connection.base_url)
    require_privacy(remote)
    assert base_info(remote).name == "nano"
    assert load_tokenizer(remote).encode("hello") == load_tokenizer("nano").encode("hello")
    assert connection_of(remote.service_client) is remote
    monkeypatch.setenv("TINKER_API_KEY", "tml-wrong")
    with pytest.raises(AuthenticationError, match="API key"):
        base_info(open_engine(connection.base_url))


def test_clients_from_elsewhere_are_named(connection: Connection) -> None:
    client = tinker.ServiceClient(base_url=connection.base_url, api_key=connection.api_key)
    with pytest.raises(RequestError, match=r"tinker_engine\.connect"):
        base_info(client)


def test_connect_shares_one_embedded_engine(tmp_path: Path) -> None:
    config = EngineConfig(home=tmp_path, threads=1)
    first = tinker_engine.connect("embedded", config=config)
    assert tinker_engine.connect("embedded", config=config) is first
    connection = connection_of(first)
    assert connection.api_key.startswith("tml-")
    assert connection.base_url.startswith("http://127.0.0.1:")
    connection.close()
    connection.close()
    with pytest.raises(RequestError):
        connection_of(first)


def test_unknown_base_model_says_what_works(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="no such folder"):
        open_engine("embedded", base_model="./nowhere", config=EngineConfig(home=tmp_path))


def test_aliases(tmp_path: Path) -> None:
    file = tmp_path / "aliases.toml"
    assert read_aliases(file)["llama-3.3-70b"].startswith("meta-llama/")
    file.write_text('"llama-3.3-70b" = "mine"\nmine = "nano"\n')
    aliases = read_aliases(file)
    assert resolve("llama-3.3-70b", aliases) == "nano"
    offered = OfferedBase("nano", aliases, "nano")
    assert set(offered.names) == {"nano", "mine", "llama-3.3-70b"}
    offered.check("llama-3.3-70b")
    with pytest.raises(NotFoundError, match="nano, "):
        offered.check("qwen-3-32b")
    file.write_text('a = "b"\nb = "a"\n')
    with pytest.raises(ModelLoadError, match="circle"):
        resolve("a", read_aliases(file))
    for broken in ("a = 3", "a", 'llama-3.3-70b = "nano"'):
        file.write_text(broken)
        with pytest.raises(ModelLoadError, match=r"aliases\.toml"):
            read_aliases(file)


@pytest.mark.parametrize("name", ["a\0b", "~nobody-of-this-name/x", "x" * 5000, ""])
def test_names_that_are_no_path_are_not_served(name: str) -> None:
    with pytest.raises(NotFoundError, match="not served here"):
        OfferedBase("nano", {}, "nano").check(name)


def test_config_refuses_unknown_fields(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="extra"):
        EngineConfig(homes=tmp_path)  # pyright: ignore[reportCallIssue]
    monkeypatch.setenv("TINKER_ENGINE_HOME", str(tmp_path))
    monkeypatch.setenv("TINKER_ENGINE_THREADS", "2")
    config = EngineConfig()
    assert (config.home, config.threads) == (tmp_path, 2)
    with pytest.raises(ValueError, match="frozen"):
        config.threads = 3  # pyright: ignore[reportAttributeAccessIssue]


def test_import_is_light() -> None:
    code = (
        "import sys, tinker_engine;"
        "print([m for m in ('torch', 'tinker', 'sqlalchemy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_process_ends_quietly_without_closing(tmp_path: Path) -> None:
    # A proxy in the environment must not come between a process and its own engine.
    environment = {
        **os.environ,
        "HTTP_PROXY": "http://127.0.0.1:9",
        "ALL_PROXY": "http://127.0.0.1:9",
    }
    environment.pop("NO_PROXY", None)
    code = (
        "import sys, tinker_engine; from pathlib import Path;"
        "from tinker_engine.config import EngineConfig;"
        "service = tinker_engine.connect('embedded', config=EngineConfig(home=Path(sys.argv[1])));"
        "service.create_lora_training_client('nano', rank=2, train_unembed=False).result();"
        "print('done')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    )
    assert done.stdout == "done\n"
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        (["serve", "--host", "0.0.0.0"], {}, "lets other machines in"),
        (["serve"], {"TINKER_ENGINE_API_KEY": "secret"}, "start with tml-"),
        (["serve", "--precision", "fp8"], {}, "precision"),
        (["serve", "--threads", "0"], {}, "threads"),
        (["status"], {}, "TINKER_ENGINE_API_KEY"),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: list[str],
    environment: dict[str, str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("TINKER_ENGINE_API_KEY", raising=False)
    monkeypatch.delenv("TINKER_BASE_URL", raising=False)
    monkeypatch.setenv("TINKER_ENGINE_HOME", str(tmp_path))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["tinker-engine", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert expected in error
    assert "Traceback" not in error


def test_serve_and_status(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "TINKER_ENGINE_HOME": str(tmp_path),
        "TINKER_ENGINE_API_KEY": "tml-a-key-of-my-own-1234",
        "TINKER_ENGINE_THREADS": "1",
    }
    command = [sys.executable, "-m", "tinker_engine.cli"]
    server = subprocess.Popen(
        [*command, "serve", "--port", "0", "--json"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        facts = json.loads(server.stdout.readline())
        assert facts["base_model"] == "nano"
        assert "api_key" not in facts
        client = tinker.ServiceClient(
            base_url=facts["base_url"], api_key="tml-a-key-of-my-own-1234"
        )
        client.create_lora_training_client("nano", rank=2, train_unembed=False).result()
        status = subprocess.run(
            [*command, "status", "--json", "--url", facts["base_url"]],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(status.stdout)["runs_loaded"] == 1
        client.close("success").result(timeout=20)
    finally:
        server.terminate()
        _, error = server.communicate(timeout=60)
    assert "Traceback" not in error
