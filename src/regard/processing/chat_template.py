"""A conversation to the one string that the model was trained on, by the checkpoint's own template.

The template is found where the ecosystem keeps it: chat_template.jinja, chat_template.json, or inside
tokenizer_config.json. Our messages become the dictionaries that templates expect: a message of text alone has
a string as content, one with media a list of typed parts; reasoning is `reasoning_content`, calls are
`{"type": "function", "function": {...}}`. Media are placeholders here; `processor` expands them.

Two habits of the official templates are kept, not corrected: the Instruct editions drop a system message that
is not the first, and they drop pictures in system and assistant turns.

It does not fetch media, count tokens, or know any edition's format.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import TemplateError, TemplateSyntaxError

from regard.errors import CheckpointError, InputError
from regard.messages import Document, Image, Message, Text, Video
from regard.processing.side_files import read_json_object
from regard.processing.template_sandbox import SandboxedTemplate

_NO_TOKENS: Mapping[str, str] = {}
_FAULTS = (TemplateError, ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError)


class ChatTemplate:
    """A compiled template; `special_tokens` are variables such as `eos_token` that some templates read.

    Errors: CheckpointError if it is not a jinja2 template.
    """

    def __init__(
        self, source: str, name: str = "the chat template", special_tokens: Mapping[str, str] = _NO_TOKENS
    ) -> None:
        self._name = name
        self._special_tokens = dict(special_tokens)
        try:
            self._template = SandboxedTemplate(source)
        except (TemplateError, RecursionError) as error:
            where = f" in line {error.lineno}" if isinstance(error, TemplateSyntaxError) else ""
            raise CheckpointError(
                f"{name} is not a chat template{where}: {_reason(error)}; copy the file again"
            ) from error

    @classmethod
    def from_folder(cls, folder: Path) -> ChatTemplate:
        """Read a model folder's template. Errors: CheckpointError if there is none or it is malformed."""
        tokens = _special_tokens(read_json_object(folder / "tokenizer_config.json"))
        whole = folder / "chat_template.jinja"
        if whole.is_file():
            try:
                return cls(whole.read_text(encoding="utf-8"), str(whole), tokens)
            except (OSError, UnicodeDecodeError) as error:
                raise CheckpointError(f"{whole} cannot be read ({error}); copy the file again") from error
        for path in (folder / "chat_template.json", folder / "tokenizer_config.json"):
            source = _default_template(read_json_object(path).get("chat_template"))
            if source is not None:
                return cls(source, f"the chat template in {path}", tokens)
        raise CheckpointError(f"{folder} has no chat template; add chat_template.jinja from the model's page")

    def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        add_vision_id: bool = False,
    ) -> str:
        """The prompt with one placeholder for each picture and clip.

        `tools` are JSON-schema objects, rendered as given; `add_vision_id` numbers pictures and clips.
        Errors: InputError if the template refuses the messages or breaks its limits.
        """
        dicts = [to_template_dict(message) for message in messages]
        return self.render_dicts(dicts, tools, add_generation_prompt, {"add_vision_id": add_vision_id})

    def render_dicts(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None,
        add_generation_prompt: bool,
        variables: Mapping[str, Any],
    ) -> str:
        """As `render`, for messages that are written as templates read them; `variables` are the template's own."""
        given = {
            **self._special_tokens,
            **variables,
            "messages": [dict(message) for message in messages],
            "tools": [dict(tool) for tool in tools] if tools else None,
            "add_generation_prompt": add_generation_prompt,
        }
        try:
            return self._template.render(given)
        except (*_FAULTS, ValueError) as error:
            raise InputError(
                f"{self._name} cannot render these messages: {_reason(error)}; check roles and order, or the template"
            ) from error

    @property
    def variables(self) -> frozenset[str]:
        """The names that the template reads."""
        return self._template.variables

    @property
    def opens_thinking(self) -> bool:
        """Whether the generation prompt itself opens a <think> block, as in the Thinking editions."""
        return self.render([Message("user", (Text("?"),))]).rstrip().endswith("<think>")


def to_template_dict(message: Message) -> dict[str, Any]:
    """One message in the shape that templates of the ecosystem read."""
    parts = [_part_dict(part) for part in message.parts]
    is_text = all(isinstance(part, Text) for part in message.parts)
    made: dict[str, Any] = {"role": message.role, "content": message.text if is_text else parts}
    if message.reasoning is not None:
        made["reasoning_content"] = message.reasoning
    if message.tool_calls:
        made["tool_calls"] = [
            {"type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    return made


def _part_dict(part: Text | Image | Video | Document) -> dict[str, Any]:
    match part:
        case Text(text):
            return {"type": "text", "text": text}
        case Image():
            return {"type": "image"}
        case Video():
            return {"type": "video"}
    raise InputError("a document must be turned into page images before the chat template is rendered")


def _default_template(value: Any) -> str | None:
    """A template is a string, or one of several named ones."""
    if isinstance(value, list):
        named = {entry.get("name"): entry.get("template") for entry in value if isinstance(entry, dict)}
        value = named.get("default")
    return value if isinstance(value, str) else None


def _special_tokens(config: Mapping[str, Any]) -> dict[str, str]:
    """The named tokens of tokenizer_config.json, each a string or an object with `content`."""
    found = {name: config.get(name) for name in ("bos_token", "eos_token", "pad_token", "unk_token")}
    texts = {name: token.get("content") if isinstance(token, dict) else token for name, token in found.items()}
    return {name: text for name, text in texts.items() if isinstance(text, str)}


def _reason(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    text = " ".join(str(error).split())
    return text[:200] or type(error).__name__
