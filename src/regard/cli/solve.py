"""`regard solve IMAGE ["question"]`: the tutor in the terminal.

Without an option the whole worked solution is printed, each step marked: checked with SymPy, wrong, or beyond
checking. `--hint N` prints one hint and keeps the rest; `--steps` shows one step after the other; `--chat` is a
dialogue in which nothing gives the answer away until /solution; `--work PHOTO` checks a student's written lines.
"""

from __future__ import annotations

import json
import sys
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

if TYPE_CHECKING:
    from regard.apps.tutor.result import Review, Solution, Step, Turn
    from regard.apps.tutor.session import Tutor

DRAWABLE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
COMMANDS = {
    "/hint": "the next hint; the last one tells the answer",
    "/check LINE": "check a calculation with SymPy",
    "/solution": "show everything; from then on nothing is kept back",
    "/help": "list these commands",
    "/quit": "end",
}


def solve(
    image: Annotated[str, typer.Argument(help="A picture or URL with the problem.")],
    question: Annotated[str, typer.Argument(help="What is asked, if the picture does not say it.")] = "",
    model: ModelOption = "nano",
    hint: Annotated[int | None, typer.Option(help="Only this hint, 1 to 4; the last one tells the answer.")] = None,
    steps: Annotated[bool, typer.Option("--steps", help="Only the steps, one after the other.")] = False,
    chat: Annotated[
        bool, typer.Option("--chat", help="A dialogue that keeps the answer until you ask for it.")
    ] = False,
    work: Annotated[str | None, typer.Option(help="Check the written lines on this photo of a student's work.")] = None,
    draw: Annotated[Path | None, typer.Option(help="Draw the figure with its named parts into this picture.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with figure, hints and solution.")] = None,
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
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Solve the problem in a picture step by step, check the steps, give hints, talk about it."""
    _check(image, hint=hint, steps=steps, chat=chat, work=work, draw=draw, html=html, as_json=as_json)
    from regard.apps.tutor.session import Tutor
    from regard.cli.terminal import load_chat, waiting

    sampling = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed}
    options: dict[str, Any] = {name: value for name, value in sampling.items() if value is not None}
    model_chat = load_chat(
        model, device=device, dtype=dtype, max_memory=max_memory, api_key=api_key, server_kind=server_kind,
        timeout_s=timeout,
    )  # fmt: skip
    model_chat.check_options(preset, **options)
    with Tutor(model_chat, image, question, preset=preset, **options) as tutor:
        if chat:
            Dialogue(tutor).run()
            return
        if hint is not None:
            with waiting(f"hint {hint}"):
                found = tutor.hint(hint)
            print(json.dumps(found.to_json(), ensure_ascii=False, indent=2) if as_json else found.text)
            return
        with waiting(f"solving {Path(image).name}"):
            solution = tutor.solution
            if work is None and not steps:
                tutor.mistakes()
            if draw is not None or html is not None or as_json:
                tutor.mark()
            solution = tutor.solution
        if work is not None:
            _review(tutor, work, as_json=as_json, draw=draw)
            return
        _write_files(tutor, image, draw=draw, html=html)
        if as_json:
            print(json.dumps(solution.to_json(), ensure_ascii=False, indent=2))
        elif steps:
            show_steps(solution)
        else:
            show_solution(solution)


def _check(
    image: str, *, hint: int | None, steps: bool, chat: bool, work: str | None, draw: Path | None, html: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Refuse what cannot be right before a model is loaded. Errors: InputError, ConfigError."""
    from regard.processing.fetch import local_path

    for name in (image, work):
        if name is not None and not name.startswith(("http://", "https://", "data:")):
            local_path(name)
    ways = [name for name, given in (("--hint", hint is not None), ("--steps", steps), ("--chat", chat),
                                     ("--work", work is not None)) if given]  # fmt: skip
    if len(ways) > 1:
        raise ConfigError(f"{' and '.join(ways)} are different ways to look at a solution; give one of them")
    if hint is not None and not 1 <= hint <= 4:
        raise ConfigError(f"--hint {hint}: there are hints 1 to 4, the last one tells the answer")
    if chat and (as_json or draw or html):
        raise ConfigError("--chat is a dialogue and writes no files; leave out --json, --draw and --html")
    if (hint is not None or steps) and (draw or html):
        raise ConfigError(f"{ways[0]} shows only a part of the solution; leave out --draw and --html")
    if steps and as_json:
        raise ConfigError("--steps is for reading; --json holds the steps anyway, leave out --steps")
    if work is not None and html:
        raise ConfigError("--work writes no page; leave out --html, or use --draw")
    for path, suffixes in ((draw, DRAWABLE_SUFFIXES), (html, (".html", ".htm"))):
        if path is not None and path.suffix.lower() not in suffixes:
            raise InputError(f"{path} has the suffix {path.suffix!r}; it must be {', '.join(suffixes)}")
        if path is not None and not path.parent.is_dir():
            raise InputError(f"{path}: the folder {path.parent} does not exist; make it first")


def _write_files(tutor: Tutor, image: str, *, draw: Path | None, html: Path | None) -> None:
    """The marked picture and the page."""
    if draw is None and html is None:
        return
    from regard.apps.result import write_whole
    from regard.apps.tutor.parts import marked
    from regard.apps.tutor.report import report
    from regard.apps.tutor.session import NUM_HINTS
    from regard.cli.terminal import stderr_console
    from regard.processing.image import load_image

    picture = marked(load_image(image), tutor.solution)
    if draw is not None:
        picture.save(draw)
        stderr_console().print(f"drawn: {draw}", markup=False)
    if html is not None:
        hints = [tutor.hint(number) for number in range(1, NUM_HINTS + 1)]
        write_whole(html, report(picture, tutor.solution, hints).encode())
        stderr_console().print(f"page: {html}", markup=False)


def _review(tutor: Tutor, work: str, *, as_json: bool, draw: Path | None) -> None:
    """Check a student's lines and print each with its mark."""
    from regard.apps.tutor.report import MARKS

    found = tutor.review(work)
    if draw is not None:
        from regard.apps.tutor.parts import reviewed
        from regard.processing.image import load_image

        reviewed(load_image(work), found).save(draw)
        print(f"drawn: {draw}", file=sys.stderr)
    if as_json:
        print(json.dumps(found.to_json(), ensure_ascii=False, indent=2))
        return
    for line in found.lines:
        print(f"{MARKS[line.verdict]} {_clean(line.text)}" + (f"   {_clean(line.note)}" if line.note else ""))
    print(_verdict(found))


def _verdict(review: Review) -> str:
    if review.first_wrong is None:
        return "no line is wrong, as far as can be checked"
    return f"the first wrong line is line {review.first_wrong + 1}"


def show_solution(solution: Solution) -> None:
    """Given, asked, steps with marks and reasons, answer, typical mistakes."""
    from regard.apps.tutor.report import MARKS

    _show_head(solution)
    for step in solution.steps:
        print(_line(step))
    note = f"   {solution.answer_note}" if solution.answer_note and solution.answer_verdict != "checked" else ""
    print(f"Answer: {_clean(solution.answer)} {MARKS[solution.answer_verdict]}{_clean(note)}")
    if solution.mistakes:
        print("Typical mistakes:")
        for mistake in solution.mistakes:
            print(f"  - {_clean(mistake)}")
    print(
        f"{solution.num_checked} of {len(solution.steps)} steps checked with SymPy, {solution.num_wrong} wrong"
        + ("; solved twice" if solution.was_retried else ""),
        file=sys.stderr,
    )


def show_steps(solution: Solution) -> None:
    """One step after the other; on a terminal each waits for Enter."""
    _show_head(solution)
    for step in solution.steps:
        if sys.stdin.isatty() and sys.stdout.isatty():
            try:
                input("  (Enter) ")
            except EOFError:
                return
        print(_line(step))


def _show_head(solution: Solution) -> None:
    if solution.given:
        print(f"Given: {_clean(', '.join(solution.given))}")
    if solution.asked:
        print(f"Asked: {_clean(solution.asked)}")


def _line(step: Step) -> str:
    from regard.apps.tutor.report import MARKS

    reason = f"   ({step.reason})" if step.reason else ""
    note = f"   {step.note}" if step.note and step.verdict == "wrong" else ""
    return _clean(f"{MARKS[step.verdict]} {step.number}. {step.text}{reason}{note}")


def _clean(text: str) -> str:
    """Without control characters: a picture may hold text that was made to be copied into a terminal."""
    return "".join(char for char in text if char.isprintable())


class Dialogue:
    """The dialogue of `--chat`; lines that begin with a slash are commands."""

    def __init__(self, tutor: Tutor) -> None:
        self._tutor = tutor
        self._num_hints = 0

    def run(self) -> None:
        """Talk until /quit or the end of the input."""
        from regard.cli.terminal import waiting

        with waiting("looking at the problem"):
            solution = self._tutor.solution
        if solution.asked:
            print(f"We look for: {_clean(solution.asked)}. Tell me what you think, or type /hint. /help lists more.")
        while (line := self._read()) is not None:
            try:
                if not self.take(line.strip()):
                    break
            except RegardError as error:
                print(f"regard: {error}", file=sys.stderr)

    def _read(self) -> str | None:
        try:
            return input("> " if sys.stdin.isatty() else "")
        except EOFError:
            return None

    def take(self, line: str) -> bool:
        """Handle one line; returns whether the dialogue goes on."""
        command, _, argument = line.partition(" ")
        if not line:
            return True
        if command in ("/quit", "/exit"):
            return False
        if command == "/hint":
            self._hint()
        elif command == "/check":
            print(self._checked(argument))
        elif command == "/solution":
            show_solution(self._tutor.reveal())
        elif command == "/help":
            for usage, what in COMMANDS.items():
                print(f"  {usage:14} {what}", file=sys.stderr)
        elif command.startswith("/"):
            raise InputError(f"there is no command {command!r}; /help lists them")
        else:
            self._say(line)
        return True

    def _hint(self) -> None:
        from regard.apps.tutor.session import NUM_HINTS

        self._num_hints = min(self._num_hints + 1, NUM_HINTS)
        hint = self._tutor.hint(self._num_hints)
        print(f"Hint {hint.number} of {hint.total}: {_clean(hint.text)}")

    def _checked(self, line: str) -> str:
        if not line.strip():
            raise InputError("/check needs a calculation, as in /check 6^2 + 8^2 = 100")
        turns = self._tutor.check(line)
        return "\n".join(map(_line, turns)) if turns else "there is no calculation in that line"

    def _say(self, line: str) -> None:
        from regard.cli.terminal import waiting

        with waiting("thinking"):
            turn: Turn = self._tutor.say(line)
        for check in turn.checks:
            print(_line(check))
        print("\n".join(_clean(one) for one in turn.text.splitlines()))
