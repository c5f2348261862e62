"""`regard batch FOLDER --task read|ask|extract -o OUT`: one task for every page of a folder, resumable.

Killed or interrupted, the same command goes on where it stopped and leaves the same bytes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from regard.cli.options import ModelOption, TimeoutOption
from regard.errors import ConfigError

TASKS = ("read", "ask", "extract")


def batch(
    inputs: Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="Folders or files: pictures, TIFFs, PDFs.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder of the results.")],
    task: Annotated[str, typer.Option(help="read: as regard document; ask: --question; extract: --fields, --schema.")],
    model: ModelOption = "nano",
    question: Annotated[str | None, typer.Option(help="What to ask of each page.")] = None,
    fields: Annotated[str | None, typer.Option(help="Extract these: 'company, date, total'.")] = None,
    schema: Annotated[Path | None, typer.Option(help="Extract what this JSON schema asks for.")] = None,
    formats: Annotated[str, typer.Option("--format", help="Of task read, as of regard document.")] = "md,html,json",
    mode: Annotated[str, typer.Option(help="auto, lines, html or markdown: how a page is read.")] = "auto",
    language: Annotated[str | None, typer.Option(help="Of the text, in words.")] = None,
    dpi: Annotated[int, typer.Option(help="Of PDF pages.")] = 144,
    preset: Annotated[str | None, typer.Option(help="Of task ask: greedy, visual, text, stem, gui or ocr.")] = None,
    max_tokens: Annotated[int, typer.Option(help="Of task ask: longest answer, in tokens.")] = 1024,
    workers: Annotated[int | None, typer.Option(help="Pages at a time.")] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Forget what an earlier run has done here.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32 or bfloat16.")] = "auto",
    api_key: Annotated[str | None, typer.Option(help="For a server; else REGARD_API_KEY or OPENAI_API_KEY.")] = None,
    timeout: TimeoutOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Do one task for every page of folders, and go on where it stopped when it was interrupted."""
    from regard.apps.documents import Reading, convert
    from regard.apps.documents.batch import jobs_of
    from regard.apps.documents.questions import RESULTS, ask_pages
    from regard.cli.document import check_formats, progress_bar, wanted_of

    if task not in TASKS:
        raise ConfigError(f"there is no task {task!r}; the tasks are {', '.join(TASKS)}")
    for name, value, its in (
        ("--question", question, "ask"),
        ("--preset", preset, "ask"),
        ("--fields", fields, "extract"),
        ("--schema", schema, "extract"),
    ):
        if value is not None and task != its:
            raise ConfigError(f"{name} is for --task {its}, and the task is {task}; leave it out")
    wanted = wanted_of(fields, schema)
    if task == "ask" and not question:
        raise ConfigError("--task ask needs --question; give one")
    if task == "extract" and wanted is None:
        raise ConfigError("--task extract needs --fields or --schema; give one")
    chosen = check_formats(formats)
    reading = Reading(mode=cast("Any", mode), language=language, dpi=dpi)
    reading.check()
    jobs_of(inputs)
    from regard.cli.terminal import load_chat

    chat = load_chat(model, device=device, dtype=dtype, api_key=api_key, timeout_s=timeout)
    with progress_bar() as on_progress:
        if task == "read":
            done = convert(
                chat,
                inputs,
                out,
                formats=chosen,
                reading=reading,
                workers=workers,
                restart=restart,
                on_progress=on_progress,
            )
            num_pages, num_failed, place = done.num_pages, done.num_failed, str(out)
        else:
            num_pages, num_failed = ask_pages(
                chat,
                inputs,
                out,
                question=question,
                wanted=wanted,
                reading=reading,
                preset=preset,
                max_tokens=max_tokens,
                workers=workers,
                restart=restart,
                on_progress=on_progress,
            )
            place = str(out / RESULTS)
    if as_json:
        print(json.dumps({"num_pages": num_pages, "num_failed": num_failed, "out": place}))
    else:
        print(f"{num_pages} pages, {num_failed} failed: {place}")
    return 1 if num_failed else 0
