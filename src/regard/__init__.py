"""regard: Qwen3-VL, exact and readable. It sees images, video and documents, and answers with boxes and times.

    import regard
    vl = regard.load("nano")                                    # or a folder, a hub id, a URL
    reply = vl.chat(["shot.png", "Where is the Save button?"])  # paths, URLs, PIL images, bytes, messages

Every name loads on first use, so that `import regard` costs nothing and does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regard.client import load as load
    from regard.errors import RegardError as RegardError
    from regard.llm import LLM as LLM
    from regard.messages import Document as Document
    from regard.messages import Image as Image
    from regard.messages import Message as Message
    from regard.messages import Text as Text
    from regard.messages import ToolCall as ToolCall
    from regard.messages import Video as Video
    from regard.reply import Box as Box
    from regard.reply import Event as Event
    from regard.reply import Point as Point
    from regard.reply import Reply as Reply
    from regard.sampling_params import SamplingParams as SamplingParams

__version__ = "0.1.0"

__all__ = [
    "LLM",
    "Box",
    "Document",
    "Event",
    "Image",
    "Message",
    "Point",
    "RegardError",
    "Reply",
    "SamplingParams",
    "Text",
    "ToolCall",
    "Video",
    "load",
]

_HOMES = {
    "LLM": "llm",
    "load": "client",
    "Document": "messages",
    "Image": "messages",
    "Message": "messages",
    "Text": "messages",
    "ToolCall": "messages",
    "Video": "messages",
    "Box": "reply",
    "Event": "reply",
    "Point": "reply",
    "Reply": "reply",
    "RegardError": "errors",
    "SamplingParams": "sampling_params",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'regard' has no attribute {name!r}")
    return getattr(import_module(f"regard.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
