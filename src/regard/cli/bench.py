"""`regard bench`: how fast ours is, and the peers where they are installed, on the same weights in the same run.

The table goes to stdout and its last line is one JSON object with every number; progress goes to stderr. Everything is
measured on the CPU, each system in a process of its own. Exit status 0 means that the run was made, whoever won.
"""

from __future__ import annotations

import json
import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from regard.errors import ConfigError

if TYPE_CHECKING:
    from regard.bench.results import BenchResult

TABLE_CHARS = 170  # a pipe has no width, and a narrow terminal may wrap lines but not cells


def bench(
    model: Annotated[str, typer.Option(help="nano, a model folder, or a hub id.")] = "nano",
    shape: Annotated[
        str | None, typer.Option(help="2b, 4b or 8b: random weights of that size, written into the cache once.")
    ] = None,
    systems: Annotated[str, typer.Option(help="Which systems, separated by commas; all by default.")] = "",
    cases: Annotated[str, typer.Option(help="Which cases, separated by commas; all by default.")] = "",
    repeats: Annotated[int, typer.Option(min=1, help="Repetitions of each case on each system.")] = 5,
    tokens: Annotated[int, typer.Option(min=2, help="Length of the answers.")] = 32,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of each system; all allowed CPUs.")] = None,
    time_limit: Annotated[float, typer.Option(min=1, help="Seconds for one repetition, or for loading.")] = 600.0,
    out: Annotated[Path | None, typer.Option(help="Folder for bench.json, bench.md and bench.svg.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the JSON object and no table.")] = False,
) -> None:
    """Measure speed and memory, ours and the peers', on the same weights in one run."""
    if out is not None and out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out} is a file; give a folder")
    from regard.bench.start import make_plan, run_plan
    from regard.cli.terminal import stderr_console

    plan = make_plan(
        model=model,
        shape=shape,
        systems=systems,
        cases=cases,
        repeats=repeats,
        num_tokens=tokens,
        num_threads=threads,
        time_limit_s=time_limit,
        command=shlex.join(["regard", *sys.argv[1:]]),
    )
    console = stderr_console()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # `timeout` and the like: report what is there
    result = run_plan(plan, lambda text: console.print(text, style="dim", markup=False, soft_wrap=True))
    if not as_json:
        print_table(result)
    if out is not None:
        write(result, out)
        console.print(f"written: {out}/bench.json, bench.md, bench.svg", markup=False, soft_wrap=True)
    print(json.dumps(result.to_json()))


def write(result: BenchResult, folder: Path) -> None:
    """The numbers, the page and the picture."""
    from regard.bench.plot import render_plot
    from regard.bench.report import render_markdown

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.json").write_text(json.dumps(result.to_json(), indent=2) + "\n", encoding="utf-8")
    (folder / "bench.md").write_text(render_markdown(result, "bench.svg"), encoding="utf-8")
    (folder / "bench.svg").write_text(render_plot(result), encoding="utf-8")


def print_table(result: BenchResult) -> None:
    """The machine, a row for each case and system, and what to know before comparing."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    from regard.bench.report import HEADERS, absent, cells, machine_lines, remarks

    console = Console(highlight=False, markup=False)
    console.width = max(console.width, TABLE_CHARS)
    console.print(f"regard bench: {result.model}", *machine_lines(result), sep="\n", soft_wrap=True)
    table = Table(box=SIMPLE)
    for header in HEADERS:
        table.add_column(header, overflow="fold", no_wrap=header not in ("case", "parts"))
    previous = ""
    for row in result.rows:
        title, *rest = cells(row)
        table.add_row("" if row.case == previous else title, *rest)
        previous = row.case
    console.print(table)
    for line in [*remarks(result.rows), *absent(result)]:
        console.print(line, soft_wrap=True)
