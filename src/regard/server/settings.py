"""What the operator decides: keys, limits, times. One frozen value; the media's own limits are a `FetchPolicy`."""

from __future__ import annotations

from dataclasses import dataclass

from regard.errors import ConfigError
from regard.processing.fetch_policy import MIB


@dataclass(frozen=True)
class Settings:
    """Sizes in bytes, times in seconds.

    api_keys           any of them opens every route but /health and /ready; none: all is open
    allow_origins      of web pages elsewhere that may call the API; none: only our own page
    max_queue          answers that wait, besides those that run
    max_body_bytes     of one request; uploads have `max_file_bytes`
    max_messages       of one conversation, and `max_media` pictures, clips and documents in it
    max_files_bytes    of all uploaded files together, which are forgotten after `file_ttl_s`
    body_timeout_s     for sending one request
    drain_s            that answers get to finish when the server is told to stop
    num_lookers        requests whose media are looked at in the same moment
    num_apps           applications that run in the same moment; max_apps: these and those that wait
    allow_agent        start browsers for whoever asks
    """

    api_keys: tuple[str, ...] = ()
    allow_origins: tuple[str, ...] = ()
    max_queue: int = 256
    max_body_bytes: int = 64 * MIB
    max_messages: int = 1000
    max_media: int = 256
    max_file_bytes: int = 512 * MIB
    max_files_bytes: int = 2048 * MIB
    max_files: int = 1000
    file_ttl_s: float = 24 * 3600.0
    body_timeout_s: float = 300.0
    drain_s: float = 30.0
    num_lookers: int = 4
    num_apps: int = 2
    max_apps: int = 8
    allow_agent: bool = False

    def __post_init__(self) -> None:
        if any(not key or not key.isascii() or not key.isprintable() or " " in key for key in self.api_keys):
            raise ConfigError("an API key is empty or has characters other than printable ASCII; choose another")
        for origin in self.allow_origins:
            if origin != "*" and not origin.startswith(("http://", "https://")):
                raise ConfigError(f"the origin {origin!r} is not one; write it as https://example.com, or * for all")
        for name in ("max_body_bytes", "max_messages", "max_file_bytes", "max_files_bytes", "num_lookers", "num_apps"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be 1 or more")
        for name in ("max_queue", "max_media", "max_files", "max_apps", "file_ttl_s", "drain_s"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be 0 or more")
