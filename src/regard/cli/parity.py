"""`regard parity`: ours against transformers on this machine, one table, exit status 0 or 1.

Without a model, tiny random checkpoints of every kind are made and compared; with one, that checkpoint. One row
per check, with the largest difference over all cases; `--each-case` prints every measurement.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from regard.parity.compare import Measurement

_DIALECT = (
    "Clips are written into prompts as transformers writes them (video_dialect 'transformers'); "
    "regard's default is the model authors' way, which has two tokens fewer per clip."
)


def parity(
    model: Annotated[
        str | None, typer.Argument(help="'nano', a folder or a hub id; without it, tiny random checkpoints.")
    ] = None,
    tiny: Annotated[bool, typer.Option("--tiny", help="Compare tiny random checkpoints (the default).")] = False,
    each_case: Annotated[bool, typer.Option("--each-case", help="One row per check and case.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object with every measurement.")] = False,
) -> None:
    """Compare with transformers: ids, positions, pixels, features, logits and greedy tokens, in float32."""
    from regard.errors import ConfigError

    if tiny and model is not None:
        raise ConfigError(f"--tiny was given together with the model {model!r}; leave one of them out")
    measurements = _measure(model)
    is_passed = all(measurement.is_passed for measurement in measurements)
    if as_json:
        typer.echo(json.dumps(_as_json(measurements, is_passed), indent=2))
    else:
        _print_table(measurements if each_case else _worst_of_each_check(measurements), measurements)
    if not is_passed:
        raise typer.Exit(1)


def _measure(model: str | None) -> list[Measurement]:
    from regard.cli.terminal import waiting
    from regard.device import use_allowed_cpus
    from regard.parity.reference import import_transformers
    from regard.parity.suite import compare_folder, compare_tiny
    from regard.weights.hub import resolve_model

    use_allowed_cpus()
    with waiting(f"comparing {model or 'tiny random checkpoints'} with transformers"):
        import_transformers()  # before anything is downloaded: without it nothing can be compared
        if model is None:
            return list(compare_tiny())
        folder = resolve_model(model)
        _check_memory(folder)
        return list(compare_folder(model, folder))


def _check_memory(folder: Path) -> None:
    """Both libraries hold the checkpoint in float32 at once."""
    from regard.device import available_memory_bytes
    from regard.errors import CapacityError
    from regard.weights.checkpoint import read_config
    from regard.weights.memory import count_parameters

    need, free = 2 * 4 * count_parameters(read_config(folder)), available_memory_bytes()
    if free is not None and need > free:
        raise CapacityError(
            f"comparing {folder} needs {need / 1e9:.1f} GB for two copies in float32, {free / 1e9:.1f} GB are free; "
            "compare a smaller checkpoint of the family, the code is the same"
        )


def _worst_of_each_check(measurements: Sequence[Measurement]) -> list[Measurement]:
    """For each checkpoint and check, the measurement with the largest difference, failed ones first."""
    worst: dict[tuple[str, str], Measurement] = {}
    for found in sorted(measurements, key=lambda found: (not found.is_passed, found.difference)):
        worst[found.checkpoint, found.check] = found
    order = dict.fromkeys((found.checkpoint, found.check) for found in measurements)
    return [worst[key] for key in order]


def _as_json(measurements: Sequence[Measurement], is_passed: bool) -> dict[str, Any]:
    from dataclasses import asdict

    from regard.parity.reference import versions

    rows = [asdict(measurement) | {"passed": measurement.is_passed} for measurement in measurements]
    for row in rows:  # JSON has no infinity and no not-a-number
        row["difference"] = row["difference"] if 0 <= row["difference"] < float("inf") else None
    return {"passed": is_passed, "versions": versions(), "video_dialect": "transformers", "measurements": rows}


def _print_table(rows: Sequence[Measurement], measurements: Sequence[Measurement]) -> None:
    from rich.console import Console
    from rich.table import Table

    from regard.parity.reference import versions

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("checkpoint")
    table.add_column("check", no_wrap=True)
    table.add_column("cases", justify="right")
    for name in ("difference", "limit"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("result", no_wrap=True)
    table.add_column("largest in")
    previous = ""
    for row in rows:
        cases = [m for m in measurements if (m.checkpoint, m.check) == (row.checkpoint, row.check)]
        where = row.case if row.difference else ""
        table.add_row(
            row.checkpoint if row.checkpoint != previous else "",
            row.check,
            str(len(cases)) if len(rows) < len(measurements) else "1",
            f"{row.difference:.1e}" if row.difference else "equal",
            f"{row.limit:.0e}" if row.limit else "equal",
            "ok" if row.is_passed else "[bold red]FAILED[/]",
            f"{where}: {row.detail}" if row.detail else where,
        )
        previous = row.checkpoint
    console = Console(highlight=False)
    console.print("float32 on CPU: " + ", ".join(f"{name} {version}" for name, version in versions().items()) + "\n")
    console.print(table)
    num_failed = sum(not measurement.is_passed for measurement in measurements)
    console.print(f"\n{len(measurements)} measurements, {num_failed} failed. {_DIALECT}")
