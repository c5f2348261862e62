"""`regard code MOCKUP -o DIR`: a picture of a page becomes HTML and CSS, and pictures that show how near it is.

The folder gets `index.html` with its `assets/`, `comparison.png` (mock-up, first version, kept version, difference)
and `report.json` with every version that was tried and its scores. With `--chart` the picture is a chart and the
result is `chart.py`, which is written and never run.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regard.cli.options import (
    ApiKeyOption,
    DeviceOption,
    DtypeOption,
    MaxMemoryOption,
    MaxTokensOption,
    ModelOption,
    PresetOption,
    SeedOption,
    ServerKindOption,
    TemperatureOption,
    TimeoutOption,
)
from regard.errors import ConfigError

if TYPE_CHECKING:
    from regard.apps.coding import CodedPage


def code(
    mockup: Annotated[str, typer.Argument(help="A picture or URL of a page, a screenshot or a drawing of one.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder that the page goes to.")],
    model: ModelOption = "nano",
    rounds: Annotated[
        int | None, typer.Option(help="Revisions to ask for at most; 3, and none of nano, unless given.")
    ] = None,
    scale: Annotated[float, typer.Option(help="Pixels of the picture per CSS pixel; 2 for HiDPI screenshots.")] = 1.0,
    chart: Annotated[
        bool, typer.Option("--chart", help="The picture is a chart: write matplotlib code, never run.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write into a folder that holds a page.")] = False,
    preset: PresetOption = None,
    max_tokens: MaxTokensOption = None,
    temperature: TemperatureOption = None,
    seed: SeedOption = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    max_memory: MaxMemoryOption = None,
    api_key: ApiKeyOption = None,
    server_kind: ServerKindOption = "auto",
    timeout: TimeoutOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Turn a picture of a page into HTML and CSS, compare it with the picture, and improve it."""
    _check(mockup, out, rounds=rounds, scale=scale, chart=chart, overwrite=overwrite)
    from regard.apps.coding import chart_to_code, mockup_to_code
    from regard.apps.result import write_whole
    from regard.cli.terminal import load_chat, stderr_console, waiting

    sampling = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed}
    options: dict[str, Any] = {name: value for name, value in sampling.items() if value is not None}
    chat = load_chat(
        model, device=device, dtype=dtype, max_memory=max_memory, api_key=api_key, server_kind=server_kind,
        timeout_s=timeout,
    )  # fmt: skip
    try:
        if chart:
            with waiting("writing the chart's code"):
                result = chart_to_code(chat, mockup, preset=preset, **options)
            out.mkdir(parents=True, exist_ok=True)
            write_whole(out / "chart.py", result.code.encode())
            print(json.dumps(result.to_json(), ensure_ascii=False, indent=2) if as_json else out / "chart.py")
            return
        console = stderr_console()
        if console.is_terminal:
            with console.status("looking at the mock-up") as status:
                page = mockup_to_code(
                    chat, mockup, rounds=rounds, scale=scale, preset=preset,
                    on_progress=lambda progress: status.update(progress.text), **options,
                )  # fmt: skip
        else:
            page = mockup_to_code(chat, mockup, rounds=rounds, scale=scale, preset=preset, **options)
    finally:
        chat.close()
    written = page.save(out)
    if as_json:
        print(json.dumps(page.result.to_json(), ensure_ascii=False, indent=2))
    else:
        show(page)
        for path in written:
            print(path)


def _check(mockup: str, out: Path, *, rounds: int | None, scale: float, chart: bool, overwrite: bool) -> None:
    """Refuse what cannot be right before a model is loaded. Errors: InputError, ConfigError."""
    from regard.processing.fetch import local_path

    if not mockup.startswith(("http://", "https://", "data:")):
        local_path(mockup)
    if chart and (rounds is not None or scale != 1.0):
        raise ConfigError("--rounds and --scale are for pages; leave them out with --chart")
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out} is a file; name a folder")
    taken = out / ("chart.py" if chart else "index.html")
    if taken.exists() and not overwrite:
        raise ConfigError(f"{taken} exists; give --overwrite to replace it, or another folder")


def show(page: CodedPage) -> None:
    """A table of the versions, and where the kept one comes from."""
    from rich.console import Console
    from rich.table import Table

    result = page.result
    table = Table(box=None, pad_edge=False)
    for name in ("version", "total", "block", "text", "position", "color", "ssim", "kept"):
        table.add_column(name, justify="left" if name in ("version", "kept") else "right")
    for step in result.steps:
        scores = step.scores
        values = (
            [f"{getattr(scores, name):.3f}" for name in ("total", "block", "text", "position", "color", "ssim")]
            if scores
            else ["-"] * 6
        )
        table.add_row(step.kind, *values, "yes" if step.is_kept else step.note if scores is None else "no")
    console = Console(width=110, highlight=False)
    console.print(table)
    origin = {
        "answer": "the model's own HTML",
        "elements": "elements that the model listed",
        "segmentation": "parts found in the pixels, words read by the model",
    }
    console.print(f"kept: {origin[result.source]}; total {result.first.total:.3f} -> {result.scores.total:.3f}")
    if result.removed:
        console.print(f"taken out: {', '.join(result.removed)}")
