"""A local HTTP server with faults, and a local Hugging Face hub: doubles for the model store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Behaviour = Callable[["Handler", "Server"], None]


@dataclass
class Server:
    """What was asked of it (method, path, Range, If-Range), and how each path behaves."""

    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    requests: list[tuple[str, str, str, str]] = field(default_factory=list)
    url: str = ""

    def asked(self, path: str) -> int:
        """How many requests a path has had."""
        return sum(request[1] == path for request in self.requests)


class Handler(BaseHTTPRequestHandler):
    """Looks the path up and behaves so; 404 when it is not known."""

    protocol_version = "HTTP/1.1"
    server_of: Server

    def do_GET(self) -> None:
        """Answer."""
        headers = self.headers
        asked = (self.command, self.path, headers.get("Range", ""), headers.get("If-Range", ""))
        self.server_of.requests.append(asked)
        behaviour = self.server_of.behaviours.get(self.path, status(404))
        behaviour(self, self.server_of)

    do_HEAD = do_GET  # noqa: N815

    def answer(self, code: int, body: bytes = b"", **headers: str) -> None:
        """Send a whole answer; `Content_Length` stands for Content-Length."""
        self.send_response(code)
        for name, value in ({"Content_Length": str(len(body))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def status(code: int, **headers: str) -> Behaviour:
    """Nothing but a status."""
    return lambda handler, server: handler.answer(code, b"", **headers)


def content(body: bytes, tag: str = "", **headers: str) -> Behaviour:
    """A file, or the part of it that is asked for if the tag is still the same."""

    def behave(handler: Handler, server: Server) -> None:
        more = headers | ({"ETag": tag} if tag else {})
        start = handler.headers.get("Range", "").removeprefix("bytes=").rstrip("-")
        if start and handler.headers.get("If-Range", tag) == tag:
            first = int(start)
            if first >= len(body):
                handler.answer(416, b"", **more, Content_Range=f"bytes */{len(body)}")
                return
            span = f"bytes {first}-{len(body) - 1}/{len(body)}"
            handler.answer(206, body[first:], **more, Content_Range=span)
        else:
            handler.answer(200, body, **more)

    return behave


def truncated(body: bytes, at: int, tag: str = "") -> Behaviour:
    """The first bytes of a file, then the connection is closed."""

    def behave(handler: Handler, server: Server) -> None:
        more = {"ETag": tag} if tag else {}
        handler.answer(200, body[:at], Content_Length=str(len(body)), **more)
        handler.close_connection = True

    return behave


def stalled(body: bytes, at: int, seconds: float) -> Behaviour:
    """The first bytes of a file, and then nothing for a while."""

    def behave(handler: Handler, server: Server) -> None:
        handler.answer(200, body[:at], Content_Length=str(len(body)))
        handler.wfile.flush()
        time.sleep(seconds)
        handler.close_connection = True

    return behave


def slow(body: bytes, seconds: float) -> Behaviour:
    """A file that takes its time."""

    def behave(handler: Handler, server: Server) -> None:
        time.sleep(seconds)
        handler.answer(200, body)

    return behave


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """One after the other; the last one for good."""
    left = list(behaviours)

    def behave(handler: Handler, server: Server) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(handler, server)

    return behave


def by_method(head: Behaviour, get: Behaviour) -> Behaviour:
    """One behaviour for HEAD, another for GET."""

    def behave(handler: Handler, server: Server) -> None:
        (head if handler.command == "HEAD" else get)(handler, server)

    return behave


def hub_file(body: bytes) -> Behaviour:
    """A file as the hub serves it."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    return content(body, f'"{sha256(body).hexdigest()}"', X_Repo_Commit=commit)


@contextmanager
def serving() -> Iterator[Server]:
    """A server on a free port of this machine."""
    server = Server()
    handler = type("Own", (Handler,), {"server_of": server})
    listening = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    listening.daemon_threads = True
    server.url = f"http://127.0.0.1:{listening.server_port}"
    thread = threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()
