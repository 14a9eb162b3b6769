"""The whole system (`make run`) with somebody logged in, whose servers are killed and frozen."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode

import psutil

from arcweb.embedded.layout import Layout
from arcweb.embedded.stack import Stack, delete_data
from tests.running import ROOT, Running, free_port, kill_all
from tests.servers.frozen import backends, whole
from tests.stack import THROWAWAY, new_layout
from tests.waiting import until


@dataclass(frozen=True)
class Answer:
    status: int
    text: str
    seconds: float
    headers: dict[str, str]


@dataclass
class Browser:
    """Asks over HTTP and keeps cookies, as a browser does; follows nothing."""

    port: int
    cookies: dict[str, str] = field(default_factory=dict)

    def get(self, path: str, **headers: str) -> Answer:
        return self._ask("GET", path, None, headers)

    def post(self, path: str, values: dict[str, Any] | None = None, **headers: str) -> Answer:
        """With the token of the cookie, as every form has it."""
        sent = {**(values or {}), "csrfmiddlewaretoken": self.cookies.get(f"arc_csrf_{self.port}", "")}
        return self._ask("POST", path, urlencode(sent, doseq=True), headers)

    def login(self, name: str, password: str) -> Browser:
        self.get("/login/")
        answer = self.post("/login/", {"username": name, "password": password})
        assert answer.status == 302, answer.text
        return self

    def logged_in(self) -> bool:
        return self.get("/account/").status == 200

    def _ask(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if body is not None:
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        started = time.monotonic()
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            text = response.read().decode(errors="replace")
        finally:
            connection.close()
        for cookie in response.headers.get_all("Set-Cookie") or []:
            for name, morsel in SimpleCookie(cookie).items():
                self.cookies[name] = morsel.value
        return Answer(response.status, text, time.monotonic() - started, dict(response.headers))


@dataclass
class Site:
    layout: Layout
    port: int
    running: Running
    admin: Browser

    def states(self) -> dict[str, bool | None]:
        return {
            name: state["up"] for name, state in json.loads(Browser(self.port).get("/state/").text).items()
        }

    def wait_for(self, seconds: float = 120, **states: bool | None) -> float:
        """Seconds until these servers stand so; names with _ for -."""
        wanted = {name.replace("_", "-"): up for name, up in states.items()}
        return until(lambda: wanted.items() <= self.states().items(), seconds)

    def wait_until_well(self) -> float:
        return until(lambda: set(self.states().values()) == {True}, 120)

    def processes(self, name: str) -> list[psutil.Process]:
        """Those of a server, as `arcweb.servers` names it, helpers included; "backends": PostgreSQL's."""
        stack = Stack(self.layout, THROWAWAY)
        postgres, cache, state = stack.servers
        if name == "backends":
            return backends(stack)
        if name == "worker":
            pids = [
                int(self.layout.worker_ready_file(each).read_text()) for each in ("worker", "worker-quick")
            ]
            return [process for pid in pids for process in whole(psutil.Process(pid))]
        if name == "beat":
            return self._beat()
        return whole({"postgres": postgres, "redis-cache": cache, "redis-state": state}[name].process())

    def _beat(self) -> list[psutil.Process]:
        found = []
        for process in psutil.Process(self.running.process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # others come and go
                if {"celery", "beat"} <= set(process.cmdline()):
                    found.append(process)
        return found

    def shell(self, code: str) -> str:
        """What that Python prints in a process of its own, with Django set up."""
        env = psutil.Process(self.running.process.pid).environ()
        done = subprocess.run(
            [sys.executable, "manage.py", "shell", "--no-imports", "-c", code],
            cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=240,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def web_log(self) -> str:
        return (self.layout.log_dir / "web.log").read_text()


@contextmanager
def whole_system(**settings: str) -> Iterator[Site]:
    layout, lock = new_layout()
    stack = Stack(layout, THROWAWAY)
    try:
        stack.start()
        (layout.real_servers_dir / "demo-asked").touch()  # its rows would be made behind the test's back
        stack.stop()
        port = free_port()
        running = Running(layout, port, **settings)
        running.wait_for("ARC Web is ready")
        password = layout.admin_password_file.read_text().strip()
        site = Site(layout, port, running, Browser(port).login("admin", password))
        site.wait_until_well()
        yield site
    finally:
        kill_all(layout)
        Stack(layout, THROWAWAY).stop(kill=True)
        lock.close()
        delete_data(layout)


def title(page: str) -> str:
    found = re.search(r"<h1[^>]*>(.*?)</h1>", page, re.DOTALL)
    return found[1].strip() if found else ""


__all__ = ["Answer", "Browser", "Site", "title", "whole_system"]
