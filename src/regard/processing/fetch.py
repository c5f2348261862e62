"""From what a user names to bytes: paths, file://, http(s)://, data: and bytes.

`local_path` says whether a source is a file on this machine (a video is then read piecewise);
`read_bytes` reads everything else whole, up to `limits.max_bytes`.

Downloads are safe by default, because a server fetches what strangers name. Every address that the host
name resolves to must be public (no loopback, link-local, private, or IPv6 form of one), the connection
goes to exactly the address that was checked, and each redirect starts the checks again. The time limit
holds for the whole download: a timer shuts the socket, so a server that drips bytes cannot hold us.

It does not use proxies (a proxy would resolve the name itself, behind the check), cookies or credentials,
and it does not cache.
"""

from __future__ import annotations

import base64
import binascii
import http.client
import ipaddress
import os
import re
import socket
import ssl
import stat
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regard.errors import InputError
from regard.processing.limits import DEFAULT_LIMITS, MediaLimits

_SCHEME = re.compile(r"^([a-zA-Z][a-zA-Z0-9+.-]+):(?=//)")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CHUNK_BYTES = 1 << 16
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True)
class Network:
    """The two calls that leave this machine, so that tests can stand in for them."""

    resolve: Callable[[str, int], list[str]]
    connect: Callable[[str, int, float], socket.socket]


def _resolve(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(sockaddr[0]) for *_, sockaddr in found]


def _connect(address: str, port: int, timeout_s: float) -> socket.socket:
    return socket.create_connection((address, port), timeout=timeout_s)


NETWORK = Network(_resolve, _connect)


def source_name(source: Any) -> str:
    """Name a source for a report or an error: a path or URL as given (shortened), else what it is."""
    if isinstance(source, str | os.PathLike):
        text = os.fspath(source)
        if isinstance(text, bytes):
            text = os.fsdecode(text)
        if text.startswith("data:"):
            return f"the data URL ({len(text)} characters)"
        return text if len(text) <= 120 else f"{text[:80]}...{text[-30:]}"
    if isinstance(source, bytes | bytearray | memoryview):
        return f"the {len(source)} bytes given"
    return f"the {type(source).__name__} given"


def local_path(source: Any, *, limits: MediaLimits = DEFAULT_LIMITS) -> Path | None:
    """The checked path when `source` names a local file, else None.

    Errors: InputError when it is missing, empty, not a regular file, or local files are not allowed.
    """
    path = _named_path(source)
    if path is None:
        return None
    if not limits.allow_local_files:
        raise InputError(f"{source_name(source)} names a local file, which is not allowed here; send its bytes instead")
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{source_name(source)} does not exist; check the path") from None
    except (OSError, ValueError) as error:  # too long, a loop of links, no permission, a zero byte in the name
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{source_name(source)} cannot be opened ({reason}); check the path") from None
    if stat.S_ISDIR(found.st_mode):
        raise InputError(f"{source_name(source)} is a folder; name a file in it")
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{source_name(source)} is not a regular file; copy it to one first")
    if found.st_size == 0:
        raise InputError(f"{source_name(source)} is empty (0 bytes); save or download it again")
    return path


def _named_path(source: Any) -> Path | None:
    if isinstance(source, os.PathLike):
        return Path(os.fsdecode(source))
    if not isinstance(source, str) or source.startswith("data:"):
        return None
    scheme = _SCHEME.match(source)
    if scheme is None:
        return Path(source)
    if scheme[1].lower() != "file":
        return None
    parts = urllib.parse.urlsplit(source)
    if parts.netloc not in ("", "localhost"):
        raise InputError(f"{source_name(source)} names the host {parts.netloc!r}; a file URL must be local")
    return Path(urllib.request.url2pathname(parts.path))


def read_bytes(source: Any, *, limits: MediaLimits = DEFAULT_LIMITS, network: Network = NETWORK) -> bytes:
    """Read the whole of `source`: path, file://, http(s)://, data: URL, or bytes.

    Errors: InputError for anything missing, empty, too large, not allowed, or of another kind.
    """
    name = source_name(source)
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
    elif isinstance(source, str) and source.startswith("data:"):
        data = _read_data_url(source, limits)
    elif (path := local_path(source, limits=limits)) is not None:
        return _read_file(path, name, limits)
    elif isinstance(source, str):
        data = _download(source, limits, network)
    else:
        raise InputError(f"{name} is no media; give a path, a URL, bytes, a PIL image or an array")
    if not data:
        raise InputError(f"{name}: nothing is in it (0 bytes); save or download it again")
    if len(data) > limits.max_bytes:
        raise _too_large(name, len(data), limits)
    return data


def describe_bytes(data: bytes) -> str:
    """Say what a file that is not the wanted kind seems to be, for an error message."""
    head = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n")
    lower = head[:256].lower()
    if lower.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) or b"<html" in lower:
        return "an HTML page"
    if head.startswith(b"%PDF"):
        return "a PDF"
    if lower.startswith(b"<svg") or b"<svg" in lower:
        return "an SVG drawing"
    if data[4:8] == b"ftyp":
        return "a HEIF or AVIF picture" if data[8:12] in (b"heic", b"heix", b"mif1", b"avif") else "an MP4 or MOV video"
    if data[:4] == b"\x00\x00\x01\xba":
        return "an MPEG program stream"
    if data[:4] == b"\x1a\x45\xdf\xa3":
        return "a Matroska or WebM video"
    if head and all(byte >= 32 or byte in (9, 10, 13) for byte in head[:64]) and head[:64].isascii():
        return "plain text"
    return "of an unknown or damaged format"


def _too_large(name: str, num_bytes: int, limits: MediaLimits) -> InputError:
    return InputError(f"{name} has {num_bytes} bytes, the limit is {limits.max_bytes}; make it smaller")


def _read_file(path: Path, name: str, limits: MediaLimits) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limits.max_bytes + 1)
    except OSError as error:
        raise InputError(f"{name} cannot be read ({error.strerror}); check its permissions") from None
    if len(data) > limits.max_bytes:
        raise _too_large(name, path.stat().st_size, limits)
    return data


def _read_data_url(url: str, limits: MediaLimits) -> bytes:
    header, comma, payload = url.partition(",")
    if not comma:
        raise InputError("the data URL has no comma; it must look like data:image/png;base64,...")
    if len(payload) > 3 * limits.max_bytes:  # percent-encoding, the most wasteful form, is three characters a byte
        raise _too_large(source_name(url), len(payload) // 3, limits)
    if not header.lower().endswith(";base64"):
        return urllib.parse.unquote_to_bytes(payload)
    compact = re.sub(r"\s+", "", urllib.parse.unquote(payload))
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise InputError(f"{source_name(url)} is not valid base64; encode the file again") from None


def check_address(address: str, host: str) -> None:
    """Refuse any address that is not on the public internet, in whichever form it is written."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    forms: list[ipaddress.IPv4Address | ipaddress.IPv6Address] = [parsed]
    if isinstance(parsed, ipaddress.IPv6Address):
        # An IPv4 address can hide in four kinds of IPv6 address.
        forms += [form for form in (parsed.ipv4_mapped, parsed.sixtofour) if form is not None]
        forms += list(parsed.teredo or ())
        if parsed in _NAT64:
            forms.append(ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF))
        if parsed.ipv4_mapped is not None:
            forms.remove(parsed)
    if any(not form.is_global or form.is_multicast for form in forms):
        raise InputError(
            f"{host} is at {address}, which is not a public address; "
            "download the file yourself, or allow private addresses explicitly"
        )


def _download(url: str, limits: MediaLimits, network: Network) -> bytes:
    deadline = time.monotonic() + limits.timeout_s
    current = url
    for _ in range(limits.max_redirects + 1):
        answer = _request(current, limits, network, deadline)
        if isinstance(answer, bytes):
            return answer
        current = answer
    raise InputError(f"{source_name(url)} redirects more than {limits.max_redirects} times; give the final URL")


def _request(url: str, limits: MediaLimits, network: Network, deadline: float) -> bytes | str:
    """Fetch one URL: its body, or the URL that it redirects to."""
    name = source_name(url)
    connection, target = _open_connection(url, limits, network, deadline)
    sock = connection.sock
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        try:
            # The base class's method: SSLSocket.shutdown would pull the TLS state away under the reader.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)
        except OSError:
            return  # the other side has closed it already

    timer = threading.Timer(max(0.0, deadline - time.monotonic()), expire)
    timer.daemon = True
    timer.start()
    try:
        connection.request("GET", target, headers={"User-Agent": "regard", "Accept-Encoding": "identity"})
        response = connection.getresponse()
        location = response.getheader("Location")
        if response.status in _REDIRECTS and location:
            return urllib.parse.urljoin(url, location)
        if response.status != 200:
            raise InputError(f"{name} answered with status {response.status}; check the address")
        data = _read_body(response, name, limits)
    except (OSError, http.client.HTTPException, ValueError) as error:
        if expired.is_set() or isinstance(error, TimeoutError):
            raise _timed_out(name, limits) from None
        raise InputError(f"{name} cannot be downloaded ({type(error).__name__}: {error}); try again") from None
    finally:
        timer.cancel()
        connection.close()
    if expired.is_set():
        raise _timed_out(name, limits)
    return data


def _timed_out(name: str, limits: MediaLimits) -> InputError:
    return InputError(f"{name} took longer than {limits.timeout_s:g} s; try again or download it yourself")


def _open_connection(
    url: str, limits: MediaLimits, network: Network, deadline: float
) -> tuple[http.client.HTTPConnection, str]:
    """Check the URL and every address behind it, then connect to one of the checked addresses."""
    name = source_name(url)
    try:
        parts = urllib.parse.urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise InputError(f"{name} is not a valid URL; check the address") from None
    scheme = parts.scheme.lower()
    if scheme not in ("http", "https") or not host:
        raise InputError(f"{name} cannot be fetched; only http, https, file and data URLs are read")
    port = port or (443 if scheme == "https" else 80)
    try:
        addresses = network.resolve(host, port)
        if not limits.allow_private_addresses:
            for address in addresses:
                check_address(address, host)
        sock = network.connect(addresses[0], port, max(0.001, deadline - time.monotonic()))
    except TimeoutError:
        raise _timed_out(name, limits) from None
    except (OSError, UnicodeError, IndexError) as error:
        raise InputError(f"{name} cannot be reached ({error}); check the address and the network") from None
    connection: http.client.HTTPConnection
    if scheme == "https":
        connection = http.client.HTTPSConnection(host, port)
        try:
            connection.sock = ssl.create_default_context().wrap_socket(sock, server_hostname=host)
        except (OSError, ValueError) as error:
            sock.close()
            raise InputError(f"{name} has no trusted TLS certificate ({error}); check the address") from None
    else:
        connection = http.client.HTTPConnection(host, port)
        connection.sock = sock
    path = urllib.parse.quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = "?" + urllib.parse.quote(parts.query, safe="/%:@!$&'()*+,;=~-._?") if parts.query else ""
    return connection, path + query


def _read_body(response: http.client.HTTPResponse, name: str, limits: MediaLimits) -> bytes:
    expected = response.length
    if expected is not None and expected > limits.max_bytes:
        raise _too_large(name, expected, limits)
    body = bytearray()
    while chunk := response.read1(_CHUNK_BYTES):
        body += chunk
        if len(body) > limits.max_bytes:
            raise InputError(f"{name} sends more than {limits.max_bytes} bytes; give a smaller file")
    if expected is not None and len(body) < expected:
        raise http.client.IncompleteRead(b"", expected - len(body))
    return bytes(body)
