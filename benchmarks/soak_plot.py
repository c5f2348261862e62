"""What a soak found, as one SVG: the server's memory over the time, with the figures above it."""

from __future__ import annotations

from typing import Any

WIDTH, HEIGHT, MARGIN = 900, 320, 60


def plot(result: dict[str, Any]) -> str:
    """The process's memory over the time, as SVG that is readable in light and in dark."""
    points = [(sample["time_s"], sample["rss_bytes"] / 1e6) for sample in result["samples"]]
    top = max(value for _, value in points) * 1.1
    last_s = max(points[-1][0], 1.0)
    room, height = WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN
    path = " ".join(
        f"{MARGIN + time_s / last_s * room:.1f},{HEIGHT - MARGIN - mb / top * height:.1f}" for time_s, mb in points
    )
    title = f"regard serve: {result['num_clients']} clients, {result['elapsed_s'] / 60:.1f} minutes, {result['model']}"
    seconds = "-" if result["ttft_p50_s"] is None else f"{result['ttft_p50_s']:.2f} / {result['ttft_p95_s']:.2f} s"
    growth_mb = result["memory"]["growth_bytes"] / 1e6
    words = (
        f"{result['num_answers']} answers, {result['num_errors']} errors, {result['num_429']} times status 429; "
        f"first token after {seconds} (median / 95 %); memory {growth_mb:+.0f} MB after warm-up"
    )
    lines = [
        f'<text class="quiet" x="{MARGIN - 8}" y="{y + 4:.0f}" text-anchor="end">{value:.0f} MB</text>'
        f'<line class="base" x1="{MARGIN}" x2="{WIDTH - MARGIN}" y1="{y:.0f}" y2="{y:.0f}"/>'
        for share in (0.0, 0.5, 1.0)
        for value, y in [(share * top, HEIGHT - MARGIN - share * height)]
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
            f'role="img" aria-label="{title}">',
            f"<style>{_STYLE}</style>",
            f'<rect class="ground" width="{WIDTH}" height="{HEIGHT}"/>',
            f'<text class="head" x="{MARGIN}" y="26">{title}</text>',
            f'<text class="quiet" x="{MARGIN}" y="46">{words}</text>',
            *lines,
            f'<polyline class="curve" points="{path}"/>',
            f'<text class="quiet" x="{WIDTH - MARGIN}" y="{HEIGHT - 40}" text-anchor="end">{last_s:.0f} s</text>',
            "</svg>",
            "",
        ]
    )


_STYLE = """
svg { font: 13px system-ui, sans-serif; }
.ground { fill: #ffffff; } text { fill: #1f2328; } .quiet { fill: #59636e; font-size: 12px; }
.head { font-size: 16px; font-weight: 600; } .base { stroke: #d1d9e0; }
.curve { fill: none; stroke: #0969da; stroke-width: 2; }
@media (prefers-color-scheme: dark) {
  .ground { fill: #0d1117; } text { fill: #e6edf3; } .quiet { fill: #9198a1; }
  .base { stroke: #3d444d; } .curve { stroke: #4493f8; }
}
"""
