"""A result as text: the table's cells, and a Markdown page with the machine, the command and every number.

Less is better for seconds and bytes, more for tokens per second; "2.0x" always means that ours does better by that.
"""

from __future__ import annotations

from collections.abc import Sequence

from regard.bench.results import MEASURED, BenchResult, Row, Share
from regard.bench.systems import SYSTEMS

_WEIGHTS = {spec.name: spec.weights for spec in SYSTEMS}
HEADERS = ("case", "system", "median", "quartiles", "parts", "share of", "same weights", "fastest peer")


def cells(row: Row) -> tuple[str, ...]:
    """One row of the table, in the order of HEADERS; a failure is told in the column of the parts."""
    if row.median is None or row.low is None or row.high is None:
        return (row.title, row.system, "-", "", row.failure, "", "", "")
    return (
        row.title,
        row.system,
        quantity(row.median, row.unit),
        span(row.low, row.high, row.unit),
        ", ".join(f"{name} {quantity(value, row.unit)}" for name, value in row.parts.items()),
        share_text(row.share),
        rival_text(row, same_weights=True),
        rival_text(row, same_weights=False),
    )


def quantity(value: float, unit: str) -> str:
    """0.1234, "s" -> '123 ms'; 12.345, "tokens/s" -> '12.3 tokens/s'; bytes as MiB or GiB."""
    if unit == "bytes":
        sign, size = ("-" if value < 0 else ""), abs(value) / 2**20
        return f"{sign}{size:.0f} MiB" if size < 1024 else f"{sign}{size / 1024:.2f} GiB"
    if unit == "s" and abs(value) < 1:
        return f"{1000 * value:.3g} ms"
    return f"{value:.3g} {unit}" if abs(value) < 1000 else f"{value:.0f} {unit}"


def span(low: float, high: float, unit: str) -> str:
    """'255 - 290', with the units where they differ: '990 ms - 1.02 s'."""
    first, second = quantity(low, unit), quantity(high, unit)
    (number, own), (other_number, other) = first.split(" ", 1), second.split(" ", 1)
    return f"{number} - {other_number}" if own == other else f"{first} - {second}"


def share_text(share: Share | None) -> str:
    """'61 % bandwidth'."""
    return "" if share is None else f"{100 * share.value:.0f} % {share.of}"


def rival(row: Row, *, same_weights: bool) -> tuple[str, float] | None:
    """The peer that does best in the row's case, with how many times as well this system does; None if there is none.

    `same_weights`: only among peers whose weights have as many bits.
    """
    own = _WEIGHTS.get(row.system)
    times = {name: value for name, value in row.times.items() if not same_weights or _WEIGHTS.get(name) == own}
    return min(times.items(), key=lambda pair: pair[1]) if times else None


def rival_text(row: Row, *, same_weights: bool) -> str:
    """'2.1x llama.cpp-q8_0'."""
    found = rival(row, same_weights=same_weights)
    return f"{found[1]:.2g}x {found[0]}" if found else ""


def remarks(rows: Sequence[Row]) -> list[str]:
    """What to know before comparing, one line each."""
    return [f"{row.case}, {row.system}: {row.remark}" for row in rows if row.remark]


def absent(result: BenchResult) -> list[str]:
    """Systems that were asked for and took no part, one line each."""
    return [f"{system.name}: {system.status}" for system in result.systems if system.status != MEASURED]


def machine_lines(result: BenchResult) -> list[str]:
    """The machine, the versions, the measured rates and how busy it was, as short lines."""
    machine, best = result.machine, result.rates["best"]
    memory, cpus = machine["memory_bytes"], machine["cpus"]
    settings = result.settings
    load = result.load_average
    return [
        f"regard {result.regard}, {result.date}, Python {machine['python']}, torch {machine['torch']}",
        f"{machine['cpu']}, {machine['threads']} of {cpus['allowed']} allowed CPUs ({cpus['all']} in all), "
        f"{'memory unknown' if memory is None else quantity(memory, 'bytes')}, "
        f"{' '.join(machine['instructions']) or 'instruction sets unknown'}",
        f"measured in this run: memory read {best['read'] / 1e9:.1f} GB/s, products "
        + ", ".join(f"{name} {best[name] / 1e9:.0f} Gop/s" for name in ("float32", "bfloat16", "int8")),
        f"load average {_load(load['before'])} before, {_load(load['after'])} after (1, 5, 15 minutes)",
        *([] if settings["is_complete"] else ["INTERRUPTED: not every case or repetition was measured"]),
        f"{settings['repeats']} interleaved repetitions, answers of {settings['tokens']} tokens, greedy, never ending "
        f"early; exact systems of ours and transformers compute in {result.dtype}: {result.dtype_reason}",
    ]


def render_markdown(result: BenchResult, plot: str) -> str:
    """The page for people; `plot` is the name of the SVG beside it."""
    table = ["| " + " | ".join(HEADERS) + " |", "|" + "---|" * len(HEADERS)]
    previous = ""
    for row in result.rows:
        title, *rest = (cell.replace("|", "\\|") for cell in cells(row))
        table.append("| " + " | ".join(["" if row.case == previous else title, *rest]) + " |")
        previous = row.case
    systems = [
        f"- {system.name} {system.version}: {system.status}" + (f". {system.remark}" if system.remark else "")
        for system in result.systems
    ]
    notes = [f"- {line}" for line in remarks(result.rows)]
    return "\n".join(
        [
            f"# regard bench: {result.model}",
            "",
            "```bash",
            result.command,
            "```",
            "",
            *(f"- {line}" for line in machine_lines(result)),
            "",
            f"![{result.model}]({plot})",
            "",
            *table,
            "",
            '"2x" means that regard does twice as well: half the time or memory, or twice the tokens per second.',
            "Quartiles stand beside medians. Shares count products and bytes from the config alone, so they err low;",
            "weights that fit into a CPU's caches can be read faster than memory.",
            "",
            *(["What to know before comparing:", "", *notes, ""] if notes else []),
            "Systems:",
            "",
            *systems,
            "",
        ]
    )


def _load(values: Sequence[float] | None) -> str:
    return "unknown" if values is None else " ".join(f"{value:g}" for value in values)
