"""Fetch a file that a stranger named, without being led into the house.

Every address that the host name resolves to must be public (no loopback, link-local, private, or IPv6 form
of one), the connection goes to exactly the address that was checked, and each redirect starts the checks
again. The time limit holds for the whole download: a timer shuts the socket, so a server that drips bytes
cannot hold us. The body is cut off at the byte limit.

It does not use proxies (a proxy would resolve the name itself, behind the check), cookies or credentials,
and it does not retry.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from regard.errors import InputError
from regard.processing.limits import MediaLimits

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CHUNK_BYTES = 1 << 16
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_SAFE = "/%:@!$&'()*+,;=~-._"  # left as they are in a path; everything else is percent-encoded


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


def download(url: str, name: str, limits: MediaLimits, network: Network = NETWORK) -> bytes:
    """Fetch `url`; `name` is what errors call it.

    Errors: InputError for another scheme, a private address, too many redirects, a status other than 200,
    too many bytes, too long a time, or any failure of the connection.
    """
    deadline = time.monotonic() + limits.timeout_s
    current = url
    for _ in range(limits.max_redirects + 1):
        answer = _request(current, name, limits, network, deadline)
        if isinstance(answer, bytes):
            return answer
        current = answer
    raise InputError(f"{name} redirects more than {limits.max_redirects} times; give the final URL")


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
    if any(not form.is_global or form.is_multicast for form in forms):
        raise InputError(
            f"{host} is at {address}, which is not a public address; "
            "download the file yourself, or allow private addresses explicitly"
        )


def _request(url: str, name: str, limits: MediaLimits, network: Network, deadline: float) -> bytes | str:
    """Fetch one URL: its body, or the URL that it redirects to."""
    parts = _checked_parts(url, name)
    expired = threading.Event()
    try:
        with _socket(parts, name, limits, network, deadline) as sock, _shut_at(deadline, sock, expired):
            response = _get(parts, sock)
            location = response.getheader("Location")
            if response.status in _REDIRECTS and location:
                return urllib.parse.urljoin(url, location)
            if response.status != 200:
                raise InputError(f"{name} answered with status {response.status}; check the address")
            body = _read_body(response, name, limits)
    except (OSError, http.client.HTTPException, ValueError) as error:
        if expired.is_set() or isinstance(error, TimeoutError):
            raise _timed_out(name, limits) from None
        if isinstance(error, ssl.SSLCertVerificationError):
            raise InputError(f"{name} has no trusted certificate ({error.verify_message}); check the address") from None
        reason = str(error) or type(error).__name__
        raise InputError(f"{name} cannot be downloaded ({reason}); check the address and the network") from None
    if expired.is_set():  # a body without a stated length looks complete when its socket is shut
        raise _timed_out(name, limits)
    return body


def _timed_out(name: str, limits: MediaLimits) -> InputError:
    return InputError(f"{name} took longer than {limits.timeout_s:g} s; try again or download it yourself")


def _checked_parts(url: str, name: str) -> urllib.parse.SplitResult:
    try:
        parts = urllib.parse.urlsplit(url)
        valid = parts.scheme.lower() not in ("http", "https") or (bool(parts.hostname) and parts.port != 0)
    except ValueError:
        valid = False
    if not valid:
        raise InputError(f"{name} is not a valid URL; check the address")
    if parts.scheme.lower() not in ("http", "https"):
        raise InputError(f"{name} leads to a {parts.scheme!r} address; only http, https, file and data URLs are read")
    return parts


@contextmanager
def _socket(
    parts: urllib.parse.SplitResult, name: str, limits: MediaLimits, network: Network, deadline: float
) -> Iterator[socket.socket]:
    """A connection to one of the host's addresses, all of which have been checked."""
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme.lower() == "https" else 80)
    try:
        addresses = network.resolve(host, port)
    except (OSError, UnicodeError) as error:
        raise InputError(f"{name} cannot be reached: no address for {host!r} ({error}); check it") from None
    if not limits.allow_private_addresses:
        for address in addresses:
            check_address(address, host)
    with network.connect(addresses[0], port, max(0.001, deadline - time.monotonic())) as sock:
        if parts.scheme.lower() == "http":
            yield sock
        else:
            with ssl.create_default_context().wrap_socket(sock, server_hostname=host) as secure:
                yield secure


@contextmanager
def _shut_at(deadline: float, sock: socket.socket, expired: threading.Event) -> Iterator[None]:
    """Shut the socket when the time is up, whatever is being read from it."""

    def expire() -> None:
        expired.set()
        with suppress(OSError):  # closed already
            # The base class's method: SSLSocket.shutdown would pull the TLS state away under the reader.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, deadline - time.monotonic()), expire)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _get(parts: urllib.parse.SplitResult, sock: socket.socket) -> http.client.HTTPResponse:
    kind = http.client.HTTPSConnection if parts.scheme.lower() == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port)
    connection.sock = sock
    target = urllib.parse.quote(parts.path or "/", safe=_SAFE)
    if parts.query:
        target += "?" + urllib.parse.quote(parts.query, safe=_SAFE + "?")
    connection.request("GET", target, headers={"User-Agent": "regard", "Accept-Encoding": "identity"})
    return connection.getresponse()


def _read_body(response: http.client.HTTPResponse, name: str, limits: MediaLimits) -> bytes:
    expected = response.length
    if expected is not None and expected > limits.max_bytes:
        raise InputError(f"{name} has {expected} bytes, the limit is {limits.max_bytes}; give a smaller file")
    body = bytearray()
    while chunk := response.read1(_CHUNK_BYTES):
        body += chunk
        if len(body) > limits.max_bytes:
            raise InputError(f"{name} sends more than {limits.max_bytes} bytes; give a smaller file")
    if expected is not None and len(body) < expected:
        raise http.client.IncompleteRead(b"", expected - len(body))
    return bytes(body)
