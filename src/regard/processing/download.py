"""Fetch a file that a stranger named, without being led into the house.

Every address that the host name resolves to must be public (`addresses`), the connection goes to exactly the
addresses that were checked (the name is looked up once; Host and the TLS name stay the host's), and each redirect
starts the checks again. A connection whose far end turns out to be this machine is dropped before a word is said.
The time limit holds for the whole download, names and TLS included: a timer shuts the socket, so a server that
drips bytes cannot hold us. The body is cut off at the byte limit, and is not decompressed: we ask for none, and
what comes is taken as it is.

`http.client` on a socket of our own does all of this in the standard library; the clients of other packages
look names up by themselves, behind the check.

It does not use proxies (a proxy would resolve the name itself), cookies or credentials, and it does not retry.
"""

from __future__ import annotations

import http.client
import queue
import re
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass

from regard.errors import InputError
from regard.processing.addresses import check_address, check_host
from regard.processing.fetch_policy import FetchPolicy, MediaKind

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CHUNK_BYTES = 1 << 16
_SAFE = "/%:@!$&'()*+,;=~-._"  # left as they are in a path; everything else is percent-encoded
_MAX_HOST = 253  # characters of a name, as in DNS
_ODD = re.compile(r"[\x00-\x20\x7f\\]")  # in a host: browsers and libraries disagree about what these mean


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


@dataclass(frozen=True)
class _Target:
    """One URL, taken apart: the only reading of it that there is."""

    scheme: str
    host: str
    port: int
    path: str


def download(url: str, name: str, policy: FetchPolicy, kind: MediaKind = "image", network: Network = NETWORK) -> bytes:
    """Fetch `url`; `name` is what errors call it, `kind` says which limit of bytes holds.

    Errors: InputError for another scheme, a private address, too many redirects, a status other than 200,
    too many bytes, too long a time, or any failure of the connection.
    """
    deadline = time.monotonic() + policy.timeout_s
    current = url
    for _ in range(policy.max_redirects + 1):
        answer = _request(current, name, policy, policy.max_bytes(kind), network, deadline)
        if isinstance(answer, bytes):
            return answer
        current = answer
    raise InputError(f"{name} redirects more than {policy.max_redirects} times; give the final URL")


def _request(
    url: str, name: str, policy: FetchPolicy, max_bytes: int, network: Network, deadline: float
) -> bytes | str:
    """Fetch one URL: its body, or the URL that it redirects to."""
    target = _target(url, name, policy)
    expired = threading.Event()
    try:
        addresses = _addresses(target, name, policy, network, deadline)
        with (
            _connected(addresses, target, policy, network, deadline) as sock,
            _shut_at(deadline, sock, expired),
            _secured(sock, target) as channel,
            closing(_get(target, channel)) as response,
        ):
            location = response.getheader("Location")
            if response.status in _REDIRECTS and location:
                return urllib.parse.urljoin(url, location)
            if response.status != 200:
                raise InputError(f"{name} answered with status {response.status}; check the address")
            body = _read_body(response, name, max_bytes)
    except (OSError, http.client.HTTPException, ValueError) as error:
        if expired.is_set() or isinstance(error, TimeoutError):
            raise _timed_out(name, policy) from None
        if isinstance(error, ssl.SSLCertVerificationError):
            raise InputError(f"{name} has no trusted certificate ({error.verify_message}); check the address") from None
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{name} cannot be downloaded ({reason}); check the address and the network") from None
    if expired.is_set():  # a body without a stated length looks complete when its socket is shut
        raise _timed_out(name, policy)
    return body


def _timed_out(name: str, policy: FetchPolicy) -> InputError:
    return InputError(f"{name} took longer than {policy.timeout_s:g} s; try again or download it yourself")


def _target(url: str, name: str, policy: FetchPolicy) -> _Target:
    """Errors: InputError for a URL that is not valid, of another scheme, or that hides its host."""
    try:
        parts = urllib.parse.urlsplit(url)
        scheme = parts.scheme.lower()
        host = parts.hostname or ""
        host = host if host.isascii() else host.encode("idna").decode("ascii")
        port = parts.port
        path = urllib.parse.quote(parts.path or "/", safe=_SAFE)
        if parts.query:
            path += "?" + urllib.parse.quote(parts.query, safe=_SAFE + "?")
    except ValueError:  # half a character of UTF-16 among them
        raise InputError(f"{name} is not a valid URL; check the address") from None
    if scheme not in policy.schemes:
        known = ", ".join([*sorted(policy.schemes), "file"])
        raise InputError(f"{name} leads to a {scheme!r} address; only {known} and data URLs are read")
    if (
        not host
        or len(host) > _MAX_HOST
        or port == 0
        or _ODD.search(re.split("[/?#]", url.split("://", 1)[-1], maxsplit=1)[0])
    ):
        raise InputError(f"{name} is not a valid URL; check the address")
    if "@" in parts.netloc:
        raise InputError(f"{name} has a user name before its host, which is not sent; leave it out")
    check_host(host)
    return _Target(scheme, host, port or (443 if scheme == "https" else 80), path)


def _addresses(target: _Target, name: str, policy: FetchPolicy, network: Network, deadline: float) -> list[str]:
    """The host's addresses, all of which have been checked. Looking up cannot be interrupted, only left behind."""
    answers: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            answers.put(network.resolve(target.host, target.port))
        except Exception as error:  # handed to the caller
            answers.put(error)

    threading.Thread(target=look_up, daemon=True).start()
    try:
        found = answers.get(timeout=max(0.0, deadline - time.monotonic()))
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(found, OSError | UnicodeError) or found == []:
        reason = found or "the answer is empty"
        raise InputError(f"{name} cannot be reached: no address for {target.host!r} ({reason}); check it")
    if isinstance(found, Exception):
        raise found
    if not policy.allow_private:
        for address in found:
            check_address(address, target.host)
    return found


@contextmanager
def _connected(
    addresses: list[str], target: _Target, policy: FetchPolicy, network: Network, deadline: float
) -> Iterator[socket.socket]:
    """A connection to the first of the addresses that answers."""
    for number, address in enumerate(addresses, 1):
        try:
            sock = network.connect(address, target.port, max(0.001, deadline - time.monotonic()))
            break
        except OSError:
            if number == len(addresses):
                raise
    with sock:
        # Whoever connects to an address of their own has it at both ends.
        if not policy.allow_private and sock.getsockname()[0] == address:
            raise InputError(f"{target.host} is this machine; send the file itself, or allow private addresses")
        yield sock


@contextmanager
def _shut_at(deadline: float, sock: socket.socket, expired: threading.Event) -> Iterator[None]:
    """Shut the connection when the time is up, whatever is being read from it."""
    lever = sock.dup()  # TLS takes the socket itself away

    def expire() -> None:
        expired.set()
        with suppress(OSError):  # closed already
            lever.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, deadline - time.monotonic()), expire)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        lever.close()


@contextmanager
def _secured(sock: socket.socket, target: _Target) -> Iterator[socket.socket]:
    if target.scheme == "http":
        yield sock
    else:
        with ssl.create_default_context().wrap_socket(sock, server_hostname=target.host) as secure:
            yield secure


def _get(target: _Target, sock: socket.socket) -> http.client.HTTPResponse:
    kind = http.client.HTTPSConnection if target.scheme == "https" else http.client.HTTPConnection
    connection = kind(target.host, target.port)
    connection.sock = sock
    connection.request("GET", target.path, headers={"User-Agent": "regard", "Accept-Encoding": "identity"})
    return connection.getresponse()


def _read_body(response: http.client.HTTPResponse, name: str, max_bytes: int) -> bytes:
    expected = response.length
    if expected is not None and expected > max_bytes:
        raise InputError(f"{name} has {expected} bytes, the limit is {max_bytes}; give a smaller file")
    body = bytearray()
    while chunk := response.read1(_CHUNK_BYTES):
        body += chunk
        if len(body) > max_bytes:
            raise InputError(f"{name} sends more than {max_bytes} bytes; give a smaller file")
    if expected is not None and len(body) < expected:
        raise http.client.IncompleteRead(b"", expected - len(body))
    return bytes(body)
