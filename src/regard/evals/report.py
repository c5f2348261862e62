"""One self-contained HTML file: the table, then failures and successes of every task to look at.

Pictures are embedded as PNG; there is no script and nothing is fetched.
"""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path

from PIL import Image

from regard.evals.pictures import ANSWERED_COLOUR, WANTED_COLOUR
from regard.evals.runner import Example, Result, Row
from regard.evals.scoring import TASKS
from regard.html_page import page

STYLE = """.examples { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
figure { margin: 0; padding: .6rem; border: 1px solid #8884; border-radius: .4rem; max-width: 100%; }
figure img { max-width: 100%; height: auto; display: block; }
figcaption { max-width: 24rem; margin-top: .4rem; font-size: 13px; overflow-wrap: anywhere; }
figcaption span { display: block; white-space: pre-wrap; max-height: 9rem; overflow: auto; }
"""


def write_report(result: Result, path: Path) -> None:
    """Write the report; the folder must exist."""
    path.write_text(render_report(result), encoding="utf-8")


def render_report(result: Result) -> str:
    """The report as HTML."""
    tasks = [name for name in TASKS if any(row.task == name for row in result.rows)]
    rows = "\n".join(_table_row(row) for row in result.rows)
    sections = "\n".join(_section(name, [e for e in result.examples if e.task == name]) for name in tasks)
    title = f"regard eval {html.escape(result.model)}"
    body = f"""<p>{result.num_answers} held-out samples, seed {result.seed}, {result.elapsed_s:.0f} s.
In brackets: 95 % confidence.</p>
<table>
<tr><th>task</th><th>measure</th><th>value</th><th>95 %</th><th>samples</th><th>goal</th></tr>
{rows}
</table>
<p>In the pictures: <span class="wanted">wanted</span>, <span class="answered">answered</span>.</p>
{sections}"""
    colours = f".wanted {{ color: {css(WANTED_COLOUR)}; }}\n.answered {{ color: {css(ANSWERED_COLOUR)}; }}"
    return page(title, body, STYLE + colours)


def percent(share: float) -> str:
    """0.9312 -> '93.1 %'."""
    return f"{100 * share:.1f} %"


def goal_text(row: Row) -> str:
    """'at least 90 %: reached', or nothing for a measure without a goal."""
    if row.goal is None:
        return ""
    return (
        f"at {'most' if row.is_error else 'least'} {100 * row.goal:.0f} %: {'reached' if row.is_reached else 'missed'}"
    )


def _table_row(row: Row) -> str:
    return (
        f"<tr><td>{row.task}</td><td>{html.escape(row.measure)}</td>"
        f'<td class="number">{percent(row.value)}</td><td class="number">[{percent(row.low)}, {percent(row.high)}]</td>'
        f'<td class="number">{row.num_samples}</td><td>{goal_text(row)}</td></tr>'
    )


def _section(task: str, examples: list[Example]) -> str:
    failures = "".join(_figure(example) for example in examples if example.score < 1)
    successes = "".join(_figure(example) for example in examples if example.score >= 1)
    parts = [f"<h2>{html.escape(TASKS[task].title)}</h2>"]
    for heading, figures in (("Failures", failures), ("Successes", successes)):
        parts.append(f'<h3>{heading}</h3>\n<div class="examples">{figures or "none"}</div>')
    return "\n".join(parts)


def _figure(example: Example) -> str:
    return (
        f'<figure><img src="{data_url(example.picture)}" alt="" width="{example.picture.width}">'
        f"<figcaption><span>{html.escape(example.question)}</span>"
        f'<span class="wanted">{html.escape(example.wanted)}</span>'
        f'<span class="answered">{html.escape(example.answer)}</span></figcaption></figure>\n'
    )


def data_url(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def css(colour: tuple[int, int, int]) -> str:
    return f"rgb({colour[0]} {colour[1]} {colour[2]})"
