"""What every API's body becomes, and the asynchronous face of answering it: the one seam between routes and engine.

    asking = await Asking.start(llm, Ask(messages, {"max_tokens": 100}))      media are seen, the engine has it
    async with aclosing(asking.events()) as events:
        async for index, event in events: ...                                (which of the n answers, its event)

Looking at media takes long and blocks, so it happens in a thread of `executor`. From then on nothing blocks: the
engine's thread wakes the event loop when there are tokens. Whoever stops listening closes `events()`, or calls `close`
if it never began: the engine then forgets the answers before its next step, and their blocks are free. A task that is
cancelled inside `start` leaves nothing behind either.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

from regard.engine.loop import Stream
from regard.errors import EngineError
from regard.llm import LLM, Making, Prepared, SamplingOptions
from regard.messages import Message
from regard.reply import Event

Coordinates = Literal["pixel", "relative"]


@dataclass(frozen=True)
class Ask:
    """A question in the words of `LLM.answers`.

    coordinates      None: only text; else boxes and points are wanted with their confidence, in which unit is the
                     API's business
    max_calls        the answer is over with so many tool calls
    Without `tools`, what looks like a call in the answer is text.
    """

    messages: tuple[Message, ...]
    options: SamplingOptions
    preset: str | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    coordinates: Coordinates | None = None
    add_vision_id: bool = False
    max_calls: int | None = None

    def prepare(self, llm: LLM) -> Prepared:
        """Look at the media and make the prompt; blocks. Errors: RegardError."""
        options = self.options
        if self.coordinates is not None and options.get("num_logprobs") is None:
            options = {**options, "num_logprobs": 0}  # for the confidence
        return llm.prepare(
            self.messages,
            preset=self.preset,
            tools=self.tools or None,
            add_vision_id=self.add_vision_id,
            **options,
        )

    @property
    def rules(self) -> dict[str, Any]:
        """How the answer is read, as `Answer` takes it."""
        return {"reads_calls": bool(self.tools), "max_calls": self.max_calls}


class Asking:
    """One request being answered. `num_prompt_tokens` and `prepared` tell what was asked.

    `observe`, if set, is told of each event before whoever listens.
    """

    def __init__(self, prepared: Prepared, makings: list[Making]) -> None:
        self.prepared = prepared
        self.num_prompt_tokens = len(prepared.inputs.input_ids)
        self.observe: Callable[[int, Event], None] | None = None
        self._makings = makings
        # Also if nobody ever listens: a generator that was not begun has no end that could run.
        weakref.finalize(self, _close_streams, [making.stream for making in makings]).atexit = False

    @classmethod
    async def start(cls, llm: LLM, ask: Ask, *, executor: Executor | None = None) -> Asking:
        """Look at the media and hand the prompt to the engine. Errors: RegardError, before anything is sent."""

        def begin(is_wanted: Callable[[], bool]) -> Asking:
            prepared = ask.prepare(llm)
            return cls(prepared, _submit(llm, prepared, is_wanted, ask.rules))

        return await _finished(executor, begin)

    @classmethod
    async def complete(cls, llm: LLM, prepare: Callable[[], Prepared], *, executor: Executor | None = None) -> Asking:
        """As `start`, for a prompt that is plain text: nothing in the answer is thinking or a call."""

        def begin(is_wanted: Callable[[], bool]) -> Asking:
            prepared = prepare()
            return cls(prepared, _submit(llm, prepared, is_wanted, {"reads_tags": False}))

        return await _finished(executor, begin)

    async def events(self) -> AsyncGenerator[tuple[int, Event]]:
        """(answer index, event) as they come; each answer's last event carries its `Reply`.

        Errors: EngineError or CapacityError if the engine fails.
        """
        loop, news = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            try:
                loop.call_soon_threadsafe(news.set)
            except RuntimeError:  # the event loop is closed, so nobody listens
                return

        open_makings = dict(enumerate(self._makings))
        try:
            for making in open_makings.values():
                making.stream.listen(wake)
            while open_makings:
                await news.wait()
                news.clear()
                for index, making in list(open_makings.items()):
                    for event in _take(making):
                        if event.reply is not None:
                            del open_makings[index]
                        if self.observe is not None:
                            self.observe(index, event)
                        yield index, event
        finally:
            self.close()

    def close(self) -> None:
        """Stop what is not finished; from any thread, and as often as you like."""
        _close_streams([making.stream for making in self._makings])


def _close_streams(streams: list[Stream]) -> None:
    for stream in streams:
        stream.close()


def _take(making: Making) -> list[Event]:
    """The events of what has come, to the last one if the answer is over."""
    events: list[Event] = []
    for output in making.stream.take():
        events += making.take(output)
        if making.is_over or output.finish_reason is not None:
            making.stream.close()
            events += making.finish()
            break
    return events


def _submit(llm: LLM, prepared: Prepared, is_wanted: Callable[[], bool], rules: Mapping[str, Any]) -> list[Making]:
    if not is_wanted():
        raise EngineError("nobody waits for the answer any more")
    starts_in_thinking = None if rules.get("reads_tags", True) else False
    streams: list[Stream] = llm.submit(prepared.inputs, prepared.params, starts_in_thinking=starts_in_thinking)
    return [Making(llm.processor, prepared, stream, **rules) for stream in streams]


async def _finished(executor: Executor | None, begin: Callable[[Callable[[], bool]], Asking]) -> Asking:
    """Run `begin` in a thread. If this task is cancelled meanwhile, what was begun is closed as soon as it is there."""
    unwanted = threading.Event()
    pool = ThreadPoolExecutor(1) if executor is None else executor
    job = pool.submit(begin, lambda: not unwanted.is_set())
    if executor is None:
        pool.shutdown(wait=False)  # ends with its one job
    try:
        return await asyncio.wrap_future(job)
    except asyncio.CancelledError:
        unwanted.set()
        job.add_done_callback(_close)
        raise


def _close(job: Future[Asking]) -> None:
    if not job.cancelled() and job.exception() is None:
        job.result().close()
