"""What may be read: paths, data URLs and public addresses, each within its bounds."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from regard.errors import InputError
from regard.processing.download import Network, check_address
from regard.processing.fetch import local_path, read_bytes, source_name
from regard.processing.limits import MediaLimits

PUBLIC = "93.184.216.34"


@dataclass
class StandIn:
    """A name service of our own, and connections that end at a server on this machine whatever their address."""

    port: int
    names: dict[str, list[str]]
    connected: list[str] = field(default_factory=list)

    def resolve(self, host: str, port: int) -> list[str]:
        if host not in self.names:
            raise socket.gaierror("Name or service not known")
        return self.names[host]

    def connect(self, address: str, port: int, timeout_s: float) -> socket.socket:
        self.connected.append(address)
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s)

    @property
    def network(self) -> Network:
        return Network(self.resolve, self.connect)


class Site(BaseHTTPRequestHandler):
    """Answers by path."""

    release = threading.Event()

    def do_GET(self) -> None:
        targets = {
            "/moved": "/picture",
            "/to-private": "http://inside.example/secret",
            "/to-metadata": "http://169.254.169.254/latest/meta-data",
            "/to-file": "file:///etc/passwd",
            "/round": "/round",
        }
        if self.path in targets:
            self.send_response(302)
            self.send_header("Location", targets[self.path])
            self.end_headers()
        elif self.path == "/missing":
            self.send_error(404)
        elif self.path == "/liar":
            self.answer(b"short", length=100)
        elif self.path == "/large":
            self.answer(b"", length=10_000)
        elif self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            while not self.release.is_set():
                try:
                    self.wfile.write(b"x" * 4096)
                except OSError:
                    return
        elif self.path == "/drip":
            self.send_response(200)
            self.end_headers()
            while not self.release.wait(0.02):
                try:
                    self.wfile.write(b"x")
                except OSError:
                    return
        else:
            self.answer(f"{self.headers['Host']} {self.path}".encode())

    def answer(self, body: bytes, length: int | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Stay silent."""


@pytest.fixture
def site() -> Iterator[StandIn]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    Site.release.clear()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    names = {"site.example": [PUBLIC], "inside.example": ["10.0.0.7"], "mixed.example": [PUBLIC, "127.0.0.1"]}
    names |= {address: [address] for address in ("169.254.169.254", "127.0.0.1", "2130706433", "::1")}
    yield StandIn(server.server_address[1], names)
    Site.release.set()
    server.shutdown()
    server.server_close()
    thread.join()


def fetched(url: str, site: StandIn, **limits: object) -> bytes:
    return read_bytes(url, limits=MediaLimits(**limits), network=site.network)


def test_a_public_address_is_fetched_through_the_address_that_was_checked(site: StandIn) -> None:
    assert fetched("http://site.example/a b?q=1 2", site) == b"site.example /a%20b?q=1%202"
    assert site.connected == [PUBLIC]


def test_redirects_are_followed_up_to_their_limit(site: StandIn) -> None:
    assert fetched("http://site.example/moved", site) == b"site.example /picture"
    with pytest.raises(InputError, match=r"site\.example/round redirects more than 3 times; give the final URL"):
        fetched("http://site.example/round", site, max_redirects=3)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://[::1]/",
        "http://169.254.169.254/latest/meta-data",
        "http://inside.example/",
        "http://mixed.example/",
        "http://site.example/to-private",
        "http://site.example/to-metadata",
    ],
)
def test_private_addresses_are_refused_also_behind_names_and_redirects(site: StandIn, url: str) -> None:
    with pytest.raises(InputError, match="which is not a public address"):
        fetched(url, site)
    assert set(site.connected) <= {PUBLIC}


def test_private_addresses_are_fetched_when_that_is_allowed(site: StandIn) -> None:
    assert fetched("http://inside.example/x", site, allow_private_addresses=True) == b"inside.example /x"


@pytest.mark.parametrize(
    "address",
    ["0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.1.1", "172.16.0.1", "192.168.1.1", "224.0.0.1"]
    + ["255.255.255.255", "::", "::1", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "2002:7f00:1::"]
    + ["64:ff9b::a9fe:a9fe", "2001:0:4136:e378:8000:63bf:80ff:fffe"],
)
def test_every_spelling_of_a_private_address_is_known(address: str) -> None:
    with pytest.raises(InputError, match="not a public address"):
        check_address(address, "host.example")


@pytest.mark.parametrize("address", [PUBLIC, "8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses_pass(address: str) -> None:
    check_address(address, "host.example")


def test_an_endless_or_dripping_body_is_cut_off(site: StandIn) -> None:
    with pytest.raises(InputError, match="sends more than 50000 bytes"):
        fetched("http://site.example/endless", site, max_bytes=50_000)
    with pytest.raises(InputError, match=r"took longer than 0\.2 s"):
        fetched("http://site.example/drip", site, timeout_s=0.2)
    with pytest.raises(InputError, match="has 10000 bytes, the limit is 9999"):
        fetched("http://site.example/large", site, max_bytes=9999)


def test_failures_of_a_download_are_one_sentence(site: StandIn) -> None:
    for url, sentence in {
        "http://site.example/missing": "answered with status 404",
        "http://site.example/liar": "cannot be downloaded",
        "http://nowhere.example/": "no address for 'nowhere.example'",
        "http://site.example/to-file": "leads to a 'file' address; only http",
        "ftp://site.example/x": "leads to a 'ftp' address; only http",
        "http://site.example:99999/": "is not a valid URL",
        "http://": "is not a valid URL",
        "https://site.example/": "cannot be downloaded",
    }.items():
        with pytest.raises(InputError, match=sentence) as caught:
            fetched(url, site)
        assert "\n" not in str(caught.value)


def test_files_are_read_by_path_and_by_url(tmp_path: Path) -> None:
    path = tmp_path / "a file.bin"
    path.write_bytes(b"12345")
    for source in (path, str(path), path.as_uri()):
        assert read_bytes(source) == b"12345"
        assert local_path(source) == path
    with pytest.raises(InputError, match="has 5 bytes, the limit is 4"):
        read_bytes(path, limits=MediaLimits(max_bytes=4))
    with pytest.raises(InputError, match="names a local file, which is not allowed here"):
        read_bytes(path, limits=MediaLimits(allow_local_files=False))
    with pytest.raises(InputError, match="names the host 'other'"):
        read_bytes("file://other/etc/passwd")


def test_paths_that_are_no_files_are_one_sentence(tmp_path: Path) -> None:
    for source, sentence in {
        tmp_path: "is a folder",
        tmp_path / "gone": "does not exist",
        "/dev/zero": "is not a regular file",
        "bad\0name.png": "cannot be opened",
        "x" * 5000: "cannot be opened",
    }.items():
        with pytest.raises(InputError, match=sentence):
            read_bytes(source)


def test_data_urls_are_decoded_in_both_spellings() -> None:
    coded = base64.b64encode(b"hello").decode()
    assert read_bytes(f"data:image/png;base64,{coded}") == b"hello"
    assert read_bytes(f"data:image/png;base64,{coded.rstrip('=')}") == b"hello"
    assert read_bytes("data:text/plain,hel%6Co") == b"hello"
    for url, sentence in {
        "data:image/png;base64": "has no comma",
        "data:image/png;base64,@@@": "is not valid base64",
        "data:,": "nothing is in it",
    }.items():
        with pytest.raises(InputError, match=sentence):
            read_bytes(url)
    with pytest.raises(InputError, match="the limit is 3"):
        read_bytes(f"data:;base64,{coded}", limits=MediaLimits(max_bytes=3))


def test_names_of_sources_are_short() -> None:
    assert source_name("shot.png") == "shot.png"
    assert source_name(b"123") == "the input of 3 bytes"
    assert source_name("data:image/png;base64,AAAA") == "the data URL (26 characters)"
    assert len(source_name("http://site.example/" + "x" * 500)) < 120
