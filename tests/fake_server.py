"""Stands for an OpenAI-compatible server: it says what it is given, byte by byte, and keeps what it was asked."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

EVENTS = {"Content-Type": "text/event-stream; charset=utf-8"}


@dataclass
class Answer:
    """One answer: bytes are sent, numbers are seconds to wait, and "cut" breaks the connection off."""

    pieces: Sequence[bytes | float | str] = ()
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: EVENTS)


def events(*chunks: Any, done: bool = True) -> bytes:
    """Chunks as server-sent events."""
    lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
    return "".join([*lines, "data: [DONE]\n\n" if done else ""]).encode()


def chunk(finish_reason: str | None = None, *, index: int = 0, **delta: Any) -> dict[str, Any]:
    """One chunk of a chat completion."""
    choice = {"index": index, "delta": delta, "finish_reason": finish_reason}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def says(text: str) -> Answer:
    """An answer that says one text and is finished."""
    return Answer([events(chunk(role="assistant", content=text), chunk("stop", content=""))])


def error(status: int, message: str, **headers: str) -> Answer:
    """An error in OpenAI's shape."""
    body = json.dumps({"error": {"message": message, "type": "x", "param": None, "code": None}}).encode()
    return Answer([body], status, {"Content-Type": "application/json", **headers})


def plain(body: bytes, status: int = 200, kind: str = "application/json") -> Answer:
    """An answer with one body."""
    return Answer([body], status, {"Content-Type": kind})


def models(*entries: Mapping[str, Any]) -> Answer:
    """A list of models."""
    return plain(json.dumps({"object": "list", "data": list(entries)}).encode())


@dataclass
class FakeServer:
    """`answers` are given to chat requests one after the other, the last one again and again.

    Or `respond` chooses the answer to each body, None for one that is not JSON.
    """

    port: int
    answers: list[Answer]
    listing: Answer
    respond: Callable[[Any], Answer] | None = None
    requests: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    num_under_way: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    hung_up: threading.Event = field(default_factory=threading.Event)  # a client went away while being answered

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def bodies(self) -> list[Any]:
        """The bodies of the chat requests so far."""
        return [body for path, _, body in self.requests if path.endswith("/chat/completions")]


@contextmanager
def fake_server(
    *answers: Answer,
    owned_by: str = "vllm",
    listing: Answer | None = None,
    respond: Callable[[Any], Answer] | None = None,
) -> Iterator[FakeServer]:
    """A server on a free port, until the block ends."""
    listing = listing or models({"id": "qwen", "object": "model", "owned_by": owned_by})
    server = FakeServer(0, list(answers), listing, respond)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.requests.append((self.path, dict(self.headers), None))
            self.answer(server.listing if self.path == "/v1/models" else plain(b'{"detail":"Not Found"}', 404))

        def do_POST(self) -> None:
            try:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            except ValueError:
                body = None
            server.requests.append((self.path, dict(self.headers), body))
            with server.lock:
                server.num_under_way += 1
                server.most_at_once = max(server.most_at_once, server.num_under_way)
                if server.respond is not None:
                    answer = server.respond(body)
                else:
                    answer = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
            self.answer(answer)
            with server.lock:
                server.num_under_way -= 1

        def answer(self, answer: Answer) -> None:
            try:
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                for piece in answer.pieces:
                    if isinstance(piece, bytes):
                        self.wfile.write(piece)
                        self.wfile.flush()
                    elif piece != "cut":
                        time.sleep(float(piece))
            except OSError:
                server.hung_up.set()

        def log_message(self, *_: Any) -> None:
            """Silent."""

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    server.port = httpd.server_address[1]
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()
