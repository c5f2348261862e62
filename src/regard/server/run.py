"""Running the application: uvicorn with uvloop, and an end that lets answers finish.

The first SIGTERM or SIGINT drains: `/ready` turns 503, new questions are refused, what runs goes on for at most
`drain_s` seconds. The second one ends at once. While it drains the server still listens, so that whoever asks is told.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from types import FrameType

import uvicorn

from regard.errors import ConfigError
from regard.server.app import make_app
from regard.server.service import Service

KEEP_ALIVE_S = 30
BACKLOG = 1024
GRACE_S = 3  # for connections that are cut when the time is up


class DrainingServer(uvicorn.Server):
    """A uvicorn server that finishes what it began. `drain` may be called from any thread."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self._drain_from_s: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal: the first drains, the second ends."""
        if self._drain_from_s is None:
            self.drain()
        else:
            self.should_exit = self.force_exit = True

    def drain(self) -> None:
        """Take no new requests, and end when the others are done."""
        self._service.is_draining = True
        self._drain_from_s = time.monotonic()

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second: whether to end."""
        begun_s = self._drain_from_s
        if begun_s is not None:
            waited_s = time.monotonic() - begun_s
            if self._service.num_open == 0 or waited_s > self._service.settings.drain_s:
                self.should_exit = True
        return await super().on_tick(counter)


def make_server(
    service: Service, host: str, port: int, *, listener: socket.socket | None = None
) -> tuple[DrainingServer, socket.socket]:
    """A server and the socket that it will listen on; port 0 takes a free one, `listener` was bound before.

    Errors: ConfigError if nothing can listen there.
    """
    listener = bind(host, port) if listener is None else listener
    listener.listen(BACKLOG)
    config = uvicorn.Config(
        make_app(service, is_local=is_loopback(host)),
        log_level="warning",
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
        server_header=False,
        ws="none",
        lifespan="on",
    )
    return DrainingServer(config, service), listener


def serve(server: DrainingServer, listener: socket.socket) -> None:
    """Serve until told to stop; blocks."""
    try:
        server.run(sockets=[listener])
    finally:
        listener.close()


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens there."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def bind(host: str, port: int) -> socket.socket:
    """A socket with its address, that does not listen yet. Errors: ConfigError if the address cannot be had."""
    if not 0 <= port <= 65535:
        raise ConfigError(f"the port is {port}; it must be from 0 (a free one) to 65535")
    bare = host.strip("[]")
    family = socket.AF_INET6 if ":" in bare else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((bare, port))
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"nothing can listen on {host} port {port} ({error.strerror or error}); choose another --port or --host"
        ) from None
    listener.set_inheritable(True)
    return listener
