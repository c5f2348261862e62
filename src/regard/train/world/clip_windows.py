"""Windows of a clip as `regard video` cuts them: 8 to 16 frames, a few changes, questions about when and what.

Things appear, disappear, change colour, move; some windows are crops of a larger picture, so that other things are cut
by their border; in some nothing happens. Every truth has a `kind`:

    events     {"00:02.00 - 00:07.50": "a red circle appears"} (the family's own form); truth events
    when       "2.0 seconds" / "never"; truth time_s or None
    what       what appears at a time; truth answer
    shown      what is shown at a time, from left to right, or "nothing"; truth things
    number     how many shapes are there at a time; truth count
    describe   sentences in order of time, "Nothing happens."; truth events

An event lasts from its first frame to the last one in which it is true: an appearance until the thing goes or the clip
ends, a motion until it ends; a disappearance and a change of colour are moments.
"""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
from PIL import Image as PILImage
from PIL import ImageDraw

from regard.messages import Message, Text, Video
from regard.train.world.clips import HELD_OUT_WORDS, TRAINING_WORDS, Word, word_font
from regard.train.world.sample import Sample
from regard.train.world.shapes import (
    COLOURS,
    SHAPES,
    Background,
    Shape,
    choose,
    free_place,
    is_unseen,
    paint_background,
    paint_shape,
    random_background,
    random_rgb,
    random_turn,
    wear,
    with_article,
)
from regard.train.world.window_questions import ASKS, Asked, Event, Look, Thing, Window, name_of

_SIZES = ((128, 96), (96, 128))
_RATES = (2.0, 2.0, 2.0, 1.0, 4.0)
_DIRECTIONS = {"right": (1, 0), "left": (-1, 0), "down": (0, 1), "up": (0, -1)}
_APART = 2  # frames between two changes


def make(rng: np.random.Generator, *, held_out: bool, num_turns: int = 1) -> Sample:
    """One window with up to `num_turns` questions and their answers; `truth` belongs to the first."""
    asks, weights = tuple(ASKS), tuple(ASKS.values())
    asked: Asked | None = None
    while asked is None:
        window = _plan(rng, held_out=held_out)
        asked = choose(rng, asks, weights=weights)(rng, window)
    question, answer, truth, clues = asked
    all_clues = [clues]
    video = Video(_paint(rng, window), sample_fps=window.fps)
    messages = [Message("user", (video, Text(question))), Message("assistant", (Text(answer),))]
    seen = {question}
    for _ in range(num_turns - 1):
        more = choose(rng, asks, weights=weights)(rng, window)
        if more is not None and more[0] not in seen:
            seen.add(more[0])
            messages += [Message("user", (Text(more[0]),)), Message("assistant", (Text(more[1]),))]
            all_clues.append(more[3])
    return Sample("clips", tuple(messages), truth, clues=tuple(all_clues))


# --- what happens ---------------------------------------------------------------------------------------------------


def _plan(rng: np.random.Generator, *, held_out: bool) -> Window:
    width, height = choose(rng, _SIZES)
    num_frames = 2 * int(rng.integers(4, 9))
    background = random_background(rng, held_out=held_out)
    placed = _placed(rng, background, width, height, held_out=held_out)
    num_active = int(choose(rng, (0, 1, 2, 3), weights=(0.1, 0.45, 0.3, 0.15)))
    taken: list[int] = []
    things = []
    for index, look in enumerate(placed):
        made = None
        if index < num_active:
            others = [other.box for other in placed if other is not look]
            made = _active(rng, look, num_frames, taken, background, (width, height), others, held_out=held_out)
        things.append(made or Thing((look,) * num_frames))
    clutter = tuple(_clutter(rng, background, width, height, held_out=held_out)) if rng.random() < 0.35 else ()
    return Window((width, height), num_frames, choose(rng, _RATES), background, tuple(things), clutter)


def _placed(rng: np.random.Generator, background: Background, width: int, height: int, *, held_out: bool) -> list[Look]:
    """One to four things of different names and colours, each 20 to 45 % of the shorter side; perhaps a word first."""
    colours = [c for c in COLOURS if background.allows(random_rgb(rng, c, held_out=held_out))]
    names = [SHAPES[int(i)] for i in rng.permutation(len(SHAPES))]
    wanted = int(choose(rng, (1, 2, 3, 4), weights=(0.25, 0.4, 0.25, 0.1)))
    placed: list[Look] = []
    for name, colour in zip(names, (colours[int(i)] for i in rng.permutation(len(colours))), strict=False):
        if len(placed) == wanted:
            break
        rgb = random_rgb(rng, colour, held_out=held_out)
        look: Look
        if not placed and rng.random() < 0.18:
            text = choose(rng, HELD_OUT_WORDS if held_out else TRAINING_WORDS)
            look = Word(text, rgb, int(rng.integers(17, 24)))
        elif not held_out and is_unseen(name, colour):
            continue
        else:
            diameter = min(width, height) * rng.uniform(0.22, 0.45 if wanted < 3 else 0.34)
            look = Shape(name, colour, rgb, 0, 0, diameter, random_turn(rng, name))
        if not background.allows(rgb):
            continue
        place = free_place(rng, look.box, width, height, [other.box for other in placed])
        if place is not None:
            placed.append(replace(look, x=place[0], y=place[1]))
    return placed


def _active(
    rng: np.random.Generator,
    look: Look,
    num_frames: int,
    taken: list[int],
    background: Background,
    size: tuple[int, int],
    others: list[tuple[float, float, float, float]],
    *,
    held_out: bool,
) -> Thing | None:
    """A thing with one change, or that comes and goes; None where no frame is free."""
    frames = [frame for frame in range(2, num_frames - 1) if all(abs(frame - other) >= _APART for other in taken)]
    if not frames:
        return None
    first = choose(rng, frames)
    kind = choose(rng, ("appear", "disappear", "turn", "move", "flash"), weights=(0.36, 0.2, 0.16, 0.16, 0.12))
    if isinstance(look, Word) and kind in ("turn", "move"):
        kind = "appear"
    if kind == "move":
        moved = _moved(rng, look, first, num_frames, taken, size, others)
        kind = "appear" if moved is None else kind
        if moved is not None:
            return moved
    taken.append(first)
    name = name_of(look)
    if kind == "turn" and isinstance(look, Shape):
        later = _recoloured(rng, look, background, held_out=held_out)
        event = Event("turn", first, first, f"the {name} turns {later.colour}", look, later.colour)
        return Thing((look,) * first + (later,) * (num_frames - first), (event,))
    gone = Event("disappear", first, first, f"the {name} disappears", look)
    if kind == "disappear":
        return Thing((look,) * first + (None,) * (num_frames - first), (gone,))
    appears = f"the {name} appears" if isinstance(look, Word) else f"{with_article(name)} appears"
    ends = [frame for frame in frames if frame >= first + _APART]
    if kind == "flash" and ends:
        last = choose(rng, ends)
        taken.append(last)
        looks = (None,) * first + (look,) * (last - first) + (None,) * (num_frames - last)
        return Thing(looks, (Event("appear", first, last - 1, appears, look), replace(gone, first=last, last=last)))
    looks = (None,) * first + (look,) * (num_frames - first)
    return Thing(looks, (Event("appear", first, num_frames - 1, appears, look),))


def _moved(
    rng: np.random.Generator,
    look: Look,
    first: int,
    num_frames: int,
    taken: list[int],
    size: tuple[int, int],
    others: list[tuple[float, float, float, float]],
) -> Thing | None:
    """The thing moves from frame `first` on, for two to five frames; None where there is no room."""
    if not isinstance(look, Shape):
        return None
    last = min(first + int(rng.integers(1, 5)), num_frames - 2)
    if any(first - 1 <= other <= last + 1 for other in taken) or last <= first:
        return None
    direction = choose(rng, tuple(_DIRECTIONS))
    dx, dy = _DIRECTIONS[direction]
    distance = float(rng.uniform(0.25, 0.5)) * size[0 if dx else 1]
    end = replace(look, x=look.x + dx * distance, y=look.y + dy * distance)
    x1, y1, x2, y2 = (*map(min, look.box[:2], end.box[:2]), *map(max, look.box[2:], end.box[2:]))
    if x1 < 0 or y1 < 0 or x2 > size[0] or y2 > size[1]:
        return None
    if any(x1 < b[2] and b[0] < x2 and y1 < b[3] and b[1] < y2 for b in others):
        return None
    taken += [first, last]
    looks = []
    for frame in range(num_frames):
        share = min(max((frame - first + 1) / (last - first + 1), 0), 1)
        looks.append(replace(look, x=look.x + dx * distance * share, y=look.y + dy * distance * share))
    return Thing(tuple(looks), (Event("move", first, last, f"the {look.label} moves {direction}", look),))


def _recoloured(rng: np.random.Generator, shape: Shape, background: Background, *, held_out: bool) -> Shape:
    while True:
        colour = choose(rng, COLOURS)
        rgb = random_rgb(rng, colour, held_out=held_out)
        if colour != shape.colour and background.allows(rgb) and (held_out or not is_unseen(shape.name, colour)):
            return replace(shape, colour=colour, rgb=rgb)


def _clutter(
    rng: np.random.Generator, background: Background, width: int, height: int, *, held_out: bool
) -> list[Shape]:
    """Things of the larger picture whose middle lies outside of the window."""
    made = []
    for _ in range(int(rng.integers(1, 3))):
        colour = choose(rng, COLOURS)
        diameter = float(rng.uniform(20, 40))
        edge = float(rng.uniform(0.3, 0.45)) * diameter
        along = float(rng.random())
        beside = (choose(rng, (-edge, width + edge)), along * height)
        x, y = choose(rng, (beside, (along * width, choose(rng, (-edge, height + edge)))))
        made.append(Shape(choose(rng, SHAPES), colour, random_rgb(rng, colour, held_out=held_out), x, y, diameter))
    return made


# --- drawing --------------------------------------------------------------------------------------------------------


def _paint(rng: np.random.Generator, window: Window) -> list[PILImage.Image]:
    """The frames; some windows drift in brightness or have the traces of a compressed clip."""
    empty = paint_background(rng, window.background, *window.size)
    for shape in window.clutter:
        paint_shape(empty, shape)
    if rng.random() < 0.3:
        empty = wear(rng, empty)
    drift = int(rng.integers(2, 10)) if rng.random() < 0.2 else 0
    is_noisy = rng.random() < 0.25

    @functools.cache
    def painted(looks: tuple[Look | None, ...]) -> PILImage.Image:
        frame = empty.copy()
        for look in looks:
            if isinstance(look, Shape):
                paint_shape(frame, look)
            elif look is not None:
                font = word_font(look.size_px)
                ImageDraw.Draw(frame).text((look.x, look.y), look.text, fill=look.rgb, font=font, anchor="mm")
        return frame

    frames = []
    for index in range(window.num_frames):
        frame = painted(tuple(thing.looks[index] for thing in window.things))
        if drift or is_noisy:
            shift = round(drift * index / window.num_frames)
            noise = rng.integers(-4, 5, (frame.height, frame.width, 1)) if is_noisy else 0
            frame = PILImage.fromarray(np.clip(np.asarray(frame, np.int16) + shift + noise, 0, 255).astype(np.uint8))
        frames.append(frame)
    return frames
