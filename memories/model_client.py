"""Asking the model server, with a deadline."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

import numpy as np

from memories.vectors import Vectors


class ModelServerError(Exception):
    """The model server is away, slow or refuses; the message is a sentence."""


class ModelServerRefusedError(ModelServerError):
    """It will not embed these very texts; others may work."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _connection(server: str, timeout: float) -> http.client.HTTPConnection:
    if server.startswith("http://"):
        parts = urlsplit(server)
        return http.client.HTTPConnection(parts.hostname or "localhost", parts.port or 80, timeout=timeout)
    return _UnixConnection(server, timeout)


def _answer(server: str, texts: Sequence[str], timeout: float) -> tuple[int, bytes, str]:
    connection = _connection(server, timeout)
    try:
        body = json.dumps({"texts": list(texts)})
        connection.request("POST", "/embed", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read(), response.getheader("X-Dimensions", "0")
    finally:
        connection.close()


def embed(server: str, texts: Sequence[str], *, timeout: float) -> Vectors:
    """Unit vectors, float32 of shape (len(texts), 384), within `timeout` seconds.

    `server`: a socket's path or http://host:port. Raises ModelServerError.
    """
    started = time.monotonic()
    try:
        status, body, dimensions = _answer(server, texts, timeout)
    except TimeoutError as error:
        waited = time.monotonic() - started
        raise ModelServerError(
            f"The local model did not answer within {waited:.1f} s; it is busy or stopped."
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise ModelServerError(
            f"The local model's process cannot be reached ({error}); `make run` starts it, "
            "and its log is model.log."
        ) from error
    if status != 200:
        failure = ModelServerRefusedError if status == 400 else ModelServerError
        raise failure(f"The local model's process answered {status}: {body[:200].decode(errors='replace')}")
    return np.frombuffer(body, dtype="<f4").reshape(len(texts), int(dimensions))


def is_reachable(server: str) -> bool:
    """Whether something listens there, within half a second."""
    connection = _connection(server, 0.5)
    try:
        connection.connect()
    except OSError:
        return False
    finally:
        connection.close()
    return True
