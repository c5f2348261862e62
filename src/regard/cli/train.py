"""`regard train`: run the bundled checkpoint's recipe, with live progress, and export the result.

    regard train nano --out runs/nano         renders its own data, trains, writes runs/nano/model

Interrupt it at any time; the same command continues. It does not fine-tune other checkpoints.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.progress import Progress

NUM_TRAINING_SCREENS = 6_000


def train(
    recipe: Annotated[str, typer.Argument(help="What to train; only 'nano' for now.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the run: state, log, rendered data, the result.")],
    seed: Annotated[int, typer.Option("--seed", help="Seed of weights and samples.")] = 0,
    init: Annotated[
        str | None, typer.Option("--init", help="Start from this checkpoint ('nano' or a folder), not from random.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option("--seconds", help="Stop in good order after this time; run again to continue.")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", help="Processes that render samples.")] = 2,
    processes: Annotated[
        int, typer.Option("--processes", min=1, help="Processes that share every step, each with its part of the CPUs.")
    ] = 1,
    json_lines: Annotated[bool, typer.Option("--json", help="Print each report as one JSON line.")] = False,
) -> int:
    """Train regard-nano from data that this package renders."""
    from regard.errors import ConfigError

    if recipe != "nano":
        raise ConfigError(f"the recipe {recipe!r} is unknown; only 'nano' can be trained")
    import math

    from rich.progress import Progress

    from regard.train.run import train_nano
    from regard.weights.hub import resolve_model

    with Progress(disable=json_lines) as progress:
        is_done = train_nano(
            out,
            seed=seed,
            seconds=math.inf if seconds is None else seconds,
            num_workers=workers,
            num_processes=processes,
            num_screens=NUM_TRAINING_SCREENS,
            init=resolve_model(init, offline=True) if init else None,
            on_report=_reporter(progress, json_lines=json_lines),
        )
    typer.echo(f"{out / 'model'} is written" if is_done else f"stopped in good order; run again to continue in {out}")
    return 0


def _reporter(progress: Progress, *, json_lines: bool) -> Any:
    import json

    bars: dict[str, Any] = {}

    def report(record: dict[str, Any]) -> None:
        if json_lines:
            typer.echo(json.dumps(record))
            return
        stage = record["stage"]
        if stage not in bars:
            bars[stage] = progress.add_task(stage, total=record["of"])
        numbers = {name: value for name, value in record.items() if isinstance(value, float)}
        shown = "  ".join(f"{name} {value:g}" for name, value in sorted(numbers.items()))
        progress.update(bars[stage], completed=record["step"])
        progress.console.print(f"[dim]{stage} {record['step']}[/dim]  {shown}", highlight=False)

    return report
