"""What the commands that talk to a model share: loading or connecting, and showing an answer as it comes.

Answers go to stdout, everything else to stderr. Bars and spinners appear only where stderr is a terminal.
On a terminal, control characters of an answer are dropped: a picture may hold text that was made to be copied
into one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from regard.errors import ConfigError
from regard.messages import Message, Text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from regard.client import Chat, LocalChat
    from regard.processing.processor import VideoDialect
    from regard.reply import Event, MediaReport, Reply
    from regard.weights.integer import Precision

_CONTROLS = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)])
del _CONTROLS[ord("\n")], _CONTROLS[ord("\t")]


def stderr_console() -> Console:
    """The console for everything that is not the answer."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def load_chat(
    name: str,
    *,
    device: str = "auto",
    dtype: str = "auto",
    precision: str = "auto",
    video_dialect: str = "authors",
    max_memory: str | None = None,
    api_key: str | None = None,
    server_kind: str = "auto",
    timeout_s: float | None = None,
) -> Chat:
    """Load a model with a bar on the terminal, or connect to a server if the name is a URL.

    `max_memory` as `parse_size` takes it. Errors: ConfigError for an option of the other kind.
    """
    from regard.client import HttpChat, is_url
    from regard.client.connection import Patience

    of_models = {
        "--device": device != "auto",
        "--dtype": dtype != "auto",
        "--precision": precision != "auto",
        "--video-dialect": video_dialect != "authors",
        "--max-memory": max_memory is not None,
    }
    of_servers = {
        "--api-key": api_key is not None,
        "--server-kind": server_kind != "auto",
        "--timeout": timeout_s is not None,
    }
    for flag, is_given in (of_models if is_url(name) else of_servers).items():
        if is_given and is_url(name):
            raise ConfigError(f"{flag} is for models that are loaded here; the server at {name} decides, leave it out")
        if is_given:
            raise ConfigError(f"{flag} is for servers, and --model {name} is loaded here; leave it out, or give a URL")
    if is_url(name):
        patience = Patience(total_s=timeout_s)
        with waiting(f"asking {name}"):
            return HttpChat.connect(name, api_key=api_key, server_kind=server_kind, patience=patience)
    return load_here(
        name, device=device, dtype=dtype, precision=precision, video_dialect=video_dialect, max_memory=max_memory
    )


def load_here(
    name: str,
    *,
    device: str,
    dtype: str,
    precision: str,
    video_dialect: str,
    max_memory: str | None,
    **options: Any,
) -> LocalChat:
    """Load a model with a bar on the terminal; `options` are further ones of `LLM.load`."""
    num_bytes = None if max_memory is None else parse_size(max_memory)
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    console = stderr_console()
    with Progress(
        TextColumn("loading {task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task(name, total=None)

        def on_progress(num_done: int, num_total: int) -> None:
            progress.update(task, completed=num_done, total=num_total)

        from regard.client import LocalChat
        from regard.engine.engine import EngineConfig

        dialect = cast("VideoDialect", video_dialect)  # Processor refuses any other word in a sentence
        return LocalChat.load(
            name,
            device=device,
            dtype=dtype,
            precision=cast("Precision", precision),  # and check_precision any other precision
            video_dialect=dialect,
            engine=EngineConfig(max_memory=num_bytes),
            on_progress=on_progress,
            **options,
        )


def parse_size(text: str) -> int:
    """'6GiB', '900 MB' or '6e9' as bytes. Errors: ConfigError for anything else."""
    found = re.fullmatch(r"([\d.]+(?:e\d+)?)\s*([KMGT]i?B|B?)", text.strip(), re.IGNORECASE)
    try:
        assert found is not None
        number = float(found[1])
    except (AssertionError, ValueError):
        raise ConfigError(
            f"the size {text!r} is not understood; write it as 6GiB, 900MB or a number of bytes"
        ) from None
    unit = found[2].upper().removesuffix("B")
    base = 1024 if unit.endswith("I") else 1000
    return int(number * base ** (" KMGT".index(unit[0]) if unit else 0))


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """A spinner while something takes time, on a terminal only."""
    console = stderr_console()
    if not console.is_terminal:
        yield
        return
    with console.status(what, spinner="dots"):
        yield


def show(events: Iterator[Event], *, what: str, thinking: bool, quiet: bool = False) -> Reply:
    """Print an answer as it comes and return its reply; `quiet` prints nothing."""
    with waiting(what):
        event = next(events)
    is_terminal = sys.stdout.isatty()
    while event.reply is None:
        if event.kind == "text" and not quiet:
            _write(event.text, is_terminal)
        elif event.kind == "thinking" and thinking and not quiet:
            stderr_console().print(_clean(event.text), style="dim", end="", markup=False, soft_wrap=True)
        event = next(events)
    reply = event.reply
    if not quiet:
        for call in reply.tool_calls:
            arguments = ", ".join(f"{key}={value!r}" for key, value in call.arguments.items())
            _write(f"[{call.name}({arguments})]", is_terminal)
        sys.stdout.write("\n")
        sys.stdout.flush()
        if reply.finish_reason == "length":
            limit = reply.usage.num_output_tokens
            print(f"regard: the answer was cut after {limit} tokens; raise --max-tokens", file=sys.stderr)
        if reply.finish_reason == "repetition":
            print("regard: the answer was ended because it repeated itself without end", file=sys.stderr)
    return reply


def _write(text: str, is_terminal: bool) -> None:
    sys.stdout.write(_clean(text) if is_terminal else text)
    sys.stdout.flush()


def _clean(text: str) -> str:
    return text.translate(_CONTROLS)


def answer_message(reply: Reply) -> Message:
    """The reply as a turn of the conversation."""
    parts = (Text(reply.text),) if reply.text else ()
    return Message("assistant", parts, reasoning=reply.thinking, tool_calls=reply.tool_calls)


def media_table(reports: tuple[MediaReport, ...]) -> Table:
    """What the model really saw, one row per input."""
    from rich.table import Table

    table = Table(title="what the model saw")
    table.add_column("input", overflow="fold")
    for heading in ("given", "seen as", "visual tokens", "frames"):
        table.add_column(heading, no_wrap=True, justify="right")
    table.add_column("times", overflow="fold")
    for report in reports:
        name = report.name if report.page is None else f"{report.name}, page {report.page}"
        times = ""
        if report.kind == "video" and report.frame_times_s:
            times = f"{report.frame_times_s[0]:.1f} to {report.frame_times_s[-1]:.1f} s"
            times += f" of {report.duration_s:.1f} s" if report.duration_s is not None else ""
            times += f", decoded in {report.decode_s:.2f} s" if report.decode_s is not None else ""
        table.add_row(
            name,
            f"{report.width}x{report.height}",
            f"{report.resized_width}x{report.resized_height}",
            str(report.num_visual_tokens),
            str(report.num_frames) if report.kind == "video" else "",
            times,
        )
    return table
