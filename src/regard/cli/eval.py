"""`regard eval`: held-out samples of every task, a table with confidence intervals, a report to look at.

The table goes to stdout, progress to stderr. Exit status 0 means that the evaluation ran, whatever it found.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from regard.cli.options import ApiKeyOption, ServerKindOption, TimeoutOption
from regard.errors import ConfigError

if TYPE_CHECKING:
    from regard.evals.runner import Chat, Result
    from regard.evals.task import Task

DEFAULT_SAMPLES = 500
TABLE_CHARS = 110  # a pipe has no width, and a narrow terminal may wrap lines but not cells


def eval_command(
    model: Annotated[str, typer.Argument(help='"nano", a folder, a hub id, or a server\'s URL.')] = "nano",
    model_option: Annotated[str | None, typer.Option("--model", help="The same as the argument.")] = None,
    tasks: Annotated[str, typer.Option(help="Which tasks, separated by commas; all by default.")] = "",
    samples: Annotated[int, typer.Option(min=1, help="Samples of each task's headline measure.")] = DEFAULT_SAMPLES,
    seed: Annotated[int, typer.Option(min=0, help="Another seed draws other held-out samples.")] = 0,
    out: Annotated[Path, typer.Option(help="Where the HTML report goes.")] = Path("report.html"),
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps, ...")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16, float16.")] = "auto",
    api_key: ApiKeyOption = None,
    server_kind: ServerKindOption = "auto",
    timeout: TimeoutOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the table.")] = False,
) -> None:
    """Measure a model on held-out samples of every task and write a report with failures and successes."""
    if model_option is not None and model not in ("nano", model_option):
        raise ConfigError(f"two models are given, {model!r} and --model {model_option!r}; give one")
    if not out.parent.is_dir():
        raise ConfigError(f"--out {out}: the folder {out.parent} does not exist; make it first")
    from regard.cli.terminal import load_chat, stderr_console
    from regard.evals.report import write_report

    name = model_option or model
    chosen = choose_tasks(tasks)
    prepare(chosen, seed)
    chat = load_chat(name, device=device, dtype=dtype, api_key=api_key, server_kind=server_kind, timeout_s=timeout)
    result = run_with_progress(chat, chosen, model=name, num_samples=samples, seed=seed)
    write_report(result, out)
    if as_json:
        print(json.dumps(result.to_json(), indent=2))
    else:
        print_table(result)
    stderr_console().print(f"report: {out}", markup=False, soft_wrap=True)


def choose_tasks(names: str) -> list[Task]:
    """The tasks of a comma-separated list, each once; all if it is empty. Errors: ConfigError for an unknown name."""
    from regard.evals.scoring import TASKS

    wanted = [name.strip() for name in names.split(",") if name.strip()] or list(TASKS)
    for name in wanted:
        if name not in TASKS:
            raise ConfigError(f"there is no task {name!r}; the tasks are {', '.join(TASKS)}")
    return [TASKS[name] for name in dict.fromkeys(wanted)]


def prepare(tasks: list[Task], seed: int) -> None:
    """Draw one sample of each task, so that what is missing on this machine is told before a model is loaded."""
    from regard.cli.terminal import waiting

    with waiting("rendering the held-out samples"):
        for task in tasks:
            next(task.samples(1, seed=seed))


def run_with_progress(chat: Chat, tasks: list[Task], *, model: str, num_samples: int, seed: int) -> Result:
    """Run the evaluation with a bar for each task on a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from regard.cli.terminal import stderr_console
    from regard.evals.runner import run

    console = stderr_console()
    columns = (
        TextColumn("{task.description:8}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("mean score {task.fields[mean]:.3f}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        # How many questions come beside the headline's is only known at the end: bars without a total.
        bars = {task.name: progress.add_task(task.name, total=None, mean=0.0) for task in tasks}
        sums = dict.fromkeys(bars, 0.0)
        counts = dict.fromkeys(bars, 0)

        def on_answer(task: str, score: float) -> None:
            sums[task] += score
            counts[task] += 1
            progress.update(bars[task], advance=1, mean=sums[task] / counts[task])

        return run(chat, tasks, model=model, num_samples=num_samples, seed=seed, on_answer=on_answer)


def print_table(result: Result) -> None:
    """The rows of the result on stdout."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    from regard.evals.report import goal_text, percent

    table = Table("task", box=SIMPLE, title=f"{result.model}, {result.num_answers} held-out samples")
    table.add_column("measure", no_wrap=True)
    for header in ("value", "95 %", "samples"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("goal", no_wrap=True)
    previous = ""
    for row in result.rows:
        task = row.task if row.task != previous else ""
        previous = row.task
        interval = f"{percent(row.low)} - {percent(row.high)}"
        table.add_row(task, row.measure, percent(row.value), interval, str(row.num_samples), goal_text(row))
    Console(width=max(Console().width, TABLE_CHARS)).print(table)
