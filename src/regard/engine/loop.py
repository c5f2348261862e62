"""A thread for the engine: requests come from any thread, tokens go back through queues.

    stream = loop.submit(inputs, params)      any thread
    for output in stream: ...                 blocks until the next token
    stream.listen(wake); stream.take()        or never blocks: `wake` is called when there is something to take
    stream.close()                            ends the sequence before the engine's next step

The thread starts with the first request and sleeps while there is nothing to do. If a step fails, every request that
was in it gets the error and the engine starts afresh with an empty cache; the loop itself never dies.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Seq
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch

from regard.engine.engine import Engine, Output
from regard.engine.request import Sequence, Status
from regard.errors import BusyError, EngineError, RegardError
from regard.inputs import ModelInputs
from regard.kernels.threads import release_threads
from regard.sampling_params import SamplingParams

if TYPE_CHECKING:
    from regard.engine.structured import Constraint

T = TypeVar("T")


class Stream:
    """What one sequence gives, as it comes. Iterating ends after the output with a finish reason."""

    def __init__(self, loop: EngineLoop, sequence: Sequence) -> None:
        self._loop, self.sequence = loop, sequence
        self._outputs: queue.SimpleQueue[Output | RegardError] = queue.SimpleQueue()
        self._wake: Callable[[], None] | None = None
        self._error: RegardError | None = None  # taken behind outputs, told the next time
        self._is_over = False

    def put(self, output: Output | RegardError) -> None:
        """Called by the engine's thread."""
        self._outputs.put(output)
        wake = self._wake
        if wake is not None:
            wake()

    def listen(self, wake: Callable[[], None]) -> None:
        """Have `wake` called, in the engine's thread, whenever there is something to take; it must return at once."""
        self._wake = wake
        wake()  # for what came before

    def take(self) -> list[Output]:
        """What has come since, without waiting. Errors: what ended the sequence."""
        taken: list[Output] = []
        while not self._is_over:
            try:
                output = self._error or self._outputs.get_nowait()
            except queue.Empty:
                break
            if isinstance(output, RegardError):
                if taken:
                    self._error = output
                    break
                self._is_over = True
                raise output
            self._is_over = output.finish_reason is not None
            taken.append(output)
        return taken

    def __iter__(self) -> Iterator[Output]:
        while not self._is_over:
            output = self._outputs.get()
            if isinstance(output, RegardError):
                self._is_over = True
                raise output
            self._is_over = output.finish_reason is not None
            yield output

    def close(self) -> None:
        """Abort what is not finished."""
        if not self._is_over:
            self._is_over = True
            self._loop.abort(self.sequence)


@dataclass(frozen=True)
class Figures:
    """What the engine holds at this moment."""

    num_running: int = 0
    num_waiting: int = 0
    num_blocks_used: int = 0
    num_blocks: int = 0


class EngineLoop:
    """Owns the engine and its thread. `make_engine` is called with the first request, in the engine's thread."""

    def __init__(self, make_engine: Callable[[], Engine]) -> None:
        self._make_engine = make_engine
        self._engine: Engine | None = None
        self._jobs: deque[Callable[[], None]] = deque()
        self._streams: dict[int, Stream] = {}
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def submit(
        self,
        inputs: ModelInputs,
        params: SamplingParams,
        *,
        starts_in_thinking: bool = False,
        constraints: Seq[Constraint | None] = (),
    ) -> list[Stream]:
        """Queue a request; returns a stream for each of its `params.n` answers.

        Errors: CapacityError at once if it can never fit; EngineError after `close`.
        """
        answer: queue.SimpleQueue[list[Stream] | RegardError] = queue.SimpleQueue()

        def job() -> None:
            try:
                sequences = self._get_engine().add(
                    inputs, params, starts_in_thinking=starts_in_thinking, constraints=constraints
                )
            except RegardError as error:
                answer.put(error)
                return
            except Exception as error:  # no memory for the cache, say: whoever asked must not wait for ever
                answer.put(EngineError(f"the engine cannot take the request ({type(error).__name__}: {error})"))
                return
            streams = [Stream(self, sequence) for sequence in sequences]
            self._streams |= {stream.sequence.number: stream for stream in streams}
            answer.put(streams)

        self._post(job)
        made = answer.get()
        if isinstance(made, RegardError):
            raise made
        return made

    def abort(self, sequence: Sequence) -> None:
        """Stop a sequence before the next step."""

        def job() -> None:
            self._streams.pop(sequence.number, None)
            if self._engine is not None and sequence.status is not Status.FINISHED:
                self._engine.abort(sequence)

        if not self._is_closed:
            self._post(job)

    def call(self, function: Callable[[Engine], T]) -> T:
        """Run a function with the engine between two steps, in the engine's thread; raises what it raises."""
        answer: Future[T] = Future()

        def job() -> None:
            try:
                answer.set_result(function(self._get_engine()))
            except Exception as error:
                answer.set_exception(error)

        self._post(job)
        return answer.result()

    def figures(self) -> Figures:
        """What the engine holds, as far as can be seen without waiting for its step to end."""
        engine = self._engine
        if engine is None:
            return Figures()
        pool, scheduler = engine.pool, engine.scheduler
        num_blocks = engine.budget.num_blocks
        return Figures(len(scheduler.running), len(scheduler.waiting), num_blocks - pool.num_available, num_blocks)

    def close(self) -> None:
        """End the thread; unfinished requests get an error."""
        with self._wake:
            self._is_closed = True
            self._wake.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _get_engine(self) -> Engine:
        if self._is_closed:
            raise EngineError("the engine is closed; load the model again")
        if self._engine is None:
            self._engine = self._make_engine()
        return self._engine

    def _post(self, job: Callable[[], None]) -> None:
        if threading.current_thread() is not self._thread:
            release_threads()  # of whoever has just prepared a request: the engine's threads need the CPUs
        with self._wake:
            if self._is_closed:
                raise EngineError("the engine is closed; load the model again")
            self._jobs.append(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="regard-engine", daemon=True)
                self._thread.start()
            self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._jobs or self._is_closed or self._has_work())
                if self._is_closed:
                    break
                jobs = list(self._jobs)
                self._jobs.clear()
            for job in jobs:
                job()
            if self._has_work():
                self._step()
        self._fail(EngineError("the engine was closed before the answer was finished"))
        for job in self._jobs:  # each tells whoever posted it that it is too late
            job()

    def _has_work(self) -> bool:
        return self._engine is not None and self._engine.has_work

    def _step(self) -> None:
        assert self._engine is not None
        try:
            outputs = self._engine.step()
        except torch.OutOfMemoryError:
            self._fail(BusyError("the device's memory is used up; lower max_pixels, max_tokens or max_memory"))
            return
        except Exception as error:  # whatever it is, the other requests' threads must not wait for ever
            self._fail(EngineError(f"the engine failed in the middle of a step ({type(error).__name__}: {error})"))
            return
        for output in outputs:
            number = output.sequence.number
            stream = self._streams.get(number)
            if stream is not None:
                stream.put(output if output.error is None else output.error)
                if output.error is not None or output.finish_reason is not None:
                    del self._streams[number]

    def _fail(self, error: RegardError) -> None:
        """Give everyone the error and drop the engine's state, which may be half changed."""
        for stream in self._streams.values():
            stream.put(error)
        self._streams.clear()
        self._engine = None
