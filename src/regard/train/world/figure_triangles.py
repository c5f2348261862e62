"""Triangles with labels, drawn to scale, and the problems they pose.

A builder draws one figure and returns it, or None if the labels found no room or the answer stands in the question;
then another one is drawn. The side or angle that is asked for is marked "?" in half of the figures, so that the
picture alone says what is wanted.
"""

from __future__ import annotations

import math

from regard.train.world.figure_canvas import XY, Canvas, between, unit
from regard.train.world.figure_outline import (
    TRIPLES,
    corner_parts,
    find,
    fit,
    kind_fact,
    middle_of,
    name_corners,
    name_sides,
    side_name,
    three_names,
    tint,
    values,
)
from regard.train.world.figure_problem import (
    DEGREE,
    Fact,
    Figure,
    Problem,
    Step,
    gives_away,
    number,
    random_unit,
    with_unit,
)
from regard.train.world.shapes import choose

_LOOK_RIGHT = "Look for the right angle and the sides beside it."


def right_triangle(canvas: Canvas) -> Figure | None:
    """Two sides of a right triangle are given: the third side, the area or the perimeter."""
    rng = canvas.rng
    a, c, hypotenuse = values(canvas, [list(triple) for triple in TRIPLES])
    if rng.random() < 0.5:
        a, c = c, a
    p, q, r = three_names(canvas)  # the right angle is at q
    corners = fit(canvas, [(0.0, a), (0.0, 0.0), (c, 0.0)])
    pq, qr, pr = side_name(p, q), side_name(q, r), side_name(p, r)
    length_unit = random_unit(rng)
    task = choose(rng, ("hypotenuse", "leg", "area", "perimeter"), weights=(0.35, 0.3, 0.2, 0.15))
    lengths = {pq: a, qr: c, pr: hypotenuse}
    shown = {"hypotenuse": (pq, qr), "leg": (pq, pr), "area": (pq, qr), "perimeter": (pq, qr, pr)}[task]
    angle = f"angle {q} = 90{DEGREE}"
    given = tuple(f"{side} = {with_unit(lengths[side], length_unit)}" for side in shown)
    s_a, s_c, s_h = number(a), number(c), number(hypotenuse)
    pythagoras = f"Pythagoras: the angle at {q} is right, so the squares of the legs add up."
    root = "The side is the positive root of its square."
    if task == "hypotenuse":
        square, asked, value = a * a + c * c, pr, hypotenuse
        steps: tuple[Step, ...] = (
            Step(f"{pr}^2 = {s_a}^2 + {s_c}^2 = {number(square)}", "Pythagoras", pythagoras),
            Step(f"{pr} = sqrt({number(square)}) = {s_h}", "root", root),
        )
        hints = (_LOOK_RIGHT, f"The longest side is {pr}: think of Pythagoras.", "Square both legs and add.")
        mistakes: tuple[str, ...] = (
            f"{s_a} + {s_c} = {number(a + c)}: add the squares, not the sides.",
            "Forgetting the root.",
        )
    elif task == "leg":
        square, asked, value = hypotenuse**2 - a * a, qr, c
        steps = (
            Step(f"{qr}^2 = {s_h}^2 - {s_a}^2 = {number(square)}", "Pythagoras", pythagoras),
            Step(f"{qr} = sqrt({number(square)}) = {s_c}", "root", root),
        )
        hints = (_LOOK_RIGHT, f"{pr} is the longest side, {qr} a leg: think of Pythagoras.",
                 f"Take the square of {pq} from the square of {pr}.")  # fmt: skip
        mistakes = ("Adding the squares: a leg is shorter than the longest side.", "Forgetting the root.")
    elif task == "area":
        asked, value = "area", a * c / 2
        steps = (
            Step(f"area = {s_a} * {s_c} / 2 = {number(value)}", "half base times height",
                 "The legs are base and height, and the triangle is half of a rectangle."),
        )  # fmt: skip
        hints = (_LOOK_RIGHT, f"{pq} and {qr} are height and base.", "Multiply them and take half.")
        mistakes = (f"{s_a} * {s_c} = {number(a * c)}: forgot to take half.",)
    else:
        asked, value = "perimeter", a + c + hypotenuse
        steps = (Step(f"perimeter = {s_a} + {s_c} + {s_h} = {number(value)}", "sum of the sides",
                      "The perimeter goes once around the triangle."),)  # fmt: skip
        hints = ("Follow the border with a finger.", f"The border is {pq}, {qr} and {pr}.", "Add the sides.")
        mistakes = ("Multiplying sides: that would be an area.",)
    has_angle = task in ("hypotenuse", "leg")
    problem = Problem(
        question=find(rng, asked),
        given=(*given, angle) if has_angle else given,
        asked=asked,
        steps=steps,
        answer=with_unit(value, length_unit, 2 if task == "area" else 1),
        value=(value,),
        hints=hints,
        mistakes=mistakes,
    )
    if gives_away(problem):
        return None
    canvas.polygon(corners, fill=tint(canvas), kind="triangle")
    canvas.right_angle(corners[1], (corners[0], corners[2]))
    names, sides = (p, q, r), {pq: (0, 1), qr: (1, 2), pr: (0, 2)}
    labels = {side: with_unit(lengths[side], length_unit) for side in shown}
    if asked in sides and rng.random() < 0.5:
        labels[asked] = "?"
    if not name_corners(canvas, names, corners) or not name_sides(canvas, corners, sides, labels):
        return None
    facts = [
        Fact((f"How long is {side}?", f"What is the length of {side}?", f"Read off {side}."), labels[side])
        for side in shown
    ]
    facts.append(
        Fact(("Which angle is the right angle?", "Where is the right angle?", "Which angle is 90 degrees?"), q)
    )
    facts.append(Fact(("Which side is the longest?", "Name the longest side.", "Which side is the hypotenuse?"), pr))
    facts.append(kind_fact("a right triangle"))
    return Figure("right triangle", canvas, problem, tuple(facts), corner_parts(names, corners, sides))


def triangle(canvas: Canvas) -> Figure | None:
    """Two angles are given, or one of a triangle with two equal sides."""
    rng = canvas.rng
    p, q, r = three_names(canvas)
    is_isosceles = rng.random() < 0.4
    if is_isosceles:
        (top,) = values(canvas, [[v] for v in range(24, 131, 2) if v != 60])
        first = second = (180 - top) / 2
    else:
        second, top = values(canvas, [[b, c] for b in range(30, 106, 5) for c in range(25, 101, 5) if b + c <= 150])
        first = 180 - second - top
    angles = {p: first, q: second, r: top}
    # p and q on the base, r above: the law of sines gives the place of r.
    reach = math.sin(math.radians(second)) / math.sin(math.radians(top))
    apex = (reach * math.cos(math.radians(first)), reach * math.sin(math.radians(first)))
    corners = fit(canvas, [(0.0, 0.0), (1.0, 0.0), apex])
    asked = f"angle {p}"
    rule = "The angles of a triangle add up to 180 degrees."
    s_top, s_first, s_second = number(top), number(first), number(second)
    if is_isosceles:
        given: tuple[str, ...] = (f"{side_name(p, r)} = {side_name(q, r)}", f"angle {r} = {s_top}{DEGREE}")
        steps: tuple[Step, ...] = (
            Step(f"angle {p} + angle {q} = 180 - {s_top} = {number(180 - top)}", "angle sum", rule),
            Step(f"angle {p} = {number(180 - top)} / 2 = {s_first}", "equal base angles",
                 "Opposite to equal sides lie equal angles."),
        )  # fmt: skip
        hints = ("Look for the equal sides.", f"The angles {p} and {q} are equal.",
                 f"Think of the angle sum; what is left for {p} and {q} together?")  # fmt: skip
        mistakes = (f"180 - {s_top} = {number(180 - top)}: forgot to take half.",)
    else:
        given = (f"angle {q} = {s_second}{DEGREE}", f"angle {r} = {s_top}{DEGREE}")
        steps = (Step(f"angle {p} = 180 - {s_second} - {s_top} = {s_first}", "angle sum", rule),)
        hints = ("Which angles are given?", "Think of the angle sum of a triangle.",
                 f"Take the angles {q} and {r} from the angle sum.")  # fmt: skip
        mistakes = (f"{s_second} + {s_top} = {number(second + top)}: that is not the third angle.",)
    problem = Problem(find(rng, asked), given, asked, steps, s_first + DEGREE, (first,), hints, mistakes)
    if gives_away(problem):
        return None
    canvas.polygon(corners, fill=tint(canvas), kind="triangle")
    shown = {r: s_top + DEGREE} if is_isosceles else {q: s_second + DEGREE, r: s_top + DEGREE}
    if rng.random() < 0.5:
        shown[p] = "?"
    names = (p, q, r)
    if not name_corners(canvas, names, corners):
        return None
    middle = middle_of(corners)
    for index, name in enumerate(names):
        others = (corners[index - 2], corners[index - 1])
        canvas.arc(corners[index], others, 13)
        if name in shown and not _label_angle(canvas, shown[name], corners[index], others, middle):
            return None
    if is_isosceles:
        for corner in corners[:2]:
            _tick(canvas, corner, corners[2])
    facts = [
        Fact((f"How large is angle {name}?", f"What is angle {name}?", f"Read off angle {name}."), text)
        for name, text in shown.items()
        if text != "?"
    ]
    if max(angles.values()) - sorted(angles.values())[1] > 8:
        widest = max(angles, key=lambda name: angles[name])
        facts.append(Fact(("Which angle is the largest?", "Name the largest angle."), widest))
    facts.append(kind_fact("a triangle"))
    sides = {side_name(p, q): (0, 1), side_name(q, r): (1, 2), side_name(p, r): (0, 2)}
    return Figure("triangle", canvas, problem, tuple(facts), corner_parts(names, corners, sides))


def _label_angle(canvas: Canvas, text: str, vertex: XY, others: tuple[XY, XY], middle: XY) -> bool:
    """Inside the angle on its bisector, far enough out for the text to fit between the sides."""
    first, second = (unit(vertex, other) for other in others)
    bisector = (first[0] + second[0], first[1] + second[1])
    length = math.hypot(*bisector)
    half_angle = math.acos(min(1.0, length / 2))
    width = max(canvas.text_width(text), canvas.line_height * 0.8)
    reach = max(16 + width / 2, width / 2 / math.tan(half_angle) + 5)
    if reach > math.dist(vertex, middle) * 1.35:
        return False
    return canvas.label(text, (vertex[0] + bisector[0] / length * reach, vertex[1] + bisector[1] / length * reach))


def _tick(canvas: Canvas, a: XY, b: XY) -> None:
    """The stroke across a side that says it equals the other one that has it."""
    along, centre = unit(a, b), between(a, b)
    half = (-along[1] * 5, along[0] * 5)
    canvas.line((centre[0] - half[0], centre[1] - half[1]), (centre[0] + half[0], centre[1] + half[1]), px=1.5)
