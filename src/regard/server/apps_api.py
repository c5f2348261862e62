"""Applications over HTTP.

    GET  /v1/apps           which there are, what they take, and the schemas of their options
    POST /v1/apps/{name}    {"inputs": [file ids or data URLs], "options": {...}}, answered by a stream of events:
                            progress  {"done", "total", "text"}
                            result    {"result": {...}, "files": [{"id", "name", "path", "bytes"}]}
                            error     {"error": {...}} in the shape of the API's errors; it ends the stream

What can be refused at once has a status of its own. The application runs in a thread (`apps_job`); a client that hangs
up stops it. Files that it made are uploads like any other: GET /v1/files/{id}/content, until they are too old.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
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
from regard.conversation import media_part
from regard.errors import BusyError, InputError
from regard.processing.fetch import read_bytes
from regard.server.apps_job import App, Job, Made, Options, StoppableChat, Stopped
from regard.server.apps_table import APPS
from regard.server.body import read_body
from regard.server.desk import named_event
from regard.server.errors import HttpError, error_body, log_fault
from regard.server.fields import Fields, shown
from regard.server.service import Service
from regard.server.sse import COMMENT, EventStream, with_silences

PROGRESS_EVERY_S = 0.1
PURPOSE = "app_output"
_SUFFIXES = {"image": ".png", "video": ".mp4", "document": ".pdf"}
Json = dict[str, Any]


class AppRuns:
    """The runs of one server: some at a time, some that wait, and an end for all of them."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._pool = ThreadPoolExecutor(service.settings.num_apps, thread_name_prefix="regard-app")
        self._open: set[threading.Event] = set()

    async def events(self, app: App, inputs: list[tuple[str, Path | bytes]], options: Options) -> AsyncGenerator[Json]:
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

    def _run(
        self, app: App, inputs: list[tuple[str, Path | bytes]], options: Options, stopped: threading.Event, tell: Any
    ) -> None:
        """One run in its thread; every outcome becomes an event, and None ends them."""
        chat = StoppableChat(self.service.llm, stopped)
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
                paths = tuple(_placed(given / str(number), *one) for number, one in enumerate(inputs))
                chat.check()
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
    async def list_apps() -> Json:
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
        given = await asyncio.to_thread(_inputs, app, inputs, service)
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
        name = ".".join(map(str, first["loc"])) or "options"
        raise InputError(f"{name[:60]} of the options cannot be used ({first['msg'].lower()}); correct it") from None


def _inputs(app: App, given: list[Any], service: Service) -> list[tuple[str, Path | bytes]]:
    """(name, file or bytes) of each input. Errors: InputError, HttpError 404."""
    fewest, most = app.num_inputs
    if not fewest <= len(given) <= most:
        wanted = str(fewest) if fewest == most else f"{fewest} to {most}"
        raise InputError(f"there are {len(given)} inputs, and {app.title} takes {wanted}; correct the list")
    found: list[tuple[str, Path | bytes]] = []
    for one in given:
        if isinstance(one, str) and one.startswith("data:"):
            data: Path | bytes = read_bytes(one, "document")
            part, name = media_part(data), "input"
        elif isinstance(one, str):
            stored = service.files.get(one)
            part, name, data = stored.part, stored.name, stored.path
        else:
            raise InputError(f"an input is {shown(one)}; it must be the id of an uploaded file or a data URL")
        kind = type(part).__name__.lower()
        if kind not in app.takes:
            raise InputError(f"{name} is of the kind {kind}, and {app.title} takes {' or '.join(app.takes)} only")
        found.append((_file_name(name, kind), data))
    return found


def _file_name(name: str, kind: str) -> str:
    """A harmless name with a suffix that fits."""
    bare, _, suffix = name.rpartition(".")
    suffix = f".{suffix.lower()}" if bare and re.fullmatch(r"[A-Za-z0-9]{1,5}", suffix) else _SUFFIXES[kind]
    return (re.sub(r"[^\w-]+", "-", bare or name)[:60].strip("-") or "input") + suffix


def _placed(folder: Path, name: str, data: Path | bytes) -> Path:
    """The input as a file of its own, so that it stays though its upload is deleted."""
    folder.mkdir(parents=True)
    path = folder / name
    if isinstance(data, bytes):
        path.write_bytes(data)
        return path
    try:
        os.link(data, path)
    except FileNotFoundError:
        raise InputError(f"the file {name} was deleted; upload it again") from None
    except OSError:
        shutil.copyfile(data, path)
    return path
