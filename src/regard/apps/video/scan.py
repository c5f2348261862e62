"""Reading a clip once, into its index: every packet is looked at, and only key frames are decoded.

    with scan(path, folder) as index: ...           # the index that is there already, or a new one

First pass: the key frames, at least `step_s` apart, become small JPEGs and grids; how big the packets between them are
is noted, because a picture that suddenly differs needs many bytes. Second pass: only the gaps between key frames whose
ends differ, or in which a packet stands out, are decoded whole, to find the exact frame; at most
`MIN_LOOKS + duration / SECONDS_PER_LOOK` of them, the strongest first. A gap between key frames of more than
`MAX_GAP_S` is decoded too, and gets a frame every `_FILL_S`: a clip with hardly any key frames is read at the speed
of decoding it. At any time memory holds a few frames and the grids of one gap.
"""

from __future__ import annotations

import io
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image

from regard.apps.result import Progress
from regard.apps.video import changes
from regard.apps.video.changes import COLUMNS, ROWS, Change, Grid
from regard.apps.video.index import ClipFacts, Index, IndexWriter, whole_hash
from regard.errors import InputError
from regard.processing.fetch_policy import DEFAULT_POLICY
from regard.processing.video_file import Packet, VideoFile, upright_rgb

if TYPE_CHECKING:
    from av import VideoFrame

SIDE_PX = 448  # longer side of the kept pictures
MAX_FRAMES = 7200  # that are kept of a clip, about
MAX_GAP_S = 12.0
MIN_LOOKS, SECONDS_PER_LOOK = 40, 30.0
_MIN_STEP_S = 0.5
_FILL_S = 2.0
_MIN_BURST = 120.0  # bytes of a packet that can hold something new
_MAX_GRIDS = 1500  # of one gap at once: 23 MB
_QUALITY = 85

OnProgress = Callable[[Progress], None]


@dataclass
class _Gap:
    """What lies between two kept frames."""

    start_s: float
    end_s: float
    share: float
    num_bytes: int  # of the biggest packet in it


class _Packets:
    """The biggest packet between two key frames: where a picture suddenly differs, it needs many bytes."""

    def __init__(self) -> None:
        self._biggest = 0
        self._closed: deque[tuple[int, int]] = deque()  # (tick of the key frame behind it, bytes)

    def see(self, packet: Packet) -> None:
        """Note the next packet."""
        if packet.is_key:
            self._closed.append((packet.tick, self._biggest))
            self._biggest = 0
        else:
            self._biggest = max(self._biggest, packet.num_bytes)

    def before(self, tick: int | None) -> int:
        """Bytes of the biggest before the key frame at `tick` (None: up to now) that was not told yet."""
        biggest = self._biggest if tick is None else 0
        while self._closed and (tick is None or self._closed[0][0] <= tick):
            biggest = max(biggest, self._closed.popleft()[1])
        return biggest


@dataclass
class _Pass:
    """What the first pass remembers: numbers, and one frame's grid."""

    first_tick: int | None = None
    last_tick: int = 0
    num_packets: int = 0
    tick_s: float = 1.0
    size: tuple[int, int] = (0, 0)
    last_s: float = 0.0
    grid: Grid | None = None
    gaps: list[_Gap] = field(default_factory=list)


def scan(clip: Path, folder: Path, *, on_progress: OnProgress | None = None) -> Index:
    """Return the clip's index, made now if it is missing or out of date.

    Errors: InputError for a file that is missing, damaged or no video, and for a folder that cannot be written.
    """
    index = Index.open(clip, folder)
    if index is not None:
        return index
    began = time.perf_counter()
    with IndexWriter(clip, folder) as writer:
        found = _first_pass(clip, writer, on_progress)
        events, num_filled = _second_pass(clip, found, writer, on_progress)
        span_s = (found.last_tick - (found.first_tick or 0)) * found.tick_s
        fps = (found.num_packets - 1) / span_s if span_s > 0 else 25.0
        facts = ClipFacts(
            width=found.size[0],
            height=found.size[1],
            fps=fps,
            num_frames=found.num_packets,
            duration_s=span_s + 1 / fps,
            num_indexed=len(found.gaps) + 1 + num_filled,
            ingest_s=time.perf_counter() - began,
            sha256=whole_hash(clip),
            first_tick=found.first_tick or 0,
            tick_s=found.tick_s,
        )
        writer.finish(facts, events)
    index = Index.open(clip, folder)
    if index is None:
        raise InputError(f"{clip} changed while it was read; run it again when it is finished")
    return index


def frames_between(file: VideoFile, first_tick: int, last_tick: int) -> Iterator[tuple[int, VideoFrame]]:
    """Decode all frames with first_tick <= tick <= last_tick, beginning at the key frame before them."""
    for tick, frame in file.frames_from(first_tick if file.can_jump else None):
        if tick > last_tick:
            return
        if tick >= first_tick:
            yield tick, frame


def grid_of(frame: VideoFrame) -> Grid:
    """A frame as 96x54 averages, upright."""
    if _has_plain_pixels(frame):
        turned = frame.rotation % 180 != 0
        width, height = (ROWS, COLUMNS) if turned else (COLUMNS, ROWS)
        pixels = frame.reformat(width=width, height=height, format="rgb24", interpolation="AREA").to_ndarray()
        return np.rot90(pixels, frame.rotation // 90).astype(np.int16)
    return _grid_of_picture(PIL.Image.fromarray(upright_rgb(frame)))


def _grid_of_picture(picture: PIL.Image.Image) -> Grid:
    return np.asarray(picture.resize((COLUMNS, ROWS), PIL.Image.Resampling.BOX)).astype(np.int16)


def small_picture(frame: VideoFrame, side_px: int) -> PIL.Image.Image:
    """A frame upright, its longer side at most `side_px`."""
    if not _has_plain_pixels(frame):
        picture = PIL.Image.fromarray(upright_rgb(frame))
        picture.thumbnail((side_px, side_px))
        return picture
    scale = min(1.0, side_px / max(frame.width, frame.height))
    width, height = max(2, round(frame.width * scale)), max(2, round(frame.height * scale))
    pixels = frame.reformat(width=width, height=height, format="rgb24", interpolation="AREA").to_ndarray()
    return PIL.Image.fromarray(np.ascontiguousarray(np.rot90(pixels, frame.rotation // 90)))


def _has_plain_pixels(frame: VideoFrame) -> bool:
    return frame.format.name != "pal8" and not any(part.is_alpha for part in frame.format.components)


def _first_pass(clip: Path, writer: IndexWriter, on_progress: OnProgress | None) -> _Pass:
    """Keep the key frames; note what lies between them."""
    found, packets = _Pass(), _Packets()
    with VideoFile(clip, clip.name, policy=DEFAULT_POLICY) as file:
        found.tick_s, told_s = file.tick_s, file.told_duration_s
        step = max(_MIN_STEP_S, told_s / MAX_FRAMES) / found.tick_s
        last: list[int] = []

        def wanted(tick: int) -> bool:
            if last and tick - last[0] < step - 1:
                return False
            last[:] = [tick]
            return True

        for item in file.scan(wanted):
            if isinstance(item, Packet):
                found.first_tick = item.tick if found.first_tick is None else found.first_tick
                found.last_tick = max(found.last_tick, item.tick)
                found.num_packets += 1
                packets.see(item)
                continue
            tick, frame = item
            time_s = max(0.0, (tick - (found.first_tick or 0)) * found.tick_s)
            if found.grid is not None and time_s <= found.last_s:
                continue
            _keep(found, writer, frame, time_s, packets.before(tick))
            if on_progress is not None and len(found.gaps) % 16 == 0:
                on_progress(Progress(round(time_s), max(round(time_s), round(told_s)), "reading the clip"))
    if found.grid is None:
        raise InputError(f"{clip.name} is damaged: none of its pictures can be decoded; save or download it again")
    end_s = (found.last_tick - (found.first_tick or 0)) * found.tick_s
    if end_s > found.last_s:  # what lies behind the last key frame
        found.gaps.append(_Gap(found.last_s, end_s, 0.0, packets.before(None)))
    return found


def _keep(found: _Pass, writer: IndexWriter, frame: VideoFrame, time_s: float, num_bytes: int) -> None:
    """Put a frame into the index, and the gap before it into the list."""
    picture = small_picture(frame, SIDE_PX)
    grid = _grid_of_picture(picture)
    share = 0.0
    if found.grid is not None:
        share = changes.difference(found.grid, grid).share
        found.gaps.append(_Gap(found.last_s, time_s, share, num_bytes))
    else:
        turned = frame.rotation % 180 != 0
        found.size = (frame.height, frame.width) if turned else (frame.width, frame.height)
    writer.add(time_s, share, _jpeg(picture))
    found.grid, found.last_s = grid, time_s


def _jpeg(picture: PIL.Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def _second_pass(
    clip: Path, found: _Pass, writer: IndexWriter, on_progress: OnProgress | None
) -> tuple[list[Change], int]:
    """The exact changes within the gaps that are worth it, and how many frames were added in long gaps."""
    differing = set(changes.stands_out([gap.share for gap in found.gaps]))
    long = {number for number, gap in enumerate(found.gaps) if gap.end_s - gap.start_s > MAX_GAP_S}
    if found.gaps and found.gaps[-1].share == 0.0 and found.gaps[-1].end_s - found.gaps[-1].start_s > _FILL_S:
        long.add(len(found.gaps) - 1)  # no key frame tells what lies behind the last one
    ranked = sorted(differing, key=lambda number: -found.gaps[number].share)
    bursts = set(changes.stands_out([float(gap.num_bytes) for gap in found.gaps], at_least=_MIN_BURST)) - differing
    ranked += sorted(bursts, key=lambda number: -found.gaps[number].num_bytes)
    end_s = found.gaps[-1].end_s if found.gaps else 0.0
    looks = sorted({*ranked[: MIN_LOOKS + round(end_s / SECONDS_PER_LOOK)], *long})
    events: list[Change] = []
    num_filled = 0
    with VideoFile(clip, clip.name, policy=DEFAULT_POLICY) as file:
        for done, number in enumerate(looks):
            if on_progress is not None:
                on_progress(Progress(done, len(looks), "looking at what changes"))
            gap = found.gaps[number]
            filling = writer if number in long or number == len(found.gaps) - 1 else None
            located, added = _look(file, found, gap, filling)
            events += located
            num_filled += added
    unseen = differing - set(looks)
    events += [_roughly(found.gaps[number]) for number in unseen]
    return changes.merged(events), num_filled


def _look(file: VideoFile, found: _Pass, gap: _Gap, filling: IndexWriter | None) -> tuple[list[Change], int]:
    """Decode one gap; `filling` gets a frame every `_FILL_S`. Long ones are looked at in pieces that overlap."""
    base = found.first_tick or 0
    first, last = base + round(gap.start_s / found.tick_s), base + round(gap.end_s / found.tick_s)
    times: list[float] = []
    grids: list[Grid] = []
    events: list[Change] = []
    kept_s, kept_grid, num_added = gap.start_s, None, 0
    for tick, frame in frames_between(file, first, last):
        time_s = max(0.0, (tick - base) * found.tick_s)
        grid = grid_of(frame)
        times.append(time_s)
        grids.append(grid)
        if filling is not None and time_s - kept_s >= _FILL_S and time_s < gap.end_s + found.tick_s / 2:
            share = 0.0 if kept_grid is None else changes.difference(kept_grid, grid).share
            filling.add(time_s, share, _jpeg(small_picture(frame, SIDE_PX)))
            kept_s, kept_grid, num_added = time_s, grid, num_added + 1
        if len(grids) >= _MAX_GRIDS:
            events += changes.locate(times, grids)
            times, grids = times[-1:], grids[-1:]
    return events + changes.locate(times, grids), num_added


def _roughly(gap: _Gap) -> Change:
    """A change that was not looked at: it lies somewhere in its gap, and somewhere in the picture."""
    kind: changes.Kind = "cut" if gap.share >= changes.CUT_SHARE else "changes"
    return Change(gap.end_s, gap.end_s - gap.start_s, gap.share, kind, (0.0, 0.0, 1.0, 1.0))
