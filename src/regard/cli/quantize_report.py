"""The report of `regard quantize` for people: tables on a terminal, or one HTML file without scripts."""

from __future__ import annotations

import html
from collections import Counter
from typing import Any

from regard.html_page import page


def summary(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """The rows above the tables: what, size, error, agreement."""
    before, after, layers = facts["bytes_before"], facts["bytes_after"], facts["layers"]
    errors = [layer["relative_error"] for layer in layers]
    of_outputs = [layer["output_error"] for layer in layers if layer["output_error"] is not None]
    return [
        ("model", f"{facts['model']} to {facts['method']}: {facts['out']}"),
        ("size", f"{megabytes(before)} before, {megabytes(after)} after ({100 * after / before:.0f} %)"),
        ("layers", f"{len(layers)} quantised ({_counted([layer['method'] for layer in layers])})"),
        ("kept", _counted(list(facts["kept"].values())) or "none beside embeddings and norms"),
        ("error", f"{percent(sum(errors) / len(errors))} of the weights on average, {percent(max(errors))} at most"),
        ("rounding", _rounding(facts, of_outputs)),
        ("agreement", agreement_text(facts)),
    ]


def _rounding(facts: dict[str, Any], errors: list[float]) -> str:
    if not errors:
        return "to the nearest codes"
    return (
        f"{len(errors)} layers with {facts['num_calibration_prompts']} prompts: "
        f"{percent(sum(errors) / len(errors))} of their outputs on average, {percent(max(errors))} at most"
    )


def agreement_text(facts: dict[str, Any]) -> str:
    """'97.3 % of 812 tokens after the same text ...', or why it was not measured."""
    found = facts["agreement"]
    if found is None:
        return str(facts["agreement_reason"])
    same = ", which were rounded with, too" if facts["is_compared_on_calibration"] else ""
    return (
        f"the same best token at {percent(found['share'])} of {found['num_tokens']} places in the answers to "
        f"{found['num_prompts']} prompts{same}; mean log probability of the original's tokens "
        f"{found['log_probability_before']:.3f} before, {found['log_probability_after']:.3f} after"
    )


def worst_layers(facts: dict[str, Any], limit: int | None = None) -> list[dict[str, Any]]:
    """Layers by error, the largest first."""
    layers: list[dict[str, Any]] = facts["layers"]
    return sorted(layers, key=lambda layer: -layer["relative_error"])[:limit]


def print_report(facts: dict[str, Any], num_worst: int) -> None:
    """Two tables on stdout."""
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for row in summary(facts):
        table.add_row(*row)
    worst = Table(box=None, pad_edge=False, header_style="bold")
    worst.add_column("largest errors", overflow="fold")
    worst.add_column("format", no_wrap=True)
    for title in ("error", "before", "after"):
        worst.add_column(title, justify="right", no_wrap=True)
    for layer in worst_layers(facts, num_worst):
        worst.add_row(*_cells(layer))
    console = Console(highlight=False, markup=False)
    console.print(table)
    console.print()
    console.print(worst)


def render_report(facts: dict[str, Any]) -> str:
    """The report as HTML, with all layers."""
    title = html.escape(f"regard quantize {facts['model']} --to {facts['method']}")
    rows = "\n".join(f"<tr><th>{name}</th><td>{html.escape(text)}</td></tr>" for name, text in summary(facts))
    layers = "\n".join(_html_row(layer) for layer in worst_layers(facts))
    kept = "\n".join(
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(why)}</td></tr>" for name, why in facts["kept"].items()
    )
    body = f"""<table>
{rows}
</table>
<h2>Quantised layers</h2>
<p>The error of a layer: root mean square of what its weights changed by, over that of its weights.</p>
<table>
<tr><th>layer</th><th>format</th><th>error</th><th>before</th><th>after</th></tr>
{layers}
</table>
<h2>Kept layers</h2>
<table>
<tr><th>layer</th><th>why</th></tr>
{kept}
</table>"""
    return page(title, body)


def percent(share: float) -> str:
    """0.0123 -> '1.23 %'."""
    return f"{100 * share:.2f} %" if share < 0.1 else f"{100 * share:.1f} %"


def megabytes(num_bytes: int) -> str:
    """23485056 -> '23.5 MB'."""
    return f"{num_bytes / 1e9:.2f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.1f} MB"


def _counted(reasons: list[str]) -> str:
    """['a', 'b', 'a'] -> '2 a, 1 b'."""
    return ", ".join(f"{count} {reason}" for reason, count in Counter(reasons).most_common())


def _cells(layer: dict[str, Any]) -> tuple[str, ...]:
    before = megabytes(layer["num_bytes_before"]) if layer["num_bytes_before"] else "tied"
    return layer["name"], layer["method"], percent(layer["relative_error"]), before, megabytes(layer["num_bytes_after"])


def _html_row(layer: dict[str, Any]) -> str:
    name, method, *numbers = _cells(layer)
    cells = "".join(f'<td class="number">{cell}</td>' for cell in numbers)
    return f"<tr><td>{html.escape(name)}</td><td>{method}</td>{cells}</tr>"
