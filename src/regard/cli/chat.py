"""`regard chat`: a conversation in the terminal.

Lines are questions; lines that begin with a slash are commands (`/help` lists them). Pictures and clips named
with /image and /video go with the next question, and the model sees the whole history each time. Ctrl-C ends
an answer and leaves the conversation as it was before the question; Ctrl-D or /quit ends the conversation.
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
from regard.errors import InputError, RegardError
from regard.messages import Image, Message, Part, Text, Video

if TYPE_CHECKING:
    from regard.client import Chat
    from regard.reply import MediaReport

COMMANDS = {
    "/image PATH": "show a picture with the next question",
    "/video PATH": "show a clip with the next question",
    "/media": "print what the model really saw last time",
    "/save PATH": "write the conversation as .md or .json",
    "/clear": "forget the conversation",
    "/help": "list these commands",
    "/quit": "end",
}


def chat(
    model: ModelOption = "nano",
    preset: PresetOption = None,
    system: Annotated[str | None, typer.Option(help="A system message.")] = None,
    max_tokens: MaxTokensOption = None,
    temperature: TemperatureOption = None,
    seed: SeedOption = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    max_memory: MaxMemoryOption = None,
    api_key: ApiKeyOption = None,
    server_kind: ServerKindOption = "auto",
    timeout: TimeoutOption = None,
    thinking: Annotated[bool, typer.Option(help="Show the thinking of Thinking editions, on stderr.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print each reply as one line of JSON.")] = False,
) -> None:
    """Talk with a model in the terminal; /help lists the commands."""
    from regard.cli.terminal import load_chat

    sampling = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed}
    options: dict[str, Any] = {name: value for name, value in sampling.items() if value is not None}
    llm = load_chat(
        model,
        device=device,
        dtype=dtype,
        max_memory=max_memory,
        api_key=api_key,
        server_kind=server_kind,
        timeout_s=timeout,
    )
    llm.check_options(preset, **options)  # a wrong option is told now, not after the first question
    session = Session(llm, system, {"preset": preset, **options}, thinking=thinking, as_json=as_json)
    if sys.stdin.isatty():
        import readline  # noqa: F401  (arrow keys and history for input())

        print(f"{model}; /help lists the commands, Ctrl-D ends", file=sys.stderr)
    while (line := _read_line()) is not None:
        try:
            if not session.take(line.strip()):
                break
        except RegardError as error:
            print(f"regard: {error}", file=sys.stderr)
        except KeyboardInterrupt:
            print("\nregard: stopped; the question is forgotten", file=sys.stderr)


def _read_line() -> str | None:
    try:
        return input("> " if sys.stdin.isatty() else "")
    except EOFError:
        return None


class Session:
    """The conversation so far, and the pictures that wait for the next question."""

    def __init__(
        self, llm: Chat, system: str | None, options: dict[str, Any], *, thinking: bool = True, as_json: bool = False
    ) -> None:
        self._llm = llm
        self._system = () if system is None else (Message("system", (Text(system),)),)
        self._options = options
        self._thinking = thinking
        self._as_json = as_json
        self._waiting: list[Part] = []
        self._media: tuple[MediaReport, ...] = ()
        self.messages: list[Message] = list(self._system)

    def take(self, line: str) -> bool:
        """Handle one line; returns whether the conversation goes on."""
        if not line.startswith("/"):
            if line:
                self._ask(line)
            return True
        command, _, argument = line.partition(" ")
        match command:
            case "/quit" | "/exit":
                return False
            case "/image" | "/video":
                self._attach(command, argument.strip())
            case "/media":
                self._show_media()
            case "/save":
                self._save(argument.strip())
            case "/clear":
                self.messages, self._waiting, self._media = list(self._system), [], ()
            case "/help":
                for usage, what in COMMANDS.items():
                    print(f"  {usage:14} {what}", file=sys.stderr)
            case _:
                raise InputError(f"there is no command {command!r}; /help lists them")
        return True

    def _ask(self, question: str) -> None:
        from regard.cli.terminal import answer_message, show

        turn = Message("user", (*self._waiting, Text(question)))
        events = self._llm.stream([*self.messages, turn], **self._options)
        reply = show(events, what="answering", thinking=self._thinking, quiet=self._as_json)
        if self._as_json:
            print(json.dumps(reply.to_json(), ensure_ascii=False))
        self.messages += [turn, answer_message(reply)]
        self._waiting, self._media = [], reply.media

    def _attach(self, command: str, path: str) -> None:
        from regard.processing.fetch import local_path

        if not path:
            raise InputError(f"{command} needs a path or a URL, as in {command} shot.png")
        local_path(path)  # a sentence about a missing or empty file now
        self._waiting.append(Image(path) if command == "/image" else Video(path))

    def _show_media(self) -> None:
        from regard.cli.terminal import media_table, stderr_console

        if not self._llm.reports_media:
            raise InputError("this server does not tell what the model saw")
        if not self._media:
            raise InputError("the model has seen no picture and no clip yet; show one with /image PATH")
        stderr_console().print(media_table(self._media))

    def _save(self, name: str) -> None:
        path = Path(name)
        if path.suffix == ".json":
            text = json.dumps([_as_json(message) for message in self.messages], ensure_ascii=False, indent=2) + "\n"
        elif path.suffix == ".md":
            text = "\n".join(_as_markdown(message) for message in self.messages)
        else:
            raise InputError(f"/save {name}: the name must end in .md or .json")
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise InputError(f"{path} cannot be written ({error.strerror}); choose another place") from error
        print(f"saved: {path}", file=sys.stderr)


def _as_json(message: Message) -> dict[str, Any]:
    """One message in the spelling that `conversation.normalize` reads."""
    content: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, Text):
            content.append({"type": "text", "text": part.text})
        else:
            kind = type(part).__name__.lower()
            content.append({"type": kind, kind: str(part.source)})
    saved: dict[str, Any] = {"role": message.role, "content": content}
    if message.reasoning is not None:
        saved["reasoning_content"] = message.reasoning
    if message.tool_calls:
        saved["tool_calls"] = [{"name": call.name, "arguments": call.arguments} for call in message.tool_calls]
    return saved


def _as_markdown(message: Message) -> str:
    lines = [f"**{message.role}**", ""]
    for part in message.parts:
        lines += [part.text if isinstance(part, Text) else f"![]({part.source})", ""]
    lines += [f"`{call.name}({json.dumps(call.arguments, ensure_ascii=False)})`\n" for call in message.tool_calls]
    return "\n".join(lines)
