"""Decoding in other processes: a file that crashes, hangs or bloats a decoder costs its own request and no other.

    with DecodePool(num_workers=2) as pool:
        llm = LLM.load("nano", policy=STRICT_POLICY, decode=pool.decode)

Each worker (`decode_worker`) is a fresh interpreter without torch, so a new one is there in a few tenths of a
second; it is started by its command and not by `multiprocessing`, whose children import the parent's main module
and may run its code again. Parent and worker share one socket. The worker sends each picture as soon as it has
it and decodes on while the caller works with it; how far ahead, the socket's buffer decides: less than a picture.

A worker is lent for one part of a message. Time is limited for each picture, page and frame, and for the part. A
worker that takes longer, dies, talks nonsense, or whose caller stops listening is killed and replaced; the caller
hears one sentence. Pixels are copied through the socket and not shared, so what was checked stays as it was.

It does not fetch (parts come fetched, see `fetch`), and it needs a Unix.
"""

from __future__ import annotations

import json
import os
import pickle
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from regard.errors import BusyError, EngineError, InputError, MissingDependencyError
from regard.messages import Document, Image, Video
from regard.processing.decode import Clip, Decoded, Picture
from regard.processing.decode_worker import HEADER_SIZE
from regard.processing.fetch import source_name
from regard.processing.fetch_policy import MIB, FetchPolicy
from regard.processing.frames import VideoSettings

_MAX_HEADER_BYTES = MIB
_MAX_SENTENCE = 1000  # characters of a worker's error
_ERRORS = {kind.__name__: kind for kind in (InputError, MissingDependencyError)}
_START_S = 60.0
_COMMAND = (sys.executable, "-P", "-m", "regard.processing.decode_worker")  # -P: no module from where we stand
_SOURCE_ROOT = Path(__file__).parents[2]  # the folder that holds our package


class DecodePool:
    """Some workers; safe to share between threads. Close it, or use it in a `with`.

    max_memory_bytes  of one worker beyond what it has loaded at its start
    item_s            for one picture, page or frame, the caller's work with the one before included
    part_s            for all pages or frames of one part
    wait_s            for a worker to become free
    """

    def __init__(
        self,
        num_workers: int = 2,
        *,
        max_memory_bytes: int = 2048 * MIB,
        item_s: float = 60.0,
        part_s: float = 600.0,
        wait_s: float = 60.0,
    ) -> None:
        self._max_memory_bytes, self._item_s, self._part_s, self._wait_s = max_memory_bytes, item_s, part_s, wait_s
        # The one used last is warm. None: one that could not be started when the last one was lost; the taker tries.
        self._idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        self._lock = threading.Lock()
        self._all: set[_Worker] = set()
        self._is_closed = False
        for _ in range(num_workers):
            self._idle.put(self._hire())

    def __enter__(self) -> DecodePool:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill all workers. Whoever waits for a picture gets an EngineError."""
        with self._lock:
            self._is_closed = True
            workers, self._all = self._all, set()
        for worker in workers:
            worker.kill()

    def decode(
        self, part: Image | Video | Document, *, settings: VideoSettings, policy: FetchPolicy
    ) -> Generator[Decoded]:
        """As `decode.decode`, in a worker. `part` must be fetched, or hold pixels.

        Errors: InputError also when decoding takes too long, too much memory, or kills its process; BusyError
        when no worker becomes free in time; EngineError when workers cannot be started or the pool is closed.
        """
        values = self._lent(part, settings, policy)
        # A picture is one value: with it in hand the worker is free, whatever the caller does with it.
        yield from list(values) if isinstance(part, Image) else values

    def _lent(self, part: Image | Video | Document, settings: VideoSettings, policy: FetchPolicy) -> Generator[Decoded]:
        worker = self._take()
        is_idle = False
        try:
            worker.send((part, settings, replace(policy, schemes=frozenset(), local_folders=())))
            name = source_name(part.source)
            end = time.monotonic() + self._part_s
            while True:
                with worker.killed_after(min(self._item_s, end - time.monotonic())):
                    value = worker.receive(policy)
                    if value is None:
                        break
                    yield value
            is_idle = True
        except (InputError, MissingDependencyError):
            is_idle = True  # the worker's own sentence: it is fine
            raise
        except _LostError as error:
            raise self._sentence(name, error, worker) from None
        finally:
            self._idle.put(worker if is_idle else self._replaced(worker))

    def _take(self) -> _Worker:
        try:
            worker = self._idle.get(timeout=self._wait_s)
        except queue.Empty:
            raise BusyError(
                f"no process for decoding became free in {self._wait_s:g} s; try again later, or send less at a time"
            ) from None
        if worker is None or worker.is_lost:
            worker = self._replaced(worker)
        try:
            if worker is None:
                raise _LostError("the system starts no more processes")
            with worker.killed_after(_START_S):
                worker.wait_until_ready()
        except _LostError as error:
            self._idle.put(self._replaced(worker))
            if self._is_closed:
                raise _closed() from None
            command = " ".join(_COMMAND)
            raise EngineError(f"{command} cannot be started ({error}); its own words are on the terminal") from None
        return worker

    def _replaced(self, worker: _Worker | None) -> _Worker | None:
        if worker is not None:
            worker.kill()
            with self._lock:
                self._all.discard(worker)
        return self._hire()

    def _hire(self) -> _Worker | None:
        with self._lock:
            if self._is_closed:
                return None
            try:
                worker = _Worker(self._max_memory_bytes)
            except OSError:  # no memory, or too many processes or files: the next taker tries again
                return None
            self._all.add(worker)
            return worker

    def _sentence(self, name: str, error: _LostError, worker: _Worker) -> InputError | EngineError:
        if self._is_closed:
            return _closed()
        if worker.is_expired:
            return InputError(
                f"{name} takes too long to decode: the limits are {self._item_s:g} s for one picture and "
                f"{self._part_s:g} s for all; make it smaller or shorter"
            )
        return InputError(f"{name} made its decoder fail ({error}); save it again, or in another format")


def _closed() -> EngineError:
    return EngineError("the processes for decoding are closed; start the server again")


class _LostError(Exception):
    """The worker is gone, or says what no worker says."""


class _Worker:
    """One process and the socket to it."""

    def __init__(self, max_memory_bytes: int) -> None:
        self.is_expired = False
        self._is_ready = False
        self._socket, theirs = socket.socketpair()
        try:
            self._process = subprocess.Popen(
                [*_COMMAND, str(theirs.fileno()), str(max_memory_bytes)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the server, which closes the pool
                env=_environment(),
            )
        except OSError:
            self._socket.close()
            raise
        finally:
            theirs.close()

    def send(self, job: Any) -> None:
        with suppress(OSError), self._socket.makefile("wb") as file:  # it is gone: noticed when it does not answer
            pickle.dump(job, file, protocol=5)

    @property
    def is_lost(self) -> bool:
        """Whether it ended after it was ready: killed while it was idle."""
        return self._is_ready and (self.is_expired or self._process.poll() is not None)

    @contextmanager
    def killed_after(self, seconds: float) -> Iterator[None]:
        """Kill it if this takes longer; whoever reads from a killed worker meets the end of its words."""

        if seconds <= 0:
            self._expire()
        timer = threading.Timer(max(0.0, seconds), self._expire)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _expire(self) -> None:
        self.is_expired = True
        self._process.kill()

    def wait_until_ready(self) -> None:
        """Errors: _LostError if it ends instead."""
        if not self._is_ready:
            self._is_ready = self._header().get("is") == "ready"
            if not self._is_ready:
                raise _LostError("it sent what cannot be read")

    def receive(self, policy: FetchPolicy) -> Decoded | None:
        """The next value, None at the end. What comes is not believed before it is checked."""
        header = self._header()
        if self.is_expired:  # what it said last is still there to be read
            raise _LostError("it was too slow")
        try:
            match header["is"]:
                case "end":
                    return None
                case "error":
                    raise _ERRORS[header["type"]](str(header["message"])[:_MAX_SENTENCE])
                case "clip":
                    return Clip(
                        tuple(map(int, header["indices"])),
                        tuple(map(float, header["times_s"])),
                        float(header["fps"]),
                        int(header["num_frames"]),
                        float(header["duration_s"]),
                    )
            number, height, width = int(header["number"]), int(header["height"]), int(header["width"])
        except (KeyError, TypeError, ValueError):
            raise _LostError("it sent what cannot be read") from None
        if not (0 < height * width <= policy.max_image_pixels and height > 0):
            raise _LostError("it sent a picture of a wrong size")
        pixels = np.empty((height, width, 3), np.uint8)
        self._fill(pixels.data.cast("B"))
        return Picture(pixels, number)

    def _header(self) -> dict[str, Any]:
        size = bytearray(HEADER_SIZE.size)
        self._fill(memoryview(size))
        (num_bytes,) = HEADER_SIZE.unpack(size)
        if num_bytes > _MAX_HEADER_BYTES:
            raise _LostError("it sent what cannot be read")
        text = bytearray(num_bytes)
        self._fill(memoryview(text))
        try:
            header = json.loads(text)
        except ValueError:
            header = None
        if not isinstance(header, dict):
            raise _LostError("it sent what cannot be read")
        return header

    def _fill(self, view: memoryview) -> None:
        while view:
            try:
                count = self._socket.recv_into(view)
            except OSError:
                count = 0
            if count == 0:
                raise _LostError(self._end())
            view = view[count:]

    def _end(self) -> str:
        status = self._process.wait()  # its socket is closed, so it has ended or is about to
        return f"killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._socket.close()


def _environment() -> dict[str, str]:
    """One thread for numerical libraries, few arenas of memory, and our package from where we have it."""
    path = os.pathsep.join([str(_SOURCE_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    limits = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
    return {**os.environ, **limits, "PYTHONPATH": path}
