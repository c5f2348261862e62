"""Interleaved-MRoPE position ids: three numbers (time, height, width) for every token of a prompt.

Text counts up by one on all three axes. A picture that starts at position p has time p everywhere, height
p + row and width p + column over the merged grid, and the text after it goes on at p + max(rows, columns). A
clip is positioned group by group, each like a picture: time does not advance inside a run of pads, the
timestamps written between the groups carry it. Generated text goes on at (cache length + rope_delta).

    ids    1 2 <start> <pad>x6 <end> 3      one picture, grid (1, 4, 6) in patches
    time   0 1 2       3 3 3 3 3 3   6 7
    height 0 1 2       3 3 3 4 4 4   6 7
    width  0 1 2       3 4 5 3 4 5   6 7    rope_delta = 7 + 1 - 11 = -3

It works on one unpadded prompt; batching and padding are the caller's.
Source: transformers Qwen3VLModel.get_rope_index (tests/parity/test_positions.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from regard.errors import EngineError
from regard.model.config import ModelConfig

Grid = tuple[int, int, int]
Ids = npt.NDArray[np.int64]


def mrope_positions(input_ids: Sequence[int] | Ids, grids: Sequence[Grid], config: ModelConfig) -> tuple[Ids, int]:
    """Position ids and rope_delta of one prompt.

    Shapes: input_ids (T,); grids (t, h, w) in patches, one for each picture or clip in token order; returns
    (3, T) int64 and max(position) + 1 - T.
    Errors: EngineError if the pads in `input_ids` are not those that the grids ask for.
    """
    ids = np.asarray(input_ids, dtype=np.int64)
    is_pad = (ids == config.image_token_id) | (ids == config.video_token_id)
    merge = config.vision.spatial_merge_size
    frames = [(h // merge, w // merge) for t, h, w in grids for _ in range(t)]
    num_expected, num_pads = sum(rows * columns for rows, columns in frames), int(is_pad.sum())
    if num_expected != num_pads:
        raise EngineError(f"the prompt has {num_pads} vision tokens, but its grids {list(grids)} need {num_expected}")

    position_ids = np.empty((3, len(ids)), dtype=np.int64)
    pad_indices = np.flatnonzero(is_pad)
    start, next_position, num_used = 0, 0, 0
    for rows, columns in frames:
        first = int(pad_indices[num_used])
        stop = first + rows * columns
        if not is_pad[first:stop].all():
            raise EngineError(f"a {rows}x{columns} picture starts at token {first}, but its vision tokens are split")
        position_ids[:, start:first] = np.arange(next_position, next_position + first - start)
        next_position += first - start
        position_ids[0, first:stop] = next_position
        position_ids[1, first:stop] = next_position + np.repeat(np.arange(rows), columns)
        position_ids[2, first:stop] = next_position + np.tile(np.arange(columns), rows)
        next_position += max(rows, columns)
        num_used += rows * columns
        start = stop
    position_ids[:, start:] = np.arange(next_position, next_position + len(ids) - start)
    return position_ids, next_position - start
