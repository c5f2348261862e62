"""What the model is given: pure numpy values, made by `processing`, read by generation.

Shape letters: T tokens of the prompt, P patches of one item, C = 3 * 2 * 16 * 16 values of a patch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from regard.reply import MediaReport


@dataclass(frozen=True)
class VisionItem:
    """One image or one video, resized and cut into patches.

    Shapes: patches (P, C) with P = t*h*w of `grid_thw` (patch units), C = (channel, slot, row, column) flattened:
    uint8 with the `mean` and `std` of each channel (of values in 0-1), or without them float32, normalised already.
    `token_offset` is the index of its first pad token in `input_ids`; a video's pad tokens are not contiguous
    (timestamps between).
    """

    patches: npt.NDArray[np.uint8] | npt.NDArray[np.float32]
    grid_thw: tuple[int, int, int]
    is_video: bool
    content_hash: str
    token_offset: int
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    @property
    def pixel_values(self) -> npt.NDArray[np.float32]:
        """All patches as the tower takes them, (P, C). Four times the bytes of uint8: made only when needed."""
        return self.values(0, len(self.patches))

    def values(self, start: int, end: int) -> npt.NDArray[np.float32]:
        """Patches [start, end), normalised."""
        patches = self.patches[start:end]
        return normalise(patches, self.mean, self.std) if self.mean else patches.astype(np.float32, copy=False)


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


def normalise(
    patches_PC: npt.NDArray[np.uint8] | npt.NDArray[np.float32], mean: Sequence[float], std: Sequence[float]
) -> npt.NDArray[np.float32]:
    """(value / 255 - mean) / std for each channel, as float32."""
    values = patches_PC.reshape(len(patches_PC), len(mean), -1).astype(np.float32)
    # One subtraction and one division on 0..255 values, in float32, exactly as the reference fuses them.
    values -= (np.asarray(mean, np.float32) * np.float32(255.0))[:, None]
    values /= (np.asarray(std, np.float32) * np.float32(255.0))[:, None]
    return values.reshape(patches_PC.shape)
