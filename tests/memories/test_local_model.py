"""The local model, in this process and in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import numpy as np
import pytest
from django.db import connection

from memories import embed, model_client
from memories.local_model import get_model
from memories.model_server import application
from memories.models import Memory
from memories.providers import ProviderRefusedError, ProviderUnavailableError
from memories.providers.local import LocalProvider

ROOT = Path(__file__).parents[2]


def test_texts_of_one_meaning_are_near_and_vectors_are_padded_units() -> None:
    provider = LocalProvider("")
    a, b, c = provider.embed(["The cat sleeps.", "A kitten is napping.", "Interest rates rose."])
    assert a.shape == (1536,)
    assert not a[384:].any()
    assert np.linalg.norm(a) == pytest.approx(1, abs=1e-5)
    assert a @ b > 0.5 > a @ c


def test_a_batch_gives_what_single_texts_give() -> None:
    texts = ["short", "a much longer text " * 20, "x"]
    together = get_model().embed(texts)
    alone = np.concatenate([get_model().embed([text]) for text in texts])
    # int8 activations are scaled per batch, so padding moves the last digits.
    assert (together * alone).sum(axis=1) == pytest.approx([1, 1, 1], abs=0.02)


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    httpd = make_server("127.0.0.1", 0, application, server_class=Server, handler_class=Quiet)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    httpd.server_close()


def test_the_model_server_gives_the_same_vectors(server: str) -> None:
    texts = ["Grüße", "two"]
    assert np.allclose(model_client.embed(server, texts, timeout=120), get_model().embed(texts), atol=1e-6)
    assert LocalProvider(server).embed(texts).shape == (2, 1536)


def test_the_model_server_refuses_nonsense_in_words(server: str) -> None:
    with pytest.raises(model_client.ModelServerError, match="1 to 256 strings"):
        model_client.embed(server, [], timeout=120)
    with pytest.raises(model_client.ModelServerError, match="1 to 256 strings"):
        model_client.embed(server, ["x"] * 257, timeout=120)


def test_a_text_as_long_as_256_tokens_can_be_is_read_to_its_last_token() -> None:
    longest = ("ⴰ" * 100 + " ") * 253  # words of 100 characters that the model does not know are a token each
    embed_text = LocalProvider("").embed
    assert not np.allclose(*embed_text([f"{longest}cat", f"{longest}bond"]))
    assert np.allclose(*embed_text([f"{longest}cat cat", f"{longest}cat bond"])), "it reads no further"


def test_a_refusal_by_the_model_server_is_one_of_these_texts(server: str) -> None:
    with pytest.raises(ProviderRefusedError, match="256 strings"):
        LocalProvider(server).embed(["x"] * 257)


LARGE = "INSERT INTO agents.memories (content) VALUES (%s || repeat('ebb and flow ', %s))"


@pytest.mark.django_db
@pytest.mark.parametrize(("megabytes", "rows"), [(33.0, 1), (2.1, 16)])
def test_large_contents_of_one_service_do_not_keep_those_of_others_waiting(
    server: str, megabytes: float, rows: int
) -> None:
    with connection.cursor() as cursor:
        for number in range(rows):
            cursor.execute(LARGE, [f"{number} ", int(megabytes * 1024**2 / 13)])
        cursor.execute("INSERT INTO agents.memories (content) VALUES ('a short one')")
    result = embed.embed_waiting(LocalProvider(server))
    assert (result.embedded, result.refused) == (rows + 1, 0)
    assert Memory.objects.state_counts()["embedded"] == rows + 1


def test_a_model_server_that_is_away_or_silent_is_told_in_time(tmp_path: Path) -> None:
    with pytest.raises(ProviderUnavailableError, match="cannot be reached"):
        LocalProvider(str(tmp_path / "none.sock")).embed(["a"])
    import socket

    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "silent.sock"))
        silent.listen()
        started = time.monotonic()
        with pytest.raises(ProviderUnavailableError, match="did not answer within"):
            LocalProvider(str(tmp_path / "silent.sock")).embed_query("a", deadline=0.3)
        assert time.monotonic() - started < 60  # it is silent for ever


@pytest.mark.parametrize(
    "module", ["arcweb.wsgi", "memories.tasks", "memories.admin", "memories.job_handlers"]
)
def test_heavy_libraries_are_loaded_only_where_vectors_are_made(module: str) -> None:
    code = (
        "import django, sys; django.setup();"
        f"import {module};"
        "heavy = ('onnxruntime', 'tokenizers', 'openai', 'semantic_text_splitter');"
        "print([name for name in heavy if name in sys.modules])"
    )
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "arcweb.settings"}
    command = [sys.executable, "-c", code]
    out = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
