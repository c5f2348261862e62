"""A request inside the engine, and the pictures of its prompt cut into units.

A `VisualUnit` is what the vision tower sees at once and what is cached: a whole picture, or one temporal group of a
clip. Its key is a hash of the pixels after resizing and of the grid, so that equal pictures are computed once and
different ones never share anything.

    prompt      t t t P P P P t t P P P P t ...      P: pad tokens, filled with a unit's rows in order
    unit_of_T   . . . 0 0 0 0 . . 1 1 1 1 . ...
    row_of_T          0 1 2 3     0 1 2 3

A `Sequence` is mutable: the engine's thread alone changes it.
Shape letters: T tokens of the prompt, P patches of a unit, C values of a patch.
"""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from regard.engine.repetition import RepetitionGuard
from regard.engine.sampler import RowState
from regard.engine.speculation import PromptLookup
from regard.engine.thinking import ThinkingBlock
from regard.errors import RegardError
from regard.inputs import ModelInputs, VisionItem
from regard.model.config import ModelConfig
from regard.model.vision import VisionFeatures
from regard.sampling_params import SamplingParams

if TYPE_CHECKING:
    from regard.engine.structured import Constraint

FinishReason = Literal["stop", "length", "repetition", "abort"]


class Status(enum.Enum):
    """Where a sequence stands."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"


@dataclass(frozen=True)
class VisualUnit:
    """One picture, or one temporal group of a clip: P patches of an item, from `first_patch` on."""

    key: bytes
    grid_hw: tuple[int, int]
    item: VisionItem
    first_patch: int
    num_tokens: int

    @property
    def num_patches(self) -> int:
        """P."""
        return self.grid_hw[0] * self.grid_hw[1]

    @property
    def pixel_values(self) -> npt.NDArray[np.float32]:
        """Normalised patches, (P, C); made anew each time, since nobody needs them twice."""
        return self.item.values(self.first_patch, self.first_patch + self.num_patches)


@dataclass(frozen=True)
class VisualMap:
    """The units of a prompt and where their rows go. Shapes: unit_of_T, row_of_T (T,) int64, -1 for text."""

    units: tuple[VisualUnit, ...]
    starts: tuple[int, ...]  # each unit's first token
    unit_of_T: npt.NDArray[np.int64]
    row_of_T: npt.NDArray[np.int64]


def visual_map(inputs: ModelInputs, config: ModelConfig) -> VisualMap:
    """Cut the items of a prompt into units."""
    units: list[VisualUnit] = []
    for item in inputs.items:
        num_groups, height, width = item.grid_thw
        num_tokens = height * width // config.vision.spatial_merge_size**2
        for first in range(0, num_groups * height * width, height * width):
            patches = item.patches[first : first + height * width]
            digest = hashlib.blake2b(np.ascontiguousarray(patches).data, digest_size=16)
            digest.update(repr((height, width, str(patches.dtype), item.mean, item.std)).encode())
            units.append(VisualUnit(digest.digest(), (height, width), item, first, num_tokens))
    is_pad = (inputs.input_ids == config.image_token_id) | (inputs.input_ids == config.video_token_id)
    unit_of_T = np.full(len(inputs.input_ids), -1, dtype=np.int64)
    row_of_T = np.full(len(inputs.input_ids), -1, dtype=np.int64)
    counts = [unit.num_tokens for unit in units]
    unit_of_T[is_pad] = np.repeat(np.arange(len(units)), counts)
    row_of_T[is_pad] = np.concatenate([np.arange(count) for count in counts]) if counts else []
    starts = tuple(np.flatnonzero(row_of_T == 0).tolist())
    return VisualMap(tuple(units), starts, unit_of_T, row_of_T)


@dataclass
class Sequence:
    """One answer in the making: what it has, what is computed, and how it is to be continued."""

    number: int
    inputs: ModelInputs
    params: SamplingParams
    visual: VisualMap
    row: RowState
    thinking: ThinkingBlock
    max_tokens: int
    token_ids: list[int]
    lookup: PromptLookup | None = None
    constraint: Constraint | None = None
    guard: RepetitionGuard | None = None
    leader: Sequence | None = None  # of several answers to one prompt: who computes the prompt
    status: Status = Status.WAITING
    num_computed: int = 0  # tokens whose keys and values are in the cache
    num_cached: int = 0  # of these, how many the prefix cache gave when the sequence first ran
    blocks: list[int] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)  # of the full blocks so far
    features: dict[int, VisionFeatures] = field(default_factory=dict)  # units that the prompt still needs
    encoded: set[int] = field(default_factory=set)  # units that were computed for this sequence, not found
    forced: list[int] = field(default_factory=list)  # ids that come next whatever the model says
    is_given_up: bool = False  # it loops, and only completes its structure
    finish_reason: FinishReason | None = None
    error: RegardError | None = None
    num_preempted: int = 0

    @property
    def num_prompt(self) -> int:
        """Tokens of the prompt."""
        return len(self.inputs.input_ids)

    @property
    def num_output(self) -> int:
        """Tokens generated so far."""
        return len(self.token_ids) - self.num_prompt

    @property
    def is_decoding(self) -> bool:
        """Whether only the newest token is not computed yet, so that every step gives a new one."""
        return self.num_computed >= self.num_prompt and self.num_computed == len(self.token_ids) - 1

    def missing_units(self, end: int) -> list[int]:
        """Units without features that tokens before `end` still need."""
        visual = self.visual
        ends = (start + unit.num_tokens for start, unit in zip(visual.starts, visual.units, strict=True))
        return [
            index
            for index, (first, last) in enumerate(zip(visual.starts, ends, strict=True))
            if first < end and last > self.num_computed and index not in self.features
        ]

    def cache_hits(self) -> list[bool]:
        """For each item of the prompt, whether none of it had to be encoded."""
        hits, first = [], 0
        for item in self.inputs.items:
            num_units = item.grid_thw[0]
            hits.append(self.encoded.isdisjoint(range(first, first + num_units)))
            first += num_units
        return hits

    def forget_features(self) -> None:
        """Let go of the features of units that are computed."""
        for index in list(self.features):
            if self.visual.starts[index] + self.visual.units[index].num_tokens <= self.num_computed:
                del self.features[index]

    def positions(self, start: int, end: int) -> npt.NDArray[np.int64]:
        """MRoPE positions of tokens [start, end). Shapes: (3, end - start)."""
        prompt = self.inputs.position_ids[:, start : min(end, self.num_prompt)]
        first_output = max(start, self.num_prompt)
        if first_output >= end:
            return prompt
        later = np.arange(first_output, end, dtype=np.int64) + self.inputs.rope_delta
        later_3T = np.broadcast_to(later, (3, len(later)))
        return later_3T if start >= self.num_prompt else np.concatenate([prompt, later_3T], axis=1)

    def block_key(self, index: int, block_size: int) -> bytes:
        """Key of full block `index`: all that its keys and values depend on.

        A chain: the block before, the token ids, and for visual tokens which rows of which pictures they are.
        The positions follow from these.
        """
        span = slice(index * block_size, (index + 1) * block_size)
        digest = hashlib.blake2b(self.keys[index - 1] if index else b"", digest_size=16)
        digest.update(np.array(self.token_ids[span], dtype=np.int64).data)
        units = self.visual.unit_of_T[span]
        if (units >= 0).any():
            for unit in sorted(set(units[units >= 0].tolist())):
                digest.update(self.visual.units[unit].key)
            digest.update(self.visual.row_of_T[span].tobytes())
        return digest.digest()
