"""Which applications the server offers: `APPS`, and for each the options that people have and the call.

An application's module is imported when it runs: each has packages of its own, and a missing one is told in words.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from regard.apps.result import Result
from regard.server.apps_job import App, Job, Made, Options

MAX_STEPS = 30


class LocateOptions(Options):
    """See `apps.spatial.locate`; several things are separated by commas."""

    what: str = Field(min_length=1, max_length=500)
    form: Literal["boxes", "points"] = "boxes"
    every: bool = True
    zoom: bool = False
    count: bool = False
    relations: bool = False


def locate(job: Job, options: LocateOptions) -> Made:
    """Where things are on a picture."""
    from regard.apps.spatial import locate as find

    names = [name for piece in options.what.split(",") if (name := piece.strip())]
    found = find(
        job.chat,
        job.inputs[0],
        names,
        points=options.form == "points",
        every=options.every,
        zoom=options.zoom,
        count=options.count,
        relations=options.relations,
        confidence=True,
        on_progress=job.on_progress,
    ).model_copy(update={"image": job.inputs[0].name})
    picture = job.folder / "found.png"
    found.draw(str(job.inputs[0])).save(picture)
    table = job.folder / "found.csv"
    table.write_text(found.to_csv(), encoding="utf-8")
    return Made(found, (picture, table))


class DocumentOptions(Options):
    """See `apps.documents`. `fields`: names of what to extract, separated by commas; else the whole text is read."""

    fields: str = ""
    pages: str = Field("", max_length=200)
    language: str = Field("", max_length=60)
    own_text: Literal["fallback", "prefer", "never"] = "fallback"


class FormResult(Result):
    """A filled form; `form` as `apps.documents.extract.Extracted`."""

    form: dict[str, Any]


def document(job: Job, options: DocumentOptions) -> Made:
    """Pages to Markdown, HTML, JSON and a PDF that can be searched; or a form filled from them."""
    from regard.apps.documents import Reading, convert
    from regard.apps.documents.extract import fields_of, schema_of
    from regard.apps.documents.forms import extract_file

    reading = Reading(language=options.language or None, own_text=options.own_text)
    pages = options.pages or None
    if options.fields:
        found = extract_file(job.chat, job.inputs[0], schema_of(fields_of(options.fields)), reading, pages=pages)
        path = job.folder / f"{job.inputs[0].stem}.json"
        found.save(path)
        return Made(FormResult(form=found.to_json()), (path,))
    done = convert(
        job.chat,
        [job.inputs[0]],
        job.folder,
        formats=("md", "html", "json", "pdf"),
        reading=reading,
        pages=pages,
        workers=1,
        on_progress=job.on_progress,
    )
    files = (file.model_copy(update={"outputs": _inner(file.outputs, job)}) for file in done.files)
    done = done.model_copy(update={"files": tuple(files), "report": "".join(_inner([done.report], job)) or None})
    return Made(done, _files(job.folder, first=(".md", ".html", ".pdf", ".json")))


def _inner(paths: Iterable[str | None], job: Job) -> tuple[str, ...]:
    """Paths as clients know them: where the server keeps them is its own business."""
    return tuple(Path(path).relative_to(job.folder).as_posix() for path in paths if path is not None)


class VideoOptions(Options):
    """See `apps.video.Watch`. `text` is the question, or what to find. Times in seconds."""

    task: Literal["question", "summary", "find", "chapters", "text"] = "summary"
    text: str = ""
    start_s: float = Field(0.0, ge=0)
    end_s: float | None = None
    budget: int = Field(50_000, ge=200, le=1_000_000)


def video(job: Job, options: VideoOptions) -> Made:
    """Questions about a clip, with times."""
    from regard.apps.video import Watch, to_srt, to_vtt

    index = job.folder / "index"
    stretch = (options.start_s, options.end_s)
    with Watch(job.chat, job.inputs[0], folder=index, budget=options.budget, on_progress=job.on_progress) as watch:
        if options.task == "question":
            report = watch.ask(options.text, *stretch)
        elif options.task == "find":
            report = watch.find(options.text, *stretch)
        else:
            report = {"summary": watch.summary, "chapters": watch.chapters, "text": watch.text}[options.task](*stretch)
    made = []
    for name, write in (("captions.vtt", to_vtt), ("captions.srt", to_srt)):
        if report.cues():
            made.append(job.folder / name)
            made[-1].write_text(write(report), encoding="utf-8")
    return Made(report, tuple(made))


class CodeOptions(Options):
    """See `apps.coding.mockup_to_code`."""

    rounds: int | None = Field(None, ge=0, le=5)
    scale: float = Field(1.0, ge=0.5, le=4)


def code(job: Job, options: CodeOptions) -> Made:
    """A picture of a page to HTML and CSS that looks like it."""
    from regard.apps.coding import mockup_to_code

    page = mockup_to_code(
        job.chat, str(job.inputs[0]), rounds=options.rounds, scale=options.scale, on_progress=job.on_progress
    )
    page.save(job.folder)
    return Made(page.result, _files(job.folder, first=(".html", "after.png", "difference.png", "before.png")))


class TutorOptions(Options):
    """See `apps.tutor.Tutor`. `question`: what is asked, if the picture does not say it."""

    question: str = ""


class TutorResult(Result):
    """`solution` as `apps.tutor.result.Solution`, `hints` as `Hint`, the last of which tells the answer."""

    solution: dict[str, Any]
    hints: tuple[dict[str, Any], ...]


def tutor(job: Job, options: TutorOptions) -> Made:
    """A worked solution whose steps are checked, and hints that keep the answer."""
    from regard.apps.tutor.session import NUM_HINTS, Tutor
    from regard.processing.image import load_image

    picture = load_image(job.inputs[0])  # pixels: the server's model may open no file
    with Tutor(job.chat, picture, options.question, on_progress=job.on_progress) as session:
        hints = tuple(session.hint(number).to_json() for number in range(1, NUM_HINTS + 1))
        session.mistakes()
        solution = session.mark()
    return Made(TutorResult(solution=solution.to_json(), hints=hints))


class AgentOptions(Options):
    """See `apps.agent.operate`. `url` is opened in a browser of the server's machine."""

    task: str = Field(min_length=1)
    url: str = Field(pattern=r"^https?://", max_length=2000)
    phone: bool = False
    max_steps: int = Field(15, ge=1, le=MAX_STEPS)


def agent(job: Job, options: AgentOptions) -> Made:
    """A task done in a browser; whatever would need a yes is not done."""
    from regard.apps.agent import Limits, StepRecord, operate
    from regard.apps.result import Progress

    def on_step(step: StepRecord) -> None:
        job.on_progress(Progress(step.number, options.max_steps, step.said or step.words))

    trace = job.folder / "trace"
    result = operate(
        options.task,
        on=f"browser:{options.url}",
        model=job.chat,
        phone=options.phone,
        limits=Limits(max_steps=options.max_steps),
        trace=trace,
        on_step=on_step,
    ).model_copy(update={"trace": None})
    return Made(result, _files(trace, first=("trace.jsonl", "film.html")))


def _files(folder: Path, *, first: tuple[str, ...]) -> tuple[Path, ...]:
    """Everything in a folder but what is hidden; those whose names end in one of `first` come first, in that order."""

    def rank(path: Path) -> tuple[int, str]:
        places = [place for place, end in enumerate(first) if path.name.endswith(end)]
        return (min(places, default=len(first)), path.as_posix())

    found = [path for path in folder.rglob("*") if path.is_file()]
    return tuple(
        sorted((p for p in found if not any(x.startswith(".") for x in p.relative_to(folder).parts)), key=rank)
    )


APPS: dict[str, App] = {
    "locate": App("Locate", ("image",), (1, 1), LocateOptions, locate),
    "document": App("Document", ("image", "document"), (1, 1), DocumentOptions, document),
    "video": App("Video", ("video",), (1, 1), VideoOptions, video),
    "code": App("Code", ("image",), (1, 1), CodeOptions, code),
    "tutor": App("Tutor", ("image",), (1, 1), TutorOptions, tutor),
    "agent": App(
        "Agent",
        (),
        (0, 0),
        AgentOptions,
        agent,
        is_allowed=lambda settings: settings.allow_agent,
        how_to_allow="its operator can allow it with regard serve --allow-agent",
    ),
}
