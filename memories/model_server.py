"""The one process that holds the local model: a WSGI application of its own, no Django.

    gunicorn memories.model_server:application --workers 1 --threads 4 --bind unix:…

POST /embed takes {"texts": [...]} and answers the vectors as little-endian float32, row by row,
with their number of dimensions in X-Dimensions. GET /health answers "ok" once the model is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from memories.local_model import get_model

MAX_TEXTS = 256
MAX_BODY_BYTES = 32 * 1024 * 1024


def _read_texts(environ: dict[str, Any]) -> list[str]:
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if not 0 < length <= MAX_BODY_BYTES:
        raise ValueError(f"the body must hold 1 to {MAX_BODY_BYTES} bytes")
    texts = json.loads(environ["wsgi.input"].read(length))["texts"]
    if (
        not isinstance(texts, list)
        or not 0 < len(texts) <= MAX_TEXTS
        or not all(isinstance(t, str) for t in texts)
    ):
        raise ValueError(f"texts must be a list of 1 to {MAX_TEXTS} strings")
    return texts


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """See the module's text."""
    route = (environ["REQUEST_METHOD"], environ["PATH_INFO"])
    headers = [("Content-Type", "text/plain; charset=utf-8")]
    if route == ("GET", "/health"):
        get_model()
        status, body = "200 OK", b"ok"
    elif route == ("POST", "/embed"):
        try:
            texts = _read_texts(environ)
        except (ValueError, KeyError, TypeError) as error:
            status, body = "400 Bad Request", str(error).encode()
        else:
            vectors = get_model().embed(texts)
            headers = [
                ("Content-Type", "application/octet-stream"),
                ("X-Dimensions", str(vectors.shape[1])),
            ]
            status, body = "200 OK", vectors.astype("<f4").tobytes()
    else:
        status, body = "404 Not Found", b"POST /embed or GET /health"
    start_response(status, [*headers, ("Content-Length", str(len(body)))])
    return [body]
