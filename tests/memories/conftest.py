"""Fixtures for memories: agents, and an embedding server on this machine that speaks OpenAI's protocol."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from agents.models import Agent
from memories.providers.openai import OpenAIProvider


@pytest.fixture(autouse=True)
def no_hurry(settings: Any) -> None:
    """A search whose vector is late is one by words; on a busy machine it is late without being at fault."""
    settings.ARC_QUERY_DEADLINE = 30.0


@pytest.fixture
def agent(db: None) -> Agent:
    return Agent.objects.create(name="keeper", type="assistant")


def vector_of(text: str, dimensions: int) -> list[float]:
    """A vector that depends on the text alone."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    return [float(x) for x in np.random.default_rng(seed).normal(size=dimensions)]


Answer = tuple[int, dict[str, str], Any]


@dataclass
class EmbeddingServer:
    """POST /v1/embeddings, answered by `answer(body)`; keeps what was asked."""

    url: str = ""
    dimensions: int = 8
    asked: list[dict[str, Any]] = field(default_factory=list)
    answer: Callable[[dict[str, Any]], Answer] | None = None

    def reply(self, body: dict[str, Any]) -> Answer:
        self.asked.append(body)
        if self.answer:
            return self.answer(body)
        return self.vectors(body)

    def vectors(self, body: dict[str, Any]) -> Answer:
        rows = [
            {"object": "embedding", "index": i, "embedding": vector_of(text, self.dimensions)}
            for i, text in enumerate(body["input"])
        ]
        # Out of order on purpose: the protocol numbers its rows.
        return 200, {}, {"object": "list", "data": rows[::-1], "model": body["model"], "usage": {}}

    def provider(self, **options: Any) -> OpenAIProvider:
        settings = {
            "key": "sk-not-a-secret",
            "base_url": f"{self.url}/v1",
            "model": "test-model",
            "timeout": 60.0,
        }
        return OpenAIProvider(**{**settings, **options})


@pytest.fixture
def embedding_server() -> Iterator[EmbeddingServer]:
    state = EmbeddingServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, headers, answer = state.reply(body) if self.path == "/v1/embeddings" else (404, {}, {})
            data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield state
    server.shutdown()
    server.server_close()
