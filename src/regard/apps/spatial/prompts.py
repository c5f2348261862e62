"""What the model is asked, and the form its answer is bound to where the model takes one.

The sentences are those of the family's notebooks (2d_grounding, spatial_understanding and 3d_grounding of
QwenLM/Qwen3-VL at 9658872): the models were trained on them. So is the form: a fenced list, one object a line, a tab
before it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from regard.apps.spatial.names import plural
from regard.sampling_params import Structure

_COORDINATE = "(?:1000|[0-9]{1,3})"
_TEXT = r'[^"\\\n]{1,60}'
_DECIMAL = r"-?[0-9]{1,3}(?:\.[0-9]{1,4})?"


def boxes_prompt(what: Sequence[str], *, every: bool, attributes: Sequence[str] = ()) -> str:
    """The question for boxes: of one described thing, or of every instance of some categories."""
    if len(what) == 1 and not every and not attributes:
        return f"Locate the {what[0]}, report the bbox coordinates in JSON format."
    names = ", ".join(what)
    head = f'Locate every instance that belongs to the following categories: "{names}".'
    if not attributes:
        return f"{head} Report bbox coordinates in JSON format."
    thing = what[0] if len(what) == 1 else "instance"
    shape = ", ".join(f'"{name}": "..."' for name in attributes)
    return (
        f"{head} For each {thing}, report bbox coordinates, {' and '.join(attributes)} in JSON format like this: "
        f'{{"bbox_2d": [x1, y1, x2, y2], "label": "{thing}", {shape}}}'
    )


def points_prompt(what: Sequence[str], *, every: bool, attributes: Sequence[str] = ()) -> str:
    """The question for points."""
    if len(what) == 1 and not every and not attributes:
        return f"Locate the {what[0]} in this image. Output the point coordinates in JSON format."
    names = ", ".join(what)
    thing = what[0] if len(what) == 1 else "name"
    told = ", ".join(("their point coordinates", *attributes))
    shape = "".join(f', "{name}": "..."' for name in attributes)
    return (
        f"Locate every {names} with points, report {told} in JSON format like this: "
        f'{{"point_2d": [x, y], "label": "{thing}"{shape}}}'
    )


def space_prompt(what: str) -> str:
    """The question for boxes in space: one category at a time, as the authors advise."""
    return (
        f"Find all {plural(what)} in this image. For each {what}, provide its 3D bounding box. "
        'The output format required is JSON: `[{"bbox_3d":[x_center, y_center, z_center, x_size, y_size, z_size, '
        'roll, pitch, yaw],"label":"category"}]`.'
    )


def count_prompt(what: str) -> str:
    """The question that checks the number of places found."""
    return f"How many {plural(what)} are in the image?"


def front_prompt(first: str, second: str) -> str:
    """The question which of two overlapping things covers the other."""
    return (
        f"Which object is in front, partly covering the other?\nAnswer options:\nA.{first}\nB.{second}\n"
        "Answer with the option's letter."
    )


def places_grammar(key: str, what: Sequence[str], *, attributes: Sequence[str] = ()) -> Structure:
    """A fenced list of objects with coordinates under `key`, whose labels are the ones asked for."""
    numbers = {"bbox_2d": [_COORDINATE] * 4, "point_2d": [_COORDINATE] * 2, "bbox_3d": [_DECIMAL] * 9}[key]
    labels = "|".join(_literal(name) for name in what)
    pairs = [rf'"{key}": \[{", ".join(numbers)}\]', f'"label": "(?:{labels})"']
    pairs += [f'"{_literal(name)}": "{_TEXT}"' for name in attributes]
    one = rf"\n\t\{{{', '.join(pairs)}\}}"
    return Structure("regex", rf"```json\n\[(?:{one}(?:,{one})*)?\n\]\n```")


def _literal(text: str) -> str:
    """A pattern that matches just this text as JSON writes it within quotes."""
    quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
    return re.sub(r"([.^$*+?()\[\]{}|\\])", r"\\\1", quoted)
