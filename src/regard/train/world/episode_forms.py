"""Tasks with fields, sliders and tables, each with all its states: log in, fill in, set, copy, sort and choose."""

from __future__ import annotations

from html import escape

import numpy as np

from regard.train.world.episode_parts import DONE, Move, Pages, State, click
from regard.train.world.sample import verbatim
from regard.train.world.shapes import choose


def log_in(p: Pages) -> tuple[str, list[State]]:
    """User name, secret, button."""
    user_label, enter = (
        choose(p.rng, ("User name", "E-mail", "Name", "Account")),
        choose(p.rng, ("Log in", "Sign in", "Continue", "Enter")),
    )
    user = choose(
        p.rng,
        (
            p.labels.word(),
            f"{p.labels.word()}{p.w.count(1, 99)}",
            f"{p.labels.word()}@{p.labels.word()}.com",
        ),
    )
    secret = (
        "{{secret:"
        + str(choose(p.rng, ("PASSWORD", "PASSWORD", "BANK_PASSWORD", "LOGIN", "PASS_2", "WORK_KEY")))
        + "}}"
    )
    title, note = (
        choose(p.rng, ("", p.take("heading"))),
        p.labels.sentence(3) if p.w.chance(0.4) else "",
    )
    instruction = f"Log in as {user} with the password {secret}"

    def form(name: str = "", password: str = "", active: int = 0) -> str:
        fields = p.field(user_label, name, is_active=active == 1) + p.field(
            "Password", password, is_active=active == 2, is_secret=True
        )
        return p.page(
            title,
            f'<div class="col" style="max-width:300px">{fields}<div>{p.button(enter)}</div><p>{note}</p></div>',
        )

    welcome = p.page("Welcome", f"<p>{escape(user)}</p>{p.button('Log out', 'plain')}")
    return instruction, [
        State(form(), click("text field", user_label)),
        State(form(active=1), Move("type", user)),
        State(form(user, active=1), click("text field", "Password")),
        State(form(user, active=2), Move("type", secret)),
        State(form(user, "x", 2), click("button", enter)),
        State(welcome, DONE),
    ]


def form(p: Pages) -> tuple[str, list[State]]:
    """Fields, a dropdown that the page draws, and a button."""
    fields = [p.take("field") for _ in range(p.w.count(1, 2))]
    values = [p.labels.word().title() for _ in fields]
    topic, options, send = (
        p.take("select"),
        [p.take("option", 12) for _ in range(4)],
        choose(p.rng, ("Send", "Submit", "Done", "Save")),
    )
    chosen = str(choose(p.rng, options[1:]))
    title = p.take("heading")
    given = ", ".join(f'{f} "{v}"' for f, v in zip([*fields, topic], [*values, chosen], strict=True))
    instruction = f"Fill in the form: {given}, then {send.lower()} it"

    def page(filled: int, active: int = -1, option: str = "", opened: bool = False) -> str:
        parts = [
            p.field(f, v if i < filled else "", is_active=i == active)
            for i, (f, v) in enumerate(zip(fields, values, strict=True))
        ]
        shown = option or options[0]
        box = (
            f'<div class="box sel-box" data-k="dropdown" data-l="{escape(topic)}" data-v="{escape(shown)}">'
            f"{escape(shown)}</div>"
        )
        items = "".join(f'<div class="item" data-k="menu item">{escape(o)}</div>' for o in options)
        listing = (
            f'<div class="panel lift" data-over style="position:absolute;top:100%;left:0;right:0;'
            f'background:var(--page);z-index:2">{items}</div>'
        )
        parts.append(f'<div>{escape(topic)}<div style="position:relative">{box}{listing if opened else ""}</div></div>')
        return p.page(
            title, f'<div class="col" style="max-width:320px">{"".join(parts)}<div>{p.button(send)}</div></div>'
        )

    made = []
    for i, (name, value) in enumerate(zip(fields, values, strict=True)):
        made += [State(page(i), click("text field", name)), State(page(i, i), Move("type", value))]
    num = len(fields)
    made += [
        State(page(num), click("dropdown", topic)),
        State(page(num, opened=True), click("menu item", chosen)),
        State(page(num, option=chosen), click("button", send)),
        State(p.page(title, f"<p>{choose(p.rng, ('Sent.', 'Thank you.', 'Saved.'))}</p>"), DONE),
    ]
    return instruction, made


def slider(p: Pages) -> tuple[str, list[State]]:
    """A slider with numbers below its track."""
    label, high, low = p.take("select"), int(choose(p.rng, (10, 50, 100, 200))), 0
    step = max(1, high // int(choose(p.rng, (2, 4, 5))))
    start, goal = (int(v) for v in p.rng.permutation(np.arange(low, high + 1, max(1, high // 20)))[:2])
    title = p.take("heading")

    def page(value: int) -> str:
        ticks = "".join(
            f'<span class="muted" style="position:absolute;left:{100 * t / high:.2f}%;'
            f'transform:translateX(-50%);top:8px">{t}</span>'
            for t in range(low, high + 1, step)
        )
        thumb = f'<i data-k="thumb" data-l="thumb" style="left:calc({100 * value / high:.2f}% - 7px)"></i>'
        goal_mark = (
            f'<b data-k="tick" data-l="{goal}" style="position:absolute;'
            f'left:calc({100 * goal / high:.2f}% - 4px);top:-6px;width:8px;height:16px"></b>'
        )
        track = (
            f'<div style="position:relative;margin:24px 20px"><div class="slider">{goal_mark}{thumb}</div>{ticks}</div>'
        )
        return p.page(title, f"<div>{escape(label)}: <b>{value}</b></div>{track}<div>{p.button('OK', 'plain')}</div>")

    drag = Move("drag", str(goal), ("tick", str(goal)))
    begin = Move("to slider", "", ("thumb", "thumb"))
    return f"Set {label} to {goal}", [State(page(start), begin), State(page(start), drag), State(page(goal), DONE)]


def copy(p: Pages) -> tuple[str, list[State]]:
    """A value of the page goes into a field."""
    labels = [p.take("field") for _ in range(3)]
    values = [p.labels.value()[:14].strip() for _ in labels]
    source, target, check = int(p.rng.integers(3)), p.take("field"), p.take("button", 10)
    title = p.take("heading")
    facts = "".join(
        f'<div class="row spread"><span>{escape(k)}</span><b>{escape(v)}</b></div>'
        for k, v in zip(labels, values, strict=True)
    )

    def page(value: str = "", active: bool = False) -> str:
        return p.page(
            title,
            f'<div class="panel pad col">{facts}</div>{p.field(target, value, is_active=active)}<div>'
            f"{p.button(check)}</div>",
        )

    instruction = f"Copy the {labels[source]} into the field {target} and press {check}"
    done = p.page(title, f"<p>{choose(p.rng, ('That is right.', 'Accepted.', 'Correct.'))}</p>")
    return instruction, [
        State(page(), click("text field", target)),
        State(page(active=True), Move("type", values[source])),
        State(page(values[source]), click("button", check)),
        State(done, DONE),
    ]


def table(p: Pages) -> tuple[str, list[State]]:
    """Choose in the row of a name; or sort and choose in the first row."""
    columns = [p.take("field", 10) for _ in range(2)]
    names, numbers = p.names(4), [int(v) for v in p.rng.permutation(90)[:4] + 5]
    title, press = p.take("heading"), str(choose(p.rng, ("Choose", "Open", "Select", "Pick")))

    def page(order: list[int], sorted_by: int = -1, chosen: int = -1) -> str:
        heads = "".join(
            f'<th data-k="button">{escape(c)}{" &#9650;" if i == sorted_by else ""}</th>' for i, c in enumerate(columns)
        )
        rows = "".join(
            f"<tr><td>{names[i]}</td><td>{numbers[i]}</td><td>"
            f"{p.button(press, 'plain', f'{press} {names[i]}')}</td></tr>"
            for i in order
        )
        note = f"<p>{names[chosen]} is chosen.</p>" if chosen >= 0 else ""
        return p.page(title, f"<table><tr>{heads}<th></th></tr>{rows}</table>{note}")

    order = list(range(4))
    if p.w.chance(0.4):
        wanted = int(p.rng.integers(4))
        name = verbatim(names[wanted])
        thought, action = f'Next is "{press}" in the row of "{name}".', f"Click {press} in the row of {name}"
        move = Move("click", press, ("button", f"{press} {names[wanted]}"), thought, action)
        return f"{press} {names[wanted]} in the table", [
            State(page(order), move),
            State(page(order, chosen=wanted), DONE),
        ]
    by = int(p.rng.integers(2))
    ordered = sorted(order, key=lambda i: names[i] if by == 0 else numbers[i])
    move = Move(
        "click",
        press,
        ("button", f"{press} {names[ordered[0]]}"),
        f'Next is "{press}" in the first row.',
        f"Click {press} in the first row",
    )
    return f"Sort the table by {columns[by]}, then choose the first row", [
        State(page(order), click("button", columns[by])),
        State(page(ordered, by), move),
        State(page(ordered, by, ordered[0]), DONE),
    ]
