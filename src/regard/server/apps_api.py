"""Applications over HTTP.

    GET  /v1/apps           which there are, what they take, and the schemas of their options
    POST /v1/apps/{name}    {"inputs": [file ids or data URLs], "options": {...}}, answered by a stream of events:
                            progress  {"done", "total", "text"}
                            result    {"result": {...}, "files": [{"id", "name", "path", "bytes"}]}
                            error     {"error": {...}} in the shape of the API's errors; it ends the stream

What can be refused at once has a status of its own; what is wrong inside an input is found when the run begins, and
ends it as its error (`apps_inputs`). The application runs in a thread (`apps_job`); a client that hangs up stops it.
Files that it made are uploads like any other: GET /v1/files/{id}/content, until they are too old.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from regard.apps.result import Progress
from regard.errors import BusyError, InputError
from regard.server.apps_inputs import Given, placed, read_inputs
from regard.server.apps_job import App, Job, Made, Options, StoppableChat, Stopped
from regard.server.apps_table import APPS
from regard.server.body import read_body
from regard.server.desk import named_event
from regard.server.errors import HttpError, error_body, log_fault
from regard.server.fields import Fields, shown
from regard.server.query import Query
from regard.server.service import Service
from regard.server.sse import COMMENT, EventStream, with_silences

PROGRESS_EVERY_S = 0.1
PURPOSE = "app_output"
Json = dict[str, Any]


class AppRuns:
    """The runs of one server: some at a time, some that wait, and an end for all of them."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._pool = ThreadPoolExecutor(service.settings.num_apps, thread_name_prefix="regard-app")
        self._open: set[threading.Event] = set()

    async def events(self, app: App, inputs: list[Given], options: Options) -> AsyncGenerator[Json]:
        """The events of a run; closing this stops it."""
        loop = asyncio.get_running_loop()
        news: asyncio.Queue[Json | None] = asyncio.Queue()
        stopped = threading.Event()
        self._open.add(stopped)

        def tell(event: Json | None) -> None:
            try:
                loop.call_soon_threadsafe(news.put_nowait, event)
            except RuntimeError:  # the event loop is closed, so nobody listens
                stopped.set()

        job = self._pool.submit(self._run, app, inputs, options, stopped, tell)
        try:
            while (event := await news.get()) is not None:
                yield event
        finally:
            stopped.set()
            job.cancel()
            self._open.discard(stopped)

    def check_room(self) -> None:
        """Errors: BusyError if too many runs wait."""
        if len(self._open) >= self.service.settings.max_apps:
            raise BusyError(f"{len(self._open)} applications run or wait, which is the limit; ask again later")

    def close(self) -> None:
        """Stop all runs."""
        for stopped in list(self._open):
            stopped.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, app: App, inputs: list[Given], options: Options, stopped: threading.Event, tell: Any) -> None:
        """One run in its thread; every outcome becomes an event, and None ends them."""
        chat = StoppableChat(self.service.llm, self.service.name, stopped)
        told_s = 0.0

        def on_progress(progress: Progress) -> None:
            nonlocal told_s
            chat.check()
            if time.monotonic() - told_s >= PROGRESS_EVERY_S or progress.done >= progress.total > 0:
                told_s = time.monotonic()
                tell({"type": "progress", "done": progress.done, "total": progress.total, "text": progress.text})

        try:
            with tempfile.TemporaryDirectory(prefix="regard-app-", ignore_cleanup_errors=True) as place:
                given, out = Path(place) / "in", Path(place) / "out"
                out.mkdir()
                if inputs:
                    on_progress(Progress(0, 0, "looking at what was sent"))
                media = self.service.llm.processor.media
                pages = getattr(options, "pages", None) or None  # of documents; others have no such option
                paths = tuple(
                    placed(one, given / str(number), media, pages=pages, check=chat.check)
                    for number, one in enumerate(inputs)
                )
                made = app.run(Job(chat, paths, out, on_progress), options)
                chat.check()
                tell({"type": "result", "result": made.result.to_json(), "files": self._kept(made, out)})
        except Stopped:
            pass
        except Exception as error:
            log_fault(error)
            tell({"type": "error", **error_body(error, "")})
        finally:
            tell(None)

    def _kept(self, made: Made, folder: Path) -> list[Json]:
        kept = []
        for path in made.files:
            with path.open("rb") as source:
                stored = self.service.files.add(path.name, source, purpose=PURPOSE)
            inner = path.relative_to(folder).as_posix()
            kept.append({"id": stored.file_id, "name": stored.name, "path": inner, "bytes": stored.num_bytes})
        return kept


def apps_router(runs: AppRuns) -> APIRouter:
    """The routes; errors are raised for the server to shape."""
    router = APIRouter()
    service = runs.service

    @router.get("/v1/apps")
    async def list_apps(request: Request) -> Json:
        Query(request.query_params.multi_items()).end()
        return {"object": "list", "data": [app_json(name, app, service) for name, app in APPS.items()]}

    @router.post("/v1/apps/{name}")
    async def run(name: str, request: Request) -> Response:
        app = APPS.get(name)
        if app is None:
            raise HttpError(404, f"there is no application {name[:60]!r}; there are {', '.join(APPS)}")
        if not app.is_allowed(service.settings):
            raise HttpError(403, f"this server does not run {name!r}; {app.how_to_allow}", code="not_allowed")
        fields = Fields(await read_body(request), "the request")
        inputs, options = fields.items("inputs"), fields.plain("options") or {}
        fields.end()
        runs.check_room()
        chosen = _options(app, options)
        given = await asyncio.to_thread(read_inputs, app, inputs, service)
        return EventStream(_pieces(runs.events(app, given, chosen)))

    return router


def app_json(name: str, app: App, service: Service) -> Json:
    """An application in the list."""
    return {
        "id": name,
        "object": "app",
        "title": app.title,
        "takes": list(app.takes),
        "min_inputs": app.num_inputs[0],
        "max_inputs": app.num_inputs[1],
        "is_allowed": app.is_allowed(service.settings),
        "how_to_allow": app.how_to_allow,
        "options": app.options.model_json_schema(),
    }


async def _pieces(events: AsyncGenerator[Json]) -> AsyncGenerator[bytes]:
    async for event in with_silences(events):
        yield COMMENT if event is None else named_event(event)


def _options(app: App, given: Json) -> Options:
    try:
        return app.options.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            known = ", ".join(app.options.model_fields) or "none"
            raise InputError(f"{app.title} has no option {shown(name)}; its options are: {known}") from None
        if first["type"] == "missing":
            raise InputError(f"{app.title} needs the option {name!r}; give it") from None
        reason = first["msg"][:1].lower() + first["msg"][1:]
        raise InputError(
            f"the option {name!r} is {shown(first['input'])}, which {app.title} cannot use ({reason}); correct it"
        ) from None
