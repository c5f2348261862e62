"""A request's body as the JSON value that it holds."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import Request

from regard.server.errors import HttpError
from regard.server.json_body import read_json

BYTES_IN_A_BLINK = 256 * 1024  # larger bodies are read in a thread, so that nobody else waits for them


async def read_body(request: Request) -> Any:
    """The value. Errors: HttpError 415 if it is not said to be JSON; InputError if it is not.

    The type is asked for since a page elsewhere may send other types, but not this one, without asking us first.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise HttpError(
            415, f"the content type is {kind[:60]!r}; send JSON, with the header 'Content-Type: application/json'"
        )
    body = await request.body()
    return read_json(body) if len(body) < BYTES_IN_A_BLINK else await asyncio.to_thread(read_json, body)
