"""`regard locate IMAGE "what"`: where things are, as JSON, COCO, YOLO, CSV or a picture.

The result goes to stdout or into a file, everything else to stderr. Commas separate categories: "cup, plate".
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regard.cli.options import (
    ApiKeyOption,
    DeviceOption,
    MaxTokensOption,
    ModelOption,
    PresetOption,
    SeedOption,
    ServerKindOption,
    TemperatureOption,
    TimeoutOption,
)
from regard.errors import ConfigError, InputError

if TYPE_CHECKING:
    from regard.apps.spatial import Located

FORMATS = ("json", "coco", "yolo", "csv")
DRAWABLE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def locate(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="A picture: a file or a URL.")],
    what: Annotated[str, typer.Argument(help='What to find: "red cup"; several categories with commas.')],
    model: ModelOption = "nano",
    draw: Annotated[Path | None, typer.Option(help="Draw what was found into this picture.")] = None,
    form: Annotated[str, typer.Option("--format", help="json, coco, yolo or csv.")] = "json",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the result into this file.")] = None,
    points: Annotated[bool, typer.Option("--points", help="Points instead of boxes.")] = False,
    three_d: Annotated[
        bool, typer.Option("--three-d", help="Boxes in space: metres, and their edges in pixels.")
    ] = False,
    every: Annotated[bool, typer.Option("--all", help="Every instance, not the one that is described.")] = False,
    attributes: Annotated[
        list[str] | None, typer.Option("--with", help="Also tell this of each thing, as in color; may be repeated.")
    ] = None,
    camera: Annotated[
        str | None, typer.Option(help="fx,fy,cx,cy in pixels, or the horizontal field of view in degrees.")
    ] = None,
    zoom: Annotated[bool, typer.Option("--zoom", help="Look again, closer, at small things.")] = False,
    tiles: Annotated[str, typer.Option(help="auto (long pictures), off, or columns and rows as in 3x2.")] = "auto",
    count: Annotated[bool, typer.Option("--count", help="Ask also how many there are.")] = False,
    relations: Annotated[bool, typer.Option("--relations", help="Tell how the things lie to each other.")] = False,
    occlusion: Annotated[
        bool, typer.Option("--occlusion", help="Ask which of overlapping things is in front.")
    ] = False,
    confidence: Annotated[
        bool, typer.Option("--confidence", help="Tell how sure the model was of each box, 0 to 1.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Leave out what has another label.")] = False,
    grammar: Annotated[
        bool, typer.Option("--grammar/--no-grammar", help="Bind the answer's form, where the model takes it.")
    ] = True,
    attempts: Annotated[int, typer.Option(min=1, help="Ask at most so often until the answer is understood.")] = 3,
    preset: PresetOption = None,
    max_tokens: MaxTokensOption = None,
    temperature: TemperatureOption = None,
    seed: SeedOption = None,
    device: DeviceOption = "auto",
    precision: Annotated[str, typer.Option(help="auto, or on CPUs int8 or int4.")] = "auto",
    api_key: ApiKeyOption = None,
    server_kind: ServerKindOption = "auto",
    timeout: TimeoutOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Find things on a picture: boxes, points, counts, boxes in space; as JSON, COCO, YOLO or CSV."""
    from regard.apps.spatial import locate as find
    from regard.cli.terminal import load_chat, stderr_console
    from regard.processing.fetch import local_path

    _check(form, as_json=as_json, points=points, draw=draw, output=output)
    local_path(image)  # a sentence about a missing or empty file, now and not after loading
    names = [name for piece in what.split(",") if (name := piece.strip())]
    options: dict[str, Any] = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed}
    chat = load_chat(
        model, device=device, precision=precision, api_key=api_key, server_kind=server_kind, timeout_s=timeout
    )
    console = stderr_console()
    with console.status(f"looking at {Path(image).name}", spinner="dots") as status:
        found = find(
            chat,
            image,
            names,
            points=points,
            three_d=three_d,
            every=every,
            attributes=attributes or (),
            camera=camera,
            zoom=zoom,
            tiles=tiles,
            count=count,
            relations=relations,
            occlusion=occlusion,
            confidence=confidence,
            strict=strict,
            grammar=grammar,
            attempts=attempts,
            preset=preset,
            on_progress=lambda progress: status.update(_text(progress)),
            **{name: value for name, value in options.items() if value is not None},
        )
    _write(found, form, output)
    for repair in found.repairs:
        console.print(f"mended: {repair}", markup=False, style="dim")
    if draw is not None:
        found.draw().save(draw)
        console.print(f"drawn: {draw}", markup=False)


def _check(form: str, *, as_json: bool, points: bool, draw: Path | None, output: Path | None) -> None:
    """What can be refused before a model is loaded."""
    if form not in FORMATS:
        raise ConfigError(f"--format is {form!r}; it must be one of {', '.join(FORMATS)}")
    if as_json and form != "json":
        raise ConfigError(f"--json and --format {form} exclude each other; leave one out")
    if form == "yolo" and points:
        raise ConfigError("--format yolo holds boxes and no points; use json, coco or csv, or leave out --points")
    if draw is not None and draw.suffix.lower() not in DRAWABLE_SUFFIXES:
        raise InputError(f"--draw {draw} has the suffix {draw.suffix!r}; it must be {', '.join(DRAWABLE_SUFFIXES)}")
    for flag, path in (("--draw", draw), ("--output", output)):
        if path is not None and not path.parent.is_dir():
            raise InputError(f"{flag} {path}: the folder {path.parent} does not exist; make it first")


def _text(progress: Any) -> str:
    return f"{progress.text} ({progress.done + 1} of {progress.total})" if progress.total > 1 else str(progress.text)


def _write(found: Located, form: str, output: Path | None) -> None:
    from regard.apps.result import write_whole
    from regard.apps.spatial.export import to_text

    text = to_text(found, form)
    if output is None:
        sys.stdout.write(text)
        return
    write_whole(output, text.encode())
    if form == "yolo":
        names = "".join(f"{name}\n" for name in found.yolo_names())
        write_whole(output.with_name("classes.txt"), names.encode())
