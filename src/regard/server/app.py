"""The whole server as one ASGI application.

    service = Service(llm, Settings())
    app = make_app(service)                 uvicorn runs it (`server/run.py`)

From outside to inside: CORS, where it is allowed at all; the guard (key, limits, the watch on the connection); the
routes. There is no schema page: what the bodies may hold is in docs/server.md, and every mistake is told in words.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from starlette.exceptions import HTTPException

from regard.server.apps_api import AppRuns, apps_router
from regard.server.chat_api import chat_router
from regard.server.completions_api import completions_router
from regard.server.errors import HttpError, error_response
from regard.server.files_api import files_router
from regard.server.guard import Guard
from regard.server.messages_api import messages_router
from regard.server.models_api import models_router
from regard.server.page import WEB_FOLDER, Page, page_paths
from regard.server.responses_api import responses_router
from regard.server.service import Service


def make_app(service: Service, *, is_local: bool = False) -> FastAPI:
    """The application for a service, which is closed with it. `is_local`: only this machine can reach it."""

    runs = AppRuns(service)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        runs.close()
        service.close()

    app = FastAPI(title="regard", lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None)
    app.add_exception_handler(HTTPException, _tell)
    for router in (
        models_router(service),
        chat_router(service),
        completions_router(service),
        files_router(service),
        responses_router(service),
        messages_router(service),
        apps_router(runs),
    ):
        app.include_router(router)
    paths = page_paths(WEB_FOLDER)
    if paths:
        app.mount("/", Page(WEB_FOLDER))
    app.add_middleware(Guard, service=service, page_paths=paths, is_local=is_local)
    origins = list(service.settings.allow_origins)
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["*"],
            expose_headers=["Retry-After"],
        )
    return app


async def _tell(request: Request, error: Exception) -> Response:
    """The router's own refusals, in the API's shape."""
    path = request.url.path
    status = error.status_code if isinstance(error, HTTPException) else 500
    words = {
        404: f"there is nothing at {path[:120]!r}; docs/server.md lists the endpoints",
        405: f"{request.method} is not for {path[:120]!r}; docs/server.md lists the endpoints",
    }
    return error_response(HttpError(status, words.get(status, "the request cannot be answered")), path)
