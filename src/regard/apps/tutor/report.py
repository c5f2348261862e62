"""A solution as one self-contained HTML page: the marked figure, hints that open one at a time, checked steps.

No scripts: hints and the solution are folded away (`details`), so that a student sees no more than was opened. All
text is escaped; the picture is inside the page.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence

from PIL import Image as PILImage

from regard.apps.tutor.result import Hint, Solution
from regard.html_page import page

MARKS = {"checked": "\u2713", "wrong": "\u2717", "not checkable": "\u2013"}
MAX_PICTURE_PX = 900
_STYLE = """figure { margin: 1rem 0; } figure img { max-width: 100%; border: 1px solid #8884; }
details { border: 1px solid #8884; border-radius: .4rem; padding: .4rem .8rem; margin: .5rem 0; }
summary { cursor: pointer; font-weight: 600; }
td.mark { text-align: center; font-weight: 700; } .checked { color: #14963c; } .wrong { color: #e6194b; }
.note { color: #888; font-size: 90%; } .answer { font-size: 120%; font-weight: 600; }"""


def report(picture: PILImage.Image, solution: Solution, hints: Sequence[Hint] = ()) -> str:
    """The page. `picture`: the figure, marked or not."""
    parts = [_figure(picture)]
    if solution.question:
        parts.append(f"<p>{html.escape(solution.question)}</p>")
    for hint in hints:
        name = f"Hint {hint.number} of {hint.total}" + (": the answer" if hint.is_last else "")
        parts.append(f"<details><summary>{name}</summary><p>{html.escape(hint.text)}</p></details>")
    parts.append(f"<details{'' if hints else ' open'}><summary>Solution</summary>{_solution(solution)}</details>")
    if solution.mistakes:
        items = "".join(f"<li>{html.escape(mistake)}</li>" for mistake in solution.mistakes)
        parts.append(f"<details><summary>Typical mistakes</summary><ul>{items}</ul></details>")
    return page("Tutor", "\n".join(parts), _STYLE)


def _figure(picture: PILImage.Image) -> str:
    shown = picture.convert("RGB")
    shown.thumbnail((MAX_PICTURE_PX, MAX_PICTURE_PX))
    buffer = io.BytesIO()
    shown.save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<figure><img alt="the figure" src="data:image/png;base64,{data}"></figure>'


def _solution(solution: Solution) -> str:
    rows = "".join(
        f'<tr><td class="number">{step.number}</td><td>{html.escape(step.text)}</td>'
        f"<td>{html.escape(step.reason)}</td>"
        f'<td class="mark {step.verdict.replace(" ", "-")}" title="{step.verdict}">{MARKS[step.verdict]}</td>'
        f'<td class="note">{html.escape(step.note)}</td></tr>'
        for step in solution.steps
    )
    given = html.escape(", ".join(solution.given)) or "&ndash;"
    mark = f'<span class="{solution.answer_verdict.replace(" ", "-")}">{MARKS[solution.answer_verdict]}</span>'
    again = '<p class="note">A step was wrong at first; this is the better of two solutions.</p>'
    return (
        f"<p>Given: {given}<br>Asked: {html.escape(solution.asked) or '&ndash;'}</p>"
        f"<table><tr><th></th><th>Step</th><th>Reason</th><th>Checked</th><th></th></tr>{rows}</table>"
        f'<p class="answer">Answer: {html.escape(solution.answer)} {mark}</p>'
        f'<p class="note">{html.escape(solution.answer_note)}</p>' + (again if solution.was_retried else "")
    )
