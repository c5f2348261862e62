"""The whole server around a tiny model, which a test makes say what it likes (`tests.wants`)."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from regard.llm import LLM
from regard.server.app import make_app
from regard.server.asking import Ask, Asking
from regard.server.service import Service
from regard.server.settings import Settings


class WatchedService(Service):
    """Serves its model under the name "tiny" and remembers what it was asked."""

    def __init__(self, llm: LLM, **settings: Any) -> None:
        super().__init__(llm, Settings(**settings))
        self.name = "tiny"
        self.asks: list[Ask] = []

    async def start(self, ask: Ask) -> Asking:
        self.asks.append(ask)
        return await super().start(ask)


@contextmanager
def serving(service: Service) -> Iterator[str]:
    """Serve on a free loopback port; gives the URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    app = make_app(service, is_local=True)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


def masked(value: Any) -> Any:
    """A JSON value with what differs from run to run replaced, and from one version of Pillow to the next."""
    if isinstance(value, dict):
        hidden = ("id", "item_id", "call_id", "created_at", "first_id", "last_id", "confidence")
        return {name: "*" if name in hidden else masked(one) for name, one in value.items()}
    if isinstance(value, str) and value.startswith(("the data URL", "data:")):
        return value.partition(" (")[0].partition(",")[0]
    return [masked(one) for one in value] if isinstance(value, list) else value


def frees_everything(llm: LLM) -> bool:
    """Whether the engine soon holds no request and no block; an answer that went on would take much longer."""
    deadline_s = time.monotonic() + 5
    while time.monotonic() < deadline_s:
        if not llm.engine.call(lambda engine: engine.has_work):
            llm.engine.call(lambda engine: engine.pool.check_integrity([]))
            return True
        time.sleep(0.01)
    return False
