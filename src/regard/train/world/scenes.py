"""Simple scenes of coloured shapes, with one question each whose answer follows from the scene.

`make` draws a layout, asks a question about it, draws again if this layout has no clear answer, and only
then paints. Every truth has a `kind`:

    describe    "There are 2 shapes: a red circle at the top left and a blue star in the centre."
    count       "3"
    relation    "Yes." / "No."; "left" / "right" / "above" / "below"; "a red circle"
    attribute   a colour, a shape, "large" / "small", "Yes." / "No."
    locate      boxes as JSON in 0-1000 of width and height
    point       a point as JSON in 0-1000

It does not draw overlapping shapes, and it asks nothing that a person would have to guess.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from PIL import Image as PILImage

from regard.messages import Image, Message, Text
from regard.train.world import scene_questions as questions
from regard.train.world.sample import DenseTruth, Item, Sample
from regard.train.world.scene_questions import LARGE_PX, Asked, Scene
from regard.train.world.shapes import (
    COLOURS,
    SHAPES,
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
)

__all__ = ["COLOURS", "SHAPES", "make"]

# Of the samples.
KIND_SHARES = {"describe": 0.14, "count": 0.18, "relation": 0.18, "attribute": 0.10, "locate": 0.28, "point": 0.12}
MAX_SHAPES = 7
_SMALL_RANGE_PX, _LARGE_RANGE_PX = (25, 34), (LARGE_PX, 62)
_TRAINING_SIZES = (
    (192, 192),
    (224, 192),
    (192, 224),
    (224, 224),
    (256, 192),
    (256, 224),
    (288, 192),
    (288, 224),
    (250, 210),
)
_HELD_OUT_SIZES = ((256, 256), (224, 224), (256, 192), (288, 208), (240, 200))

Wanted = tuple[str, str]  # shape name, colour


def make(
    rng: np.random.Generator, *, held_out: bool, num_turns: int = 1, kinds: Sequence[str] = tuple(KIND_SHARES)
) -> Sample:
    """One scene with up to `num_turns` questions of some kinds and their answers; `truth` belongs to the first."""
    weights = [KIND_SHARES[kind] for kind in kinds]
    kind = choose(rng, kinds, weights=weights)
    plan, ask = _KINDS[kind]
    while True:
        scene = _layout(rng, plan, held_out=held_out)
        asked = ask(rng, scene)
        if asked is not None:
            break
    question, answer, truth, clues = asked
    all_clues = [clues]
    messages = [Message("user", (Image(_paint(rng, scene)), Text(question))), Message("assistant", (Text(answer),))]
    for _ in range(num_turns - 1):
        more = _KINDS[choose(rng, kinds, weights=weights)][1](rng, scene)
        if more is not None:
            messages += [Message("user", (Text(more[0]),)), Message("assistant", (Text(more[1]),))]
            all_clues.append(more[3])
    return Sample(
        task="scenes",
        messages=tuple(messages),
        truth={"kind": kind, **truth},
        dense=DenseTruth(items=tuple(Item(shape.name, shape.box, shape.colour) for shape in scene.shapes)),
        clues=tuple(all_clues),
    )


# --- layout ---------------------------------------------------------------------------------------------------------


def _layout(rng: np.random.Generator, plan: Callable[..., list[Wanted]], *, held_out: bool) -> Scene:
    """Place the shapes that `plan` wants; one that finds no room is left out."""
    width, height = choose(rng, _HELD_OUT_SIZES if held_out else _TRAINING_SIZES)
    background = random_background(rng, held_out=held_out)
    shades = {colour: random_rgb(rng, colour, held_out=held_out) for colour in COLOURS}
    colours = [colour for colour in COLOURS if background.allows(shades[colour])]
    kinds = [(name, colour) for colour in colours for name in SHAPES if held_out or not is_unseen(name, colour)]
    placed: list[Shape] = []
    wanted = plan(rng, kinds)
    large_share = 0.5 if len(wanted) <= 4 else 0.25
    for name, colour in wanted:
        limits = _LARGE_RANGE_PX if rng.random() < large_share else _SMALL_RANGE_PX
        shape = Shape(name, colour, shades[colour], 0, 0, rng.uniform(*limits), random_turn(rng, name))
        place = free_place(rng, shape.box, width, height, [other.box for other in placed])
        if place is not None:
            placed.append(replace(shape, x=place[0], y=place[1]))
    placed.sort(key=lambda shape: (int(shape.y / height * 3), shape.x))
    return Scene(width, height, background, tuple(placed))


def _paint(rng: np.random.Generator, scene: Scene) -> PILImage.Image:
    picture = paint_background(rng, scene.background, scene.width, scene.height)
    for shape in scene.shapes:
        paint_shape(picture, shape)
    return wear(rng, picture)


# --- plans: which shapes a question needs ---------------------------------------------------------------------------


def _plan_any(rng: np.random.Generator, kinds: list[Wanted]) -> list[Wanted]:
    return [choose(rng, kinds) for _ in range(int(rng.integers(1, MAX_SHAPES + 1)))]


def _plan_few(rng: np.random.Generator, kinds: list[Wanted]) -> list[Wanted]:
    return [choose(rng, kinds) for _ in range(int(rng.integers(2, 6)))]


def _plan_repeated(rng: np.random.Generator, kinds: list[Wanted]) -> list[Wanted]:
    """0 to 5 that share a shape, a colour or both, among others: counting is only hard with repetition."""
    name, colour = choose(rng, kinds)
    by_name, by_colour = [k for k in kinds if k[0] == name], [k for k in kinds if k[1] == colour]
    pool = choose(rng, (by_name, by_colour, [(name, colour)], kinds))
    num_same = int(rng.integers(0, 6))
    same = [choose(rng, pool) for _ in range(num_same)]
    others = [choose(rng, kinds) for _ in range(int(rng.integers(0 if same else 1, MAX_SHAPES - num_same + 1)))]
    return same + others


# kind: which shapes it needs, the question
_KINDS: dict[str, tuple[Callable[..., list[Wanted]], Callable[[np.random.Generator, Scene], Asked | None]]] = {
    "describe": (_plan_any, questions.ask_describe),
    "count": (_plan_repeated, questions.ask_count),
    "relation": (_plan_few, questions.ask_relation),
    "attribute": (_plan_any, questions.ask_attribute),
    "locate": (_plan_any, questions.ask_locate),
    "point": (_plan_any, questions.ask_point),
}
