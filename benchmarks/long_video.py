"""A long clip with known events, and how well `regard video` finds them.

    python -m benchmarks.long_video --minutes 60 --json benchmarks/long_video.json
    python -m benchmarks.long_video --minutes 5 --ingest-only

The clip: 1280x720, 25 frames a second, a key frame each 2 seconds, a noisy picture with coloured shapes and words
(those of `train/world`, held-out shades, another layout and size), in which 40 things an hour appear, disappear or turn
another colour. Stretches in which nothing happens repeat the bytes of one encoded group of pictures, so that an hour is
made in a minute or two; a reader has as much to do as with any clip.

Measured: speed of the first reading, peak memory of it in a process of its own, the share of 20 questions whose cited
time is within 2 seconds of the truth, and how long the second question takes, in a new process too.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from regard.train.world.clips import _HELD_OUT_WORDS
from regard.train.world.shapes import COLOURS, SHAPES, Shape, paint_shape, random_rgb, with_article

WIDTH, HEIGHT, FPS, GOP_FRAMES = 1280, 720, 25, 50
EVENTS_PER_HOUR, NUM_QUESTIONS = 40, 20
MAX_ERROR_S = 2.0
_PLACES = [(x, y) for y in (200, 520) for x in (170, 480, 800, 1110)]
_WORD_PX = 110


@dataclass(frozen=True)
class Happening:
    """One event: what is there before and after it at one place. `kind`: appears, disappears, turns."""

    time_s: float
    kind: str
    thing: str  # "red circle" or "word READY"
    colour: str = ""  # that it turns

    @property
    def sentence(self) -> str:
        """As people say it."""
        if self.kind == "appears":
            return f"{'the ' + self.thing if self.thing.startswith('word') else with_article(self.thing)} appears"
        return f"the {self.thing} {self.kind}" + (f" {self.colour}" if self.colour else "")


Look = Shape | tuple[str, tuple[int, int, int], int, int]  # a shape, or a word with colour and middle


def plan(rng: np.random.Generator, duration_s: float) -> tuple[list[Happening], list[list[Look]]]:
    """The events in order of time, and what is seen before the first and after each."""
    count = max(3, round(EVENTS_PER_HOUR * duration_s / 3600))
    slot = (duration_s - 8) / count
    times = [round((4 + slot * (i + rng.uniform(0.1, 0.9))) * FPS) / FPS for i in range(count)]
    names = [(c, s) for c in COLOURS if c not in ("white",) for s in SHAPES]
    names = [names[i] for i in rng.permutation(len(names))]
    words = [_HELD_OUT_WORDS[i] for i in rng.permutation(len(_HELD_OUT_WORDS))]
    free, there = list(rng.permutation(len(_PLACES))), {}
    happenings, states = [], [[]]
    for number, time_s in enumerate(times):
        shapes = [place for place, look in there.items() if isinstance(look, Shape)]
        draw = rng.random()
        if len(there) >= 5 or (shapes and draw < 0.2):
            place = list(there)[int(rng.integers(len(there)))]
            look = there.pop(place)
            free.append(place)
            happenings.append(Happening(time_s, "disappears", _name(look)))
        elif shapes and draw < 0.3:
            place = shapes[int(rng.integers(len(shapes)))]
            look = there[place]
            colour = next(c for c, s in names if s == look.name and c != look.colour)
            names.remove((colour, look.name))
            there[place] = replace(look, colour=colour, rgb=random_rgb(rng, colour, held_out=True))
            happenings.append(Happening(time_s, "turns", _name(look), colour))
        else:
            place = free.pop(int(rng.integers(len(free))))
            x, y = _PLACES[place]
            if words and number % 5 == 2:
                there[place] = (words.pop(), random_rgb(rng, "blue", held_out=True), x, y)
            else:
                colour, shape = names.pop()
                rgb = random_rgb(rng, colour, held_out=True)
                there[place] = Shape(shape, colour, rgb, x, y, float(rng.uniform(150, 240)))
            happenings.append(Happening(time_s, "appears", _name(there[place])))
        states.append(list(there.values()))
    return happenings, states


def _name(look: Look) -> str:
    return look.label if isinstance(look, Shape) else f"word {look[0]}"


def ask_about(rng: np.random.Generator, happenings: list[Happening]) -> list[dict[str, Any]]:
    """Up to 20 questions with the times that an answer must cite; every fifth gives the time and asks for the thing."""
    chosen = sorted(rng.permutation(len(happenings))[:NUM_QUESTIONS])
    asked = []
    for number, index in enumerate(chosen):
        event = happenings[index]
        if event.kind == "appears" and number % 5 == 4:
            minutes, seconds = divmod(event.time_s, 60)
            hours, minutes = divmod(int(minutes), 60)
            question = f"What appears at {hours}:{minutes:02d}:{seconds:04.1f}?"
        else:
            verb = {"appears": "appear", "disappears": "disappear"}.get(event.kind, f"turn {event.colour}")
            question = f"When does the {event.thing} {verb}?"
        asked.append({"question": question, "time_s": event.time_s, "thing": event.thing, "kind": event.kind})
    return asked


def write(path: Path, happenings: list[Happening], states: list[list[Look]], duration_s: float, seed: int) -> None:
    """Encode the clip: each group of pictures by itself, equal ones once."""
    import av

    rng = np.random.default_rng(seed)
    small = rng.normal(0, 1, (90, 160, 1)).astype(np.float32)
    cloud = np.asarray(
        Image.fromarray((small[:, :, 0] * 30 + 128).clip(0, 255).astype(np.uint8)).resize((WIDTH, HEIGHT))
    )
    grain = rng.integers(-5, 6, (HEIGHT, WIDTH, 3))
    ground = (225 + (cloud[:, :, None].astype(np.int16) - 128) * 0.25 + grain).clip(0, 255).astype(np.uint8)
    pictures: dict[int, np.ndarray] = {}
    groups: dict[tuple[int, ...], bytes] = {}
    num_groups = round(duration_s * FPS / GOP_FRAMES)
    changes = [round(event.time_s * FPS) for event in happenings]
    state = 0
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "clip.h264"
        with raw.open("wb") as file:
            for group in range(num_groups):
                key = []
                for index in range(group * GOP_FRAMES, (group + 1) * GOP_FRAMES):
                    while state < len(changes) and index >= changes[state]:
                        state += 1
                    key.append(state)
                if tuple(key) not in groups:
                    for wanted in set(key) - set(pictures):
                        pictures[wanted] = _paint(ground, states[wanted])
                    pictures = {number: pictures[number] for number in set(key)}
                    groups = {tuple(key): _encoded([pictures[number] for number in key], group)}
                file.write(groups[tuple(key)])
        with av.open(str(raw), format="h264") as source, av.open(str(path), "w") as target:
            stream = target.add_stream_from_template(source.streams.video[0])
            stream.time_base = Fraction(1, 12800)
            number = 0
            for packet in source.demux(video=0):
                if not packet.size:
                    continue
                packet.stream = stream
                packet.time_base = stream.time_base
                packet.pts = packet.dts = number * 12800 // FPS
                packet.duration = 12800 // FPS
                target.mux(packet)
                number += 1


def _paint(ground: np.ndarray, looks: list[Look]) -> np.ndarray:
    picture = Image.fromarray(ground.copy())
    pen = ImageDraw.Draw(picture)
    for look in looks:
        if isinstance(look, Shape):
            paint_shape(picture, look)
        else:
            text, rgb, x, y = look
            pen.text(
                (x, y), text, fill=rgb, font=ImageFont.load_default(_WORD_PX * 3 // max(3, len(text))), anchor="mm"
            )
    return np.asarray(picture)


def _encoded(pictures: list[np.ndarray], seed: int) -> bytes:
    import av

    rng = np.random.default_rng(seed)
    context = av.CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    context.framerate = FPS
    context.time_base = Fraction(1, FPS)
    context.gop_size, context.max_b_frames = GOP_FRAMES, 0
    context.options = {"preset": "ultrafast", "crf": "26", "x264-params": "scenecut=0:annexb=1"}
    data = b""
    for number, pixels in enumerate(pictures):
        shift = int(rng.integers(-1, 2))
        shifted = pixels if not shift else (pixels.astype(np.int16) + shift).clip(0, 255).astype(np.uint8)
        frame = av.VideoFrame.from_ndarray(shifted, format="rgb24")
        frame.pts = number
        data += b"".join(bytes(packet) for packet in context.encode(frame))
    return data + b"".join(bytes(packet) for packet in context.encode(None))


if __name__ == "__main__":
    rng = np.random.default_rng(int(sys.argv[3]) if len(sys.argv) > 3 else 0)
    d = float(sys.argv[2]) * 60
    happenings, states = plan(rng, d)
    t = time.perf_counter()
    write(Path(sys.argv[1]), happenings, states, d, 0)
    print(time.perf_counter() - t, len(happenings))
    for h in happenings:
        print(h.time_s, h.sentence)
