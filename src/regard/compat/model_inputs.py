"""A batch of tensors, as a processor returns it, back into prompts for the engine.

    input_ids       pad pad t t I I I I t       one row of the batch; the mask says which tokens are padding
    image_grid_thw  rows for all pictures of the batch, in the order of their tokens; so are the pixel values

Each run of picture tokens takes the next grid and its patches. Positions are computed anew from ids and grids, so a
prompt padded on the right is answered as well as one padded on the left.
Shape letters: B rows, T tokens, P patches of the batch, D values of a patch, N pictures or clips.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from regard.compat.refusal import Options
from regard.errors import CapacityError, InputError
from regard.inputs import ModelInputs, VisionItem
from regard.model.config import ModelConfig
from regard.processing.positions import mrope_positions

Grid = tuple[int, int, int]


class _Media:
    """The pictures, or the clips, of a batch, handed out in order."""

    def __init__(self, noun: str, values: Any, grids: Any, config: ModelConfig) -> None:
        if (values is None) != (grids is None):
            raise InputError(f"the {noun}s come without their {'patches' if values is None else 'grids'}; pass both")
        self.noun, self._is_video = noun, noun == "clip"
        self._grids: list[Grid] = [] if grids is None else [_grid(row) for row in _array(grids).tolist()]
        values_PD = np.empty((0, config.vision.patch_dim), np.float32) if values is None else _floats(values)
        num_patches = sum(t * h * w for t, h, w in self._grids)
        if values_PD.shape != (num_patches, config.vision.patch_dim):
            raise InputError(
                f"the {noun}s have {tuple(values_PD.shape)} values, and their grids ask for "
                f"{(num_patches, config.vision.patch_dim)}"
            )
        self._values_PD = values_PD
        self._merged = config.vision.spatial_merge_size**2
        self._num_taken, self._first = 0, 0

    def take(self, token_offset: int) -> tuple[VisionItem, int]:
        """The next one, and how many tokens it fills."""
        if self._num_taken >= len(self._grids):
            raise InputError(f"the prompts show more {self.noun}s than the {len(self._grids)} whose grids are given")
        grid = self._grids[self._num_taken]
        last = self._first + grid[0] * grid[1] * grid[2]
        values_PD = self._values_PD[self._first : last]
        self._num_taken, self._first = self._num_taken + 1, last
        digest = hashlib.blake2b(repr((self._is_video, grid)).encode(), digest_size=16)
        digest.update(np.ascontiguousarray(values_PD).data)
        item = VisionItem(values_PD, grid, self._is_video, digest.hexdigest(), token_offset)
        return item, len(values_PD) // self._merged

    def finish(self) -> None:
        """Errors: InputError if something was not used."""
        if self._num_taken != len(self._grids):
            raise InputError(f"{len(self._grids)} {self.noun}s are given and the prompts show {self._num_taken}")


def read_batch(tensors: Options, config: ModelConfig) -> list[ModelInputs]:
    """One prompt for each row. Takes the tensors it uses out of `tensors`.

    Errors: InputError for tensors that do not belong together; CapacityError for a prompt longer than the context.
    """
    ids_BT, mask_BT = _ids_and_mask(tensors)
    types = tensors.pop("mm_token_type_ids", None)
    expected_BT = np.where(ids_BT == config.image_token_id, 1, np.where(ids_BT == config.video_token_id, 2, 0))
    if types is not None and not np.array_equal(_array(types).reshape(ids_BT.shape), expected_BT):
        raise InputError("mm_token_type_ids do not say what input_ids say; pass what the processor returned")
    pictures = _Media("picture", tensors.pop("pixel_values", None), tensors.pop("image_grid_thw", None), config)
    clips = _Media("clip", tensors.pop("pixel_values_videos", None), tensors.pop("video_grid_thw", None), config)
    if ids_BT.size and not 0 <= ids_BT.min() <= ids_BT.max() < config.text.vocab_size:
        raise InputError(
            f"input_ids go from {ids_BT.min()} to {ids_BT.max()}, the model's from 0 to {config.text.vocab_size - 1}; "
            "use the processor of the same checkpoint"
        )
    made = [_read_row(ids_T[mask_T], pictures, clips, config) for ids_T, mask_T in zip(ids_BT, mask_BT, strict=True)]
    pictures.finish()
    clips.finish()
    return made


def _read_row(ids_T: npt.NDArray[np.int64], pictures: _Media, clips: _Media, config: ModelConfig) -> ModelInputs:
    if len(ids_T) == 0:
        raise InputError("a prompt is empty: its attention mask leaves no token")
    limit = config.text.max_position_embeddings
    if len(ids_T) >= limit:
        raise CapacityError(
            f"a prompt has {len(ids_T)} tokens and the model's context holds {limit}, the answer included; give "
            "smaller pictures, fewer frames or less text"
        )
    pads = np.flatnonzero((ids_T == config.image_token_id) | (ids_T == config.video_token_id))
    items = []
    num_used = 0
    while num_used < len(pads):
        first = int(pads[num_used])
        kind = ids_T[first]
        item, num_tokens = (pictures if kind == config.image_token_id else clips).take(first)
        own = ids_T[pads[num_used : num_used + num_tokens]]
        if len(own) != num_tokens or (own != kind).any():
            raise InputError(f"a grid of {item.grid_thw} fills {num_tokens} tokens, and input_ids have another number")
        items.append(item)
        num_used += num_tokens
    position_ids, rope_delta = mrope_positions(ids_T, [item.grid_thw for item in items], config)
    return ModelInputs(input_ids=ids_T, position_ids=position_ids, rope_delta=rope_delta, items=tuple(items))


def _ids_and_mask(tensors: Options) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    given = tensors.pop("input_ids", None)
    if given is None:
        raise InputError("generate is given no input_ids; pass what the processor returned: generate(**inputs)")
    ids_BT = np.atleast_2d(_array(given))
    mask = tensors.pop("attention_mask", None)
    mask_BT = np.ones(ids_BT.shape, np.bool_) if mask is None else np.atleast_2d(_array(mask)).astype(np.bool_)
    if ids_BT.ndim != 2 or mask_BT.shape != ids_BT.shape or not np.issubdtype(ids_BT.dtype, np.integer):
        raise InputError(
            f"input_ids have the shape {ids_BT.shape} and the type {ids_BT.dtype}, the mask {mask_BT.shape}; "
            "both must be (rows, tokens), and ids whole numbers"
        )
    return ids_BT.astype(np.int64), mask_BT


def _grid(row: Any) -> Grid:
    if not isinstance(row, list) or len(row) != 3:
        raise InputError(f"a grid is {row}; it must be three numbers: groups, rows and columns of patches")
    return int(row[0]), int(row[1]), int(row[2])


def _array(value: Any) -> npt.NDArray[Any]:
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


def _floats(value: Any) -> npt.NDArray[np.float32]:
    # By way of float32: numpy has no bfloat16, into which programs like to cast everything.
    return torch.as_tensor(value).detach().cpu().float().numpy()
