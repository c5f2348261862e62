"""A video container through PyAV: count its frames without decoding, then decode only the ones asked for.

Counting: an MP4, MOV or AVI header that states the number of frames and a rate that its own samples confirm
is believed (constant rate). Anything else (variable rate, Matroska, WebM, GIF, MPEG-TS) is demuxed once: the
packets' times and key frames are noted, 8 bytes a frame, no picture is decoded.

Decoding: the wanted frames are taken in order of time. Before each, the reader jumps to the last key frame in
front of it when that lies ahead of where the reader already is, else it decodes on. A jump that lands behind
the wanted frame (B-frames, open groups) is repeated from an earlier key frame. A constant rate that turns out
to be untrue is answered by `NotConstantError`, upon which the caller demuxes after all.

AVI stores no display times. Frames leave the decoder in display order and both orders hold the same set of
times, so the k-th frame out gets the k-th time in. After a jump nobody knows which frame comes out first when
there are B-frames, so an AVI with B-frames is decoded from its beginning.

It does not correct non-square pixels, does not deinterlace, does not read sound, and does not read MPEG program
streams (.mpg), whose times are guesses. Playlists and other formats that name further files or addresses are
refused (`_DEMUXERS`).
"""

from __future__ import annotations

import io
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from regard.errors import InputError, MissingDependencyError
from regard.processing.fetch import describe_bytes
from regard.processing.fetch_policy import FetchPolicy
from regard.processing.frames import Timeline
from regard.processing.image import Pixels

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

_DEMUXERS = "mov,matroska,webm,avi,gif,mpegts,asf,flv,ogg"
_DEFAULT_FPS = 24.0  # the reference's assumption when a container states no rate
_MAX_STEPS_BACK = 4  # one step is common (B-frames); a file that needs more is decoded from its beginning
_LOST_S = 1.0  # how much later than asked a frame may be when the asked one is damaged


@dataclass(frozen=True)
class Packet:
    """A picture as it lies in the file, not decoded: its time in ticks, its bytes, whether it stands alone."""

    tick: int
    num_bytes: int
    is_key: bool


class NotConstantError(Exception):
    """The header's constant frame rate does not hold; the packets must be counted."""


class VideoFile:
    """An open container with one chosen video stream; a context manager.

    Errors: every method raises InputError with the source's name for damaged input.
    """

    def __init__(self, source: Path | bytes, name: str, *, policy: FetchPolicy) -> None:
        try:
            import av
        except ImportError:
            raise MissingDependencyError(
                "reading video needs PyAV, which is not installed; run: pip install 'regard[video]'"
            ) from None
        self._av = av
        self._source, self._name, self._policy = source, name, policy
        self._container: InputContainer
        self._stream: VideoStream
        self._open()
        self._tick_s = float(self._stream.time_base or Fraction(1, 90_000))
        self._formats = set(self._container.format.name.split(","))
        self._in_order = "avi" in self._formats
        self._times: npt.NDArray[np.int64] | None = None  # of all frames, sorted, in ticks; None: constant rate
        self._keys: npt.NDArray[np.int64] = np.empty(0, np.int64)
        # An MP4's index holds decoding times, which B-frames put ahead of the display times by a fixed delay.
        entries = self._stream.index_entries
        self._key_delay = (self._stream.start_time or 0) - entries[0].timestamp if len(entries) else 0

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(self, *exc: object) -> None:
        self._container.close()

    def _open(self) -> None:
        file: Any = io.BytesIO(self._source) if isinstance(self._source, bytes) else str(self._source.resolve())
        try:
            # A whitelist, because a playlist would make FFmpeg open whatever it names.
            self._container = self._av.open(file, options={"format_whitelist": _DEMUXERS}, metadata_errors="ignore")
        except self._av.FFmpegError as error:
            raise self._unreadable(error) from None
        pictures = [
            stream
            for stream in self._container.streams.video
            if not stream.disposition & self._av.stream.Disposition.attached_pic
        ]
        if not pictures or pictures[0].codec_context is None:
            self._container.close()
            raise InputError(f"{self._name} holds no video that can be decoded; give a clip with pictures")
        self._stream = pictures[0]
        context = self._stream.codec_context
        if context.width * context.height > self._policy.max_image_pixels:
            self._container.close()
            raise InputError(
                f"{self._name} has frames of {context.width}x{context.height} pixels, "
                f"the limit is {self._policy.max_image_pixels / 1e6:.1f} Mpx; scale it down"
            )
        context.options = {"max_pixels": str(self._policy.max_image_pixels)}  # a stream may grow on the way
        context.thread_type = "AUTO"

    def _unreadable(self, error: Exception) -> InputError:
        if isinstance(self._source, bytes):
            head = self._source[:512]
        else:
            with self._source.open("rb") as file:
                head = file.read(512)
        kind = describe_bytes(head)
        if "video" in kind or "unknown" in kind:
            reason = getattr(error, "strerror", None) or error
            return InputError(f"{self._name} is damaged, cut short or no video ({reason}); save or download it again")
        return InputError(f"{self._name} is {kind}, which cannot be played; give MP4, MOV, MKV, WebM, AVI or GIF")

    def timeline(self, *, count_packets: bool = False) -> Timeline:
        """Count the frames and their times, from the header when it can be believed."""
        stream = self._stream
        rate = stream.average_rate
        believed = stream.frames > 0 and rate and rate == stream.base_rate and {"mov", "avi"} & self._formats
        if believed and not count_packets:
            return Timeline(stream.frames, float(rate or 0))
        return self._count_packets()

    def _count_packets(self) -> Timeline:
        times, keys = array("q"), array("q")
        try:
            for packet in self._rewound().demux(self._stream):
                time = packet.dts if self._in_order or packet.pts is None else packet.pts
                if time is None or packet.size == 0 or packet.is_discard:
                    continue
                times.append(time)
                if packet.is_keyframe:
                    keys.append(time)
        except self._av.FFmpegError as error:
            if not times:
                raise self._unreadable(error) from None
        if not times:
            raise InputError(f"{self._name} has no frames; record or export it again")
        promised = self._stream.frames
        if len(times) < 0.98 * promised - 2:
            raise InputError(
                f"{self._name} is cut short: {len(times)} of {promised} frames are there; download it again"
            )
        self._key_delay = 0  # from here on keys are known by their display times
        self._times = np.unique(np.frombuffer(times, np.int64))
        self._keys = np.unique(np.frombuffer(keys, np.int64)) if keys else self._keys
        self._rewound()
        return self._measured(self._times)

    def _measured(self, ticks: npt.NDArray[np.int64]) -> Timeline:
        """A timeline from packet times: constant when they are index / rate up to the container's rounding."""
        seconds = (ticks - ticks[0]) * self._tick_s
        numbers = np.arange(len(ticks))
        stream = self._stream
        for rate in (stream.average_rate, stream.base_rate, stream.guessed_rate):
            if rate and np.abs(seconds - numbers / float(rate)).max() <= 1.01 * self._tick_s:
                return Timeline(len(ticks), float(rate))
        if len(ticks) == 1 or seconds[-1] <= 0:
            return Timeline(len(ticks), float(stream.average_rate or _DEFAULT_FPS))
        return Timeline(len(ticks), float((len(ticks) - 1) / seconds[-1]), seconds)

    def _rewound(self) -> InputContainer:
        """A container at its beginning: reopened, which every format can do."""
        self._container.close()
        self._open()
        return self._container

    def decode(self, indices: Sequence[int], timeline: Timeline) -> Iterator[tuple[int, Pixels]]:
        """Yield (index, upright RGB frame) for ascending frame numbers, each once.

        Shapes: frames (H, W, 3) uint8, transparency laid on white.
        Errors: NotConstantError when the header's frame rate was believed and is wrong.
        """
        believed = self._times is None
        slack = 0.5 / timeline.fps / self._tick_s if believed else 0.0
        late = slack if believed else _LOST_S / self._tick_s
        reader = _Reader(self)
        for index in indices:
            time = self._tick(index, timeline)
            found = reader.frame_at(time, slack)
            if found is not None and found[0] <= time + late:
                yield index, self._pixels(found[1])
            elif believed:
                raise NotConstantError
            else:
                raise InputError(
                    f"{self._name} is damaged: its frame {index} at {timeline.time_s(index):.2f} s cannot be decoded; "
                    "choose another stretch or save it again"
                )

    def _pixels(self, frame: VideoFrame) -> Pixels:
        try:
            return upright_rgb(frame)
        except (self._av.FFmpegError, ValueError) as error:
            raise InputError(f"{self._name} has pictures that cannot be shown ({error}); save it again") from None

    def _tick(self, index: int, timeline: Timeline) -> float:
        if self._times is not None:
            return int(self._times[index])
        return (self._stream.start_time or 0) + index / timeline.fps / self._tick_s

    def key_before(self, time: float) -> int | None:
        """Time in ticks of the last key frame at or before `time`, None when the container knows none."""
        if not self.can_jump:
            return None
        if self._times is not None:
            position = int(np.searchsorted(self._keys, time, side="right"))
            return int(self._keys[position - 1]) if position else None
        entries = self._stream.index_entries
        position = entries.search_timestamp(round(time) - self._key_delay, backward=True)
        return int(entries[position].timestamp) + self._key_delay if position >= 0 else None

    def frames_from(self, time: int | None) -> Iterator[tuple[int, VideoFrame]]:
        """Decode onwards from the key frame at or before `time`, from the beginning for None."""
        if time is None:
            self._rewound()
        else:
            try:
                self._container.seek(time, stream=self._stream, backward=True)
            except self._av.FFmpegError:
                time = None
                self._rewound()
        order: deque[int | None] = deque()
        awaits_key = time is not None
        try:
            for packet in self._container.demux(self._stream):
                if awaits_key and packet.size and not packet.is_keyframe:
                    continue  # some containers land between key frames
                awaits_key = awaits_key and not packet.size
                if self._in_order and packet.size:
                    order.append(packet.dts)
                for frame in self._decoded(packet):
                    shown = order.popleft() if self._in_order and order else frame.pts
                    if shown is not None:
                        yield shown, frame
        except self._av.FFmpegError:
            return  # the file ends here; whoever waits for a later frame says so

    @property
    def can_jump(self) -> bool:
        """Whether decoding may begin elsewhere than at the first frame. GIF: frames build on the last; AVI: see top."""
        return "gif" not in self._formats and not (self._in_order and self._stream.codec_context.has_b_frames)

    @property
    def tick_s(self) -> float:
        """The length of a tick in seconds."""
        return self._tick_s

    @property
    def told_duration_s(self) -> float:
        """How long the header says the clip is, 0 if it says nothing. Not to be relied on."""
        return max(0.0, (self._container.duration or 0) / 1e6)

    @property
    def told_fps(self) -> float:
        """The rate that the header gives."""
        return float(self._stream.average_rate or self._stream.guessed_rate or _DEFAULT_FPS)

    def scan(self, wanted: Callable[[int], bool]) -> Iterator[Packet | tuple[int, VideoFrame]]:
        """Go through the whole file once: every picture as a `Packet`, and of the key frames those decoded whose
        tick is `wanted`, as (tick, frame), a few packets late. Nothing else is decoded.

        A frame that cannot be decoded is left out. Errors: InputError for a file without any picture.
        """
        container = self._rewound()
        self._stream.codec_context.skip_frame = "NONKEY"
        order: deque[int] = deque()  # ticks of the keys in the decoder: they come out as they went in
        num_packets = 0
        try:
            for packet in container.demux(self._stream):
                tick = packet.dts if self._in_order or packet.pts is None else packet.pts
                if not packet.size:
                    for frame in self._decoded(packet):
                        yield (order.popleft() if frame.pts is None and order else frame.pts or 0), frame
                elif tick is not None and not packet.is_discard:
                    num_packets += 1
                    yield Packet(tick, packet.size, packet.is_keyframe)
                    if packet.is_keyframe and wanted(tick):
                        order.append(tick)
                        for frame in self._decoded(packet):
                            first = order.popleft() if order else tick
                            yield (first if self._in_order or frame.pts is None else frame.pts), frame
        except self._av.FFmpegError as error:
            if not num_packets:
                raise self._unreadable(error) from None
        if not num_packets:
            raise InputError(f"{self._name} has no frames; record or export it again")

    def _decoded(self, packet: Any) -> list[VideoFrame]:
        try:
            return list(packet.decode())
        except self._av.error.InvalidDataError:
            return []  # a lost packet; the frame's absence is noticed by its time


class _Reader:
    """Walks through a clip forwards, jumping over what nobody asked for."""

    def __init__(self, file: VideoFile) -> None:
        self._file = file
        self._frames = file.frames_from(None)
        self._last: tuple[int, VideoFrame] | None = None

    def frame_at(self, time: float, slack: float) -> tuple[int, VideoFrame] | None:
        """The first frame not more than `slack` before `time` (ticks), or None when the clip ends before."""
        if self._last is not None and self._last[0] >= time - slack:
            return self._last
        key = self._file.key_before(time)
        if key is not None and (self._last is None or key > self._last[0]):
            self._jump(key, time + slack)
            if self._last is not None and self._last[0] >= time - slack:
                return self._last
        for shown, frame in self._frames:
            self._last = (shown, frame)
            if shown >= time - slack:
                return self._last
        return None

    def _jump(self, key: int | None, latest: float) -> None:
        """Start decoding at `key`; when its first frame is later than `latest`, at the key frame before, and so on."""
        for _ in range(_MAX_STEPS_BACK):
            if key is None:
                break
            self._frames = self._file.frames_from(key)
            first = next(self._frames, None)
            if first is not None and first[0] <= latest:
                self._last = first
                return
            key = self._file.key_before(key - 1)
        self._frames = self._file.frames_from(None)
        self._last = None


def upright_rgb(frame: VideoFrame) -> Pixels:
    """One frame as (H, W, 3) uint8: transparency on white, turned by the container's rotation flag."""
    if any(component.is_alpha for component in frame.format.components) or frame.format.name == "pal8":
        picture = Image.fromarray(frame.to_ndarray(format="rgba"))
        white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        pixels = np.asarray(Image.alpha_composite(white, picture).convert("RGB"))
    else:
        pixels = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(pixels, frame.rotation // 90))
