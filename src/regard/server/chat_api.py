"""POST /v1/chat/completions, streamed or not."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from regard.errors import RegardError
from regard.server.asking import Asking
from regard.server.body import read_body
from regard.server.chat_answer import ChatAnswer
from regard.server.chat_request import ChatRequest, read_request
from regard.server.desk import new_id
from regard.server.errors import error_event
from regard.server.service import Service
from regard.server.sse import COMMENT, DONE, EventStream, event_bytes, with_silences


def chat_router(service: Service) -> APIRouter:
    """The route; errors are raised for the server to shape."""
    router = APIRouter()

    @router.post("/v1/chat/completions")
    async def create(request: Request) -> Response:
        asked = read_request(await read_body(request), service)
        asking = await service.start(asked.ask)
        answer = ChatAnswer(
            asked.model,
            asking.prepared.params.n,
            new_id,
            service.llm.processor.tokenizer,
            coordinates=asked.ask.coordinates,
            wants_logprobs=asked.wants_logprobs,
        )
        if asked.is_stream:
            return EventStream(_chunks(asked, asking, answer))
        async with aclosing(asking.events()) as events:
            async for index, event in events:
                answer.push(index, event)
        return JSONResponse(answer.whole())

    return router


async def _chunks(asked: ChatRequest, asking: Asking, answer: ChatAnswer) -> AsyncGenerator[bytes]:
    """The stream. An error after its beginning is told in it, and ends it."""
    extra = {"usage": None} if asked.includes_usage else {}
    for index in range(asking.prepared.params.n):
        yield event_bytes({**answer.begin(index), **extra})
    try:
        async with aclosing(with_silences(asking.events())) as events:
            async for item in events:
                yield COMMENT if item is None else event_bytes({**answer.push(*item), **extra})
    except RegardError as error:
        yield error_event(error)
        return
    if asked.includes_usage:
        yield event_bytes(answer.usage())
    yield DONE
