"""A stream of server-sent events as an answer. Its pieces are closed with it, whyever it ends.

Silence is broken by a comment now and then, so that no proxy takes a long prompt for a dead connection.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, TypeVar

from fastapi import Response

T = TypeVar("T")
SILENCE_S = 10.0
COMMENT = b": waiting\n\n"
DONE = b"data: [DONE]\n\n"


class EventStream(Response):
    """Sends pieces as they are made."""

    media_type = "text/event-stream"

    def __init__(self, pieces: AsyncGenerator[bytes]) -> None:
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._pieces = pieces

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """The whole answer."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with aclosing(self._pieces) as pieces:
            async for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def event_bytes(value: Mapping[str, Any]) -> bytes:
    """One event without a name."""
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n".encode()


async def with_silences(items: AsyncGenerator[T], seconds: float = SILENCE_S) -> AsyncGenerator[T | None]:
    """The items, and None after each so many seconds without one. `items` is closed with this."""
    waiting: asyncio.Task[T] | None = None
    try:
        while True:
            if waiting is None:
                waiting = asyncio.ensure_future(_next(items))
            done, _ = await asyncio.wait({waiting}, timeout=seconds)
            if not done:
                yield None
                continue
            try:
                item = waiting.result()
            except StopAsyncIteration:
                return
            finally:
                waiting = None
            yield item
    finally:
        if waiting is not None:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        await items.aclose()


async def _next(items: AsyncGenerator[T]) -> T:
    return await anext(items)
