"""The processes that make up the application, and how to know that they work."""

from __future__ import annotations

import http.client
import signal
import sys
from functools import partial

from django.conf import settings

from arcweb.embedded.layout import WORKERS
from arcweb.embedded.programs import BASE_DIR, Program

#: Warm: running tasks may end; then soft: they are handed back to the queue. The ledger survives both.
WORKER_STEPS = ((signal.SIGTERM, 20.0), (signal.SIGQUIT, 8.0))
#: One for the job that embeds what waits, one for the reconciler beside it.
QUICK_SLOTS = 2


def services(model_server: str) -> list[Program]:
    """Model server, workers, beat, web: in the order in which they start.

    model_server: where they find the local model. It runs here when that is our own socket.
    """
    log_dir = settings.ARC_LAYOUT.log_dir
    celery = [sys.executable, "-m", "celery", "-A", "arcweb"]
    # Its control socket would be one for all clones of a user.
    gunicorn = [
        sys.executable,
        "-m",
        "gunicorn",
        "--no-control-socket",
        "--graceful-timeout",
        "8",
        "--limit-request-line",
        "8190",
    ]
    model = Program(
        "model",
        [*gunicorn, "memories.model_server:application", "--bind", f"unix:{settings.ARC_LAYOUT.model_socket}",
         "--workers", "1", "--worker-class", "gthread", "--threads", "4", "--timeout", "120"],
        log_dir=log_dir,
    )  # fmt: skip
    workers = [
        Program(
            name,
            [*celery, "worker", "--queues", queue, "--hostname", f"{name}@%h",
             "--concurrency", str(settings.ARC_WORKERS if queue == "celery" else QUICK_SLOTS),
             "--without-gossip", "--without-mingle", "--loglevel", "INFO"],
            log_dir=log_dir,
            ready=partial(_worker_is_ready, name),
            steps=WORKER_STEPS,
        )
        for name, queue in WORKERS.items()
    ]  # fmt: skip
    # No pid file: a stale one would stop it, and the supervisor sees to it that there is one beat.
    beat = Program("beat", [*celery, "beat", "--pidfile=", "--loglevel", "INFO"], log_dir=log_dir)
    web = Program(
        "web",
        [*gunicorn, "arcweb.wsgi:application",
         "--bind", f"{_bracketed(settings.ARC_BIND)}:{settings.ARC_PORT}", "--access-logfile", "-",
         "--workers", "1", "--worker-class", "gthread", "--threads", str(settings.ARC_WEB_THREADS)],
        log_dir=log_dir,
        ready=_web_answers,
    )  # fmt: skip
    own_socket = model_server == str(settings.ARC_LAYOUT.model_socket)
    ours = own_socket and settings.ARC_EMBEDDING_PROVIDER == "local"
    return [*([model] if ours else []), *workers, beat, web]


def manage(name: str, *arguments: str) -> Program:
    """A command of manage.py with a log of its own."""
    return Program(
        name,
        [sys.executable, str(BASE_DIR / "manage.py"), name, *arguments],
        log_dir=settings.ARC_LAYOUT.log_dir,
    )


def url() -> str:
    """Where the operator's browser finds the web process."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(settings.ARC_BIND, settings.ARC_BIND)  # noqa: S104
    return f"http://{_bracketed(host)}:{settings.ARC_PORT}/"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _worker_is_ready(name: str, pid: int) -> bool:
    try:
        return bool(settings.ARC_LAYOUT.worker_ready_file(name).read_text() == str(pid))
    except OSError:
        return False


def _web_answers(_pid: int) -> bool:
    """Any answer but a server error counts: it came through the whole application."""
    connection = http.client.HTTPConnection(url().removeprefix("http://").rstrip("/"), timeout=5)
    try:
        connection.request("GET", "/login/")
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
