"""A user's conversations: JSONL in OpenAI's spelling or in that of the family's own training scripts.

    {"messages": [{"role": "user", "content": [{"type": "image", "image": "a.png"}, {"type": "text", "text": "..."}]},
                  {"role": "assistant", "content": "..."}], "tools": [...]}
    {"image": "a.png", "conversations": [{"from": "human", "value": "<image>Where?"}, {"from": "gpt", "value": "..."}]}

Paths are relative to the file that names them. Every line is read and checked before anything is trained: a mistake is
told with its file and line. Of a picture only the beginning is read here; damage behind it is told when it comes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image as PILImage

from regard.conversation import normalize
from regard.errors import InputError
from regard.messages import Document, Image, Message, Part, Video

_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
_MEDIA = re.compile(r"<(image|video)>\n?")


@dataclass(frozen=True)
class Example:
    """One conversation; what its assistant says is learned. `where`: "train.jsonl line 3"."""

    messages: tuple[Message, ...]
    where: str
    tools: tuple[Mapping[str, Any], ...] | None = None


def read_examples(path: Path) -> list[Example]:
    """The conversations of a .jsonl or .json file, or of all such files of a folder.

    Errors: InputError with the file, the line and what is wrong with it.
    """
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in (".jsonl", ".json"))
        if not files:
            raise InputError(f"{path} holds no .jsonl or .json file; put the conversations there, one a line")
    elif path.is_file():
        files = [path]
    else:
        raise InputError(f"{path} does not exist; give a .jsonl file of conversations, or 'nano' for its recipe")
    examples = [example for file in files for example in _of_file(file)]
    if not examples:
        raise InputError(f"{path} is empty; it must hold conversations, one JSON object a line")
    return examples


def _of_file(file: Path) -> Iterator[Example]:
    for where, record in _records(file):
        if not isinstance(record, Mapping):
            raise InputError(f"{where} is a {type(record).__name__}; it must be a JSON object with 'messages'")
        try:
            yield _example(record, where, file.parent)
        except InputError as error:
            raise error if str(error).startswith(where) else InputError(f"{where}: {error}") from error


def _records(file: Path) -> Iterator[tuple[str, Any]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from error
    if file.suffix == ".json":
        try:
            found = json.loads(text)
        except ValueError as error:
            raise InputError(f"{file} is not valid JSON ({error})") from error
        if not isinstance(found, list):
            raise InputError(f"{file} holds a {type(found).__name__}; it must hold a list of conversations")
        yield from ((f"{file.name} item {number}", record) for number, record in enumerate(found, start=1))
        return
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            yield f"{file.name} line {number}", json.loads(line)
        except ValueError as error:
            raise InputError(f"{file.name} line {number} is not valid JSON ({error})") from error


def _example(record: Mapping[str, Any], where: str, folder: Path) -> Example:
    if "messages" in record:
        spoken = record["messages"]
        if not isinstance(spoken, list) or not spoken or not all(map(_is_message, spoken)):
            raise InputError(f"{where}: 'messages' must be a list of objects with 'role' and 'content'")
    elif "conversations" in record:
        spoken = _translated(record, where)
    else:
        raise InputError(f"{where} has neither 'messages' nor 'conversations'; its keys are {sorted(record)}")
    messages = tuple(_placed(message, where, folder) for message in normalize(spoken))
    if not messages or messages[-1].role != "assistant":
        raise InputError(f"{where} does not end with what the assistant says, so there is nothing to learn at its end")
    if all(message.role != "user" for message in messages):
        raise InputError(f"{where} has no message of the user")
    tools = record.get("tools")
    if tools is not None and not isinstance(tools, list):
        raise InputError(f"{where}: 'tools' must be a list")
    return Example(messages, where, tuple(tools) if tools else None)


def _is_message(value: Any) -> bool:
    return isinstance(value, Mapping) and "role" in value


def _translated(record: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    """The family's spelling in OpenAI's: each <image> or <video> is the next one of the record's."""
    media = {kind: _listed(record.get(kind, record.get(f"{kind}s"))) for kind in ("image", "video")}
    named = {kind: len(sources) for kind, sources in media.items()}
    messages = []
    for turn in record["conversations"]:
        if not isinstance(turn, Mapping) or turn.get("from") not in _ROLES or not isinstance(turn.get("value"), str):
            raise InputError(f"{where}: each of 'conversations' must have 'from' (human, gpt or system) and 'value'")
        content: list[dict[str, Any]] = []
        done = 0
        for found in _MEDIA.finditer(turn["value"]):
            if not media[found[1]]:
                raise InputError(f"{where} has more <{found[1]}> than the {named[found[1]]} that it names")
            content += [{"type": "text", "text": turn["value"][done : found.start()]}] * (found.start() > done)
            content.append({"type": found[1], found[1]: media[found[1]].pop(0)})
            done = found.end()
        content += [{"type": "text", "text": turn["value"][done:]}] * (done < len(turn["value"]))
        messages.append({"role": _ROLES[turn["from"]], "content": content})
    for kind, left in media.items():
        if left:
            raise InputError(f"{where} names {named[kind]} of '{kind}' and has {named[kind] - len(left)} <{kind}>")
    return messages


def _listed(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, list) else [value]


def _placed(message: Message, where: str, folder: Path) -> Message:
    """The message with paths that can be opened from anywhere."""
    return replace(message, parts=tuple(_placed_part(part, where, folder) for part in message.parts))


def _placed_part(part: Part, where: str, folder: Path) -> Part:
    if not isinstance(part, Image | Video | Document):
        return part
    if isinstance(part.source, Sequence) and not isinstance(part.source, str | bytes):
        return replace(part, source=[_placed_source(one, where, folder) for one in part.source])
    placed = _placed_picture if isinstance(part, Image) else _placed_source
    return replace(part, source=placed(part.source, where, folder))


def _placed_picture(source: Any, where: str, folder: Path) -> Any:
    placed = _placed_source(source, where, folder)
    if isinstance(placed, str) and not _is_remote(placed):
        try:
            PILImage.open(placed).close()
        except (OSError, SyntaxError, ValueError, PILImage.DecompressionBombError) as error:
            raise InputError(f"{where} names {source}, which is damaged or no picture; save it again") from error
    return placed


def _is_remote(source: str | Path) -> bool:
    return re.match(r"(?:https?|data):", str(source)) is not None


def _placed_source(source: Any, where: str, folder: Path) -> Any:
    if not isinstance(source, str | Path) or _is_remote(source):
        return source
    path = Path(str(source).removeprefix("file://"))
    path = path if path.is_absolute() else folder / path
    if not path.is_file():
        raise InputError(f"{where} names {source}, and {path} does not exist; paths are relative to the data's folder")
    return str(path)
