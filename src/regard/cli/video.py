"""`regard video FILE "question"`: questions about clips of any length, answered with times that were looked at twice.

The clip is read once; what is found stays in an index, so that the next question starts at once. Answers go to stdout
as text, JSON, WebVTT or SRT; what it cost and where the index lies to stderr.
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
    ModelOption,
    PresetOption,
    SeedOption,
    ServerKindOption,
    TimeoutOption,
)
from regard.errors import ConfigError, InputError

if TYPE_CHECKING:
    from regard.apps.result import Progress
    from regard.apps.video import VideoReport, Watch

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
FORMATS = ("text", "json", "vtt", "srt")


def video(
    file: Annotated[str, typer.Argument(help="A clip on this machine.")],
    question: Annotated[str, typer.Argument(help="What you want to know.")] = "",
    model: ModelOption = "nano",
    summary: Annotated[bool, typer.Option("--summary", help="Sum up the clip, or the stretch.")] = False,
    find: Annotated[str | None, typer.Option(help="Find when something happens, as in 'a red circle appears'.")] = None,
    chapters: Annotated[bool, typer.Option("--chapters", help="Divide into parts with titles.")] = False,
    text: Annotated[bool, typer.Option("--text", help="Read the text on the picture.")] = False,
    start: Annotated[str | None, typer.Option("--from", help="Begin here, as in 1:00:00 or 90.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="End here, as in 2:00:00.")] = None,
    output: Annotated[str, typer.Option("--format", help="text, json, vtt or srt.")] = "text",
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    sheet: Annotated[Path | None, typer.Option(help="Write the cited frames into this picture.")] = None,
    budget: Annotated[int, typer.Option(help="Tokens that one question may cost.")] = 200_000,
    index: Annotated[Path | None, typer.Option(help="Folder of the index; default: the user's cache.")] = None,
    preset: PresetOption = None,
    seed: SeedOption = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    max_memory: MaxMemoryOption = None,
    api_key: ApiKeyOption = None,
    server_kind: ServerKindOption = "auto",
    timeout: TimeoutOption = None,
) -> None:
    """Ask about a long clip: questions, summaries, searches, chapters, on-screen text, all with times."""
    if as_json and output not in ("text", "json"):
        raise ConfigError(f"--json and --format {output} are two formats; give one")
    output = "json" if as_json else output
    task = _task(question, summary=summary, find=find, chapters=chapters, text=text)
    span = _check(file, start=start, end=end, output=output, task=task, sheet=sheet)
    from regard.apps.video import Watch
    from regard.cli.terminal import load_chat

    options: dict[str, Any] = {} if seed is None else {"seed": seed}
    chat = load_chat(
        model, device=device, dtype=dtype, max_memory=max_memory, api_key=api_key, server_kind=server_kind,
        timeout_s=timeout,
    )  # fmt: skip
    chat.check_options(preset, **options)
    with _Bar() as bar:
        watch = Watch(chat, file, folder=index, budget=budget, preset=preset, on_progress=bar.show, **options)
        with watch:
            report = _asked(watch, task, question or find or "", *span)
            if sheet is not None:
                from regard.apps.video import sheet as contact_sheet

                contact_sheet(watch.eyes, report).save(sheet)
    _tell(report, output, watch, sheet)


def _task(question: str, *, summary: bool, find: str | None, chapters: bool, text: bool) -> str:
    """The one thing that is asked. Errors: ConfigError for none or several."""
    given = {
        "question": bool(question), "summary": summary, "find": find is not None, "chapters": chapters, "text": text,
    }  # fmt: skip
    tasks = [name for name, is_given in given.items() if is_given]
    flags = ["a question" if name == "question" else f"--{name}" for name in tasks]
    if len(tasks) > 1:
        raise ConfigError(f"{' and '.join(flags)} are different questions; ask one at a time, the second is quick")
    if not tasks:
        raise ConfigError('nothing is asked; add a question in quotes, --summary, --find "...", --chapters or --text')
    return tasks[0]


def _check(
    file: str, *, start: str | None, end: str | None, output: str, task: str, sheet: Path | None
) -> tuple[float, float | None]:
    """Refuse what cannot be right before a model is loaded; returns the stretch. Errors: InputError, ConfigError."""
    from regard.processing.fetch import local_path
    from regard.processing.frames import parse_time

    if local_path(file) is None:
        raise InputError(f"{file} is no file; save the clip first and give its name")
    if output not in FORMATS:
        raise ConfigError(f"--format {output}: it must be {', '.join(FORMATS[:-1])} or {FORMATS[-1]}")
    if sheet is not None and sheet.suffix.lower() not in PICTURE_SUFFIXES:
        raise InputError(f"--sheet {sheet} has the suffix {sheet.suffix!r}; it must be {', '.join(PICTURE_SUFFIXES)}")
    if sheet is not None and not sheet.parent.is_dir():
        raise InputError(f"--sheet {sheet}: the folder {sheet.parent} does not exist; make it first")
    first_s = 0.0 if start is None else parse_time(start)
    last_s = None if end is None else parse_time(end)
    if last_s is not None and last_s <= first_s:
        raise InputError(f"--to {end} is not after --from {start or 0}; swap or widen them")
    return first_s, last_s


def _asked(watch: Watch, task: str, words: str, start_s: float, end_s: float | None) -> VideoReport:
    match task:
        case "question":
            return watch.ask(words, start_s, end_s)
        case "find":
            return watch.find(words, start_s, end_s)
        case "summary":
            return watch.summary(start_s, end_s)
        case "chapters":
            return watch.chapters(start_s, end_s)
        case _:
            return watch.text(start_s, end_s)


def _tell(report: VideoReport, output: str, watch: Watch, sheet: Path | None) -> None:
    from regard.apps.video import to_srt, to_vtt
    from regard.cli.terminal import stderr_console

    if output == "json":
        print(json.dumps(report.to_json(), ensure_ascii=False, indent=2))
    elif output == "vtt":
        print(to_vtt(report))
    elif output == "srt":
        print(to_srt(report))
    else:
        print(_clean(report.answer))
        if report.task in ("question", "summary"):
            for event in report.events:
                mark = {"looked": "seen twice", "pixels": "time exact", "no": "not checked"}[event.checked]
                print(_clean(f"  [{event.span.text}] {event.text} ({mark})"))
    spent = report.spent
    console = stderr_console()
    console.print(f"{spent.tokens} of {spent.budget} tokens, {spent.calls} looks, {spent.seconds:.1f} s", markup=False)
    if spent.unseen:
        console.print(
            f"{spent.unseen} changes of the picture were not looked at, for want of tokens or words; raise --budget",
            markup=False,
        )
    console.print(f"index: {watch.index.path}", markup=False)
    if sheet is not None:
        console.print(f"frames: {sheet}", markup=False)


def _clean(text: str) -> str:
    """Without control characters: a clip may hold text that was made to be copied into a terminal."""
    return "\n".join("".join(char for char in line if char.isprintable()) for line in text.splitlines())


class _Bar:
    """A bar for the reading and the looking, on a terminal only."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        from regard.cli.terminal import stderr_console

        console = stderr_console()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("opening the clip", total=None)

    def __enter__(self) -> _Bar:
        self._bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bar.stop()

    def show(self, progress: Progress) -> None:
        """Show how far it is."""
        total = progress.total or None
        self._bar.update(self._task, description=progress.text, completed=progress.done, total=total)
