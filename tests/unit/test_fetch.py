"""What may be read: paths, data URLs and public addresses, each within its bounds."""

from __future__ import annotations

import base64
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from regard.errors import ConfigError, InputError
from regard.messages import Document, Image, Video
from regard.processing.addresses import check_address
from regard.processing.download import Network
from regard.processing.fetch import Fetched, fetch, local_path, read_bytes, source_name
from regard.processing.fetch_policy import STRICT_POLICY, FetchPolicy

PUBLIC = "93.184.216.34"
DOWN = "93.184.216.35"  # nobody answers there


class Rerouted(socket.socket):
    """A connection to this machine that claims to lead elsewhere."""

    own_address: str

    def getsockname(self) -> Any:
        return (self.own_address, 50_000)


@dataclass
class StandIn:
    """A name service of our own, and connections that end at a server on this machine whatever their address."""

    port: int
    names: dict[str, list[str]]
    connected: list[str] = field(default_factory=list)
    looked_up: list[str] = field(default_factory=list)
    answers: dict[str, list[list[str]]] = field(default_factory=dict)  # one after the other, before `names`
    own_address: str = "127.0.0.9"  # what a connection says that its near end is

    def requests(self) -> list[Message]:
        return Site.asked

    def resolve(self, host: str, port: int) -> list[str]:
        self.looked_up.append(host)
        if self.answers.get(host):
            return self.answers[host].pop(0)
        if host not in self.names:
            raise socket.gaierror("Name or service not known")
        return self.names[host]

    def connect(self, address: str, port: int, timeout_s: float) -> socket.socket:
        self.connected.append(address)
        if address == DOWN:
            raise ConnectionRefusedError("Connection refused")
        sock = Rerouted(socket.AF_INET, socket.SOCK_STREAM)
        sock.settimeout(timeout_s)
        sock.connect(("127.0.0.1", self.port))
        sock.own_address = self.own_address
        return sock

    @property
    def network(self) -> Network:
        return Network(self.resolve, self.connect)


class Site(BaseHTTPRequestHandler):
    """Answers by path."""

    release = threading.Event()
    asked: ClassVar[list[Message]] = []

    def do_GET(self) -> None:
        self.asked.append(self.headers)
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
        elif self.path == "/zipped":
            self.answer(b"\x1f\x8b not unpacked", encoding="gzip")
        else:
            self.answer(f"{self.headers['Host']} {self.path}".encode())

    def answer(self, body: bytes, length: int | None = None, encoding: str = "identity") -> None:
        self.send_response(200)
        self.send_header("Content-Encoding", encoding)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Stay silent."""


@pytest.fixture
def site() -> Iterator[StandIn]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    Site.release.clear()
    Site.asked.clear()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    names = {"site.example": [PUBLIC], "inside.example": ["10.0.0.7"], "mixed.example": [PUBLIC, "127.0.0.1"]}
    names |= {address: [address] for address in ("169.254.169.254", "127.0.0.1", "::1", "::ffff:127.0.0.1")}
    names |= {"localhost": ["::1", "127.0.0.1"], "down.example": [DOWN, PUBLIC], "void.example": []}
    yield StandIn(server.server_address[1], names)
    Site.release.set()
    server.shutdown()
    server.server_close()
    thread.join()


def fetched(url: str, site: StandIn, **options: Any) -> bytes:
    return read_bytes(url, policy=FetchPolicy(**options), network=site.network)


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
        "http://localhost/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
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
    assert fetched("http://inside.example/x", site, allow_private=True) == b"inside.example /x"


@pytest.mark.parametrize(
    "address",
    ["0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.1.1", "172.16.0.1", "192.168.1.1", "224.0.0.1"]
    + ["255.255.255.255", "::", "::1", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "2002:7f00:1::"]
    + ["64:ff9b::a9fe:a9fe", "2001:0:4136:e378:8000:63bf:80ff:fffe", "::127.0.0.1", "::ffff:8.8.8.8", "2002:808:808::"]
    + ["fec0::1", "fd00:ec2::254", "64:ff9b:1::7f00:1", "100::1", "2001:db8::1", "3fff::1", "4000::1", "5f00::1"]
    + ["100.100.100.200", "168.63.129.16", "192.0.0.192", "192.0.2.1", "198.18.0.1", "203.0.113.9", "240.0.0.1"],
)
def test_every_spelling_of_a_private_address_is_known(address: str) -> None:
    with pytest.raises(InputError, match="not a public address"):
        check_address(address, "host.example")


@pytest.mark.parametrize("address", [PUBLIC, "8.8.8.8", "2606:4700:4700::1111", "2001:4860::8888", "64:ff9b::808:808"])
def test_public_addresses_pass(address: str) -> None:
    check_address(address, "host.example")


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1", "1.2.3.4.", "1.2.3.256"])
def test_an_address_in_an_unusual_spelling_is_not_even_looked_up(site: StandIn, host: str) -> None:
    site.names[host] = [PUBLIC]  # whatever a resolver makes of it
    with pytest.raises(InputError, match="is an address in an unusual spelling"):
        fetched(f"http://{host}/", site)
    assert site.looked_up == site.connected == []


@pytest.mark.parametrize(
    "url",
    [
        "http://site.example@127.0.0.1/",
        "http://127.0.0.1@site.example/",
        "http://user:secret@site.example/",
        "http://127.0.0.1\\@site.example/",
        "http://site.example\\.inside.example/",
        "http://site.ex\tample/",
        "http://site.example\r\nHost: inside.example/",
        "http://site example/",
    ],
)
def test_a_url_that_can_be_read_in_two_ways_is_not_even_looked_up(site: StandIn, url: str) -> None:
    with pytest.raises(InputError, match="is not a valid URL|has a user name before its host") as caught:
        fetched(url, site)
    assert "\n" not in str(caught.value)
    assert site.looked_up == site.connected == []


def test_a_name_is_looked_up_once_so_that_it_cannot_change_between_check_and_connection(site: StandIn) -> None:
    site.answers["site.example"] = [[PUBLIC], ["127.0.0.1"]]
    assert fetched("http://site.example/x", site) == b"site.example /x"
    assert site.looked_up == ["site.example"]
    with pytest.raises(InputError, match=r"is at 127\.0\.0\.1, which is not a public address"):
        fetched("http://site.example/x", site)
    assert site.connected == [PUBLIC]


def test_a_redirect_to_the_same_name_is_looked_up_and_checked_again(site: StandIn) -> None:
    site.answers["site.example"] = [[PUBLIC], ["10.0.0.7"]]
    with pytest.raises(InputError, match=r"is at 10\.0\.0\.7, which is not a public address"):
        fetched("http://site.example/moved", site)
    assert site.connected == [PUBLIC]


def test_a_connection_that_ends_at_this_machine_is_dropped_before_a_word_is_said(site: StandIn) -> None:
    """A machine's own public address passes every list; behind it are services that the firewall keeps for itself."""
    site.own_address = PUBLIC
    with pytest.raises(InputError, match=r"site\.example is this machine"):
        fetched("http://site.example/x", site)
    assert site.requests() == []


def test_the_next_address_is_tried_when_one_does_not_answer(site: StandIn) -> None:
    assert fetched("http://down.example/x", site) == b"down.example /x"
    assert site.connected == [DOWN, PUBLIC]


def test_a_name_service_that_never_answers_is_left_behind(site: StandIn) -> None:
    began = time.monotonic()
    with pytest.raises(InputError, match=r"took longer than 0\.2 s"):
        read_bytes(
            "http://slow.example/",
            policy=FetchPolicy(timeout_s=0.2),
            network=Network(lambda host, port: [] if Site.release.wait(5) else [], site.connect),
        )
    assert time.monotonic() - began < 3


def test_a_tls_handshake_that_drips_is_cut_off(site: StandIn) -> None:
    """The timer used to start behind the handshake, which could be drawn out for days."""
    began = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        site.port = silent.getsockname()[1]
        with pytest.raises(InputError, match=r"took longer than 0\.3 s"):
            fetched("https://site.example/", site, timeout_s=0.3)
    assert time.monotonic() - began < 3


def test_compressed_bodies_are_not_asked_for_and_not_unpacked(site: StandIn) -> None:
    assert fetched("http://site.example/zipped", site) == b"\x1f\x8b not unpacked"
    assert site.requests()[-1]["Accept-Encoding"] == "identity"


def test_an_endless_or_dripping_body_is_cut_off(site: StandIn) -> None:
    with pytest.raises(InputError, match="sends more than 50000 bytes"):
        fetched("http://site.example/endless", site, max_image_bytes=50_000)
    with pytest.raises(InputError, match=r"took longer than 0\.2 s"):
        fetched("http://site.example/drip", site, timeout_s=0.2)
    with pytest.raises(InputError, match="has 10000 bytes, the limit is 9999"):
        fetched("http://site.example/large", site, max_image_bytes=9999)


def test_failures_of_a_download_are_one_sentence(site: StandIn) -> None:
    for url, sentence in {
        "http://site.example/missing": "answered with status 404",
        "http://site.example/liar": "cannot be downloaded",
        "http://nowhere.example/": "no address for 'nowhere.example'",
        "http://site.example/to-file": "leads to a 'file' address; only http",
        "ftp://site.example/x": "leads to a 'ftp' address; only http",
        "gopher://site.example/x": "leads to a 'gopher' address; only http",
        "http://void.example/": "no address for 'void.example'",
        "http://site.example/\ud800": "is not a valid URL",
        "http://" + "a." * 500 + "example/": "is not a valid URL",
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
        read_bytes(path, policy=FetchPolicy(max_image_bytes=4))
    with pytest.raises(InputError, match="names a local file, which is not allowed here"):
        read_bytes(path, policy=FetchPolicy(local_folders=()))
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
        read_bytes(f"data:;base64,{coded}", policy=FetchPolicy(max_image_bytes=3))


def test_names_of_sources_are_short() -> None:
    assert source_name("shot.png") == "shot.png"
    assert source_name(b"123") == "the input of 3 bytes"
    assert source_name("https://anna:secret@site.example/a@b.png") == "https://...@site.example/a@b.png"
    assert source_name("data:image/png;base64,AAAA") == "the data URL (26 characters)"
    assert len(source_name("http://site.example/" + "x" * 500)) < 120


def test_nothing_comes_over_the_network_without_a_scheme(site: StandIn) -> None:
    with pytest.raises(InputError, match="leads to a 'http' address; only file and data URLs are read"):
        fetched("http://site.example/x", site, schemes=frozenset())
    with pytest.raises(InputError, match="leads to a 'http' address; only https, file"):
        fetched("http://site.example/x", site, schemes=frozenset({"https"}))
    assert site.looked_up == []
    with pytest.raises(ConfigError, match="the scheme 'ftp' cannot be fetched"):
        FetchPolicy(schemes=frozenset({"ftp"}))


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """allowed/in.bin and private/secret.bin, with links from one to the other."""
    for folder in ("allowed", "private"):
        (tmp_path / folder).mkdir()
    (tmp_path / "allowed" / "in.bin").write_bytes(b"in")
    (tmp_path / "private" / "secret.bin").write_bytes(b"secret")
    (tmp_path / "allowed" / "out.bin").symlink_to(tmp_path / "private" / "secret.bin")
    (tmp_path / "allowed" / "sub").symlink_to(tmp_path / "private")
    (tmp_path / "allowed" / "loop").symlink_to(tmp_path / "allowed" / "loop")
    (tmp_path / "private" / "back.bin").symlink_to(tmp_path / "allowed" / "in.bin")
    (tmp_path / "allowed-too").mkdir()
    (tmp_path / "allowed-too" / "secret.bin").write_bytes(b"secret")
    return tmp_path


def test_only_files_that_really_lie_in_the_named_folders_are_read(folders: Path) -> None:
    policy = replace(STRICT_POLICY, local_folders=(folders / "allowed",))
    for name in ("allowed/in.bin", "private/../allowed/in.bin", "private/back.bin"):
        assert read_bytes(str(folders / name), policy=policy) == b"in"
        assert read_bytes((folders / name).as_uri(), policy=policy) == b"in"
    for name in ("private/secret.bin", "allowed/../private/secret.bin", "allowed/out.bin", "allowed/sub/secret.bin"):
        for source in (str(folders / name), (folders / name).as_uri()):
            with pytest.raises(InputError, match="is not in a folder that may be read here"):
                read_bytes(source, policy=policy)
    for name in (
        "allowed-too/secret.bin",
        "allowed/loop",
        "bad\0name",
        "x" * 5000,
        "allowed/%2e%2e/private/secret.bin",
    ):
        with pytest.raises(InputError, match=r"is not in a folder that may be read here|does not exist"):
            read_bytes(str(folders / name), policy=policy)
    with pytest.raises(InputError, match="is not in a folder that may be read here"):
        read_bytes((folders / "allowed").as_uri() + "/%2e%2e/private/secret.bin", policy=policy)


def test_a_refusal_does_not_tell_whether_a_file_exists(folders: Path) -> None:
    policy = replace(STRICT_POLICY, local_folders=(folders / "allowed",))
    refusals = set()
    for name in ("private/secret.bin", "private/nothing.bin"):
        with pytest.raises(InputError) as caught:
            local_path(str(folders / name), policy=policy)
        refusals.add(str(caught.value).replace(name, ""))
    assert len(refusals) == 1


def test_a_strict_policy_reads_no_file_and_no_private_address(site: StandIn, tmp_path: Path) -> None:
    path = tmp_path / "shot.png"
    path.write_bytes(b"12345")
    for source in (path, str(path), path.as_uri(), "shot.png", "file:/etc/passwd", "/etc/passwd", "file:///etc/passwd"):
        with pytest.raises(InputError, match="names a local file, which is not allowed here"):
            read_bytes(source, policy=STRICT_POLICY)
    with pytest.raises(InputError, match="which is not a public address"):
        read_bytes("http://inside.example/", policy=STRICT_POLICY, network=site.network)
    assert site.connected == []


def test_each_kind_of_media_has_its_own_limit_of_bytes(site: StandIn) -> None:
    policy = FetchPolicy(max_image_bytes=10, max_video_bytes=30, max_document_bytes=20)
    for kind, limit in (("image", 10), ("video", 30), ("document", 20)):
        assert len(read_bytes(b"x" * limit, kind, policy=policy)) == limit
        with pytest.raises(InputError, match=f"the limit is {limit}"):
            read_bytes(b"x" * (limit + 1), kind, policy=policy)
        with pytest.raises(InputError, match=f"the limit is {limit}"):
            read_bytes("http://site.example/large", kind, policy=policy, network=site.network)


def test_a_fetched_part_needs_neither_names_nor_network(site: StandIn, tmp_path: Path) -> None:
    picture = fetch(Image("http://site.example/x", max_pixels=99), network=site.network)
    assert picture == Image(Fetched(b"site.example /x", "http://site.example/x"), max_pixels=99)
    assert read_bytes(picture.source, policy=STRICT_POLICY) == b"site.example /x"
    assert source_name(picture.source) == "http://site.example/x"
    path = tmp_path / "a.bin"
    path.write_bytes(b"12345")
    assert fetch(Image(path)).source.data == b"12345"
    for part in (Video(path), Document(path)):  # read piecewise
        assert local_path(fetch(part).source, policy=STRICT_POLICY) == path
    with pytest.raises(InputError, match="the list given is no media"):
        fetch(Image([b"1"]))


def test_names_with_line_ends_or_half_characters_stay_one_printable_line() -> None:
    for name in ("a\nb.png", "a\ud800b.png", "data:,\ud800"):
        with pytest.raises(InputError) as caught:
            read_bytes(name)
        assert "\n" not in str(caught.value)
        assert str(caught.value).encode()
