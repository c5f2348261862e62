"""One question, or one form, for every page of a folder: a line of JSON for each, resumable as `convert` is."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from regard.apps.documents import prompts
from regard.apps.documents.batch import Job, jobs_of, run_pages
from regard.apps.documents.convert import WORK_FOLDER, default_workers
from regard.apps.documents.export import draft_of
from regard.apps.documents.extract import extract, schema_of
from regard.apps.documents.reader import Reading, read_page
from regard.apps.documents.result import DocumentText
from regard.apps.documents.upright import set_upright
from regard.apps.documents.work_log import WorkLog
from regard.apps.pages import PageName, load_page
from regard.apps.result import Progress
from regard.client import Chat
from regard.errors import ConfigError, InputError, RegardError, ServerError

RESULTS = "results.jsonl"


def ask_pages(
    chat: Chat,
    inputs: list[Path],
    out: Path,
    *,
    question: str | None = None,
    wanted: Any = None,
    reading: Reading | None = None,
    preset: str | None = None,
    max_tokens: int = 1024,
    workers: int | None = None,
    restart: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> tuple[int, int]:
    """Answer `question`, or fill the form `wanted`, for each page; write OUT/results.jsonl.

    Returns the number of pages and of those that failed. Errors: as `convert`.
    """
    if (question is None) == (wanted is None):
        raise ConfigError("give a question or a form, and not both")
    reading = reading or Reading()
    reading.check()
    reading.check_model(chat.name)
    schema = None if wanted is None else schema_of(wanted)
    jobs = jobs_of(inputs)
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; name a folder")
    out.mkdir(parents=True, exist_ok=True)
    preset = preset or ("greedy" if prompts.is_small(chat.name) else None)

    def answer(page_name: PageName) -> dict[str, Any]:
        page = load_page(page_name, dpi=reading.dpi)
        if schema is not None:
            text = read_page(chat, page, reading)
            picture = set_upright(page.picture, turn=text.turn).picture if text.turn else page.picture
            document = DocumentText(file=page.path.name, pages=(text,))
            return extract(chat, [picture], schema, document=document, language=reading.language).to_json()
        options: dict[str, Any] = {"preset": preset, "max_tokens": max_tokens}
        seed = zlib.crc32(f"{page.path.name}:{page.number}".encode())
        try:
            chat.check_options(preset, seed=seed)
            options["seed"] = seed
        except ConfigError:
            pass  # this server draws as it likes
        reply = chat.chat([page.picture, question], **options)
        boxes = [[box.label, box.x1, box.y1, box.x2, box.y2] for box in reply.boxes]
        points = [[point.label, point.x, point.y] for point in reply.points]
        return {"text": reply.text, "boxes": boxes, "points": points, "finish_reason": reply.finish_reason}

    def work(job: Job, name: PageName) -> dict[str, Any]:
        row: dict[str, Any] = {"file": job.path.name, "page": name.number}
        try:
            return row | answer(name)
        except (ServerError, ConfigError):
            raise
        except RegardError as error:
            return row | {"error": str(error)}

    settings = {"version": 1, "model": chat.name, "question": question, "schema": schema, "preset": preset}
    settings |= {"max_tokens": max_tokens, "mode": reading.mode, "dpi": reading.dpi, "language": reading.language}
    log = WorkLog(out / WORK_FOLDER / "work.sqlite", settings, restart=restart)
    try:
        run_pages(
            jobs,
            log,
            work,
            lambda job: None,
            workers=workers or default_workers(chat),
            on_progress=on_progress,
        )
        return _write(jobs, log, out / RESULTS)
    finally:
        log.close()


def _write(jobs: list[Job], log: WorkLog, path: Path) -> tuple[int, int]:
    states = dict(log.files())
    num_pages = num_failed = 0
    with draft_of(path) as file:
        for job in jobs:
            if states[job.stem].error:
                file.write(json.dumps({"file": job.path.name, "page": 0, "error": states[job.stem].error}) + "\n")
                num_failed += 1
            for row in log.results(job.stem):
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                num_pages += 1
                num_failed += "error" in row
    return num_pages, num_failed
