"""Some five hundred requests that mean harm: each is refused quickly, in one sentence, and the server lives on.

The network is a stand-in: names are looked up in a table, `site.example` ends at a server of this test on loopback, and
any other connection is noted and refused. So no packet leaves this machine, and a request that gets through is found.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

pytest.importorskip("fastapi", reason="the server needs the extra 'server'")
pytest.importorskip("av", reason="reading video needs the extra 'video'")
pytest.importorskip("pypdfium2", reason="reading PDF needs the extra 'pdf'")
pytest.importorskip("llguidance", reason="structured output needs the extra 'structured'")

from regard.llm import LLM
from regard.processing.decode_pool import DecodePool
from regard.processing.download import Network
from regard.processing.fetch_policy import MIB, STRICT_POLICY
from regard.server.service import Service
from tests.server.conftest import running
from tests.server.hostile import APPS, Hostile, chat, data_url, encoded, picture
from tests.server.hostile_addresses import addresses
from tests.server.hostile_bodies import EXTREME, bodies, files, structures
from tests.server.hostile_media import applications, media, numbers

PUBLIC = "93.184.216.34"
MAX_S = 10.0  # for any of them, on a busy machine with two processors
MAX_GROWTH_BYTES = 200 * MIB
POLICY = replace(
    STRICT_POLICY,
    timeout_s=1.0,
    max_image_bytes=4 * MIB,
    max_video_bytes=4 * MIB,
    max_document_bytes=4 * MIB,
    max_video_s=60.0,
)
HOSTILE = [*addresses(), *media(), *applications(), *numbers(), *bodies(), *structures(), *files()]


class Site(BaseHTTPRequestHandler):
    """What a stranger's server may answer."""

    release = threading.Event()

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        try:
            getattr(self, f"answer_{parts.path[1:].replace('-', '_').replace('.', '_')}", self.answer_missing)(parts)
        except OSError:
            return  # the other side has hung up, as it should

    def answer_go(self, parts: Any) -> None:
        self.begin(302, Location=parse_qs(parts.query)["to"][0])

    def answer_round(self, parts: Any) -> None:
        self.begin(302, Location="/round")

    def answer_ok_png(self, parts: Any) -> None:
        self.begin(200)
        self.wfile.write(encoded("PNG"))

    def answer_missing(self, parts: Any) -> None:
        self.begin(404)

    def answer_html(self, parts: Any) -> None:
        self.begin(200, **{"Content-Type": "image/png"})
        self.wfile.write(b"<html><script>alert(1)</script></html>")

    def answer_empty(self, parts: Any) -> None:
        self.begin(200, **{"Content-Length": "0"})

    def answer_liar(self, parts: Any) -> None:
        self.begin(200, **{"Content-Length": "100000"})
        self.wfile.write(encoded("PNG"))

    def answer_zip_bomb(self, parts: Any) -> None:
        self.begin(200, **{"Content-Encoding": "gzip", "Content-Type": "image/png"})
        self.wfile.write(b"\x1f\x8b" + bytes(1000))

    def answer_endless(self, parts: Any) -> None:
        self.begin(200)
        while not self.release.is_set():
            self.wfile.write(bytes(1 << 16))

    def answer_chunks(self, parts: Any) -> None:
        self.begin(200, **{"Transfer-Encoding": "chunked"})
        while not self.release.is_set():
            self.wfile.write(b"1\r\nx\r\n" * 1000)

    def answer_drip(self, parts: Any) -> None:
        self.begin(200)
        while not self.release.wait(0.05):
            self.wfile.write(b"x")

    def answer_headers(self, parts: Any) -> None:
        self.send_response(200)
        for number in range(100_000):
            self.send_header(f"X-{number}", "x")
        self.end_headers()

    def answer_long_header(self, parts: Any) -> None:
        self.begin(200, Long="x" * 1_000_000)

    def answer_not_http(self, parts: Any) -> None:
        self.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n")

    def begin(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Stay silent."""


@dataclass
class StandIn:
    """A network that ends on this machine. `escaped`: where a request got through to."""

    port: int
    escaped: list[str] = field(default_factory=list)
    names: dict[str, list[str]] = field(
        default_factory=lambda: {
            "site.example": [PUBLIC],
            "inside.example": ["10.0.0.7"],
            "mixed.example": [PUBLIC, "127.0.0.1"],
            "metadata.google.internal": ["169.254.169.254"],
            "localhost": ["::1", "127.0.0.1"],
            "localhost.": ["127.0.0.1"],
        }
    )

    def resolve(self, host: str, port: int) -> list[str]:
        if host in self.names:
            return self.names[host]
        try:
            socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host.partition("%")[0])
        except OSError:
            raise socket.gaierror("Name or service not known") from None
        return [host.partition("%")[0]]

    def connect(self, address: str, port: int, timeout_s: float) -> socket.socket:
        if address != PUBLIC:
            self.escaped.append(address)
            raise ConnectionRefusedError("Connection refused")
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s)


@dataclass
class House:
    """The server under test, and what stands around it."""

    service: Service
    host: str
    network: StandIn
    pool: DecodePool

    def post(self, hostile: Hostile) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.host, timeout=60)
        try:
            headers = {"Content-Type": hostile.content_type} if hostile.content_type else {}
            with suppress(BrokenPipeError, ConnectionResetError):  # refused before all of it was sent
                connection.request("POST", hostile.path, hostile.make(), headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def answers(self) -> bool:
        """Whether a friendly question with a picture is answered."""
        status, body = self.post(Hostile("friendly", lambda: chat(picture(data_url(encoded("PNG"))))))
        return status == 200 and len(json.loads(body)["choices"]) == 1

    def resident_bytes(self) -> int:
        """Memory of the server's process and of its decoders, in use now."""
        processes = [os.getpid(), *(worker._process.pid for worker in self.pool._all)]
        pages = [int(Path(f"/proc/{process}/statm").read_text().split()[1]) for process in processes]
        return sum(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="module")
def house(nano_folder: Path) -> Iterator[House]:
    site = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    site.daemon_threads = True
    site.handle_error = lambda *args: None  # type: ignore[method-assign]  # clients that hang up
    thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    Site.release.clear()
    network = StandIn(site.server_address[1])
    with DecodePool(2, max_memory_bytes=1024 * MIB, item_s=5.0) as pool:
        llm = LLM.load(str(nano_folder), policy=POLICY, decode=pool.decode, device="cpu")
        llm.processor.media._network = Network(network.resolve, network.connect)
        with running(llm, max_body_bytes=8 * MIB) as server:
            yield House(server.service, server.url.removeprefix("http://"), network, pool)
        llm.engine.close()
    Site.release.set()
    site.shutdown()
    site.server_close()
    thread.join()


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda hostile: hostile.name.encode("ascii", "replace").decode())
def test_it_is_refused_quickly_in_one_sentence(house: House, hostile: Hostile) -> None:
    began = time.monotonic()
    status, body = house.post(hostile)
    took_s = time.monotonic() - began
    if hostile.path.startswith(APPS) and status == 200:  # it has begun: the run's own error, with the same words
        told = [json.loads(line.removeprefix(b"data: ")) for line in body.splitlines() if line.startswith(b"data: ")]
        assert [event["type"] for event in told] == ["progress", "error"], told
        body = json.dumps({"error": told[-1]["error"]}).encode()
        assert told[-1]["error"]["type"] == "invalid_request_error"
    else:
        assert 400 <= status < 500, (status, body[:500])
    error = json.loads(body)["error"]
    sentence = error["message"]
    assert error["type"] and 10 < len(sentence) < 1000 and sentence.isprintable(), sentence
    assert "Traceback" not in sentence and "secret" not in sentence
    assert house.network.escaped == []
    assert took_s < MAX_S


@pytest.mark.parametrize("options", EXTREME, ids=lambda options: str(options)[:40])
def test_what_is_strange_but_valid_is_no_fault_of_the_servers(house: House, options: dict[str, Any]) -> None:
    status, body = house.post(Hostile("extreme", lambda: chat(**options)))
    assert status < 500, (status, body[:500])
    assert house.answers()


def test_there_are_enough_of_them_and_each_has_its_name() -> None:
    names = [hostile.name for hostile in HOSTILE]
    assert len(names) >= 200
    assert len(names) == len(set(names))


def test_after_all_of_them_the_server_answers_and_has_all_of_its_decoders(house: House) -> None:
    assert all(house.answers() for _ in range(4))
    assert len(house.pool._all) == 2
    deadline = time.monotonic() + MAX_S
    while house.service.num_open and time.monotonic() < deadline:
        time.sleep(0.01)  # an answer arrives a moment before its end is noted
    assert house.service.num_looking == house.service.num_open == 0
    figures = house.service.llm.engine.figures()
    assert (figures.num_running, figures.num_waiting) == (0, 0)


def test_memory_stays_flat(house: House) -> None:
    costly = [
        one
        for one in HOSTILE
        if one.name.startswith(("picture:", "clip:", "document", "video app:", "body:", "a server's"))
    ]
    before = house.resident_bytes()
    for hostile in costly:
        house.post(hostile)
    assert house.answers()
    assert house.resident_bytes() - before < MAX_GROWTH_BYTES
