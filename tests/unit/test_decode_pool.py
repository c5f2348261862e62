"""Decoding in other processes: the same pixels, and a process that is lost costs one request."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from regard.errors import BusyError, EngineError, InputError
from regard.messages import Document, Image, Video
from regard.processing import decode_pool
from regard.processing.decode import Clip, Decoded, Picture, decode
from regard.processing.decode_pool import DecodePool
from regard.processing.fetch import Fetched, fetch
from regard.processing.fetch_policy import DEFAULT_POLICY, MIB, FetchPolicy
from regard.processing.frames import VideoSettings
from regard.processing.video import load_video
from tests.clips import constant_times, read_number, write_clip
from tests.unit.test_pdf import pages_of

SETTINGS = VideoSettings()


def png(width: int = 40, height: int = 30, color: str = "orange") -> bytes:
    file = io.BytesIO()
    PillowImage.new("RGB", (width, height), color).save(file, "PNG")
    return file.getvalue()


def through(pool: DecodePool, part: Any, policy: FetchPolicy = DEFAULT_POLICY) -> list[Decoded]:
    return list(pool.decode(fetch(part, policy=policy), settings=SETTINGS, policy=policy))


def works(pool: DecodePool) -> bool:
    """Whether each of its workers decodes; none is missing."""
    return all(isinstance(through(pool, Image(png()))[0], Picture) for _ in range(3))


def process_ids(pool: DecodePool) -> list[int]:
    return [worker._process.pid for worker in pool._all]


def is_running(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture(scope="module")
def pool() -> Iterator[DecodePool]:
    with DecodePool(2) as pool:
        yield pool


@pytest.fixture
def never(tmp_path: Path) -> Image:
    """A picture that is never read to its end: a pipe that nobody writes into."""
    os.mkfifo(tmp_path / "pipe.png")
    return Image(Fetched(tmp_path / "pipe.png", "never.png"))


def test_pictures_pages_and_frames_are_the_same_as_decoded_here(pool: DecodePool, tmp_path: Path) -> None:
    pytest.importorskip("av", reason="reading video needs the extra 'video'")
    noise = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    clip = write_clip(tmp_path / "clip.mkv", constant_times(30))
    parts = [
        Image(png()),
        Image(noise),
        Image(PillowImage.new("L", (5, 4), 77)),
        Document(pages_of(3)),
        Video(clip, num_frames=5),
        Video(clip.read_bytes(), fps=1),
    ]
    for part in parts:
        fetched = fetch(part)
        here = list(decode(fetched, settings=SETTINGS, policy=DEFAULT_POLICY))
        there = list(pool.decode(fetched, settings=SETTINGS, policy=DEFAULT_POLICY))
        assert [type(value) for value in here] == [type(value) for value in there]
        for ours, theirs in zip(here, there, strict=True):
            if isinstance(ours, Picture) and isinstance(theirs, Picture):
                assert (ours.number, ours.pixels.tobytes()) == (theirs.number, theirs.pixels.tobytes())
            else:
                assert ours == theirs


def test_clips_and_lists_of_frames_are_loaded_through_it(pool: DecodePool, tmp_path: Path) -> None:
    pytest.importorskip("av", reason="reading video needs the extra 'video'")
    clip = write_clip(tmp_path / "clip.mp4", constant_times(100))
    sampled = load_video(Video(clip, num_frames=4), decode=pool.decode)
    assert [read_number(frame) for frame in sampled.frames] == list(sampled.frame_indices) == [0, 33, 66, 99]
    frames = load_video(Video([png(color="red"), png(color="blue")]), decode=pool.decode)
    assert frames.frames[0, 0, 0, 0] > 200 and frames.frames[1, 0, 0, 2] > 200


def test_its_errors_are_the_decoders_sentences(pool: DecodePool) -> None:
    for part, sentence in {
        Image(b"<html>"): "is an HTML page, not a picture",
        Image(png()[:60]): "is damaged or cut short",
        Document(b"%PDF-1.4 nothing"): "is damaged or cut short",
        Video(b"\0" * 100): "is damaged, cut short or no video",
        Document(pages_of(2), pages="1-9"): "pages '1-9' are not in the document, which has 2",
    }.items():
        with pytest.raises(InputError, match=sentence):
            through(pool, part)
    before = process_ids(pool)
    assert works(pool)
    assert process_ids(pool) == before, "a sentence is no reason to replace a worker"


def test_no_worker_loads_torch_or_reads_files_and_addresses_by_name(pool: DecodePool, tmp_path: Path) -> None:
    assert works(pool)
    for process_id in process_ids(pool):
        assert "libtorch" not in Path(f"/proc/{process_id}/maps").read_text()
    path = tmp_path / "shot.png"
    path.write_bytes(png())
    for source, sentence in {str(path): "names a local file", "http://127.0.0.1:9/": "only file and data URLs"}.items():
        with pytest.raises(InputError, match=sentence):
            list(pool.decode(Image(source), settings=SETTINGS, policy=FetchPolicy(allow_private=True)))


def test_a_worker_that_dies_costs_one_request(pool: DecodePool) -> None:
    pages = pool.decode(
        Document(fetch(Document(pages_of(200, 720, 720))).source), settings=SETTINGS, policy=DEFAULT_POLICY
    )
    next(pages)
    worker = pool_worker(pool)
    os.kill(worker, signal.SIGSEGV)
    with pytest.raises(InputError, match=r"the input of \d+ bytes made its decoder fail \(killed by SIGSEGV\)"):
        list(pages)
    assert works(pool) and worker not in process_ids(pool) and len(process_ids(pool)) == 2


def pool_worker(pool: DecodePool) -> int:
    """The one that is lent: all but those that wait."""
    idle = {worker._process.pid for worker in pool._idle.queue if worker is not None}
    (lent,) = set(process_ids(pool)) - idle
    return lent


def test_a_worker_that_died_while_idle_is_replaced_without_a_word() -> None:
    with DecodePool(1) as pool:
        assert works(pool)
        (worker,) = process_ids(pool)
        os.kill(worker, signal.SIGKILL)
        while is_alive(worker):
            time.sleep(0.01)
        assert works(pool)


def is_alive(process_id: int) -> bool:
    """Whether it runs and is no zombie."""
    try:
        return ") Z " not in Path(f"/proc/{process_id}/stat").read_text()
    except FileNotFoundError:
        return False


def test_what_takes_too_long_is_killed(never: Image) -> None:
    with DecodePool(1) as pool:
        assert works(pool)
        pool._item_s = 0.5
        with pytest.raises(InputError, match=r"never\.png takes too long to decode: the limits are 0\.5 s for one"):
            list(pool.decode(never, settings=SETTINGS, policy=DEFAULT_POLICY))
        pool._item_s, pool._part_s = 60.0, 0.0
        with pytest.raises(InputError, match=r"takes too long to decode: .* and 0 s for all"):
            through(pool, Document(pages_of(2)))
        pool._part_s = 60.0
        assert works(pool)


def test_what_needs_too_much_memory_is_refused() -> None:
    with DecodePool(1, max_memory_bytes=32 * MIB) as pool:
        with pytest.raises(InputError, match=r"too large for this machine's memory|needs too much memory|fail"):
            through(pool, Image(png(6000, 4000)))
        assert works(pool)


def test_a_caller_that_stops_listening_frees_the_worker() -> None:
    with DecodePool(1) as pool:
        pages = pool.decode(fetch(Document(pages_of(100))), settings=SETTINGS, policy=DEFAULT_POLICY)
        next(pages)
        pages.close()
        assert works(pool)


def test_many_threads_share_a_few_workers(pool: DecodePool) -> None:
    def sizes(width: int) -> tuple[int, ...]:
        (picture,) = through(pool, Image(png(width)))
        assert isinstance(picture, Picture)
        return picture.pixels.shape

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(sizes, range(10, 42))) == [(30, width, 3) for width in range(10, 42)]


def test_when_no_worker_becomes_free_the_request_is_refused(never: Image) -> None:
    with DecodePool(1, wait_s=0.1) as pool:
        stuck = threading.Thread(target=swallow, args=(pool, never))
        stuck.start()
        while not pool._idle.empty():
            time.sleep(0.01)
        with pytest.raises(BusyError, match=r"no process for decoding became free in 0\.1 s; try again later"):
            through(pool, Image(png()))
        pool.close()
        stuck.join(timeout=10)
        assert not stuck.is_alive()


def swallow(pool: DecodePool, part: Image) -> None:
    with pytest.raises(EngineError, match="closed"):
        list(pool.decode(part, settings=SETTINGS, policy=DEFAULT_POLICY))


def test_closing_leaves_no_process_and_refuses_what_comes_later() -> None:
    pool = DecodePool(2)
    workers = process_ids(pool)
    assert works(pool)
    pool.close()
    assert not any(map(is_running, workers))
    with pytest.raises(EngineError, match="the processes for decoding are closed"):
        through(pool, Image(png()))


def words(*headers: Any, tail: str = "b''") -> tuple[str, ...]:
    """A worker that says this, and then waits."""
    texts = [header if isinstance(header, bytes) else json.dumps(header).encode() for header in headers]
    said = b"".join(len(text).to_bytes(4, "big") + text for text in texts)
    code = f"import socket, sys, time; s = socket.socket(fileno=int(sys.argv[1])); s.sendall({said!r} + {tail}); "
    return (sys.executable, "-c", code + "time.sleep(60)")


READY = {"is": "ready"}


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (words(READY, {"is": "picture", "number": 0, "height": 10**9, "width": 10**9}), "a picture of a wrong size"),
        (words(READY, {"is": "picture", "number": 0, "height": -1, "width": -1}), "a picture of a wrong size"),
        (words(READY, {"is": "picture", "number": 0, "height": [1]}), "what cannot be read"),
        (words(READY, {"is": "clip", "indices": 5}), "what cannot be read"),
        (words(READY, {"is": "error", "type": "SystemExit", "message": "1"}), "what cannot be read"),
        (words(READY, b"\x80\x05."), "what cannot be read"),
        (words(READY, [1]), "what cannot be read"),
        (words(READY, tail="b'\\xff' * 100"), "what cannot be read"),
    ],
)
def test_a_worker_that_a_file_has_taken_over_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], sentence: str
) -> None:
    monkeypatch.setattr(decode_pool, "_COMMAND", command)
    with DecodePool(1) as pool, pytest.raises(InputError, match=rf"made its decoder fail \(it sent {sentence}\)"):
        through(pool, Image(png()))


def test_a_worker_that_cannot_be_started_is_our_own_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    for code, reason in {"raise SystemExit(3)": "ended with status 3", words([1])[-1]: "it sent what cannot"}.items():
        monkeypatch.setattr(decode_pool, "_COMMAND", (sys.executable, "-c", code))
        with DecodePool(1) as pool:
            for _ in range(2):
                with pytest.raises(EngineError, match=rf"cannot be started \({reason}"):
                    through(pool, Image(png()))
    monkeypatch.setattr(decode_pool, "_COMMAND", ("/nowhere/python",))
    with DecodePool(1) as pool:
        with pytest.raises(EngineError, match="the system starts no more processes"):
            through(pool, Image(png()))
        monkeypatch.undo()
        assert works(pool), "it is tried again for the next one"


def test_a_clip_that_promises_more_frames_than_come_is_refused(tmp_path: Path) -> None:
    def liar(part: Any, *, settings: VideoSettings, policy: FetchPolicy) -> Any:
        yield Clip((0, 1), (0.0, 1.0), 1.0, 2, 2.0)
        yield Picture(np.zeros((64, 64, 3), np.uint8), 0)

    with pytest.raises(InputError, match="its frames do not decode"):
        load_video(Video(b"clip"), decode=liar)
