"""The routes of OpenAI's Responses API.

    POST    /v1/responses                      an answer, streamed or not
    GET     /v1/responses/{id}                 a stored one
    GET     /v1/responses/{id}/input_items     what it was asked
    DELETE  /v1/responses/{id}                 forgets it

Stored are responses that came to an end, unless the request says `store: false`. Closing a stream aborts its answer.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from regard.messages import Message, Text
from regard.reply import Reply
from regard.server.asking import Asking
from regard.server.body import read_body
from regard.server.desk import Desk, named_event, new_id
from regard.server.errors import error_body, log_fault
from regard.server.query import Query
from regard.server.responses_ask import Asked, read_request
from regard.server.responses_events import ResponseEvents
from regard.server.responses_items import page_of_items
from regard.server.responses_store import ResponseStore, Stored
from regard.server.sse import COMMENT, EventStream, with_silences

PATH = "/v1/responses"


def responses_router(desk: Desk, store: ResponseStore | None = None) -> APIRouter:
    """The routes; errors are raised for the server to shape."""
    router = APIRouter()
    stored = ResponseStore() if store is None else store

    @router.post(PATH)
    async def create(request: Request) -> Response:
        asked = read_request(await read_body(request), desk, stored)
        text = await request.body()
        answer = _Answer(asked, await desk.start(asked.ask), stored, len(text))
        return EventStream(answer.stream()) if asked.is_stream else JSONResponse(await answer.whole())

    @router.get(PATH + "/{response_id}")
    async def get(response_id: str, request: Request) -> Response:
        Query(request.query_params.multi_items()).end()
        return JSONResponse(dict(stored.get(response_id).response))

    @router.get(PATH + "/{response_id}/input_items")
    async def input_items(response_id: str, request: Request) -> Response:
        query = Query(request.query_params.multi_items())
        return JSONResponse(page_of_items(stored.get(response_id).items, query))

    @router.delete(PATH + "/{response_id}")
    async def delete(response_id: str) -> Response:
        stored.delete(response_id)
        return JSONResponse({"id": response_id, "object": "response", "deleted": True})

    return router


class _Answer:
    """One response from its first event to the store."""

    def __init__(self, asked: Asked, asking: Asking, store: ResponseStore, num_bytes: int) -> None:
        self._asked, self._asking, self._store, self._num_bytes = asked, asking, store, num_bytes
        self._events = ResponseEvents(asked.shell, new_id, coordinates=asked.ask.coordinates)

    async def stream(self) -> AsyncGenerator[bytes]:
        """Server-sent events. An error after the first of them is told in the stream."""
        try:
            for made in self._events.begin():
                yield named_event(made)
            async with aclosing(with_silences(self._made())) as events:
                async for event in events:
                    yield COMMENT if event is None else named_event(event)
        except Exception as error:  # the headers are sent: it can only be told here
            log_fault(error)
            for made in self._events.fail(error_body(error, PATH)["error"]["message"]):
                yield named_event(made)
        finally:
            self._asking.close()

    async def whole(self) -> dict[str, Any]:
        """The response when it is finished."""
        self._events.begin()
        async with aclosing(self._made()) as events:
            async for _ in events:
                pass
        return self._events.response

    async def _made(self) -> AsyncGenerator[dict[str, Any]]:
        async with aclosing(self._asking.events()) as events:
            async for _, event in events:
                made = self._events.push(event)
                if event.reply is not None and self._asked.is_stored:
                    self._keep(event.reply)
                for one in made:
                    yield one

    def _keep(self, reply: Reply) -> None:
        turn = Message(
            "assistant",
            (Text(reply.text),) if reply.text else (),
            reasoning=reply.thinking,
            tool_calls=reply.tool_calls,
        )
        num_bytes = self._asked.num_bytes_before + self._num_bytes + len(reply.raw)
        messages = (*self._asked.turns, turn)
        self._store.put(Stored(self._events.response, messages, self._asked.items, self._events.call_ids, num_bytes))
