"""A result as one SVG: a panel for each case, a bar for each system, hand-written, readable in light and in dark.

Every panel has its own scale, which begins at zero. A thin line on a bar spans the quartiles. A system that failed has
its reason where the bar would be. Colours follow the reader's setting; nothing is fetched and no script runs.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from itertools import groupby

from regard.bench.report import quantity, rival, rival_text
from regard.bench.results import BenchResult, Row
from regard.bench.systems import SYSTEMS

WIDTH, MARGIN = 900, 24
LABEL_WIDTH, VALUE_WIDTH = 150, 300
BAR_HEIGHT, ROW_HEIGHT, PANEL_HEAD, PANEL_GAP = 14, 22, 26, 18
HEAD_HEIGHT = 84
MAX_REASON_CHARS, MAX_LINE_CHARS = 92, 125
_OURS = {spec.name for spec in SYSTEMS if spec.is_ours}

_STYLE = """
svg { font: 13px system-ui, sans-serif; }
.ground { fill: #ffffff; } text { fill: #1f2328; } .quiet { fill: #59636e; font-size: 12px; }
.head { font-size: 18px; font-weight: 600; } .case { font-weight: 600; }
.ours { fill: #0969da; } .peer { fill: #9aa4af; } .spread { stroke: #1f2328; stroke-width: 1.5; }
.base { stroke: #d1d9e0; } .name { text-anchor: end; }
.better { font-weight: 600; fill: #0969da; } .worse { fill: #59636e; }
@media (prefers-color-scheme: dark) {
  .ground { fill: #0d1117; } text { fill: #e6edf3; } .quiet { fill: #9198a1; }
  .ours { fill: #4493f8; } .peer { fill: #656c76; } .spread { stroke: #e6edf3; }
  .base { stroke: #3d444d; } .better { fill: #4493f8; } .worse { fill: #9198a1; }
}
"""


def render_plot(result: BenchResult) -> str:
    """The picture as SVG."""
    panels = [list(rows) for _, rows in groupby(result.rows, key=lambda row: row.case)]
    height = HEAD_HEIGHT + sum(_panel_height(rows) for rows in panels) + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-label="{_escape(f"regard bench, {result.model}")}">',
        f"<style>{_STYLE}</style>",
        f'<rect class="ground" width="{WIDTH}" height="{height}"/>',
        *_head(result),
    ]
    top = HEAD_HEIGHT
    for rows in panels:
        parts += _panel(rows, top)
        top += _panel_height(rows)
    return "\n".join([*parts, "</svg>", ""])


def _head(result: BenchResult) -> Iterator[str]:
    machine = result.machine
    hardware = f"{machine['cpu']}, {machine['threads']} threads each, torch {machine['torch']}, {result.date}"
    yield _text(MARGIN, 32, f"regard bench: {result.model}", "head")
    yield _text(MARGIN, 52, hardware, "quiet")
    how = f"median of {result.settings['repeats']} interleaved repetitions, the line spans the quartiles"
    yield f'<rect class="ours" x="{MARGIN}" y="61" width="12" height="12"/>' + _text(MARGIN + 18, 71, "regard", "quiet")
    yield f'<rect class="peer" x="{MARGIN + 76}" y="61" width="12" height="12"/>'
    yield _text(MARGIN + 94, 71, f"peers; {how}", "quiet")


def _panel_height(rows: Sequence[Row]) -> int:
    return PANEL_HEAD + ROW_HEIGHT * len(rows) + PANEL_GAP


def _panel(rows: Sequence[Row], top: int) -> Iterator[str]:
    first = rows[0]
    better = "more is better" if first.is_more_better else "less is better"
    yield _text(MARGIN, top + 16, first.title, "case") + _text(WIDTH - MARGIN, top + 16, better, "quiet", anchor="end")
    left = MARGIN + LABEL_WIDTH
    room = WIDTH - MARGIN - left - VALUE_WIDTH
    largest = max((row.high for row in rows if row.high is not None), default=0.0)
    bottom = top + PANEL_HEAD + ROW_HEIGHT * len(rows)
    yield f'<line class="base" x1="{left}" y1="{top + PANEL_HEAD}" x2="{left}" y2="{bottom}"/>'
    for number, row in enumerate(rows):
        y = top + PANEL_HEAD + ROW_HEIGHT * number + (ROW_HEIGHT - BAR_HEIGHT) // 2
        yield _text(left - 8, y + BAR_HEIGHT - 3, row.system, "name")
        yield from _bar(row, left, y, room / largest if largest > 0 else 0.0)


def _bar(row: Row, left: int, y: int, scale: float) -> Iterator[str]:
    if row.median is None or row.low is None or row.high is None:
        yield _text(left + 8, y + BAR_HEIGHT - 3, _cut(row.failure, MAX_REASON_CHARS), "quiet")
        return
    kind = "ours" if row.system in _OURS else "peer"
    length, low, high = (scale * value for value in (row.median, row.low, row.high))
    yield f'<rect class="{kind}" x="{left}" y="{y}" width="{max(length, 1):.1f}" height="{BAR_HEIGHT}" rx="2"/>'
    middle = y + BAR_HEIGHT / 2
    yield f'<line class="spread" x1="{left + low:.1f}" y1="{middle}" x2="{left + high:.1f}" y2="{middle}"/>'
    words = _escape(quantity(row.median, row.unit))
    for same_weights in (True, False):
        if found := rival(row, same_weights=same_weights):
            weight = "better" if found[1] > 1 else "worse"
            words += f'<tspan class="{weight}" dx="10">{_escape(rival_text(row, same_weights=same_weights))}</tspan>'
            break
    x = left + max(length, high) + 8
    yield f'<text x="{x:.1f}" y="{y + BAR_HEIGHT - 3}">{words}</text>'


def _text(x: float, y: float, words: str, kind: str, anchor: str = "") -> str:
    where = f' text-anchor="{anchor}"' if anchor else ""
    return f'<text class="{kind}" x="{x:g}" y="{y:g}"{where}>{_escape(_cut(words, MAX_LINE_CHARS))}</text>'


def _cut(words: str, limit: int) -> str:
    return words if len(words) <= limit else f"{words[: limit - 3].rstrip()}..."


def _escape(words: str) -> str:
    return html.escape(words)
