"""Looking closer: the family's zoom tool, and a second look at small things.

`look_closer` offers the model its own tool (`image_zoom_in_tool`, think_with_images of QwenLM/Qwen3-VL at 9658872) and
gives it the parts it asks for, enlarged, until it asks no more. What counts is where it looked: the question about the
place is then asked of the last part alone, so that nobody must guess which picture the numbers are of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image as Pillow

from regard.apps.reading import read_tool_call
from regard.apps.spatial.views import View, whole
from regard.client import Chat
from regard.messages import Image, Message, Text, ToolCall
from regard.processing.coordinates import Scale, Units
from regard.reply import Reply

MAX_LOOKS = 3
MIN_SIDE_PX = 4  # of a part of the user's picture

TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "image_zoom_in_tool",
        "description": (
            "Zoom in on a specific region of an image by cropping it based on a bounding box (bbox) and an optional "
            "object label"
        ),
        "parameters": {
            "type": "object",
            "properties": {
                "bbox_2d": {
                    "type": "array",
                    "items": {"type": "number"},
                    "minItems": 4,
                    "maxItems": 4,
                    "description": (
                        "The bounding box of the region to zoom in, as [x1, y1, x2, y2], where (x1, y1) is the "
                        "top-left corner and (x2, y2) is the bottom-right corner, in relative coordinates from 0 "
                        "to 1000"
                    ),
                },
                "label": {"type": "string", "description": "The name or label of the object in the bounding box"},
                "img_idx": {"type": "number", "description": "The index of the zoomed-in image (starting from 0)"},
            },
            "required": ["bbox_2d", "label", "img_idx"],
        },
    },
}


def look_closer(
    chat: Chat, picture: Pillow.Image, what: str, scale: Scale, *, preset: str | None = None, **options: Any
) -> tuple[list[View], list[Reply]]:
    """Where the model wants to look for `what`, in the order it looked; empty if it does not use the tool."""
    text = f"Find the {what}. It may be small: zoom in with the tool where you suspect it."
    messages = [Message("user", (Image(picture), Text(text)))]
    views = [whole(picture.size)]
    replies: list[Reply] = []
    for _ in range(MAX_LOOKS):
        reply = chat.chat(messages, preset=preset, tools=[TOOL], **options)
        replies.append(reply)
        call = _call_of(reply)
        view = None if call is None else view_of(call.arguments, views, scale)
        if call is None or view is None:
            break
        views.append(view)
        messages += [
            Message("assistant", (Text(reply.text),) if reply.text else (), tool_calls=(call,)),
            Message("tool", (Image(view.cut(picture)),)),
        ]
    return views[1:], replies


def view_of(arguments: Mapping[str, Any], views: list[View], scale: Scale) -> View | None:
    """The part that a call means, within the picture number `img_idx`; None if it names no usable part.

    Ends may be reversed or outside; a part of less than `MIN_SIDE_PX` is no use.
    """
    numbers = arguments.get("bbox_2d")
    index = arguments.get("img_idx", len(views) - 1)
    if not isinstance(numbers, list) or len(numbers) != 4 or not all(isinstance(n, int | float) for n in numbers):
        return None
    if not isinstance(index, int | float) or not 0 <= int(index) < len(views):
        index = len(views) - 1
    base = views[int(index)]
    view = base.within(*Units(base.size, "norm1000" if scale == "pixel" else scale).box_px(*map(float, numbers)))
    return view if min(view.size) >= MIN_SIDE_PX else None


def _call_of(reply: Reply) -> ToolCall | None:
    if reply.tool_calls:
        return next((call for call in reply.tool_calls if call.name == TOOL["function"]["name"]), None)
    found = read_tool_call(reply.raw).value
    if found is None or found.name != TOOL["function"]["name"]:
        return None
    return ToolCall(found.name, found.arguments)
