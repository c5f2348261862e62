"""Files and folders to documents: what `regard document` does.

    done = convert(chat, [Path("scans")], Path("out"), formats=("md", "pdf"))
    done.num_pages, done.num_failed, done.files

Of each file the outputs stand in the output folder under its own name, figures and tables in folders beside them, and
`_report.html` shows all pages. A hidden folder there holds the work log: the same call after an interruption, of
whatever kind, goes on where it stopped, and leaves the same bytes as if it had never been interrupted.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from regard.apps.documents.batch import Job, jobs_of, run_pages
from regard.apps.documents.export import FORMATS, WRITERS
from regard.apps.documents.pdf_layer import add_layer, open_pikepdf, picture_pdf
from regard.apps.documents.reader import Reading, read_page
from regard.apps.documents.report import ReportRow, thumbnail, write_report
from regard.apps.documents.result import Block, DocumentText, PageText
from regard.apps.documents.work_log import WorkLog
from regard.apps.pages import Page, PageName, load_page, open_pages
from regard.apps.result import Progress, Result
from regard.client import Chat
from regard.errors import ConfigError, InputError, MissingDependencyError, ServerError

WORK_FOLDER = ".regard"
VERSION = 1  # of the work log: pages of another version are not mixed with ours


class DoneFile(Result):
    """A file and what became of it. `error` "" if it could be opened."""

    name: str
    num_pages: int
    num_failed: int = 0
    num_fallback: int = 0
    error: str = ""
    outputs: tuple[str, ...] = ()


class Converted(Result):
    """What a run made."""

    files: tuple[DoneFile, ...]
    report: str | None = None

    @property
    def num_pages(self) -> int:
        """All pages, those that failed too."""
        return sum(file.num_pages for file in self.files)

    @property
    def num_failed(self) -> int:
        """Pages that were not read, and files that could not be opened."""
        return sum(file.num_failed + bool(file.error) for file in self.files)


def read_document(chat: Chat, path: str | Path, reading: Reading | None = None) -> DocumentText:
    """Read a picture, a TIFF or a PDF into memory. For many pages use `convert`. Errors: as `read_page`."""
    reading = reading or Reading()
    reading.check()
    reading.check_model(chat.name)
    pages = [read_page(chat, page, reading) for page in open_pages(path, dpi=reading.dpi)]
    return DocumentText(file=Path(path).name, pages=tuple(pages))


@dataclass(frozen=True)
class Output:
    """Where to: a folder for all outputs, or one file whose suffix says the format."""

    folder: Path
    only: Path | None = None

    @classmethod
    def of(cls, out: Path, jobs: list[Job]) -> Output:
        """From what the user named. Errors: InputError, ConfigError if it does not fit the inputs."""
        suffix = out.suffix.lower().removeprefix(".")
        if suffix in FORMATS and not out.is_dir():
            if len(jobs) != 1:
                raise ConfigError(f"{out} is one file and the inputs are {len(jobs)}; name a folder")
            if not out.parent.is_dir():
                raise InputError(f"the folder {out.parent} does not exist; make it first")
            return cls(out.parent, out)
        if out.exists() and not out.is_dir():
            raise InputError(f"{out} is a file; name a folder, or a file that ends in .{', .'.join(FORMATS)}")
        out.mkdir(parents=True, exist_ok=True)
        return cls(out)


def convert(
    chat: Chat,
    inputs: list[Path],
    out: Path,
    *,
    formats: tuple[str, ...] = ("md", "html", "json"),
    reading: Reading | None = None,
    pages: str | None = None,
    workers: int | None = None,
    restart: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> Converted:
    """Read all pages of files and folders and write them in `formats`. `pages` is like "1-3,7".

    Errors: InputError, ConfigError for what cannot be right; ServerError where a server is gone (what is done is kept).
    """
    reading = reading or Reading()
    reading.check()
    reading.check_model(chat.name)
    for name in formats:
        if name not in FORMATS:
            raise ConfigError(f"there is no format {name!r}; the formats are {', '.join(FORMATS)}")
    if workers is not None and not 1 <= workers <= 64:
        raise ConfigError(f"workers is {workers}; it must be from 1 to 64")
    jobs = jobs_of(inputs)
    target = Output.of(out, jobs)
    if target.only is not None:
        suffix = target.only.suffix.lower().removeprefix(".")
        formats, jobs = (suffix,), [replace(jobs[0], stem=target.only.with_suffix("").name)]
    if "pdf" in formats:
        open_pikepdf()
    work_folder = target.folder / (f".{target.only.name}.regard" if target.only else WORK_FOLDER)
    settings = {"version": VERSION, "model": chat.name, "formats": list(formats), "pages": pages, **asdict(reading)}
    log = WorkLog(work_folder / "work.sqlite", settings, restart=restart)
    try:
        run = _Run(chat, reading, formats, target, work_folder, log)
        run_pages(
            jobs, log, run.work, run.finish, workers=workers or default_workers(chat), pages=pages,
            on_progress=on_progress,
        )  # fmt: skip
        files = tuple(run.summary(job) for job in jobs)
        report = None
        if target.only is None:
            report = target.folder / "_report.html"
            write_report(run.rows(jobs), report, title=f"{len(jobs)} files, read by {Path(chat.name).name}")
    finally:
        log.close()
    if target.only is not None and not any(file.num_failed or file.error for file in files):
        shutil.rmtree(work_folder, ignore_errors=True)
    return Converted(files=files, report=None if report is None else str(report))


def default_workers(chat: Chat) -> int:
    """Pages at a time: a model loaded here shares the processor with them, a server does not."""
    return 2 if hasattr(chat, "llm") else 8


class _Run:
    """The two steps of a run: a page, in any thread; a file whose pages are done, in the first thread."""

    def __init__(
        self, chat: Chat, reading: Reading, formats: tuple[str, ...], target: Output, work_folder: Path, log: WorkLog
    ) -> None:
        self.chat, self.reading, self.formats = chat, reading, formats
        self.target, self.work_folder, self.log = target, work_folder, log

    def work(self, job: Job, name: PageName) -> dict[str, Any]:
        """Read a page in any thread; a fault of ours in one page must not end a run of thousands: it is marked."""
        try:
            return self._read(job, name)
        except (ServerError, ConfigError, MissingDependencyError):
            raise
        except Exception as error:
            return _damaged(name, f"this is a fault of regard's: {type(error).__name__}: {error}").to_json()

    def _read(self, job: Job, name: PageName) -> dict[str, Any]:
        """Read a page; its figures and its thumbnail are written before its result is kept."""
        page = self._load(name)
        folder = f"{Path(job.stem).name}.figures"

        def save_figure(file: str, picture: Image.Image) -> str:
            place = (self.target.folder / job.stem).with_name(folder) / file
            place.parent.mkdir(parents=True, exist_ok=True)
            picture.save(place)
            return f"{folder}/{file}"

        keeps_figures = any(name in self.formats for name in ("md", "html", "json"))
        if isinstance(page, str):
            text = _damaged(name, page)
        else:
            text = read_page(self.chat, page, self.reading, save_figure=save_figure if keeps_figures else None)
            if self.target.only is None:
                place = self.thumbnail_of(job, name.number)
                place.parent.mkdir(parents=True, exist_ok=True)
                thumbnail(page.picture, text).save(place, quality=70)
        return text.to_json()

    def _load(self, name: PageName) -> Page | str:
        try:
            return load_page(name, dpi=self.reading.dpi)
        except InputError as error:
            return str(error)

    def thumbnail_of(self, job: Job, page: int) -> Path:
        """Where a page's small picture is."""
        return self.target.folder / "_report" / f"{job.stem}-{page:04}.jpg"

    def pages(self, job: Job) -> Iterator[PageText]:
        """The pages of a file, one at a time."""
        return (PageText.model_validate(result) for result in self.log.results(job.stem))

    def finish(self, job: Job) -> None:
        """Write a file's outputs."""
        place = self.target.folder / job.stem
        place.parent.mkdir(parents=True, exist_ok=True)
        for name in self.formats:
            path = self.target.only or place.with_name(f"{place.name}{'.tables' if name == 'csv' else f'.{name}'}")
            if name == "pdf":
                self._write_pdf(job, path)
            else:
                WRITERS[name](self.pages(job), path)
        self.log.set_written(job.stem)

    def _write_pdf(self, job: Job, path: Path) -> None:
        if job.path.suffix.lower() == ".pdf":
            add_layer(job.path, self.pages(job), path)
        else:
            picture_pdf(self.pages(job), lambda page: _picture(job.path, page), path, self.work_folder)

    def summary(self, job: Job) -> DoneFile:
        """What became of a file."""
        state = dict(self.log.files()).get(job.stem)
        sources = [page.source for page in self.pages(job)]
        place = self.target.folder / job.stem
        outputs = [
            str(self.target.only or place.with_name(f"{place.name}{'.tables' if name == 'csv' else f'.{name}'}"))
            for name in self.formats
        ]
        return DoneFile(
            name=job.path.name,
            num_pages=len(sources),
            num_failed=sources.count("failed"),
            num_fallback=sources.count("pdf") if self.reading.own_text == "fallback" else 0,
            error=state.error if state else "",
            outputs=() if state is None or state.error else tuple(outputs),
        )

    def rows(self, jobs: list[Job]) -> Iterator[ReportRow]:
        """The report's rows, one at a time."""
        states = dict(self.log.files())
        suffix = next((name for name in self.formats if name in ("html", "md", "txt", "pdf", "json")), "")
        for job in jobs:
            link = f"{job.stem}.{suffix}" if suffix else ""
            if states[job.stem].error:
                yield ReportRow(job.path.name, 0, "", "", None, states[job.stem].error)
            for page in self.pages(job):
                place = self.thumbnail_of(job, page.page)
                picture = place.relative_to(self.target.folder).as_posix() if place.exists() else ""
                yield ReportRow(job.path.name, page.page, link, picture, page)


def _damaged(name: PageName, reason: str) -> PageText:
    return PageText(
        file=name.path.name,
        page=name.number,
        num_pages=name.num_pages,
        width=0,
        height=0,
        source="failed",
        blocks=(Block(kind="unread"),),
        problems=(reason,),
    )


def _picture(path: Path, page: PageText) -> tuple[Image.Image, bytes | None]:
    """A page's picture, and the bytes of its file where those can go into a PDF as they are."""
    if page.width == 0:
        return Image.new("RGB", (595, 842), "white"), None
    picture = load_page(PageName(path, page.page, page.num_pages)).picture
    with Image.open(path) as file:
        picture.info["dpi"] = file.info.get("dpi", (144,))
        is_plain = file.format == "JPEG" and file.mode in ("RGB", "L") and file.getexif().get(0x0112, 1) == 1
        is_plain = is_plain and file.size == picture.size
        mode = file.mode
    if not is_plain:
        return picture, None
    data = path.read_bytes()
    gray = picture.convert("L") if mode == "L" else picture
    gray.info["dpi"] = picture.info["dpi"]
    return gray, data
