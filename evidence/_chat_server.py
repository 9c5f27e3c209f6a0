"""A thin OpenAI-compatible chat endpoint on loopback in front of the embedded engine's base.

It adds nothing of its own: what the model says to the messages is the reply.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tinker_engine.connect import base_info, load_tokenizer, open_engine
from tinker_engine.recipes.chat_format import ChatFormat, ChatMessage
from tinker_engine.recipes.chat_model import ChatModel

_MOST_TOKENS = 96


@contextmanager
def serve_base() -> Generator[tuple[str, str]]:
    """The base URL of the endpoint and the name of the model behind it."""
    with open_engine("embedded") as engine:
        name = base_info(engine).name
        sampler = engine.service_client.create_sampling_client(base_model=name).result()
        model = ChatModel(sampler, ChatFormat(load_tokenizer(engine)), name)
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(model))
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v1", name
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def _handler(model: ChatModel) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send({"object": "list", "data": [{"id": model.name, "object": "model"}]})

        def do_POST(self) -> None:
            body: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            messages = [
                ChatMessage(role=turn["role"], content=turn["content"]) for turn in body["messages"]
            ]
            most = min(int(body.get("max_tokens", _MOST_TOKENS)), _MOST_TOKENS)
            said = model.generate([messages], max_tokens=most)[0]
            choice = {"index": 0, "message": {"role": "assistant", "content": said}}
            self._send({"object": "chat.completion", "model": model.name, "choices": [choice]})

        def _send(self, value: object) -> None:
            data = json.dumps(value).encode("utf-8")
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet: the evidence prints its own counts."""

    return Handler
