"""Bar charts, points on axes and written equations, and the problems they pose.

Bars either carry their values or stand before an axis whose ticks they reach, so that every value can be read off
exactly. Held out: other words under the bars, other combinations of numbers, and what `figure_canvas` keeps back.
"""

from __future__ import annotations

import numpy as np

from regard.train.world.figure_canvas import XY, Canvas
from regard.train.world.figure_problem import (
    Fact,
    Figure,
    Part,
    Problem,
    Step,
    gives_away,
    is_unseen,
    near,
    number,
)
from regard.train.world.shapes import choose, spread

_TRAINING_LABELS = (
    ("Mon", "Tue", "Wed", "Thu", "Fri"), ("Jan", "Feb", "Mar", "Apr", "May"), ("Red", "Blue", "Green", "Pink"),
    ("Cats", "Dogs", "Birds", "Fish"), ("Tea", "Milk", "Juice", "Water"), ("Ann", "Ben", "Cleo", "Dan", "Eva"),
    ("Low", "Mid", "High"), ("A", "B", "C", "D", "E"), ("Pears", "Plums", "Figs", "Limes"),
)  # fmt: skip
_HELD_OUT_LABELS = (
    ("Sat", "Sun", "Thu", "Mon"), ("Jun", "Jul", "Aug", "Sep", "Oct"), ("Bus", "Car", "Bike", "Tram"),
    ("Rome", "Oslo", "Bern", "Lima"), ("Ida", "Max", "Tom", "Zoe"), ("P", "Q", "R", "S"), ("Rice", "Corn", "Rye"),
)  # fmt: skip


def bar_chart(canvas: Canvas) -> Figure | None:
    """Three to five bars: the difference of two, the total or the mean."""
    rng = canvas.rng
    labels = list(choose(rng, _HELD_OUT_LABELS if canvas.held_out else _TRAINING_LABELS))
    num_bars = int(rng.integers(3, min(len(labels), 5) + 1))
    labels = [labels[int(i)] for i in rng.permutation(len(labels))[:num_bars]]
    has_values = bool(rng.random() < 0.6)
    top, tick = _scale(rng, has_values)
    values = _bar_values(rng, num_bars, top, tick if not has_values else 1, held_out=canvas.held_out)
    if values is None:
        return None
    task = choose(rng, ("difference", "total", "mean"), weights=(0.45, 0.3, 0.25))
    problem = _bar_problem(rng, task, labels, values)
    if problem is None or gives_away(problem):
        return None
    boxes = _draw_bars(canvas, labels, values, top=top, tick=tick, has_values=has_values)
    if boxes is None:
        return None
    highest, lowest = labels[values.index(max(values))], labels[values.index(min(values))]
    facts = [
        Fact((f"How high is the bar of {label}?", f"What is the value of {label}?", f"Read off {label}.",
              f"How many are shown for {label}?"), str(value))
        for label, value in zip(labels, values, strict=True)
    ]  # fmt: skip
    facts += [
        Fact(("Which bar is highest?", "Which bar is the tallest?", "Which has the largest value?"), highest),
        Fact(("Which bar is lowest?", "Which bar is the shortest?", "Which has the smallest value?"), lowest),
        Fact(("How many bars are there?", "Count the bars."), str(num_bars)),
        Fact(("What kind of chart is this?", "What does the picture show?"), "a bar chart"),
    ]
    index = int(rng.integers(num_bars))
    facts.append(Fact((f"Which bar has the value {values[index]}?",), labels[index]))
    parts = [_bar_part(f"the bar of {label}", box) for label, box in zip(labels, boxes, strict=True)]
    parts.append(_bar_part("the highest bar", boxes[values.index(max(values))]))
    parts.append(_bar_part("the lowest bar", boxes[values.index(min(values))]))
    return Figure("bar chart", canvas, problem, tuple(facts), tuple(parts), tuple(labels))


def _scale(rng: np.random.Generator, has_values: bool) -> tuple[int, int]:
    """Largest value of the axis and the distance of its ticks."""
    if has_values:
        top = int(choose(rng, (10, 20, 50, 90)))
        return top, top // 5
    tick = int(choose(rng, (1, 2, 5, 10, 20)))
    return tick * int(rng.integers(4, 7)), tick


def _bar_values(rng: np.random.Generator, num_bars: int, top: int, tick: int, *, held_out: bool) -> list[int] | None:
    """Different multiples of `tick`."""
    choices = np.arange(tick, top + 1, tick)
    if len(choices) < num_bars:
        return None
    values = [int(v) for v in rng.permutation(choices)[:num_bars]]
    return values if is_unseen(values) == held_out else None


def _bar_problem(rng: np.random.Generator, task: str, labels: list[str], values: list[int]) -> Problem | None:
    given = tuple(f"{label} = {value}" for label, value in zip(labels, values, strict=True))
    if task != "difference" and len(values) > 4:
        return None  # answers are to stay short
    listed = " + ".join(map(str, values))
    total = sum(values)
    sum_step = Step(f"total = {listed} = {total}", "sum", "All bars count.")
    if task == "difference":
        i, j = (int(k) for k in rng.permutation(len(values))[:2])
        if values[i] < values[j]:
            i, j = j, i
        a, b, value = labels[i], labels[j], values[i] - values[j]
        question = choose(rng, ("How much more is {a} than {b}?", "What is the difference of {a} and {b}?",
                                "By how much is {a} higher than {b}?")).format(a=a, b=b)  # fmt: skip
        steps: tuple[Step, ...] = (
            Step(f"difference = {values[i]} - {values[j]} = {value}", f"{a} minus {b}",
                 "How much more one bar has is their difference."),
        )  # fmt: skip
        hints = (f"Find the bars of {a} and {b}.", "Read off both heights.", "Take the lower from the higher.")
        mistakes: tuple[str, ...] = (f"{values[i]} + {values[j]} = {values[i] + values[j]}: that is both together.",)
        return Problem(question, (given[i], given[j]), "difference", steps, str(value), (value,), hints, mistakes)
    if task == "total":
        question = choose(rng, ("Find the total.", "What is the sum of all bars?", "How many are there in total?"))
        hints = ("Every bar counts.", "Read off all heights.", "Add them one by one.")
        mistakes = ("Leaving out a bar.",)
        return Problem(question, given, "total", (sum_step,), str(total), (total,), hints, mistakes)
    if total % len(values):
        return None
    mean = total // len(values)
    question = choose(rng, ("Find the mean.", "What is the average of the bars?", "Calculate the mean value."))
    steps = (sum_step, Step(f"mean = {total} / {len(values)} = {mean}", "equal shares",
                            "The mean gives each bar the same share of the total."))  # fmt: skip
    hints = ("Imagine all bars made equally high.", "First you need the total.", "Divide it by the number of bars.")
    mistakes = (f"{total} is the total, not the mean.", "Dividing by a wrong number of bars.")
    return Problem(question, given, "mean", steps, str(mean), (mean,), hints, mistakes)


def _draw_bars(
    canvas: Canvas, labels: list[str], values: list[int], *, top: int, tick: int, has_values: bool
) -> list[tuple[float, float, float, float]] | None:
    """The bars' boxes in px; None where the labels do not fit."""
    rng = canvas.rng
    line = canvas.line_height
    left = 12.0 if has_values else canvas.text_width(str(top)) + 14
    right, floor, ceiling = canvas.width - 8.0, canvas.height - line - 6, line + 6
    slot = (right - left) / len(values)
    width = slot * spread(rng, 0.4, 0.8, held_out=canvas.held_out)
    per_unit = (floor - ceiling) / (top if not has_values else max(values))
    colours = canvas.colours(len(values))
    if len(colours) < len(values) or max(map(canvas.text_width, labels)) > slot - 2:
        return None
    if rng.random() < 0.5:
        colours = [colours[0]] * len(values)
    if not has_values:
        canvas.line((left, ceiling - 4), (left, floor))
        if top // tick * line * 0.8 > floor - ceiling:
            return None
        for step in range(top // tick + 1):
            y = floor - step * tick * per_unit
            canvas.line((left - 4, y), (left, y))
            text = str(step * tick)
            if not canvas.label(text, (left - 6 - canvas.text_width(text) / 2, y)):
                return None
            if step:
                canvas.line((left, y), (right, y), px=0.5)
    canvas.line((left, floor), (right, floor))
    boxes = []
    for index, (label, value) in enumerate(zip(labels, values, strict=True)):
        centre = left + (index + 0.5) * slot
        box = (centre - width / 2, floor - value * per_unit, centre + width / 2, floor)
        corners = [(box[0], box[1]), (box[2], box[1]), (box[2], box[3]), (box[0], box[3])]
        name, rgb = colours[index]
        canvas.polygon(corners, fill=rgb, kind="rectangle", colour=name)
        boxes.append(box)
        if not canvas.label(label, (centre, floor + 4 + line * 0.4)):
            return None
        if has_values and not canvas.label(str(value), (centre, box[1] - line * 0.42)):
            return None
    return boxes


def _bar_part(name: str, box: tuple[float, float, float, float]) -> Part:
    x1, y1, x2, y2 = box
    grown = (x1 - 3, min(y1, y2 - 12) - 3, x2 + 3, y2 + 3)
    return Part(name, ((x1 + x2) / 2, (y1 + y2) / 2), grown)


# --- axes -----------------------------------------------------------------------------------------------------------


def axes(canvas: Canvas) -> Figure | None:
    """Two points on a grid, sometimes joined: slope, distance or midpoint."""
    rng = canvas.rng
    task = choose(rng, ("slope", "distance", "midpoint"), weights=(0.4, 0.25, 0.35))
    drawn = _two_points(rng, task, held_out=canvas.held_out)
    if drawn is None:
        return None
    (x1, y1), (x2, y2) = drawn
    p, q = tuple(choose(rng, ("RS", "CD", "UV") if canvas.held_out else ("PQ", "AB", "AB", "KL")))
    given = (f"{p} = ({x1}, {y1})", f"{q} = ({x2}, {y2})")
    rise, run = y2 - y1, x2 - x1
    if task == "slope":
        slope = rise // run
        steps: tuple[Step, ...] = (
            Step(f"m = ({y2} - {y1}) / ({x2} - {x1}) = {slope}", "rise over run",
                 "The slope says how much y grows where x grows by one."),
        )  # fmt: skip
        problem = Problem(
            choose(rng, ("Find the slope.", f"What is the slope of {p}{q}?", "How steep is the line?")),
            given, "slope", steps, str(slope), (float(slope),),
            (f"Read off {p} and {q}.", "Think of rise over run.", f"How far up is it from {p} to {q}, how far along?"),
            (f"({x2} - {x1}) / ({y2} - {y1}): that is run over rise.",),
        )  # fmt: skip
    elif task == "distance":
        square = run * run + rise * rise
        length = round(square**0.5)
        side = p + q
        steps = (
            Step(f"{side}^2 = ({x2} - {x1})^2 + ({y2} - {y1})^2 = {square}", "Pythagoras",
                 "Run and rise are the legs of a right triangle."),
            Step(f"{side} = sqrt({square}) = {length}", "root", "The length is the positive root of its square."),
        )  # fmt: skip
        problem = Problem(
            choose(rng, (f"How long is {side}?", f"Find the distance of {p} and {q}.", f"Calculate {side}.")),
            given, side, steps, str(length), (float(length),),
            (f"Read off {p} and {q}.", "Run and rise make a right triangle.", "Square run and rise and add."),
            (f"{abs(run)} + {abs(rise)} = {abs(run) + abs(rise)}: add the squares.", "Forgetting the root."),
        )  # fmt: skip
    else:
        mx, my = (x1 + x2) / 2, (y1 + y2) / 2
        steps = (
            Step(f"x = ({x1} + {x2}) / 2 = {number(mx)}", "mean of x", "The midpoint lies half-way along."),
            Step(f"y = ({y1} + {y2}) / 2 = {number(my)}", "mean of y", "The midpoint lies half-way up."),
        )
        problem = Problem(
            choose(rng, (f"Find the midpoint of {p}{q}.", f"What is the midpoint of {p} and {q}?")),
            given, "midpoint", steps, f"({number(mx)}, {number(my)})", (mx, my),
            (f"Read off {p} and {q}.", "The midpoint is half-way in x and in y.", "Add both x and take half."),
            (f"({x2} - {x1}) / 2: add, do not subtract.",),
        )  # fmt: skip
    if gives_away(problem):
        return None
    places = _draw_axes(canvas, drawn, (p, q))
    if places is None:
        return None
    facts = [
        Fact((f"What are the coordinates of {name}?", f"Where is {name}?", f"Read off {name}."), f"({x}, {y})")
        for name, (x, y) in zip((p, q), drawn, strict=True)
    ]
    facts += [
        Fact((f"What is the x coordinate of {p}?", f"What is x at {p}?"), str(x1)),
        Fact((f"What is the y coordinate of {q}?", f"What is y at {q}?"), str(y2)),
        Fact(("Does the line rise or fall?", "Is the line rising or falling?"), "rise" if rise * run > 0 else "fall"),
        Fact(("What does the picture show?", "What kind of figure is this?"), "a line on axes"),
    ]
    if y1 != y2:
        facts.append(Fact((f"Which point is higher, {p} or {q}?", "Which point is highest?"), p if y1 > y2 else q))
    parts = (near(p, places[0]), near(q, places[1]), near("the origin", places[2]))
    return Figure("axes", canvas, problem, tuple(facts), parts)


def _two_points(
    rng: np.random.Generator, task: str, *, held_out: bool
) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """P left of Q on a grid of 8 by 6."""
    x1, x2 = sorted(int(v) for v in rng.permutation(9)[:2])
    y1, y2 = (int(v) for v in rng.integers(0, 7, 2))
    if y1 == y2 or is_unseen((x1, y1, x2, y2)) != held_out:
        return None
    rise, run = y2 - y1, x2 - x1
    if task == "slope" and (rise % run or rise < 0):
        return None
    if task == "distance" and (round((rise * rise + run * run) ** 0.5) ** 2 != rise * rise + run * run):
        return None
    return (x1, y1), (x2, y2)


def _draw_axes(
    canvas: Canvas, points: tuple[tuple[int, int], tuple[int, int]], names: str | tuple[str, str]
) -> tuple[XY, XY, XY] | None:
    """Places of both points and of the origin, in px."""
    rng = canvas.rng
    line = canvas.line_height
    left, floor = canvas.text_width("8") + 12, canvas.height - line - 4
    step = min((canvas.width - left - 16) / 8.4, (floor - 14) / 6.6)
    if step < max(line * 0.85, canvas.text_width("8") + 2):
        return None

    def place(x: float, y: float) -> XY:
        return left + x * step, floor - y * step

    origin = place(0, 0)
    if rng.random() < 0.7:
        for x in range(1, 9):
            canvas.line(place(x, 0), place(x, 6.3), px=0.5)
        for y in range(1, 7):
            canvas.line(place(0, y), place(8.3, y), px=0.5)
    canvas.line(origin, place(8.5, 0), px=1.5)
    canvas.line(origin, place(0, 6.6), px=1.5)
    (x1, y1), (x2, y2) = points
    a, b = place(x1, y1), place(x2, y2)
    colours = canvas.colours(1)
    rgb = colours[0][1] if colours else canvas.ink
    canvas.line(a, b, px=2, rgb=rgb)
    for end in (a, b):
        canvas.dot(end, rgb=rgb)
    normal = (0.0, -1.0) if rng.random() < 0.5 else (0.7, -0.7)
    for name, end in zip(names, (a, b), strict=True):
        if not canvas.label_beside(name, end, normal, 6):
            return None
    every = choose(rng, (1, 1, 2))
    for x in range(every, 9, every):
        if not canvas.label(str(x), (place(x, 0)[0], floor + 2 + line * 0.4)):
            return None
    for y in range(every, 7, every):
        centre = (left - 5 - canvas.text_width(str(y)) / 2, place(0, y)[1])
        if not canvas.label(str(y), centre):
            return None
    return a, b, origin


# --- equations ------------------------------------------------------------------------------------------------------


def equation(canvas: Canvas) -> Figure | None:
    """A linear equation in one unknown, written in the picture."""
    rng = canvas.rng
    a, x, b = (int(v) for v in (rng.integers(1, 10), rng.integers(2, 13), rng.integers(1, 21)))
    name = choose(rng, ("t", "n") if canvas.held_out else ("x", "x", "y", "z", "a"))
    is_minus = bool(rng.random() < 0.4)
    total = a * x - b if is_minus else a * x + b
    if is_unseen((a, x, b)) != canvas.held_out or total == 0:
        return None
    term, sign, undo = (name if a == 1 else f"{a}{name}"), "-" if is_minus else "+", "+" if is_minus else "-"
    text = f"{term} {sign} {b} = {total}"
    verb = f"add {b}" if is_minus else f"subtract {b}"
    steps: tuple[Step, ...] = (Step(f"{term} = {total} {undo} {b} = {a * x}", verb, "Do the same on both sides."),)
    if a > 1:
        steps = (*steps, Step(f"{name} = {a * x} / {a} = {x}", f"divide by {a}", "Do the same on both sides."))
    hints = (f"You look for {name}.", f"Get {term} alone on its side.", f"Begin: {verb} on both sides.")
    wrong = total - b if is_minus else total + b
    mistakes = (f"{term} = {wrong}: {verb} instead.",)
    question = choose(rng, (f"Find {name}.", f"Solve for {name}.", f"What is {name}?", "Solve the equation."))
    problem = Problem(question, (text,), name, steps, str(x), (float(x),), hints, mistakes)
    if gives_away(problem) or canvas.text_width(text) > canvas.width - 12:
        return None
    width = canvas.text_width(text) / 2 + 6
    centre = (
        float(rng.uniform(width, canvas.width - width)),
        float(rng.uniform(canvas.line_height, canvas.height - canvas.line_height)),
    )
    if not canvas.label(text, centre):
        return None
    facts = (
        Fact(("What is written here?", "Read the equation.", "Which equation is shown?"), text),
        Fact(("What is the unknown?", "Which letter is the unknown?"), name),
        Fact(("What stands on the right side?", "What is the right side?"), str(total)),
    )
    box = (centre[0] - width, centre[1] - 12, centre[0] + width, centre[1] + 12)
    return Figure("equation", canvas, problem, facts, (Part("the equation", centre, box),), (name, term))
