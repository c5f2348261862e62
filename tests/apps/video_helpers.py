"""Small clips with coloured squares, and a model whose answers are given by the prompt."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from regard.messages import Image, Text, Video
from regard.reply import Event, Reply, Usage

WIDTH, HEIGHT = 320, 192
GREY = (200, 200, 200)
RGB = {"red": (220, 30, 30), "green": (20, 150, 40), "blue": (20, 60, 220), "black": (0, 0, 0)}
# what: (colour, first second, last second, column of the square's left edge)
Square = tuple[str, float, float, int]


def paint(squares: Sequence[Square], time_s: float) -> np.ndarray:
    """The frame at a time: squares of 48 pixels that are there."""
    frame = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    frame[:] = GREY
    for colour, first_s, last_s, left in squares:
        if first_s - 1e-6 <= time_s < last_s - 1e-6:
            frame[72:120, left : left + 48] = RGB[colour]
    return frame


def write_clip(
    path: Path, squares: Sequence[Square], times_s: Sequence[float], *, key_every: int = 10, offset_s: float = 0.0
) -> Path:
    """Encode a frame for each time; with an offset the file's own times begin there."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx" if path.suffix == ".webm" else "libx264", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.gop_size = key_every
        stream.codec_context.max_b_frames = 0
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.time_base = Fraction(1, 1000)
        stream.codec_context.options = {"preset": "ultrafast", "x264-params": "scenecut=0"}
        for time_s in times_s:
            frame = av.VideoFrame.from_ndarray(paint(squares, time_s), format="rgb24")
            frame.time_base = Fraction(1, 1000)
            frame.pts = round((time_s + offset_s) * 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def steady(duration_s: float, fps: float = 5.0) -> list[float]:
    """Times at a constant rate."""
    return [number / fps for number in range(round(duration_s * fps))]


def colour_of(picture: Any) -> str | None:
    """The colour that a look shows besides grey, as a model would name it."""
    pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3).astype(int)
    for name, rgb in RGB.items():
        if (np.abs(pixels - rgb).max(axis=1) < 60).mean() > 0.01:
            return name
    return None


class SeeingChat:
    """A model that sees colours: it answers the application's prompts from the pixels that it is handed."""

    name, is_thinking, reports_media = "scripted", False, True

    def __init__(self, context: int = 8192, says: Callable[[str, list[Any]], str | None] | None = None) -> None:
        self.context, self._says = context, says
        self.prompts: list[str] = []
        self.num_frames: list[int] = []

    def chat(self, what: Any, *, preset: str | None = None, **options: Any) -> Reply:
        prompt = "".join(part.text for part in what if isinstance(part, Text))
        frames: list[Any] = []
        for part in what:
            frames += list(part.source) if isinstance(part, Video) else [part.source] if isinstance(part, Image) else []
        rate = next((part.sample_fps for part in what if isinstance(part, Video)), 1.0) or 1.0
        self.prompts.append(prompt)
        self.num_frames.append(len(frames))
        said = self._says(prompt, frames) if self._says else None
        text = said if said is not None else self._seen(prompt, frames, rate)
        return Reply(text, text, None, (), (), (), "stop", Usage(100, 10, 50, 0.0, 0.0, 0.0), ())

    def chat_many(self, whats: Sequence[Any], *, preset: str | None = None, **options: Any) -> list[Reply]:
        return [self.chat(what, preset=preset, **options) for what in whats]

    def stream(self, what: Any, **options: Any) -> Iterator[Event]:
        yield Event("done", reply=self.chat(what))

    def check_options(self, preset: str | None = None, **options: Any) -> None:
        """Takes all."""

    def close(self) -> None:
        """Nothing to free."""

    def _seen(self, prompt: str, frames: list[Any], rate: float) -> str:
        colours = [colour_of(frame) for frame in frames]
        if found := re.fullmatch(r"What appears at ([\d.]+) seconds\?", prompt):
            colour = colours[min(len(colours) - 1, round(float(found[1]) * rate))]
            return f"a {colour} square" if colour else "nothing"
        if found := re.search(r"When does the (\w+) square (appear|disappear|turn)", prompt):
            is_there = [colour == found[1] for colour in colours]
            for number in range(1, len(colours)):
                if is_there[number] != is_there[number - 1]:
                    return f"{number / rate:.1f} seconds"
            return "never"
        return "nothing"
