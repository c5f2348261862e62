"""`regard ask FILE... "question"`: one question about images, videos, PDFs and URLs, or about none.

The last argument is the question, those before it are inputs. What cannot be right is told before a model is
loaded: a file that does not exist, a question that is missing, an option that fits none of the inputs, a
picture for `--boxes` that could not be written.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
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
from regard.errors import ConfigError, InputError, RegardError
from regard.messages import Document, Image, Message, Part, Text, Video, looks_like_media

if TYPE_CHECKING:
    import PIL.Image

    from regard.reply import Reply

DRAWABLE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_ACCEPTS: dict[type[Part], tuple[str, ...]] = {
    Image: ("min_pixels", "max_pixels"),
    Document: ("min_pixels", "max_pixels", "pages"),
    Video: ("min_pixels", "max_pixels", "fps", "num_frames", "max_frames", "start", "end", "total_pixels"),
}


def ask(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="FILE|QUESTION", help="Images, videos, PDFs or URLs; last, the question."),
    ],
    model: ModelOption = "nano",
    boxes: Annotated[Path | None, typer.Option(help="Draw what the answer points at into this picture.")] = None,
    preset: PresetOption = None,
    system: Annotated[str | None, typer.Option(help="A system message.")] = None,
    max_tokens: MaxTokensOption = None,
    temperature: TemperatureOption = None,
    top_p: Annotated[float | None, typer.Option(help="Keep the likeliest tokens up to this probability.")] = None,
    top_k: Annotated[int | None, typer.Option(help="Keep this many of the likeliest tokens; 0 keeps all.")] = None,
    seed: SeedOption = None,
    stop: Annotated[list[str] | None, typer.Option(help="End the answer before this text; may be repeated.")] = None,
    thinking_budget: Annotated[int | None, typer.Option(help="Close the thinking after this many tokens.")] = None,
    repetition_guard: Annotated[
        bool | None,
        typer.Option("--repetition-guard/--no-repetition-guard", help="End answers that loop; on unless turned off."),
    ] = None,
    min_pixels: Annotated[int | None, typer.Option(help="Enlarge pictures to at least this area.")] = None,
    max_pixels: Annotated[int | None, typer.Option(help="Shrink pictures to at most this area.")] = None,
    fps: Annotated[float | None, typer.Option(help="Frames per second taken from videos.")] = None,
    num_frames: Annotated[int | None, typer.Option(help="Frames taken from each video, instead of --fps.")] = None,
    max_frames: Annotated[int | None, typer.Option(help="At most this many frames of each video.")] = None,
    start: Annotated[str | None, typer.Option(help="Begin videos here: seconds, 1:30 or 0:23:00.")] = None,
    end: Annotated[str | None, typer.Option(help="End videos here.")] = None,
    total_pixels: Annotated[int | None, typer.Option(help="At most this many pixels in all frames together.")] = None,
    pages: Annotated[str | None, typer.Option(help='Pages of PDFs, as in "1-3,7".')] = None,
    video_dialect: Annotated[str, typer.Option(help="How frames are written: authors or transformers.")] = "authors",
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    precision: Annotated[str, typer.Option(help="auto, or on CPUs int8 or int4: smaller and faster weights.")] = "auto",
    max_memory: MaxMemoryOption = None,
    api_key: ApiKeyOption = None,
    server_kind: ServerKindOption = "auto",
    timeout: TimeoutOption = None,
    thinking: Annotated[bool, typer.Option(help="Show the thinking of Thinking editions, on stderr.")] = True,
    media: Annotated[bool, typer.Option("--media", help="Print what the model really saw.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole reply as JSON.")] = False,
) -> None:
    """Ask one question about images, videos, PDFs, URLs, or nothing but words."""
    from regard.cli.terminal import load_chat, media_table, show, stderr_console
    from regard.processing.frames import parse_time

    files, question = split_inputs(inputs)
    options = {
        "min_pixels": min_pixels,
        "max_pixels": max_pixels,
        "fps": fps,
        "num_frames": num_frames,
        "max_frames": max_frames,
        "start": None if start is None else parse_time(start),
        "end": None if end is None else parse_time(end),
        "total_pixels": total_pixels,
        "pages": pages,
    }
    parts = media_parts(files, {name: value for name, value in options.items() if value is not None})
    if boxes is not None:
        check_drawable(boxes, parts)
    messages = [Message("user", (*parts, Text(question)))]
    if system is not None:
        messages.insert(0, Message("system", (Text(system),)))
    sampling = {
        "max_tokens": max_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "top_k": top_k,
        "seed": seed,
        "thinking_budget": thinking_budget,
        "repetition_guard": repetition_guard,
    }
    sampling_options: dict[str, Any] = {name: value for name, value in sampling.items() if value is not None}
    if stop:
        sampling_options["stop"] = stop

    chat = load_chat(
        model,
        device=device,
        dtype=dtype,
        precision=precision,
        video_dialect=video_dialect,
        max_memory=max_memory,
        api_key=api_key,
        server_kind=server_kind,
        timeout_s=timeout,
    )
    if media and not chat.reports_media:
        raise ConfigError(f"--media: the server at {model} does not tell what the model saw; leave it out")
    events = chat.stream(messages, preset=preset, **sampling_options)
    what = f"looking at {', '.join(Path(name).name for name in files)}" if files else "answering"
    reply = show(events, what=what, thinking=thinking, quiet=as_json)
    if as_json:
        print(json.dumps(reply.to_json(), ensure_ascii=False, indent=2))
    if media:
        stderr_console().print(media_table(reply.media))
    if boxes is not None:
        for path in draw_reply(reply, parts, boxes):
            stderr_console().print(f"drawn: {path}", markup=False)


def split_inputs(arguments: Sequence[str]) -> tuple[list[str], str]:
    """Return the inputs and the question of a command line.

    Errors: InputError if an input is missing or is no file, or the last argument is a file and no question.
    """
    from regard.processing.fetch import local_path

    *files, question = arguments
    for name in files if not names_media(question) else arguments:
        if not names_media(name):
            raise InputError(f"{name!r} is neither a file nor a URL; put the question last, in quotes")
        local_path(name)  # a sentence about a missing or empty file, now and not after loading
    if names_media(question):
        raise InputError(f'no question after {question!r}; add one in quotes: regard ask FILE... "What is this?"')
    if not question.strip():
        raise InputError("the question is empty; put it last, in quotes")
    return files, question


def names_media(argument: str) -> bool:
    """Whether an argument means a file or URL: it exists, has a known suffix or scheme, or is written like a path."""
    return looks_like_media(argument) or (os.sep in argument and not re.search(r"\s", argument))


def media_parts(files: Sequence[str], options: dict[str, Any]) -> tuple[Part, ...]:
    """Return the parts with the options that each kind takes. Errors: InputError if an option fits no input."""
    from regard.conversation import media_part

    parts = [media_part(name) for name in files]
    for option in options:
        if not any(option in _ACCEPTS[type(part)] for part in parts):
            kinds = [kind.__name__.lower() for kind, accepted in _ACCEPTS.items() if option in accepted]
            flag = "--" + option.replace("_", "-")
            raise InputError(f"{flag} needs an input that is of the kind {' or '.join(kinds)}, and none was given")
    return tuple(
        replace(part, **{name: value for name, value in options.items() if name in _ACCEPTS[type(part)]})
        for part in parts
    )


def check_drawable(path: Path, parts: Sequence[Part]) -> None:
    """Raise InputError if boxes could not be drawn into `path`, whatever the answer is."""
    if path.suffix.lower() not in DRAWABLE_SUFFIXES:
        raise InputError(f"--boxes {path} has the suffix {path.suffix!r}; it must be {', '.join(DRAWABLE_SUFFIXES)}")
    if not path.parent.is_dir():
        raise InputError(f"--boxes {path}: the folder {path.parent} does not exist; make it first")
    if not any(isinstance(part, Image | Document) for part in parts):
        raise InputError("--boxes needs a picture or a PDF to draw on; give one before the question")


def draw_reply(reply: Reply, parts: Sequence[Part], path: Path) -> list[Path]:
    """Draw boxes and points on the pictures they lie on; several pictures become OUT-1.png, OUT-2.png.

    Errors: RegardError if the answer points at nothing.
    """
    from regard.draw import draw

    pointed_at = {box.image for box in reply.boxes} | {point.image for point in reply.points}
    if not pointed_at:
        raise RegardError(
            f"the answer points at nothing, so {path} was not written; "
            'ask for a place, as in "Give the bounding box of the Save button."'
        )
    written = []
    for number, picture in enumerate(pictures(parts)):
        if number in pointed_at:
            own = path if len(pointed_at) == 1 else path.with_stem(f"{path.stem}-{number + 1}")
            boxes = [box for box in reply.boxes if box.image == number]
            points = [point for point in reply.points if point.image == number]
            draw(picture, boxes, points).save(own)
            written.append(own)
    return written


def pictures(parts: Sequence[Part]) -> Iterator[PIL.Image.Image]:
    """Yield the pictures and pages of a turn in the order in which boxes number them."""
    from regard.processing.image import load_image

    for part in parts:
        if isinstance(part, Image):
            yield load_image(part.source)
        elif isinstance(part, Document):
            from regard.processing.pdf import load_pages

            yield from (page for _, page in load_pages(part))
