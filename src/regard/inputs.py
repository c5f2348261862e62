"""What the model is given: pure numpy values, made by `processing`, read by generation.

Shape letters: T tokens of the prompt, P patches of one item, C = 3 * 2 * 16 * 16 values of a patch.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from regard.reply import MediaReport


@dataclass(frozen=True)
class VisionItem:
    """One image or one video, resized and cut into patches.

    Shapes: pixel_values (P, C) float32 with P = t*h*w of `grid_thw` (patch units); `token_offset` is the
    index of its first pad token in `input_ids`; a video's pad tokens are not contiguous (timestamps between).
    """

    pixel_values: npt.NDArray[np.float32]
    grid_thw: tuple[int, int, int]
    is_video: bool
    content_hash: str
    token_offset: int


@dataclass(frozen=True)
class ModelInputs:
    """A whole prompt.

    Shapes: input_ids (T,) int64; position_ids (3, T) int64 (time, height, width); items in token order.
    `rope_delta` is added to the cache length to get the position of a generated token.
    """

    input_ids: npt.NDArray[np.int64]
    position_ids: npt.NDArray[np.int64]
    rope_delta: int
    items: tuple[VisionItem, ...] = ()
    prompt: str = ""
    media: tuple[MediaReport, ...] = field(default=())
