"""`regard document FILE... -o OUT`: pages to Markdown, HTML, JSON, text, searchable PDF and tables.

With `--fields` or `--schema` it fills a form from each file instead. What cannot be right is told before a model is
loaded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from regard.cli.options import ModelOption, TimeoutOption
from regard.errors import ConfigError, InputError

if TYPE_CHECKING:
    from regard.apps.documents import Reading
    from regard.apps.result import Progress
    from regard.client import Chat

FORMATS = "md,html,json"


def document(
    inputs: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Pictures, TIFFs, PDFs, or folders of them.")],
    out: Annotated[
        Path,
        typer.Option("-o", "--out", help="A folder, or one file: .md .html .json .txt .pdf .xlsx (.csv: a folder)."),
    ],
    model: ModelOption = "nano",
    formats: Annotated[
        str, typer.Option("--format", help="Of a folder's files: md, html, json, txt, pdf, csv, xlsx.")
    ] = FORMATS,
    mode: Annotated[str, typer.Option(help="auto, lines, html or markdown: how a page is read.")] = "auto",
    by_line: Annotated[bool, typer.Option("--by-line", help="The same as --mode lines.")] = False,
    pages: Annotated[str | None, typer.Option(help="Only these, as 1-3,7.")] = None,
    dpi: Annotated[int, typer.Option(help="Of PDF pages.")] = 144,
    turn: Annotated[
        int | None, typer.Option(help="Turn pages by 0, 90, 180 or 270 degrees; found if not given.")
    ] = None,
    language: Annotated[str | None, typer.Option(help="Of the text, in words.")] = None,
    small_text: Annotated[
        bool | None, typer.Option("--small-text/--no-small-text", help="Tell the model; decided by the page.")
    ] = None,
    own_text: Annotated[str, typer.Option(help="Of PDFs: fallback, prefer or never.")] = "fallback",
    fields: Annotated[str | None, typer.Option(help="Extract these instead: 'company, date, total'.")] = None,
    schema: Annotated[Path | None, typer.Option(help="Extract what this JSON schema asks for.")] = None,
    workers: Annotated[int | None, typer.Option(help="Pages at a time.")] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Forget what an earlier run has done here.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32 or bfloat16.")] = "auto",
    api_key: Annotated[str | None, typer.Option(help="For a server; else REGARD_API_KEY or OPENAI_API_KEY.")] = None,
    timeout: TimeoutOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Turn scans, photos and PDFs into text: Markdown, HTML with boxes, JSON, searchable PDF, tables, or a form."""
    from regard.apps.documents import Reading, convert
    from regard.apps.documents.batch import jobs_of

    if by_line and mode not in ("auto", "lines"):
        raise ConfigError(f"--by-line and --mode {mode} contradict each other; give one")
    reading = Reading(
        mode=cast("Any", "lines" if by_line else mode),
        language=language,
        small_text=small_text,
        turn=turn,
        own_text=cast("Any", own_text),
        dpi=dpi,
    )
    reading.check()
    wanted = wanted_of(fields, schema)
    if wanted is not None and (workers is not None or restart or formats != FORMATS):
        raise ConfigError("--format, --workers and --restart are not for --fields and --schema; use regard batch")
    chosen = check_formats(formats)
    jobs_of(inputs)  # what is not there is told before a model is loaded
    from regard.cli.terminal import load_chat

    chat = load_chat(model, device=device, dtype=dtype, api_key=api_key, timeout_s=timeout)
    with progress_bar() as on_progress:
        if wanted is not None:
            return _extract(chat, inputs, wanted, out, reading, pages, as_json, on_progress)
        done = convert(
            chat,
            inputs,
            out,
            formats=chosen,
            reading=reading,
            pages=pages,
            workers=workers,
            restart=restart,
            on_progress=on_progress,
        )
    if as_json:
        print(json.dumps(done.to_json(), ensure_ascii=False, indent=2))
    else:
        for file in done.files:
            told = [f"{file.num_pages} pages"] if file.num_pages != 1 else []
            told += [f"{file.num_failed} not read"] if file.num_failed else []
            told += [f"{file.num_fallback} from the PDF's own text"] if file.num_fallback else []
            told += [file.error] if file.error else []
            print(f"{file.name}: {', '.join([*told, *file.outputs])}")
        if done.report:
            print(f"report: {done.report}")
    return 1 if done.num_failed else 0


def check_formats(formats: str) -> tuple[str, ...]:
    """The formats of a comma-separated list, each once. Errors: ConfigError for one that there is not, or none."""
    from regard.apps.documents.export import FORMATS as KNOWN

    chosen = tuple(dict.fromkeys(name.strip().lower() for name in formats.split(",") if name.strip()))
    for name in chosen:
        if name not in KNOWN:
            raise ConfigError(f"there is no format {name!r}; the formats are {', '.join(KNOWN)}")
    if not chosen:
        raise ConfigError(f"--format is empty; the formats are {', '.join(KNOWN)}")
    return chosen


def wanted_of(fields: str | None, schema: Path | None) -> Any:
    """What to extract, None for the whole text. Errors: ConfigError, InputError."""
    if fields is not None and schema is not None:
        raise ConfigError("--fields and --schema are both given; give one")
    from regard.apps.documents.extract import fields_of, schema_of

    if fields is not None:
        return schema_of(fields_of(fields))
    if schema is None:
        return None
    try:
        return schema_of(json.loads(schema.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(f"the schema {schema} cannot be read ({error.strerror}); name another file") from None
    except ValueError as error:
        raise InputError(f"the schema {schema} is no JSON ({error}); correct it") from None


def _extract(
    chat: Chat,
    inputs: list[Path],
    wanted: Any,
    out: Path,
    reading: Reading,
    pages: str | None,
    as_json: bool,
    on_progress: Callable[[Progress], None],
) -> int:
    """Fill the form from each file and write NAME.json; with one input `out` may be the file."""
    from regard.apps.documents.batch import jobs_of
    from regard.apps.documents.forms import extract_file
    from regard.apps.result import Progress

    jobs = jobs_of(inputs)
    is_file = out.suffix.lower() == ".json" and not out.is_dir()
    if is_file and len(jobs) != 1:
        raise ConfigError(f"{out} is one file and the inputs are {len(jobs)}; name a folder")
    status = 0
    told = {}
    for number, job in enumerate(jobs):
        on_progress(Progress(number, len(jobs), job.path.name))
        found = extract_file(chat, job.path, wanted, reading, pages=pages)
        place = out if is_file else out / f"{job.stem}.json"
        place.parent.mkdir(parents=True, exist_ok=True)
        found.save(place)
        told[job.path.name] = found.to_json()
        status = status if any(value not in (None, [], {}) for value in found.value.values()) else 1
        if not as_json:
            for path, field in found.fields.items():
                where = f"page {field.evidence.page}" if field.evidence else field.problem or "not there"
                print(f"{job.path.name}: {path} = {json.dumps(field.value, ensure_ascii=False)}  ({where})")
    on_progress(Progress(len(jobs), len(jobs)))
    if as_json:
        print(json.dumps(told, ensure_ascii=False, indent=2))
    return status


@contextmanager
def progress_bar() -> Iterator[Callable[[Progress], None]]:
    """A bar on a terminal, moved by an application's `Progress`."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from regard.cli.terminal import stderr_console

    console = stderr_console()
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def on_progress(progress: Progress) -> None:
            bar.update(task, completed=progress.done, total=progress.total or None, description=progress.text)

        yield on_progress
