"""Receivers of webhooks and of mail on this machine: real servers on a port of their own."""

from __future__ import annotations

import json
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_string
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Receiver:
    """`got`: the requests' bodies as JSON, with their headers. `behave` decides what it answers."""

    behave: Callable[[BaseHTTPRequestHandler], None] = lambda handler: reply(handler, 200)
    got: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook/s3cr3t-path?token=s3cr3t-query"


def reply(handler: BaseHTTPRequestHandler, status: int, **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", "7")
    handler.end_headers()
    handler.wfile.write(b"LEAKED!")


def redirect_to(url: str) -> Callable[[BaseHTTPRequestHandler], None]:
    return lambda handler: reply(handler, 302, Location=url)


def hang(handler: BaseHTTPRequestHandler) -> None:
    """A byte now and then, for ever: no single wait of the client is long."""
    try:
        while True:
            handler.wfile.write(b"H")
            handler.wfile.flush()
            time.sleep(0.05)
    except OSError:
        pass


@contextmanager
def receiver() -> Iterator[Receiver]:
    state = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.bodies.append(body)
            state.got.append(json.loads(body))
            state.headers.append(dict(self.headers))
            state.behave(self)

        def do_GET(self) -> None:
            state.got.append({"followed": self.path})
            reply(self, 200)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class MailBox:
    got: list[Message] = field(default_factory=list)
    to: list[list[str]] = field(default_factory=list)
    refuse: str = ""  #: what it answers to RCPT
    port: int = 0


@contextmanager
def mail_server() -> Iterator[MailBox]:
    """As much of SMTP as a client needs to leave its mail."""
    box = MailBox()

    class Handler(socketserver.StreamRequestHandler):
        def say(self, line: str) -> None:
            self.wfile.write(f"{line}\r\n".encode())

        def handle(self) -> None:
            self.say("220 box")
            to: list[str] = []
            while line := self.rfile.readline().decode().strip():
                verb = line.split()[0].upper()
                if verb == "RCPT":
                    to.append(line.partition(":")[2].strip("<> "))
                    self.say(box.refuse or "250 ok")
                elif verb == "DATA":
                    self.say("354 go")
                    lines = []
                    while (text := self.rfile.readline().decode()) != ".\r\n":
                        lines.append(text)
                    box.got.append(message_from_string("".join(lines).replace("\r\n", "\n")))
                    box.to.append(to)
                    self.say("250 taken")
                elif verb == "QUIT":
                    self.say("221 bye")
                    return
                else:
                    self.say("250 box")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        box.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            yield box
        finally:
            server.shutdown()
