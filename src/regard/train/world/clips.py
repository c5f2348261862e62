"""Short clips in which coloured shapes and words appear, disappear or change colour, with one question each.

`make` gives 8 to 32 frames, a few things that are there from the start, and one to three events. An event's time
is that of the first frame that shows it: index / frames per second. Events are at least `_APART_GROUPS` temporal
groups (pairs of frames, which the model sees as one) apart, so "what appears at 4.0 seconds" has one answer.
Every truth has a `kind`:

    when    "3.5 seconds"; time_s
    what    "a red circle" / "the word STOP"
    count   how many shapes appear, "2"
    order   which of two appears first, "the red circle"

Nothing moves, and there is no truth for single frames.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from regard.messages import Message, Text, Video
from regard.train.world.sample import Area, Clue, Sample, verbatim
from regard.train.world.shapes import (
    COLOURS,
    RGB,
    SHAPES,
    Background,
    Box,
    Shape,
    choose,
    free_place,
    is_unseen,
    paint_background,
    paint_shape,
    random_background,
    random_rgb,
    random_turn,
    with_article,
)

SAMPLE_FPS = (0.5, 1.0, 2.0, 4.0)
MIN_FRAMES, MAX_FRAMES = 8, 32
_SIZES = ((96, 96), (128, 96), (96, 128))
_DIAMETER_PX = (24, 40)
_FONT_PX = (17, 23)
TRAINING_WORDS = (
    "STOP", "GO", "OPEN", "SALE", "NEW", "START", "END", "PLAY", "HELP", "EXIT", "YES", "NO", "FREE", "HOT", "MENU",
    "BACK", "NEXT", "WIN", "LOVE", "HELLO", "TIME", "GAME", "MUSIC", "LIVE",
)  # fmt: skip
HELD_OUT_WORDS = ("READY", "WAIT", "SAVE", "DONE", "NEWS", "TAXI", "ON", "OFF")
GROUP_FRAMES = 2  # frames that the model sees as one
_APART_GROUPS = 2

_WHEN = {
    "appear": (
        "When does {a} appear?", "At which second does {a} appear?", "When does {a} show up?",
        "At what time does {a} appear?", "When can {a} first be seen?", "After how many seconds does {a} appear?",
        "From which second on is {a} visible?", "Tell me when {a} appears.",
    ),
    "disappear": (
        "When does {a} disappear?", "At which second does {a} disappear?", "When does {a} vanish?",
        "When is {a} gone?", "At what time does {a} go away?", "After how many seconds does {a} disappear?",
        "Tell me when {a} disappears.", "From which second on is {a} gone?",
    ),
    "recolour": (
        "When does {a} turn {colour}?", "At which second does {a} turn {colour}?", "When does {a} become {colour}?",
        "When does {a} change its colour to {colour}?", "At what time does {a} turn {colour}?",
        "After how many seconds is {a} {colour}?", "Tell me when {a} turns {colour}.",
        "When does {a} change from {old} to {colour}?",
    ),
}  # fmt: skip
_WHAT = (
    "What appears at {time} seconds?", "What shows up at {time} seconds?", "What appears at second {time}?",
    "What can be seen from {time} seconds on that was not there before?", "At {time} seconds, what appears?",
    "Which thing appears at {time} seconds?", "What is new at {time} seconds?",
    "Tell me what appears at {time} seconds.",
)  # fmt: skip
_COUNT = (
    "How many shapes appear?", "How many shapes appear in the clip?", "How many new shapes appear?",
    "Count the shapes that appear.", "How many shapes show up during the video?", "How many shapes are added?",
    "How many shapes come in after the start?", "What is the number of shapes that appear?",
)  # fmt: skip
_ORDER = (
    "Which appears first, {a} or {b}?", "What appears first, {a} or {b}?", "Which comes first, {a} or {b}?",
    "What can be seen earlier, {a} or {b}?", "Which shows up first, {a} or {b}?", "Does {a} or {b} appear first?",
    "Which of the two appears earlier, {a} or {b}?", "Which is there first, {a} or {b}?",
)  # fmt: skip

Asked = tuple[str, str, dict[str, Any], tuple[Clue, ...]]  # question, answer, truth, what the answer is about


@dataclass(frozen=True)
class Word:
    """A word on a clip; (x, y) is its box's centre in pixels."""

    text: str
    rgb: RGB
    size_px: int
    x: float = 0.0
    y: float = 0.0

    @property
    def box(self) -> Box:
        """The smallest box around the ink."""
        x1, y1, x2, y2 = word_font(self.size_px).getbbox(self.text, anchor="mm")
        return self.x + x1, self.y + y1, self.x + x2, self.y + y2


@dataclass(frozen=True)
class Actor:
    """A thing that is visible in frames first <= i < end, and looks like `later` from frame `change` on."""

    look: Shape | Word
    first: int
    end: int
    change: int | None = None
    later: Shape | None = None

    def at(self, index: int) -> Shape | Word | None:
        """What of it frame `index` shows."""
        if not self.first <= index < self.end:
            return None
        return self.later if self.change is not None and index >= self.change else self.look

    @property
    def name(self) -> str:
        """Like 'red circle', or 'word STOP'."""
        return self.look.label if isinstance(self.look, Shape) else f"word {self.look.text}"


@dataclass(frozen=True)
class Clip:
    """What happens in `num_frames` frames; the event of each actor in `actors`, the others in `static`."""

    width: int
    height: int
    num_frames: int
    sample_fps: float
    background: Background
    static: tuple[Actor, ...]
    actors: tuple[Actor, ...]

    def area(self, actor: Actor, frame: int) -> Area:
        """Where an actor is, in the group of a frame."""
        x1, y1, x2, y2 = actor.look.box
        box = x1 / self.width, y1 / self.height, x2 / self.width, y2 / self.height
        return Area(box, frame // GROUP_FRAMES)

    @property
    def appearing(self) -> tuple[Actor, ...]:
        """Actors that are not there at the start, in order of time."""
        return tuple(sorted((a for a in self.actors if a.first > 0), key=lambda actor: actor.first))


def make(rng: np.random.Generator, *, held_out: bool, num_turns: int = 1) -> Sample:
    """One clip with up to `num_turns` questions and their answers; `truth` belongs to the first."""
    asks = {"when": _ask_when, "what": _ask_what, "count": _ask_count, "order": _ask_order}
    weights = (0.6, 0.16, 0.1, 0.14)
    kind = choose(rng, tuple(asks), weights=weights)
    while True:
        clip = _plan(rng, held_out=held_out)
        asked = asks[kind](rng, clip)
        if asked is not None:
            break
    question, answer, truth, clues = asked
    all_clues = [clues]
    video = Video(_paint(rng, clip), sample_fps=clip.sample_fps)
    messages = [Message("user", (video, Text(question))), Message("assistant", (Text(answer),))]
    for _ in range(num_turns - 1):
        more = asks[choose(rng, tuple(asks), weights=weights)](rng, clip)
        if more is not None:
            messages += [Message("user", (Text(more[0]),)), Message("assistant", (Text(more[1]),))]
            all_clues.append(more[3])
    return Sample("clips", tuple(messages), {"kind": kind, **truth}, clues=tuple(all_clues))


def _plan(rng: np.random.Generator, *, held_out: bool) -> Clip:
    """Choose what happens; things that find no room are left out."""
    width, height = choose(rng, _SIZES)
    num_frames = int(rng.integers(MIN_FRAMES, MAX_FRAMES + 1))
    background = random_background(rng, held_out=held_out)
    looks = _looks(rng, background, width, height, held_out=held_out)
    num_static = int(rng.integers(0, len(looks) // 2 + 1))
    times = _event_frames(rng, num_frames, len(looks) - num_static)
    static = tuple(Actor(look, 0, num_frames) for look in looks[:num_static] if isinstance(look, Shape))
    actors = []
    for look, frame in zip(looks[num_static:], times, strict=False):
        event = choose(rng, ("appear", "disappear", "recolour"), weights=(0.66, 0.17, 0.17))
        if event == "appear" or isinstance(look, Word):
            actors.append(Actor(look, frame, num_frames))
        elif event == "disappear":
            actors.append(Actor(look, 0, frame))
        else:
            later = _recoloured(rng, look, background, held_out=held_out)
            actors.append(Actor(look, 0, num_frames, frame, later))
    return Clip(width, height, num_frames, choose(rng, SAMPLE_FPS), background, static, tuple(actors))


def _looks(
    rng: np.random.Generator, background: Background, width: int, height: int, *, held_out: bool
) -> list[Shape | Word]:
    """One to five placed things, no two of the same name or colour; at most one word, the last."""
    shades = {colour: random_rgb(rng, colour, held_out=held_out) for colour in COLOURS}
    colours = [colour for colour in COLOURS if background.allows(shades[colour])]
    names = [SHAPES[i] for i in rng.permutation(len(SHAPES))]
    looks: list[Shape | Word] = []
    for colour, name in zip([colours[i] for i in rng.permutation(len(colours))], names[:5], strict=False):
        if held_out or not is_unseen(name, colour):
            diameter = rng.uniform(*_DIAMETER_PX)
            looks.append(Shape(name, colour, shades[colour], 0, 0, diameter, random_turn(rng, name)))
    looks = looks[: int(rng.integers(1, 6))]
    if rng.random() < 0.2:
        text = choose(rng, HELD_OUT_WORDS if held_out else TRAINING_WORDS)
        ink = shades[choose(rng, colours)]
        looks = [*looks[:3], Word(text, ink, int(rng.integers(*_FONT_PX)))]
    placed: list[Shape | Word] = []
    for look in reversed(looks):  # the word needs the most room
        place = free_place(rng, look.box, width, height, [other.box for other in placed])
        if place is not None:
            placed.append(replace(look, x=place[0], y=place[1]))
    return placed[::-1]


def _event_frames(rng: np.random.Generator, num_frames: int, num_wanted: int) -> list[int]:
    """Up to three frames from the second group on, in any order, whose groups are `_APART_GROUPS` apart."""
    frames: list[int] = []
    for _ in range(min(num_wanted, int(rng.integers(1, 4)))):
        frame = int(rng.integers(GROUP_FRAMES, num_frames))
        if all(abs(frame // GROUP_FRAMES - other // GROUP_FRAMES) >= _APART_GROUPS for other in frames):
            frames.append(frame)
    return frames


def _recoloured(rng: np.random.Generator, shape: Shape, background: Background, *, held_out: bool) -> Shape:
    """The same shape in another colour that stands out from the background."""
    while True:
        colour = choose(rng, COLOURS)
        rgb = random_rgb(rng, colour, held_out=held_out)
        if colour != shape.colour and background.allows(rgb) and (held_out or not is_unseen(shape.name, colour)):
            return replace(shape, colour=colour, rgb=rgb)


# --- questions ------------------------------------------------------------------------------------------------------


def _seconds(clip: Clip, frame: int) -> str:
    return f"{frame / clip.sample_fps:.1f}"


def _ask_when(rng: np.random.Generator, clip: Clip) -> Asked | None:
    if not clip.actors:
        return None
    actor = choose(rng, clip.actors)
    names = {"a": f"the {actor.name}"}
    if actor.later is not None and actor.change is not None:
        event, frame = "recolour", actor.change
        names = {"a": f"the {actor.later.name}", "colour": actor.later.colour, "old": actor.name.split()[0]}
    elif actor.first > 0:
        event, frame = "appear", actor.first
    else:
        event, frame = "disappear", actor.end
    question = choose(rng, _WHEN[event]).format(**names)
    areas = (clip.area(actor, frame),)
    clue = Clue(_seconds(clip, frame), areas, ((names["a"].removeprefix("the "), areas),))
    return question, f"{_seconds(clip, frame)} seconds", {"event": event, "time_s": frame / clip.sample_fps}, (clue,)


def _ask_what(rng: np.random.Generator, clip: Clip) -> Asked | None:
    if not clip.appearing:
        return None
    actor = choose(rng, clip.appearing)
    time = _seconds(clip, actor.first)
    question = choose(rng, _WHAT).format(time=time)
    areas = (clip.area(actor, actor.first),)
    answer = f"the word {verbatim(actor.look.text)}" if isinstance(actor.look, Word) else with_article(actor.name)
    return question, answer, {"answer": actor.name}, (Clue(actor.name, areas, ((time, areas),)),)


def _ask_count(rng: np.random.Generator, clip: Clip) -> Asked | None:
    found = [actor for actor in clip.appearing if isinstance(actor.look, Shape)]
    if len(found) < 2 and rng.random() < 0.8:
        return None  # most clips have one: guessing must not pay
    answer, areas = str(len(found)), tuple(clip.area(actor, actor.first) for actor in found)
    return choose(rng, _COUNT), answer, {"count": len(found)}, (Clue(answer, areas, (("shapes", areas),)),)


def _ask_order(rng: np.random.Generator, clip: Clip) -> Asked | None:
    shapes = [actor for actor in clip.appearing if isinstance(actor.look, Shape)]
    if len(shapes) < 2:
        return None
    first, second = shapes[:2]
    a, b = (first, second) if rng.random() < 0.5 else (second, first)
    question = choose(rng, _ORDER).format(a=f"the {a.name}", b=f"the {b.name}")
    names = tuple((actor.name, (clip.area(actor, actor.first),)) for actor in (a, b))
    clue = Clue(first.name, (clip.area(first, first.first),), names)
    return question, f"the {first.name}", {"answer": first.name}, (clue,)


# --- drawing --------------------------------------------------------------------------------------------------------


def _paint(rng: np.random.Generator, clip: Clip) -> list[PILImage.Image]:
    """The frames; those that show the same are drawn once, and some clips have mild noise in every frame."""
    empty = paint_background(rng, clip.background, clip.width, clip.height)
    painted: dict[tuple[Shape | Word | None, ...], PILImage.Image] = {}
    frames = []
    for index in range(clip.num_frames):
        looks = tuple(actor.at(index) for actor in (*clip.static, *clip.actors))
        if looks not in painted:
            painted[looks] = _paint_frame(empty.copy(), looks)
        frames.append(painted[looks])
    return [_noisy(rng, frame) for frame in frames] if rng.random() < 0.15 else frames


def _paint_frame(frame: PILImage.Image, looks: tuple[Shape | Word | None, ...]) -> PILImage.Image:
    for look in looks:
        if isinstance(look, Shape):
            paint_shape(frame, look)
        elif isinstance(look, Word):
            draw = ImageDraw.Draw(frame)
            draw.text((look.x, look.y), look.text, fill=look.rgb, font=word_font(look.size_px), anchor="mm")
    return frame


def _noisy(rng: np.random.Generator, frame: PILImage.Image) -> PILImage.Image:
    noise = rng.integers(-4, 5, (frame.height, frame.width, 3), dtype=np.int16)
    return PILImage.fromarray(np.clip(np.asarray(frame) + noise, 0, 255).astype(np.uint8))


@functools.cache
def word_font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The face that Pillow brings: clips need no installed fonts."""
    return ImageFont.load_default(size_px)
