"""`regard serve`: a model behind OpenAI's and Anthropic's HTTP APIs, and the web page.

Strangers' media are fetched and decoded by stricter rules than one's own: no file of this machine unless it lies in
a --media-folder, no address inside the house unless --allow-private-urls, and decoding in processes of its own.
SIGTERM or Ctrl-C lets the answers that run finish, for --drain-seconds; a second one ends at once.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from regard.cli.options import DeviceOption, DtypeOption, MaxMemoryOption
from regard.errors import ConfigError, MissingDependencyError

if TYPE_CHECKING:
    from regard.processing.fetch_policy import FetchPolicy

KEYS_VARIABLE = "REGARD_API_KEYS"


def serve(
    model: Annotated[str, typer.Option(help="nano, a model folder, or a hub id.")] = "nano",
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 is every one of this machine.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8000,
    api_key: Annotated[
        list[str] | None,
        typer.Option(help="Asked of every client; may be repeated. Better in REGARD_API_KEYS, separated by commas."),
    ] = None,
    media_folder: Annotated[
        list[Path] | None, typer.Option(help="Requests may name files in this folder; may be repeated.")
    ] = None,
    allow_private_urls: Annotated[
        bool, typer.Option("--allow-private-urls", help="Fetch media from addresses inside the house, too.")
    ] = False,
    fetch_urls: Annotated[bool, typer.Option(help="Fetch media from http and https URLs.")] = True,
    allow_origin: Annotated[
        list[str] | None, typer.Option(help="Web pages from here may call the API (CORS); may be repeated; * is all.")
    ] = None,
    max_queue: Annotated[int, typer.Option(help="Answers that may wait; beyond, requests get status 429.")] = 256,
    max_body: Annotated[str, typer.Option(help="Largest request; uploaded files have a limit of their own.")] = "64MiB",
    max_file: Annotated[str, typer.Option(help="Largest uploaded file.")] = "512MiB",
    max_messages: Annotated[int, typer.Option(help="Longest conversation, in messages.")] = 1000,
    max_image_pixels: Annotated[int | None, typer.Option(help="Largest picture or frame that is decoded.")] = None,
    max_video_seconds: Annotated[float | None, typer.Option(help="Longest clip that is taken.")] = None,
    file_hours: Annotated[float, typer.Option(help="Uploaded files are forgotten after so many hours.")] = 24.0,
    drain_seconds: Annotated[float, typer.Option(help="Time that running answers get when the server stops.")] = 30.0,
    decoders: Annotated[int, typer.Option(min=1, help="Processes that decode media.")] = 2,
    allow_agent: Annotated[
        bool, typer.Option("--allow-agent", help="Let whoever may call the server start a browser agent here.")
    ] = False,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    precision: Annotated[str, typer.Option(help="auto, or on CPUs int8 or int4: smaller and faster weights.")] = "auto",
    video_dialect: Annotated[str, typer.Option(help="How frames are written: authors or transformers.")] = "authors",
    max_memory: MaxMemoryOption = None,
) -> None:
    """Serve a model over HTTP: OpenAI's and Anthropic's APIs, and a web page."""
    _check_installed()
    from regard.cli.terminal import load_here, parse_size, stderr_console
    from regard.processing.decode_pool import DecodePool
    from regard.server.page import WEB_FOLDER, page_paths
    from regard.server.run import bind, is_loopback, make_server
    from regard.server.run import serve as run
    from regard.server.service import Service
    from regard.server.settings import Settings

    settings = Settings(
        api_keys=(*(api_key or ()), *_keys_of_environment()),
        allow_origins=tuple(allow_origin or ()),
        max_queue=max_queue,
        max_body_bytes=parse_size(max_body),
        max_file_bytes=parse_size(max_file),
        max_messages=max_messages,
        file_ttl_s=file_hours * 3600,
        drain_s=drain_seconds,
        allow_agent=allow_agent,
    )
    policy = _policy(media_folder or [], allow_private_urls, fetch_urls, max_image_pixels, max_video_seconds)
    console = stderr_console()
    with bind(host, port) as listener, DecodePool(decoders) as pool:  # an address in use is told before all else
        chat = load_here(
            model,
            device=device,
            dtype=dtype,
            precision=precision,
            video_dialect=video_dialect,
            max_memory=max_memory,
            policy=policy,
            decode=pool.decode,
        )
        service = Service(chat.llm, settings)
        try:
            server, _ = make_server(service, host, port, listener=listener)
            url = _url(host, listener.getsockname()[1])
            if page_paths(WEB_FOLDER):
                console.print(f"page:  {url}/", markup=False, soft_wrap=True)
            console.print(f"API:   {url}/v1", markup=False, soft_wrap=True)
            if not settings.api_keys and not is_loopback(host):
                console.print(
                    f"anyone who can reach {host} may use it: give an --api-key", style="yellow", markup=False
                )
            run(server, listener)
        finally:
            service.close()
            chat.close()


def _policy(
    folders: list[Path],
    allow_private: bool,
    fetch_urls: bool,
    max_image_pixels: int | None,
    max_video_s: float | None,
) -> FetchPolicy:
    """What requests may make us read. Errors: ConfigError for a folder that is not there or a limit below 1."""
    from regard.processing.fetch_policy import STRICT_POLICY

    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"--media-folder {folder} is no folder; make it first, or check the path")
    for flag, value in (("--max-image-pixels", max_image_pixels), ("--max-video-seconds", max_video_s)):
        if value is not None and value < 1:
            raise ConfigError(f"{flag} is {value}; it must be 1 or more")
    return replace(
        STRICT_POLICY,
        local_folders=tuple(folders),
        allow_private=allow_private,
        schemes=STRICT_POLICY.schemes if fetch_urls else frozenset(),
        max_image_pixels=STRICT_POLICY.max_image_pixels if max_image_pixels is None else max_image_pixels,
        max_video_s=STRICT_POLICY.max_video_s if max_video_s is None else max_video_s,
    )


def _keys_of_environment() -> tuple[str, ...]:
    return tuple(key.strip() for key in os.environ.get(KEYS_VARIABLE, "").split(",") if key.strip())


def _url(host: str, port: int) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host.strip("[]") else host)
    return f"http://{shown}:{port}"


def _check_installed() -> None:
    from importlib.util import find_spec

    for module in ("fastapi", "uvicorn", "prometheus_client", "python_multipart"):
        if find_spec(module) is None:
            raise MissingDependencyError(
                f"regard serve needs {module}, which is not installed; run: pip install 'regard[server]'"
            )
