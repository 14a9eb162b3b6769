"""The processes that make up the application, and how to know that they work."""

from __future__ import annotations

import http.client
import signal
import sys

from django.conf import settings

from arcweb.embedded.programs import BASE_DIR, Program

#: Warm: running tasks may end; then soft: they are handed back to the queue. The ledger survives both.
WORKER_STEPS = ((signal.SIGTERM, 20.0), (signal.SIGQUIT, 8.0))


def services() -> list[Program]:
    """Model server (for the local model), worker, beat, web: in the order in which they start."""
    log_dir = settings.ARC_LAYOUT.log_dir
    celery = [sys.executable, "-m", "celery", "-A", "arcweb"]
    # Its control socket would be one for all clones of a user.
    gunicorn = [sys.executable, "-m", "gunicorn", "--no-control-socket", "--graceful-timeout", "8"]
    model = Program(
        "model",
        [*gunicorn, "memories.model_server:application", "--bind", f"unix:{settings.ARC_LAYOUT.model_socket}",
         "--workers", "1", "--worker-class", "gthread", "--threads", "4", "--timeout", "120"],
        log_dir=log_dir,
    )  # fmt: skip
    worker = Program(
        "worker",
        [*celery, "worker", "--concurrency", str(settings.ARC_WORKERS), "--hostname", "arcweb@%h",
         "--without-gossip", "--without-mingle", "--loglevel", "INFO"],
        log_dir=log_dir,
        ready=_worker_is_ready,
        steps=WORKER_STEPS,
    )  # fmt: skip
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
    local_model = settings.ARC_EMBEDDED and settings.ARC_EMBEDDING_PROVIDER == "local"
    return [*([model] if local_model else []), worker, beat, web]


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


def _worker_is_ready(pid: int) -> bool:
    try:
        return settings.ARC_LAYOUT.worker_ready_file.read_text() == str(pid)
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
