"""The server's side of every route: the model, its name, the files, the queue, the figures.

It is the `Desk` of the routes. One object per server, made with it and closed with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from regard.errors import BusyError, InputError
from regard.llm import LLM, Prepared
from regard.messages import Document, Image, Part, Text, Video
from regard.sampling_params import Structure
from regard.server.asking import Ask, Asking
from regard.server.errors import HttpError
from regard.server.files import FileStore
from regard.server.metrics import Metrics
from regard.server.settings import Settings
from regard.server.tools import use_tools


class Service:
    """What the routes share. `is_draining` is set when the server is told to stop."""

    def __init__(self, llm: LLM, settings: Settings) -> None:
        self.llm, self.settings = llm, settings
        self.name = Path(llm.name).resolve().name if Path(llm.name).is_dir() else llm.name
        self.files = FileStore(settings)
        self.num_looking = 0  # requests whose media are looked at, or that wait for it
        self.num_open = 0  # requests of any kind
        self.is_draining = False
        self.metrics = Metrics(llm.engine.figures, lambda: self.num_looking)
        self._lookers = ThreadPoolExecutor(settings.num_lookers, thread_name_prefix="regard-look")

    def served_name(self, asked: str | None) -> str:
        """The model's name. Errors: HttpError 404 if another model is asked for."""
        if asked is not None and asked not in (self.name, self.llm.name):
            raise HttpError(
                404, f"there is no model {asked[:80]!r} here; ask for {self.name!r}", code="model_not_found"
            )
        return self.name

    def find_file(self, file_id: str) -> Part:
        """An uploaded file as a part. Errors: HttpError 404 if there is none."""
        return self.files.part(file_id)

    def use_tools(
        self, tools: Sequence[Mapping[str, Any]], choice: Any
    ) -> tuple[tuple[Mapping[str, Any], ...], Structure | None]:
        """See `tools.use_tools`."""
        return use_tools(tools, choice)

    async def start(self, ask: Ask) -> Asking:
        """Begin to answer. Errors: RegardError before anything is sent; BusyError if too many wait."""
        self._check_size(ask)
        return await self._start(lambda: Asking.start(self.llm, ask, executor=self._lookers))

    async def complete(self, prepare: Callable[[], Prepared]) -> Asking:
        """Begin to go on with a plain text. Errors: as `start`."""
        return await self._start(lambda: Asking.complete(self.llm, prepare, executor=self._lookers))

    async def prepare(self, ask: Ask) -> Prepared:
        """The prompt, which is not answered. Errors: as `start`."""
        self._check_size(ask)
        self._check_queue()
        self.num_looking += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._lookers, ask.prepare, self.llm)
        finally:
            self.num_looking -= 1

    async def count_tokens(self, ask: Ask) -> int:
        """How many tokens the prompt has. Errors: as `start`."""
        return len((await self.prepare(ask)).inputs.input_ids)

    def close(self) -> None:
        """End the threads and remove the files; the model is its owner's."""
        self._lookers.shutdown(wait=False, cancel_futures=True)
        self.files.close()

    async def _start(self, begin: Callable[[], Any]) -> Asking:
        self._check_queue()
        self.num_looking += 1
        try:
            asking: Asking = await begin()
        finally:
            self.num_looking -= 1
        inputs = asking.prepared.inputs
        num_visual = sum(report.num_visual_tokens for report in inputs.media)
        self.metrics.count_prompt(len(inputs.input_ids), num_visual, len(inputs.media))
        asking.observe = self.metrics.watch(asking.prepared.start_s).see
        return asking

    def _check_queue(self) -> None:
        num_waiting = self.num_looking + self.llm.engine.figures().num_waiting
        if num_waiting >= max(1, self.settings.max_queue):
            raise BusyError(f"{num_waiting} requests wait, the limit is {self.settings.max_queue}; ask again later")

    def _check_size(self, ask: Ask) -> None:
        settings = self.settings
        if len(ask.messages) > settings.max_messages:
            raise InputError(
                f"there are {len(ask.messages)} messages, the limit is {settings.max_messages}; send fewer"
            )
        parts = [part for message in ask.messages for part in message.parts if not isinstance(part, Text)]
        num_media = sum(map(_num_sources, parts))
        if num_media > settings.max_media:
            raise InputError(
                f"there are {num_media} pictures, clips and documents, the limit is {settings.max_media}; send fewer"
            )


def _num_sources(part: Image | Video | Document) -> int:
    """How many things are fetched for a part; the frames of a clip count as one for each eight."""
    if isinstance(part, Video) and isinstance(part.source, list | tuple):
        return -(-len(part.source) // 8)
    return 1
