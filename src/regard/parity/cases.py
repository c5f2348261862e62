"""The conversations that are compared: each kind of input once, made here, the same on every machine.

Pictures are smooth colours with noise on top, where every kind of resampling error shows. Frame lists have odd
counts and a rate of their own; the file is a short clip encoded by PyAV at the moment of asking (so it is left
out where PyAV is not installed).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from regard.messages import Image, Message, Text, ToolCall, Video

TOOLS = (
    {
        "type": "function",
        "function": {
            "name": "zoom",
            "description": "Look closer at <a part> of the picture & 'read' it. \u653e\u5927",
            "parameters": {"type": "object", "properties": {"box": {"type": "array"}}, "required": ["box"]},
        },
    },
)


@dataclass(frozen=True)
class Case:
    """One prompt. `is_batched`: it is also one row of the batch of unequal lengths."""

    name: str
    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    add_vision_id: bool = False
    is_batched: bool = False


def make_cases(folder: Path) -> tuple[Case, ...]:
    """All cases; the clip's file is written into `folder`."""
    first, second, third = Image(picture(90, 70, 1)), Image(picture(61, 150, 2)), Image(picture(200, 64, 3))
    frames = Video(clip(5, 96, 64, 4), sample_fps=2.0)
    slow_frames = Video(clip(4, 64, 64, 8), sample_fps=0.7)
    answer = Message("assistant", (Text("A red one."),), reasoning="It looks red.")
    cases = [
        Case("text", (_user("Why is the sky blue?"),), is_batched=True),
        Case("system turn", (Message("system", (Text("Be brief."),)), _user("Hi <b>, na\u00efve \u65e5\u672c"))),
        Case("one image", (_user(first, "What is it?"),), is_batched=True),
        Case("three images of different sizes", (_user(first, second, "and", third, "Compare them."),)),
        Case("two images of equal size", (_user(first, Image(picture(90, 70, 9)), "Which is darker?"),)),
        Case("numbered images", (_user(first, second, frames, "Which?"),), add_vision_id=True),
        Case("video, odd number of frames", (_user(frames, "When does it change?"),), is_batched=True),
        Case("two videos of different rates", (_user("First:", frames, "then", slow_frames, "Which is longer?"),)),
        Case(
            "image, video and text mixed",
            (_user(frames, "before", second, "after", slow_frames, first, "?"),),
            is_batched=True,
        ),
        Case("follow-up question", (_user(first, "What is it?"), answer, _user("Sure? And this?", second))),
        Case("tools", _tool_turns(first, second), tools=TOOLS),
    ]
    if importlib.util.find_spec("av") is not None:
        path = write_clip(folder / "clip.mp4", num_frames=23, fps=Fraction(10))
        cases.append(Case("video file", (_user(Video(path, fps=2.0), "What happens?"),)))
    return tuple(cases)


def _user(*parts: str | Image | Video) -> Message:
    return Message("user", tuple(Text(part) if isinstance(part, str) else part for part in parts))


def _tool_turns(shot: Image, crop: Image) -> tuple[Message, ...]:
    """A call with reasoning and its result, which holds a picture."""
    call = ToolCall("zoom", {"box": [1, 2, 30, 40], "\u6807\u7b7e": "\u732b"})
    return (
        Message("system", (Text("You can zoom."),)),
        _user(shot, "Read the small print."),
        Message("assistant", (Text("Let me look."),), reasoning="Too small to read.", tool_calls=(call,)),
        Message("tool", (Text("the crop: "), crop)),
    )


def picture(width: int, height: int, seed: int) -> PIL.Image.Image:
    """Smooth colours with noise on top."""
    rng = np.random.default_rng(seed)
    coarse = PIL.Image.fromarray(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), PIL.Image.Resampling.BICUBIC), dtype=int)
    return PIL.Image.fromarray(np.clip(smooth + rng.integers(-20, 21, smooth.shape), 0, 255).astype(np.uint8))


def clip(num_frames: int, width: int, height: int, seed: int) -> list[PIL.Image.Image]:
    """Frames that differ from each other."""
    return [picture(width, height, seed * 100 + n) for n in range(num_frames)]


def write_clip(path: Path, *, num_frames: int, fps: Fraction) -> Path:
    """Encode `num_frames` pictures of 96x64 pixels as H.264."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for frame in clip(num_frames, 96, 64, 6):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(frame), format="rgb24")))
        container.mux(stream.encode(None))
    return path
