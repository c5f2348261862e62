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

from regard.train.world.shapes import COLOURS, SHAPES, Shape, paint_shape, random_rgb, with_article

WIDTH, HEIGHT, FPS, GOP_FRAMES = 1280, 720, 25, 50
EVENTS_PER_HOUR, NUM_QUESTIONS = 40, 20
MAX_ERROR_S = 2.0
_PLACES = [(x, y) for y in (200, 520) for x in (170, 480, 800, 1110)]
_WORD_PX = 110
_WORDS = ("READY", "WAIT", "SAVE", "DONE", "NEWS", "TAXI", "ON", "OFF")  # training keeps them for tests


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
    words = [_WORDS[i] for i in rng.permutation(len(_WORDS))]
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
    path.parent.mkdir(parents=True, exist_ok=True)
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


# --- measuring ------------------------------------------------------------------------------------------------------

_INGEST = """
import json, resource, sys, time
from pathlib import Path
from regard.apps.video.scan import scan
began, cpu = time.perf_counter(), time.process_time()
index = scan(Path(sys.argv[1]), Path(sys.argv[2]))
print(json.dumps({
    "wall_s": time.perf_counter() - began,
    "cpu_s": time.process_time() - cpu,
    "duration_s": index.facts.duration_s,
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    "index_mb": index.path.stat().st_size / 1e6,
    "num_frames": len(index.times_s),
    "changes_s": [change.time_s for change in index.changes],
}))
"""


def ingest(clip: Path, folder: Path, happenings: list[Happening]) -> dict[str, Any]:
    """Read the clip in a process of its own; how fast, with how much memory, and which events the pixels show.

    `was_indexed`: the folder held an index, which was only opened; the speed then means nothing.
    """
    was_indexed = any(folder.glob("*.sqlite"))
    done = subprocess.run(
        [sys.executable, "-c", _INGEST, str(clip), str(folder)], capture_output=True, text=True, check=True
    )
    told: dict[str, Any] = json.loads(done.stdout)
    changes = told.pop("changes_s")
    seen = sum(any(abs(event.time_s - one) <= 0.1 for one in changes) for event in happenings)
    told |= {
        "was_indexed": was_indexed,
        "events": len(happenings),
        "events_seen_by_pixels": seen,
        "changes": len(changes),
    }
    told["times_real_time"] = round(told["duration_s"] / told["wall_s"], 1)
    told["times_real_time_by_cpu_seconds_of_two_cores"] = round(2 * told["duration_s"] / told["cpu_s"], 1)
    return told


def ask(clip: Path, folder: Path, model: str, asked: list[dict[str, Any]]) -> dict[str, Any]:
    """Ask all questions, one after the other; the second's time is that of a new opening of the clip."""
    from regard.apps.video import Watch
    from regard.client import connect

    chat = connect(model)
    rows = []
    for question in asked:
        began = time.perf_counter()
        with Watch(chat, clip, folder=folder) as watch:
            report = watch.ask(question["question"])
        cited = [event.span.start_s for event in report.events]
        is_near = any(abs(time_s - question["time_s"]) <= MAX_ERROR_S for time_s in cited[:1])
        if re.match("What ", question["question"]):
            is_right = question["thing"].lower() in report.answer.lower()
        else:
            is_right = is_near
        rows.append(
            question
            | {
                "answer": report.answer,
                "cited_s": cited,
                "is_near": is_near,
                "is_right": is_right,
                "checked": [event.checked for event in report.events],
                "seconds": round(time.perf_counter() - began, 2),
                "tokens": report.spent.tokens,
            }
        )
        print(
            f"{'+' if is_right else '-'} {question['question']} {report.answer} (truth {question['time_s']})",
            flush=True,
        )
    return {
        "questions": rows,
        "times_within_2_s": sum(row["is_near"] for row in rows) / len(rows),
        "right": sum(row["is_right"] for row in rows) / len(rows),
        "first_question_s": rows[0]["seconds"],
        "second_question_s": rows[1]["seconds"] if len(rows) > 1 else None,
        "tokens": sum(row["tokens"] for row in rows),
    }


def main() -> None:
    """Make the clip, read it, ask about it, print and write the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clip", type=Path, help="keep the clip here, or use the one that is here (same seed, length)")
    parser.add_argument("--index", type=Path, help="keep the index here")
    parser.add_argument("--ingest-only", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    duration_s = options.minutes * 60
    happenings, states = plan(rng, duration_s)
    asked = ask_about(rng, happenings)
    with tempfile.TemporaryDirectory() as scratch:
        clip = options.clip or Path(scratch) / "clip.mp4"
        folder = options.index or Path(scratch) / "index"
        if not clip.is_file():
            write(clip, happenings, states, duration_s, options.seed)
        result: dict[str, Any] = {
            "minutes": options.minutes,
            "seed": options.seed,
            "clip_mb": clip.stat().st_size / 1e6,
        }
        result["ingest"] = ingest(clip, folder, happenings)
        print(json.dumps(result["ingest"], indent=2), flush=True)
        if not options.ingest_only:
            result["model"] = options.model
            result |= ask(clip, folder, options.model, asked)
            shown = {key: value for key, value in result.items() if key not in ("questions", "ingest")}
            print(json.dumps(shown, indent=2))
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
