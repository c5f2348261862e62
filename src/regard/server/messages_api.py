"""The routes of Anthropic's Messages API.

    POST  /v1/messages                  an answer, streamed or not
    POST  /v1/messages/count_tokens     how many tokens its prompt has, pictures included

Closing a stream aborts its answer. While a stream has nothing to say, a ping is sent now and then.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from regard.server.asking import Asking
from regard.server.body import read_body
from regard.server.desk import Desk, named_event, new_id
from regard.server.errors import error_body, log_fault
from regard.server.messages_ask import read_request
from regard.server.messages_events import MessageEvents, ping
from regard.server.sse import EventStream, with_silences

PATH = "/v1/messages"
PING_S = 10.0  # of silence


def messages_router(desk: Desk) -> APIRouter:
    """The routes; errors are raised for the server to shape."""
    router = APIRouter()

    @router.post(PATH)
    async def create(request: Request) -> Response:
        asked = read_request(await read_body(request), desk)
        asking = await desk.start(asked.ask)
        events = MessageEvents(asked.model, new_id, coordinates=asked.ask.coordinates)
        if asked.is_stream:
            return EventStream(_stream(asking, events))
        return JSONResponse(await _whole(asking, events))

    @router.post(PATH + "/count_tokens")
    async def count_tokens(request: Request) -> Response:
        ask = read_request(await read_body(request), desk, is_count=True).ask
        return JSONResponse({"input_tokens": await desk.count_tokens(ask)})

    return router


async def _stream(asking: Asking, events: MessageEvents) -> AsyncGenerator[bytes]:
    """Server-sent events. An error after the first of them is told in the stream."""
    try:
        for made in events.begin(asking.num_prompt_tokens):
            yield named_event(made)
        async with aclosing(with_silences(asking.events(), PING_S)) as answer:
            async for item in answer:
                for made in [ping()] if item is None else events.push(item[1]):
                    yield named_event(made)
    except Exception as error:  # the headers are sent: it can only be told here
        log_fault(error)
        yield named_event(error_body(error, PATH))
    finally:
        asking.close()


async def _whole(asking: Asking, events: MessageEvents) -> dict[str, Any]:
    async with aclosing(asking.events()) as answer:
        async for _, event in answer:
            events.push(event)
    return events.message
