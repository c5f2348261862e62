"""One real server with regard-nano for all tests here, on a free loopback port, in a thread."""

from __future__ import annotations

import base64
import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import openai
    from playwright.sync_api import Browser

    from regard.llm import LLM
    from regard.server.run import DrainingServer
    from regard.server.service import Service

START_S = 30.0


@dataclass(frozen=True)
class Running:
    """A server that runs in a thread of this process."""

    url: str
    service: Service
    server: DrainingServer
    thread: threading.Thread


@contextmanager
def running(llm: LLM, **settings: Any) -> Iterator[Running]:
    """A server of its own around a model that is loaded already."""
    from regard.server.run import make_server, serve
    from regard.server.service import Service
    from regard.server.settings import Settings

    service = Service(llm, Settings(**settings))
    server, listener = make_server(service, "127.0.0.1", 0)
    thread = threading.Thread(target=serve, args=(server, listener), daemon=True)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    thread.start()
    deadline_s = time.monotonic() + START_S
    while not server.started and time.monotonic() < deadline_s:
        time.sleep(0.01)
    try:
        yield Running(url, service, server, thread)
    finally:
        server.should_exit = True
        thread.join(START_S)


@pytest.fixture(scope="session")
def media_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder whose files requests may name."""
    return tmp_path_factory.mktemp("media")


@pytest.fixture(scope="session")
def nano(media_folder: Path) -> Iterator[LLM]:
    """The bundled checkpoint, loaded once, with the server's rules about media."""
    pytest.importorskip("fastapi", reason="the server needs the extra 'server'")
    import regard
    from regard.processing.fetch_policy import STRICT_POLICY

    llm = regard.LLM.load("nano", policy=replace(STRICT_POLICY, local_folders=(media_folder,)))
    yield llm
    llm.engine.close()


@pytest.fixture(scope="session")
def server(nano: LLM) -> Iterator[Running]:
    """The server that all tests share."""
    with running(nano) as one:
        yield one


@pytest.fixture(scope="session")
def client(server: Running) -> Iterator[openai.OpenAI]:
    """OpenAI's own client."""
    openai = pytest.importorskip("openai", reason="openai is not installed")
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as one:
        yield one


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium for the tests of a module. Not for the session: playwright allows one at a time in a thread,
    and other tests start theirs."""
    from playwright.sync_api import sync_playwright

    from regard.train.world.browser import CHROMIUM

    with sync_playwright() as playwright:
        one = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        yield one
        one.close()


def png(width: int = 320, height: int = 200) -> bytes:
    """A red circle on white."""
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(picture).ellipse((40, 40, 120, 120), fill="red")
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def data_url(data: bytes, kind: str = "image/png") -> str:
    """Bytes as a data URL."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def asked(*parts: dict[str, Any], text: str = "Give the bounding box of the red circle.") -> list[dict[str, Any]]:
    """A user's message."""
    return [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}]


def picture(**options: Any) -> dict[str, Any]:
    """A part with the red circle."""
    return {"type": "image_url", "image_url": {"url": data_url(png())}, **options}
