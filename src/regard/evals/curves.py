"""Curves as SVG, and a training run's log as a page of them: one small plot for each figure of each task.

The log is what `regard train nano` writes, one JSON object a line: stage, step, "task/figure": value.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from regard.html_page import page

Colour = tuple[int, int, int]
_MARGIN = (52, 12, 12, 34)  # left, top, right, bottom
_INK = (215, 0, 130)
_SMALL = (300, 150)
_STYLE = """.plots { display: flex; flex-wrap: wrap; gap: .6rem; }
figure { margin: 0; } figcaption { font-size: 13px; }"""


def line_plot(
    curves: Mapping[str, Sequence[tuple[float, float]]], colours: Sequence[Colour], size: tuple[int, int] = (640, 260)
) -> str:
    """Curves over steps, from nought to the highest value; names below where there are several."""
    points = [point for curve in curves.values() for point in curve]
    if not points:
        return ""
    (width, height), (left, top, right, bottom) = size, _MARGIN
    last, highest = max(1.0, max(x for x, _ in points)), max(y for _, y in points) or 1.0
    wide, high = width - left - right, height - top - bottom

    def place(point: tuple[float, float]) -> str:
        return f"{left + wide * point[0] / last:.1f},{top + high * (1 - point[1] / highest):.1f}"

    names = ", ".join(curves)
    parts = [f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" aria-label="{html.escape(names)}">']
    for share in (0.0, 0.5, 1.0):
        y = top + high * (1 - share)
        parts.append(f'<line x1="{left}" x2="{width - right}" y1="{y}" y2="{y}" stroke="#8884"/>')
        parts.append(_text(left - 6, y + 4, f"{highest * share:.3g}", "end"))
    for colour, curve in zip(colours, curves.values(), strict=True):
        line = " ".join(map(place, curve))
        parts.append(f'<polyline points="{line}" fill="none" stroke="{_css(colour)}" stroke-width="2"/>')
    parts += [_text(left, height - 8, "0"), _text(width - right, height - 8, f"step {last:g}", "end")]
    if len(curves) > 1:
        spans = "  ".join(
            f'<tspan fill="{_css(colour)}">{html.escape(name)}</tspan>'
            for colour, name in zip(colours, curves, strict=True)
        )
        parts.append(f'<text x="{width / 2}" y="{height - 8}" text-anchor="middle" font-size="12">{spans}</text>')
    return "".join([*parts, "</svg>"])


def write_log_report(log: Path, path: Path) -> None:
    """The curves of a run's log.jsonl as one HTML file."""
    records = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]
    path.write_text(log_report(records, log.parent.name), encoding="utf-8")


def log_report(records: Sequence[Mapping[str, Any]], name: str) -> str:
    """A section for each stage, in it the figures by task."""
    stages: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for record in records:
        for key, value in record.items():
            if "/" in key and isinstance(value, int | float):
                stages.setdefault(record["stage"], {}).setdefault(key, []).append((record["step"], value))
    parts = []
    for stage, curves in stages.items():
        parts.append(f'<h2>{html.escape(stage)}</h2>\n<div class="plots">')
        for key, curve in sorted(curves.items()):
            if any(value for _, value in curve):  # a head that a task has no truth for stays at nought
                title = f"{html.escape(key.replace('/', ': '))}, last {curve[-1][1]:.3g}"
                plot = line_plot({key: curve}, (_INK,), _SMALL)
                parts.append(f"<figure><figcaption>{title}</figcaption>{plot}</figure>")
        parts.append("</div>")
    return page(f"regard train: {html.escape(name)}", "\n".join(parts) or "<p>Nothing is logged yet.</p>", _STYLE)


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="12" fill="currentColor">{html.escape(text)}</text>'


def _css(colour: Colour) -> str:
    return f"rgb({colour[0]} {colour[1]} {colour[2]})"
