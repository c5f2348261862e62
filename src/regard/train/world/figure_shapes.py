"""Circles and rectangles with labels, drawn to scale, and the problems they pose.

A builder draws one figure and returns it, or None if the labels found no room or the answer stands in the question;
then another one is drawn.
"""

from __future__ import annotations

import math

from regard.train.world.figure_canvas import Canvas, between
from regard.train.world.figure_outline import (
    TRIPLES,
    corner_parts,
    find,
    fit,
    kind_fact,
    name_corners,
    name_sides,
    tint,
    values,
)
from regard.train.world.figure_problem import (
    Fact,
    Figure,
    Problem,
    Step,
    gives_away,
    near,
    number,
    random_unit,
    with_unit,
)
from regard.train.world.shapes import choose, spread


def circle(canvas: Canvas) -> Figure | None:
    """Radius or diameter is given: the other, the circumference or the area."""
    rng = canvas.rng
    radius, has_diameter = values(canvas, [[v, d] for v in (*range(2, 21), 1.5, 2.5, 3.5, 4.5) for d in (0, 1)])
    length_unit = random_unit(rng)
    centre_name = choose(rng, ("S", "Z", "N") if canvas.held_out else ("M", "O", "C", "P"))
    task = choose(rng, ("other", "circumference", "area"), weights=(0.3, 0.35, 0.35))
    s_r, s_d = number(radius), number(2 * radius)
    is_pi = task != "other"
    halve = Step(f"r = {s_d} / 2 = {s_r}", "half the diameter", "The diameter is the radius on both sides.")
    given = (f"d = {with_unit(s_d, length_unit)}",) if has_diameter else (f"r = {with_unit(s_r, length_unit)}",)
    look = "See what the line in the circle reaches: the border on both sides?" if has_diameter else \
        "See where the line in the circle begins and ends."  # fmt: skip
    if task == "other":
        asked, value = ("radius", radius) if has_diameter else ("diameter", 2 * radius)
        steps: tuple[Step, ...] = (halve,) if has_diameter else (
            Step(f"d = 2 * {s_r} = {s_d}", "twice the radius", "The diameter is the radius on both sides."),
        )  # fmt: skip
        hints = (look, "The diameter goes through the centre from border to border.", "How many radii is that?")
        mistakes: tuple[str, ...] = ("Mixing up radius and diameter.",)
    elif task == "circumference":
        asked, value = "circumference", 2 * radius
        steps = (Step(f"C = 2 * pi * {s_r} = {s_d} * pi", "circumference",
                      "The circumference is pi times the diameter."),)  # fmt: skip
        steps = (halve, *steps) if has_diameter else steps
        hints = (look, "The circumference is the way once around.", "Multiply pi and the diameter.")
        mistakes = (f"pi * {s_r}^2 is the area, not the circumference.",)
    else:
        asked, value = "area", radius**2
        steps = (Step(f"A = pi * {s_r}^2 = {number(value)} * pi", "area of a circle",
                      "The area is pi times the square of the radius."),)  # fmt: skip
        steps = (halve, *steps) if has_diameter else steps
        hints = (look, "The area needs the radius.", "Square the radius and multiply by pi.")
        mistakes = (f"2 * pi * {s_r} is the circumference, not the area.",) + (
            (f"Using d = {s_d} instead of the radius.",) if has_diameter else ()
        )
    answer = with_unit(f"{number(value)} pi" if is_pi else number(value), length_unit, 2 if task == "area" else 1)
    problem = Problem(find(rng, asked), given, asked, steps, answer, (value,), hints, mistakes, is_pi)
    if gives_away(problem):
        return None
    margin = canvas.line_height + 6
    radius_px = (min(canvas.width, canvas.height) / 2 - margin) * spread(rng, 0.8, 1.0, held_out=canvas.held_out)
    centre = (float(rng.uniform(radius_px + margin, canvas.width - radius_px - margin)), canvas.height / 2)
    colours = canvas.colours(1) if rng.random() < 0.3 else []
    canvas.circle(centre, radius_px, fill=tint(canvas), kind="circle")
    turn = math.radians(spread(rng, 0, 360, held_out=canvas.held_out))
    direction = (math.cos(turn), math.sin(turn))
    rim = (centre[0] + direction[0] * radius_px, centre[1] + direction[1] * radius_px)
    opposite = (centre[0] - direction[0] * radius_px, centre[1] - direction[1] * radius_px)
    rgb = colours[0][1] if colours else None
    canvas.line(opposite if has_diameter else centre, rim, rgb=rgb)
    canvas.dot(centre)
    normal = (-direction[1], direction[0])
    prefix = choose(rng, ("", "d = " if has_diameter else "r = "))
    line_middle = between(centre, rim, 0.55)
    text = prefix + with_unit(s_d if has_diameter else s_r, length_unit)
    if canvas.text_width(text) > radius_px * (1.3 if has_diameter else 0.85):
        return None
    if not canvas.label_beside(centre_name, centre, (-normal[0], -normal[1]), 5):
        return None
    if not canvas.label_beside(text, line_middle, normal, 3):
        return None
    line_name = "diameter" if has_diameter else "radius"
    facts = (
        Fact((f"What is the {line_name}?", f"How long is the {line_name}?", f"Read off the {line_name}."),
             with_unit(s_d if has_diameter else s_r, length_unit)),
        Fact(("What is the centre called?", "Which letter stands at the centre?", "Name the centre."), centre_name),
        Fact(("Is the radius or the diameter given?", "Which is marked, radius or diameter?"), line_name),
        kind_fact("a circle"),
    )  # fmt: skip
    parts = (near(centre_name, centre), near("the centre", centre), near(f"the {line_name}", line_middle, reach=18))
    return Figure("circle", canvas, problem, facts, parts)


def rectangle(canvas: Canvas) -> Figure | None:
    """Two sides are given: area, perimeter or diagonal."""
    rng = canvas.rng
    task = choose(rng, ("area", "perimeter", "diagonal"), weights=(0.4, 0.4, 0.2))
    if task == "diagonal":
        b, a, diagonal = values(canvas, [list(t) for t in TRIPLES if t[1] < 3 * t[0]])
    else:
        a, b = values(canvas, [[x, y] for x in range(3, 16) for y in range(2, 13) if y <= x <= 3 * y])
        diagonal = 0.0
    names = choose(rng, ("EFGH", "KLMN", "STUV") if canvas.held_out else ("ABCD", "ABCD", "PQRS", "WXYZ"))
    ab, bc, ac = (names[i] + names[j] for i, j in ((0, 1), (1, 2), (0, 2)))
    length_unit = random_unit(rng)
    s_a, s_b = number(a), number(b)
    given = (f"{ab} = {with_unit(a, length_unit)}", f"{bc} = {with_unit(b, length_unit)}")
    look = f"{ab} and {bc} are the sides."
    if task == "area":
        asked, value = "area", a * b
        steps: tuple[Step, ...] = (Step(f"area = {s_a} * {s_b} = {number(value)}", "length times width",
                                        "So many unit squares fill the rectangle."),)  # fmt: skip
        hints = (look, "The area is what the rectangle covers.", "Multiply the sides.")
        mistakes: tuple[str, ...] = (f"2 * ({s_a} + {s_b}) is the perimeter, not the area.",)
    elif task == "perimeter":
        asked, value = "perimeter", 2 * (a + b)
        steps = (Step(f"perimeter = 2 * ({s_a} + {s_b}) = {number(value)}", "way around",
                      "Each side comes twice on the way around."),)  # fmt: skip
        hints = (look, "Go around the rectangle with a finger.", "Opposite sides are equal; add all sides.")
        mistakes = (f"{s_a} + {s_b} = {number(a + b)}: that is only half of the way.",)
    else:
        asked, value = ac, diagonal
        square = number(diagonal**2)
        steps = (
            Step(f"{ac}^2 = {s_a}^2 + {s_b}^2 = {square}", "Pythagoras",
                 f"{ab}, {bc} and {ac} make a right triangle."),
            Step(f"{ac} = sqrt({square}) = {number(diagonal)}", "root", "The side is the positive root of its square."),
        )  # fmt: skip
        hints = (look, f"{ab}, {bc} and {ac} make a right triangle.", "Square both sides and add.")
        mistakes = (f"{s_a} + {s_b} = {number(a + b)}: add the squares, not the sides.", "Forgetting the root.")
    problem = Problem(find(rng, asked), given, asked, steps, with_unit(value, length_unit, 2 if task == "area" else 1),
                      (value,), hints, mistakes)  # fmt: skip
    if gives_away(problem):
        return None
    corners = fit(canvas, [(0.0, 0.0), (a, 0.0), (a, b), (0.0, b)], is_turned=False)
    canvas.polygon(corners, fill=tint(canvas), kind="rectangle")
    if task == "diagonal":
        canvas.dashes(corners[0], corners[2])
    sides = {ab: (0, 1), bc: (1, 2)}
    labels = {ab: with_unit(a, length_unit), bc: with_unit(b, length_unit)}
    if not name_corners(canvas, tuple(names), corners) or not name_sides(canvas, corners, sides, labels):
        return None
    facts = [Fact((f"How long is {side}?", f"What is the length of {side}?"), labels[side]) for side in sides]
    facts.append(kind_fact("a rectangle"))
    if a > b:
        facts.append(Fact((f"Which is longer, {ab} or {bc}?", f"Which side is longer, {bc} or {ab}?"), ab))
    return Figure("rectangle", canvas, problem, tuple(facts), corner_parts(tuple(names), corners, sides))
