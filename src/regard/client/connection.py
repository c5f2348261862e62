"""Requests to one server: time limits, retries, and ending a request from outside.

    connection = Connection("http://localhost:8000/v1", api_key=None)
    with connection.post("/chat/completions", body) as exchange:
        for piece in exchange: ...

Tried again, with growing and jittered pauses: connections that fail, and the statuses 429, 502 and 503, whose
Retry-After is honoured. A `get` whose connection fails is told at once: it is the first question to a server, and a
mistyped host would otherwise take seconds. Never tried again: anything after the headers of an answer came, since a
second answer would be another one. What goes wrong is one sentence (`failures`).

Each request has a socket of its own, so that shutting it ends this request only, from any thread and at any moment
after connecting; servers take that as the order to stop computing. Proxies come from the usual environment variables.
It does not follow redirects: the key would follow, too.
"""

from __future__ import annotations

import json
import random
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any

from regard.client import failures
from regard.errors import ConfigError, MissingDependencyError, RegardError, ServerError

if TYPE_CHECKING:
    import httpx2

RETRIED_STATUSES = frozenset({429, 502, 503})
MAX_PAUSE_S = 60.0  # a server that asks for a longer one is not waited for
MAX_ERROR_BYTES = 64 * 1024


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds, and how often to try again.

    `read_s` bounds a silence between two pieces of an answer, the time until the first one included; `total_s` a whole
    answer with its retries (None: no bound); `retry_delay_s` is the first pause, each further one is twice as long.
    """

    connect_s: float = 10.0
    read_s: float = 600.0
    total_s: float | None = None
    max_retries: int = 4
    retry_delay_s: float = 0.5

    def __post_init__(self) -> None:
        for name in ("connect_s", "read_s", "total_s", "retry_delay_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name} is {value}; it must be above 0 seconds")
        if self.max_retries < 0:
            raise ConfigError(f"max_retries is {self.max_retries}; it must be 0 or more")


class Connection:
    """A server's base URL with everything that its requests share. Safe to use from several threads."""

    def __init__(self, url: str, *, api_key: str | None = None, patience: Patience | None = None) -> None:
        try:
            import httpx2
        except ImportError:
            raise MissingDependencyError(
                "talking to a server needs httpx2, which is not installed; run: pip install httpx2"
            ) from None
        self.patience = patience or Patience()
        headers = {"User-Agent": "regard"} | ({} if api_key is None else {"Authorization": f"Bearer {api_key}"})
        try:
            self._url = httpx2.URL(url.rstrip("/"))
            self._client = httpx2.Client(headers=headers, limits=httpx2.Limits(max_keepalive_connections=0))
        except (httpx2.InvalidURL, ValueError, UnicodeError) as error:
            raise ConfigError(f"{url!r} cannot be used ({error}); check the URL, the key and the proxy") from None
        except ImportError as error:  # a SOCKS proxy is set, and the package for it is not there
            raise MissingDependencyError(f"the proxy that is set cannot be used: {error}") from None
        # A port that is too high would be taken modulo 65536, and the key sent to whoever is there.
        if not self._url.host or not 0 < (self._url.port or 80) < 65536:
            raise ConfigError(f"{url!r} has no valid host and port; write it as http://host:8000/v1")
        self._lines: set[_Line] = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()

    @property
    def url(self) -> str:
        """The base URL, without a user's name and password."""
        return str(self._url.copy_with(username=None, password=None)).rstrip("/")

    @property
    def host(self) -> str:
        """The host name."""
        return self._url.host

    def get(self, path: str) -> Exchange:
        """Ask for a document. Errors: as `failures` tells; ServerError when it cannot be reached."""
        return self._open("GET", path, None)

    def post(self, path: str, body: Mapping[str, Any]) -> Exchange:
        """Send JSON; returns once the answer's headers are there. Errors: as `get`."""
        return self._open("POST", path, json.dumps(body, ensure_ascii=False).encode())

    def close(self) -> None:
        """End every request; those who read them get an error."""
        self._closed.set()
        with self._lock:
            lines = list(self._lines)
        for line in lines:
            line.cut()
        self._client.close()

    def _open(self, method: str, path: str, content: bytes | None) -> Exchange:
        total_s = self.patience.total_s
        deadline = None if total_s is None else time.monotonic() + total_s
        for attempt in range(self.patience.max_retries + 1):
            line = _Line()
            with self._lock:
                self._lines.add(line)
            try:
                answer = self._try(method, path, content, line, deadline)
            except BaseException:
                self._forget(line)
                raise
            if isinstance(answer, Exchange):
                return answer
            self._forget(line)
            pause_s = self._pause_s(attempt, answer.retry_after_s)
            is_too_late = deadline is not None and time.monotonic() + pause_s > deadline
            is_last = attempt == self.patience.max_retries or (method == "GET" and not answer.has_status)
            if is_last or is_too_late or pause_s > MAX_PAUSE_S:
                raise answer.error
            if self._closed.wait(pause_s):
                raise failures.cancelled(self.url)
        raise AssertionError("the loop ends by itself")

    def _try(
        self, method: str, path: str, content: bytes | None, line: _Line, deadline: float | None
    ) -> Exchange | _Failed:
        """One attempt: the answer, or a failure that may pass."""
        import httpx2

        if self._closed.is_set():
            raise failures.cancelled(self.url)
        line.expire_at(deadline)
        request = self._client.build_request(
            method,
            f"{self._url}{path}",
            content=content,
            headers={"Content-Type": "application/json"} if content is not None else None,
            timeout=httpx2.Timeout(self.patience.read_s, connect=self.patience.connect_s),
            extensions={"trace": line.trace},
        )
        try:
            response = self._client.send(request, stream=True)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            failure = self._told(error, line)
            if "SSL" in str(error):  # will not pass
                raise failure from None
            return _Failed(failure, has_status=False)
        except (httpx2.HTTPError, RuntimeError, OSError) as error:  # RuntimeError: closed meanwhile
            raise self._told(error, line) from None
        exchange = Exchange(self, response, line)
        if response.is_success:
            return exchange
        with exchange:
            refusal = failures.of_status(self.url, response.status_code, exchange.read_error(), response.headers)
        if response.status_code not in RETRIED_STATUSES:
            raise refusal
        return _Failed(refusal, retry_after_s=_retry_after_s(response.headers.get("Retry-After")))

    def _pause_s(self, attempt: int, retry_after_s: float | None) -> float:
        if retry_after_s is not None:
            return retry_after_s
        return float(self.patience.retry_delay_s * 2**attempt * random.uniform(0.5, 1.0))

    def _told(self, error: Exception, line: _Line) -> RegardError:
        """One sentence about what happened on a line."""
        if line.is_expired and self.patience.total_s is not None:
            return ServerError(
                f"{self.url} took longer than {self.patience.total_s:g} s; ask again, or allow more time"
            )
        if line.is_cut or self._closed.is_set():
            return failures.cancelled(self.url)
        return failures.of_transport(self.url, error, self.patience.connect_s, self.patience.read_s)

    def _forget(self, line: _Line) -> None:
        line.finish()
        with self._lock:
            self._lines.discard(line)


class Exchange:
    """A request whose answer has begun. Iterating gives the body's bytes as they come."""

    def __init__(self, connection: Connection, response: httpx2.Response, line: _Line) -> None:
        self._connection, self._response, self._line = connection, response, line

    @property
    def headers(self) -> Mapping[str, str]:
        """The answer's headers; names in any case."""
        return self._response.headers

    @property
    def kind(self) -> str:
        """The media type, as in text/event-stream."""
        return self._response.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    def __iter__(self) -> Iterator[bytes]:
        """Errors: ServerError when the connection breaks, is silent for too long, or is closed from elsewhere."""
        import httpx2

        try:
            yield from self._response.iter_bytes()
        except (httpx2.HTTPError, httpx2.StreamError, RuntimeError, OSError) as error:
            raise self._connection._told(error, self._line) from None
        if self._line.is_cut:  # a body without a stated length looks complete when its socket is shut
            raise self._connection._told(EOFError(), self._line)

    def read_json(self) -> Any:
        """The whole body. Errors: ConfigError if it is not JSON."""
        body = b"".join(self)
        try:
            return json.loads(body)
        except ValueError:
            raise failures.not_json(self._connection.url, body) from None

    def read_error(self) -> bytes:
        """The beginning of an error's body, as far as it comes."""
        body = b""
        with suppress(RegardError):
            for piece in self:
                body += piece
                if len(body) > MAX_ERROR_BYTES:
                    break
        return body

    def cancel(self) -> None:
        """End it from any thread; whoever reads it gets an error."""
        self._line.cut()

    def close(self) -> None:
        """End it, if it is not over."""
        self._connection._forget(self._line)
        with suppress(Exception):  # what is thrown away may break
            self._response.close()

    def __enter__(self) -> Exchange:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class _Failed:
    """An attempt that may succeed later."""

    error: RegardError
    has_status: bool = True
    retry_after_s: float | None = None


class _Line:
    """The socket of one request, known as soon as it is connected."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._timer: threading.Timer | None = None
        self.is_cut = False
        self.is_expired = False

    def trace(self, name: str, info: Mapping[str, Any]) -> None:
        """Called by the HTTP library at each of its steps."""
        if name.endswith((".connect_tcp.complete", ".start_tls.complete")):  # to the server, or to a proxy
            self._socket = info["return_value"].get_extra_info("socket")
            if self.is_cut:
                self.cut()

    def expire_at(self, deadline: float | None) -> None:
        """Cut it at a moment of `time.monotonic`."""
        if deadline is not None:
            self._timer = threading.Timer(max(0.0, deadline - time.monotonic()), self._expire)
            self._timer.daemon = True
            self._timer.start()

    def cut(self) -> None:
        """Shut the socket: whoever waits for it wakes up."""
        self.is_cut = True
        if self._socket is not None:
            with suppress(OSError):  # closed already
                # The base class's method: SSLSocket.shutdown would pull the TLS state away under the reader.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def finish(self) -> None:
        """No longer watch the time."""
        if self._timer is not None:
            self._timer.cancel()

    def _expire(self) -> None:
        self.is_expired = True
        self.cut()


def _retry_after_s(header: str | None) -> float | None:
    """Seconds from now: the header holds seconds, or a date. None if it is absent or neither."""
    if header is None:
        return None
    with suppress(ValueError):
        seconds = float(header)
        return max(0.0, seconds) if seconds == seconds else None
    with suppress(ValueError, TypeError):
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    return None
