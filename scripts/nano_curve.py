"""regard-nano's held-out figures, version by version, over the hours that two cores trained: one SVG.

python scripts/update_docs.py        (draws benchmarks/nano_curve.svg from benchmarks/nano_versions.json)
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "benchmarks"
VERSIONS, CURVE = FOLDER / "nano_versions.json", FOLDER / "nano_curve.svg"
WIDTH, HEIGHT, MARGIN, RIGHT = 900, 380, 60, 300
COLOURS = ("#0969da", "#1a7f37", "#9a6700", "#cf222e", "#8250df")
_APART = 16  # px between two labels


def plot(versions: list[dict[str, Any]]) -> str:
    """The figures as SVG that is readable in light and in dark.

    Each version has `version`, `hours` (of training, from the start) and `right`, the share of each measure in 0-1.
    """
    last_h = versions[-1]["hours"]
    room, height = WIDTH - MARGIN - RIGHT, HEIGHT - 2 * MARGIN

    def at(hours: float, share: float) -> tuple[float, float]:
        return MARGIN + hours / last_h * room, HEIGHT - MARGIN - share * height

    lines = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        _, y = at(0, share)
        lines += [
            f'<text class="quiet" x="{MARGIN - 8}" y="{y + 4:.0f}" text-anchor="end">{share:.0%}</text>',
            f'<line class="base" x1="{MARGIN}" x2="{MARGIN + room}" y1="{y:.0f}" y2="{y:.0f}"/>',
        ]
    for version in versions:
        x, _ = at(version["hours"], 0)
        words = (f"version {version['version']}", f"{version['hours']:g} h")
        lines += [
            f'<text class="quiet" x="{x:.0f}" y="{HEIGHT - MARGIN + 18 + 16 * row}" text-anchor="middle">{text}</text>'
            for row, text in enumerate(words)
        ]
    measures = sorted(versions[-1]["right"], key=lambda name: -versions[-1]["right"][name])
    label_y = 0.0
    for name, colour in zip(measures, COLOURS, strict=True):
        found = [(version["hours"], version["right"][name]) for version in versions if name in version["right"]]
        points = [at(*point) for point in found]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        label_y = max(label_y + _APART, points[-1][1] + 4)
        lines += [
            f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{path}"/>',
            *(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points),
            f'<text x="{MARGIN + room + 12}" y="{label_y:.0f}" style="fill:{colour}">{name}: {found[-1][1]:.0%}</text>',
        ]
    title = "regard-nano on held-out samples, over hours of training on two CPU cores"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
            f'role="img" aria-label="{title}">',
            f"<style>{_STYLE}</style>",
            f'<rect class="ground" width="{WIDTH}" height="{HEIGHT}"/>',
            f'<text class="head" x="{MARGIN}" y="28">{title}</text>',
            *lines,
            "</svg>",
            "",
        ]
    )


_STYLE = """
svg { font: 13px system-ui, sans-serif; }
.ground { fill: #ffffff; } .quiet { fill: #59636e; font-size: 12px; }
.head { fill: #1f2328; font-size: 16px; font-weight: 600; } .base { stroke: #d1d9e0; }
@media (prefers-color-scheme: dark) {
  .ground { fill: #0d1117; } .quiet { fill: #9198a1; } .head { fill: #e6edf3; } .base { stroke: #3d444d; }
}
"""


if __name__ == "__main__":
    CURVE.write_text(plot(json.loads(VERSIONS.read_text())))
