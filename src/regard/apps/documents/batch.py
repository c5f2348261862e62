"""Pages of many files worked on side by side, each result kept as soon as it is there.

While the model answers for one page, other threads decode, look over and cut up the next ones; no more pages are in
memory than there are workers. The order in which pages are done does not matter: what is written for a file is made
from its results in order, when all are there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regard.apps.documents.work_log import WorkLog, fingerprint_of
from regard.apps.pages import PageName, list_files, list_pages
from regard.apps.result import Progress
from regard.errors import InputError, RegardError
from regard.processing.pdf import parse_pages

Work = Callable[["Job", PageName], dict[str, Any]]


@dataclass(frozen=True)
class Job:
    """A file and the name of its outputs: a path below the output folder, without a suffix."""

    path: Path
    stem: str


def jobs_of(inputs: list[Path]) -> list[Job]:
    """The files of files and folders, with outputs that keep the folders' shape and never meet.

    Errors: InputError for a file that is not there, or is given twice.
    """
    found: list[tuple[Path, str, str]] = []
    for given in inputs:
        for path in list_files(given):
            inner = path.relative_to(given) if given.is_dir() else Path(path.name)
            found.append((path, inner.with_suffix("").as_posix(), inner.as_posix()))
    stems = [stem for _, stem, _ in found]
    # scan.png beside scan.pdf: both keep their suffix
    jobs = [Job(path, stem if stems.count(stem) == 1 else whole) for path, stem, whole in found]
    names = [job.stem for job in jobs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"two inputs would both be written as {twice}; give them one after the other, or rename one")
    return jobs


@dataclass
class _Left:
    """How much of a file is still to do."""

    job: Job
    num_pages: int


def run_pages(
    jobs: list[Job],
    log: WorkLog,
    work: Work,
    finish: Callable[[Job], None],
    *,
    workers: int,
    pages: str | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> None:
    """Do `work` for every page that has no result yet, and `finish` for every file whose pages all have one.

    `work` runs in threads, `finish` in this one. Errors: what `work` and `finish` raise; what is done is kept.
    """
    total, num_done = 0, 0
    open_files: dict[str, _Left] = {}
    queue: list[tuple[Job, list[PageName]]] = []
    for job in jobs:
        names = _begin(job, log, pages)
        if names is None:
            continue
        done = log.done_pages(job.stem)
        left = [name for name in names if name.number not in done]
        total += len(names)
        num_done += len(names) - len(left)
        open_files[job.stem] = _Left(job, len(left))
        queue.append((job, left))

    def tell(text: str) -> None:
        if on_progress is not None:
            on_progress(Progress(num_done, total, text))

    tell("")
    for left_of in list(open_files.values()):
        if left_of.num_pages == 0:
            finish(left_of.job)
    todo: Iterator[tuple[Job, PageName]] = ((job, name) for job, names in queue for name in names)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="page")
    running: dict[Future[dict[str, Any]], tuple[Job, PageName]] = {}
    try:
        while True:
            while len(running) < workers and (item := next(todo, None)) is not None:
                running[pool.submit(work, *item)] = item
            if not running:
                break
            ready, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in sorted(ready, key=lambda future: running[future][1].number):
                job, name = running.pop(future)
                log.add(job.stem, name.number, future.result())
                num_done += 1
                tell(name.text)
                open_files[job.stem].num_pages -= 1
                if open_files[job.stem].num_pages == 0:
                    finish(job)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(job: Job, log: WorkLog, pages: str | None) -> list[PageName] | None:
    """The pages of a file, None if it cannot be opened: that is noted, and the other files go on."""
    try:
        names = list(list_pages(job.path))
        if pages is not None and names:
            names = [names[number - 1] for number in sorted(set(parse_pages(pages, len(names))))]
    except RegardError as error:
        log.begin_file(job.stem, "", 0, str(error))
        return None
    log.begin_file(job.stem, fingerprint_of(job.path), len(names))
    return names
