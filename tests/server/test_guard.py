"""Keys, limits, ends: what a server allows, and that whoever leaves takes nothing with them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

pytest.importorskip("fastapi", reason="the server needs the extra 'server'")

from regard.engine.loop import EngineLoop
from regard.llm import LLM
from tests.server.conftest import Running, asked, picture, running

LONG = {
    "model": "nano",
    "messages": [{"role": "user", "content": "Count."}],
    "max_tokens": 4000,
    "ignore_eos": True,
}
SHORT = {**LONG, "max_tokens": 3}
PATH = "/v1/chat/completions"
SOON_S = 20.0


@pytest.fixture
def http(server: Running) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=server.url, timeout=60, trust_env=False) as client:
        yield client


def until(condition: Any, what: str) -> None:
    deadline_s = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {SOON_S} s: {what}"
        time.sleep(0.01)


def is_idle(loop: EngineLoop) -> bool:
    figures = loop.figures()
    return figures.num_running == figures.num_waiting == figures.num_blocks_used == 0


def hang_up(
    url: str, body: dict[str, Any], *, after_bytes: int = 0, after: Callable[[], object] = lambda: None
) -> None:
    """Send a request, read so many bytes of the answer, wait for `after`, and close the connection."""
    host, port = url.removeprefix("http://").split(":")
    data = json.dumps(body).encode()
    with socket.create_connection((host, int(port))) as line:
        head = f"POST {PATH} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(data)}"
        line.sendall(head.encode() + b"\r\n\r\n" + data)
        while after_bytes > 0 and (got := line.recv(4096)):
            after_bytes -= len(got)
        after()


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_hangs_up_frees_its_blocks(server: Running, nano: LLM, stream: bool) -> None:
    """Within a step: the answer would go on for thousands of tokens."""
    body = {**LONG, "stream": stream, "n": 2}
    if stream:
        hang_up(server.url, body, after_bytes=2000)
    else:
        hang_up(server.url, body, after=lambda: until(lambda: nano.engine.figures().num_running == 2, "it runs"))
    until(lambda: server.service.num_open == 0, "the request is over")
    steps = nano.engine.call(lambda engine: [engine.has_work])
    assert steps == [False]
    nano.engine.call(lambda engine: engine.pool.check_integrity([]))
    assert is_idle(nano.engine)


def test_many_hang_up_at_every_moment_and_nothing_is_left(server: Running, nano: LLM) -> None:
    bodies = [{**LONG, "stream": number % 2 == 0, "messages": asked(picture())} for number in range(12)]
    threads = [
        threading.Thread(target=hang_up, args=(server.url, body), kwargs={"after_bytes": 300 * (number % 4)})
        for number, body in enumerate(bodies)
        if body["stream"] or number % 4 == 0
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON_S)
    until(lambda: server.service.num_open == 0 and is_idle(nano.engine), "all are forgotten")
    assert server.service.num_looking == 0
    nano.engine.call(lambda engine: engine.pool.check_integrity([]))


def test_keys_protect_everything_but_health(nano: LLM) -> None:
    with running(nano, api_keys=("first", "second")) as one, httpx2.Client(base_url=one.url, trust_env=False) as http:
        assert http.get("/health").status_code == http.get("/ready").status_code == 200
        for method, path in (("GET", "/v1/models"), ("GET", "/metrics"), ("POST", PATH), ("GET", "/v1/files")):
            answer = http.request(method, path)
            assert answer.status_code == 401 and "API key is missing" in answer.json()["error"]["message"]
            assert answer.headers["www-authenticate"] == "Bearer"
        assert http.get("/v1/models", headers={"Authorization": "Bearer third"}).status_code == 401
        assert http.get("/v1/models", headers={"Authorization": "Bearer second"}).status_code == 200
        assert http.get("/v1/models", headers={"x-api-key": "first"}).status_code == 200
        refused = http.post("/v1/messages", json={}).json()
        assert refused["type"] == "error" and refused["error"]["type"] == "authentication_error"


def test_without_a_key_only_this_machines_own_names_are_answered(http: httpx2.Client) -> None:
    assert http.get("/health", headers={"Host": "evil.example"}).status_code == 403
    for host in ("localhost:9", "127.0.0.1", "[::1]:80", "regard.localhost"):
        assert http.get("/health", headers={"Host": host}).status_code == 200


def test_the_page_needs_no_key_and_may_call_nobody_else(
    nano: LLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vendor").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html>hello")
    (tmp_path / "vendor" / "a.js").write_text("1")
    monkeypatch.setattr("regard.server.app.WEB_FOLDER", tmp_path)
    with running(nano, api_keys=("k",)) as one, httpx2.Client(base_url=one.url, trust_env=False) as http:
        page = http.get("/")
        assert page.status_code == 200 and "hello" in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
        script = http.get("/vendor/a.js")
        assert script.status_code == 200 and "javascript" in script.headers["content-type"]
        for path in ("/vendor/b.js", "/v1/models", "/../pyproject.toml", "/%2e%2e/app.py"):
            assert http.get(path).status_code == 401
            assert path == "/v1/models" or http.get(path, headers={"x-api-key": "k"}).status_code == 404
        assert http.post("/").status_code == 401


def test_other_pages_may_call_only_if_they_are_named(nano: LLM, http: httpx2.Client) -> None:
    origin = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    assert http.options(PATH, headers=origin).status_code != 200
    assert "access-control-allow-origin" not in http.get("/health", headers=origin).headers
    with running(nano, allow_origins=("https://app.example",), api_keys=("k",)) as one:
        answer = httpx2.options(f"{one.url}{PATH}", headers=origin, trust_env=False)
        assert answer.status_code == 200 and answer.headers["access-control-allow-origin"] == "https://app.example"


def test_a_form_of_another_page_is_not_read(http: httpx2.Client) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        answer = http.post(PATH, content=json.dumps(SHORT), headers={"Content-Type": kind})
        assert answer.status_code == 415 and "application/json" in answer.json()["error"]["message"]


def test_a_body_is_counted_while_it_is_read(nano: LLM) -> None:
    with running(nano, max_body_bytes=10_000) as one, httpx2.Client(base_url=one.url, trust_env=False) as http:

        def endless() -> Iterator[bytes]:
            for _ in range(50):
                yield b" " * 1000

        headers = {"Content-Type": "application/json"}
        for body in (b"x" * 10_001, endless()):
            answer = http.post(PATH, content=body, headers=headers)
            assert answer.status_code == 413 and "10000 bytes" in answer.json()["error"]["message"]
        assert http.post(PATH, json=SHORT).status_code == 200


def test_a_body_that_never_comes_is_given_up(nano: LLM) -> None:
    with running(nano, body_timeout_s=0.3) as one:
        host, port = one.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as line:
            line.sendall(f"POST {PATH} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n".encode())
            line.sendall(b"Content-Length: 100\r\n\r\n{")
            line.settimeout(SOON_S)
            assert b" 408 " in line.recv(4096)


JSON_WRONG = [
    (b"{", "is not JSON"),
    (b"[" * 5000 + b"]" * 5000, "nested"),
    (b'{"messages": NaN}', "NaN"),
    (b'{"temperature": 1e999}', "too large to be read"),
    (b'{"user": "\\ud800"}', "surrogate"),
    (b"[" + b"1," * 1_000_001 + b"1]", "commas and brackets"),
    (b"\xff\xfe{}", "is not JSON"),
    (b"3", "it must be an object"),
]


@pytest.mark.parametrize(("body", "words"), JSON_WRONG, ids=[words for _, words in JSON_WRONG])
def test_json_that_could_hurt_is_refused(http: httpx2.Client, body: bytes, words: str) -> None:
    answer = http.post(PATH, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400 and words in answer.json()["error"]["message"]


def test_a_full_queue_is_429_with_a_time(nano: LLM) -> None:
    with running(nano, max_queue=2) as one, httpx2.Client(base_url=one.url, trust_env=False) as http:
        one.service.num_looking += 2  # as if two requests were being looked at
        answer = http.post(PATH, json=SHORT)
        assert answer.status_code == 429 and int(answer.headers["retry-after"]) >= 1
        assert "the limit is 2" in answer.json()["error"]["message"]
        one.service.num_looking -= 2
        assert http.post(PATH, json=SHORT).status_code == 200


def test_limits_of_messages_and_media(nano: LLM) -> None:
    with running(nano, max_messages=3, max_media=2) as one, httpx2.Client(base_url=one.url, trust_env=False) as http:
        many = [{"role": "user", "content": "a"}] * 4
        assert "the limit is 3" in http.post(PATH, json={**SHORT, "messages": many}).json()["error"]["message"]
        pictures = asked(*[picture()] * 3)
        assert "the limit is 2" in http.post(PATH, json={**SHORT, "messages": pictures}).json()["error"]["message"]


def test_a_fault_of_ours_shows_no_traceback(
    server: Running, http: httpx2.Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret words")

    monkeypatch.setattr(server.service.llm, "prepare", broken)
    answer = http.post(PATH, json=SHORT)
    assert answer.status_code == 500 and answer.json()["error"]["type"] == "server_error"
    assert "secret" not in answer.text and "Traceback" not in answer.text
    assert "secret words" in caplog.text


def test_draining_finishes_what_runs_and_refuses_the_rest(nano: LLM) -> None:
    with running(nano) as one, httpx2.Client(base_url=one.url, timeout=60, trust_env=False) as http:
        body = {**LONG, "max_tokens": 60, "stream": True}
        with http.stream("POST", PATH, json=body) as answer:
            lines = answer.iter_lines()
            next(lines)
            one.server.drain()
            assert httpx2.get(f"{one.url}/ready", trust_env=False).status_code == 503
            refused = httpx2.post(f"{one.url}{PATH}", json=SHORT, trust_env=False)
            assert refused.status_code == 503 and "retry-after" in refused.headers
            assert list(lines)[-2] == "data: [DONE]"
        one.thread.join(SOON_S)
        assert not one.thread.is_alive()


def test_draining_does_not_wait_for_ever(nano: LLM) -> None:
    with running(nano, drain_s=0.2) as one:
        caller = threading.Thread(
            target=hang_up, args=(one.url, {**LONG, "stream": True}), kwargs={"after_bytes": 10**9}
        )
        caller.start()
        until(lambda: nano.engine.figures().num_running == 1, "it runs")
        one.server.drain()
        one.thread.join(SOON_S)
        assert not one.thread.is_alive()
        caller.join(SOON_S)
    until(lambda: is_idle(nano.engine), "the engine is free")


@pytest.mark.slow
def test_the_command_says_where_it_is_and_stops_in_good_order() -> None:
    command = [sys.executable, "-m", "regard", "serve", "--port", "0", "--decoders", "1"]
    environment = {**os.environ, "REGARD_API_KEYS": "a,b"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    # A server that says less than it should must fail here, not make the tests wait for a line that never comes.
    watchdog = threading.Timer(120, process.kill)
    watchdog.start()
    page, api = process.stderr.readline().split(), process.stderr.readline().split()
    watchdog.cancel()
    assert page[0] == "page:" and api[1] == page[1].removesuffix("/") + "/v1"
    assert httpx2.get(f"{api[1]}/models", trust_env=False).status_code == 401
    headers = {"Authorization": "Bearer b"}
    assert httpx2.get(f"{api[1]}/models", headers=headers, trust_env=False).json()["data"][0]["id"] == "nano"
    process.send_signal(signal.SIGTERM)
    assert process.wait(SOON_S) == 0
    assert process.stderr.read() == ""
    process.stderr.close()
