"""What every request passes before a route sees it, and what happens when its client goes away.

    host    without a key, a server on this machine answers to its own names only: a page elsewhere that makes a
            name point here (DNS rebinding) gets nothing
    key     `Authorization: Bearer KEY` or `x-api-key: KEY`, compared in constant time; /health, /ready and the
            files of the page need none
    drain   a server that was told to stop takes no new questions
    body    counted while it is read, whatever its header says, and not for ever

From when the body is read until the answer is sent, the connection is watched: a client that hangs up has its route
cancelled, which ends its answers (`asking`). An error that comes before the answer becomes one (`errors`), whatever it
is; one that comes later can only break the connection off.

Plain ASGI, so that nothing stands between a stream and its client.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

from starlette.datastructures import MutableHeaders

from regard.server.errors import HttpError, error_response, log_fault
from regard.server.service import Service
from regard.server.settings import Settings

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN_PATHS = frozenset({"/health", "/ready"})
LOOPBACK_NAMES = frozenset({"localhost", "testserver"})
UPLOADS = "/v1/files"
MULTIPART_BYTES = 1024 * 1024  # around the file in an upload


class Guard:
    """The outermost layer but for CORS. `page_paths` are the files of the page; `is_local`: bound to loopback."""

    def __init__(self, app: App, service: Service, page_paths: frozenset[str], *, is_local: bool = False) -> None:
        self._app, self._service = app, service
        self._open_paths = OPEN_PATHS | page_paths
        self._keys = [key.encode() for key in service.settings.api_keys]
        self._checks_host = is_local and not self._keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection's request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sent = _Sent(send)
        start_s = time.perf_counter()
        self._service.num_open += 1
        try:
            self._check(scope)
            await _watched(self._app, scope, _Body(receive, _max_bytes(scope, self._service.settings)), sent)
        except Exception as error:
            if sent.status is None:
                await error_response(error, scope["path"])(scope, receive, sent)
            else:
                log_fault(error)
                raise
        finally:
            self._service.num_open -= 1
            endpoint = getattr(scope.get("route"), "path", None) or "other"
            status = sent.status or 499  # nothing was sent: the client went away
            self._service.metrics.count_request(endpoint, status, time.perf_counter() - start_s)

    def _check(self, scope: Scope) -> None:
        headers = {name.lower(): value for name, value in scope["headers"]}
        if self._checks_host and not _is_loopback(headers.get(b"host", b"").decode("latin-1")):
            raise HttpError(
                403,
                "this server answers to this machine's own names only; start it with --api-key to be called by another",
                code="wrong_host",
            )
        path, is_reading = scope["path"], scope["method"] in ("GET", "HEAD")
        if self._keys and not (is_reading and path in self._open_paths):
            self._check_key(headers)
        if self._service.is_draining and not is_reading:
            raise HttpError(503, "the server is about to stop and takes no new requests; ask again in a moment")

    def _check_key(self, headers: dict[bytes, bytes]) -> None:
        kind, _, token = headers.get(b"authorization", b"").partition(b" ")
        given = token.strip() if kind.lower() == b"bearer" else headers.get(b"x-api-key", b"")
        # Every key is compared, so that the time tells nothing about which one was nearly right.
        if not sum([hmac.compare_digest(given, key) for key in self._keys]):
            what = "is wrong" if given else "is missing"
            raise HttpError(
                401,
                f"the API key {what}; send it as 'Authorization: Bearer KEY' or 'x-api-key: KEY'",
                headers={"WWW-Authenticate": "Bearer"},
            )


class _Sent:
    """Sends, and remembers the status. No browser is to guess what an answer is."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status: int | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message).setdefault("X-Content-Type-Options", "nosniff")
        await self._send(message)


class _Body:
    """Receives a request's body, counted and timed; from its end on, waits for the client to go."""

    def __init__(self, receive: Receive, limits: tuple[int, float]) -> None:
        self._receive, (self._max_bytes, timeout_s) = receive, limits
        self._deadline_s = time.monotonic() + timeout_s
        self._num_bytes = 0
        self._is_read = asyncio.Event()
        self._is_gone = asyncio.Event()

    async def __call__(self) -> Message:
        if self._is_read.is_set():
            await self._is_gone.wait()
            return {"type": "http.disconnect"}
        try:
            async with asyncio.timeout(max(0.0, self._deadline_s - time.monotonic())):
                message = await self._receive()
        except TimeoutError:
            raise HttpError(
                408,
                "the request did not arrive in time; send it faster, or upload large files first",
                headers={"Connection": "close"},
            ) from None
        if message["type"] == "http.disconnect":
            self._is_gone.set()
            self._is_read.set()
            return message
        self._num_bytes += len(message.get("body", b""))
        self.check(self._num_bytes)
        if not message.get("more_body"):
            self._is_read.set()
        return message

    def check(self, num_bytes: int) -> None:
        """Errors: HttpError 413 if a body of this size is too large."""
        if num_bytes > self._max_bytes:
            raise HttpError(
                413,
                f"the request has more than {self._max_bytes} bytes, which is the limit; make it smaller, or upload "
                "its files first",
                headers={"Connection": "close"},
            )

    async def wait_for_end(self) -> None:
        """Return when the client has hung up."""
        await self._is_read.wait()
        while not self._is_gone.is_set():
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._is_gone.set()


async def _watched(app: App, scope: Scope, body: _Body, send: Send) -> None:
    """Run the app until it is done or its client has gone."""
    length = dict(scope["headers"]).get(b"content-length", b"")
    if length.isdigit():
        body.check(int(length[:20]))
    route = asyncio.ensure_future(app(scope, body, send))
    watcher = asyncio.ensure_future(body.wait_for_end())
    try:
        await asyncio.wait({route, watcher}, return_when=asyncio.FIRST_COMPLETED)
        if not route.done():
            route.cancel()
            with suppress(asyncio.CancelledError):
                await route
            return
        route.result()
    finally:
        for task in (route, watcher):
            if not task.done():
                task.cancel()
        await asyncio.gather(route, watcher, return_exceptions=True)


def _max_bytes(scope: Scope, settings: Settings) -> tuple[int, float]:
    if scope["path"] == UPLOADS:
        return settings.max_file_bytes + MULTIPART_BYTES, settings.body_timeout_s
    return settings.max_body_bytes, settings.body_timeout_s


def _is_loopback(host: str) -> bool:
    """Whether a Host header names this machine by itself."""
    name = host.rpartition(":")[0] if not host.endswith("]") and host.count(":") else host
    name = name.strip("[]").lower()
    if name in LOOPBACK_NAMES or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
