"""Samples to tensors: what one optimiser step is fed with.

A step is a list of micro-batches, one per task, so that pictures of one kind stay together and little is
padded. The content of a step is a pure function of (seed, stage, step): workers can run ahead, and a run
that was killed and continued sees the same samples.

Sizes are rounded up (TOKENS, PATCHES): a CPU's matrix library compiles a kernel for every new shape, which took a
seventh of the time before; shapes that come again are found in its cache.

Shape letters: B samples, T tokens, P patches, V visual tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image as PILImage
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from regard.errors import EngineError
from regard.model.config import ModelConfig
from regard.processing.image import patchify, resize
from regard.train.dense import CELL_PX, targets
from regard.train.encode import IGNORED, EncodedSample, Encoder
from regard.train.grounding import GroundingTargets, grounding_targets
from regard.train.world.sample import Sample

MEAN = STD = (0.5, 0.5, 0.5)
TOKENS, PATCHES = 16, 128  # rows are padded to multiples of these
Generator = Callable[..., Sample]  # (rng), or (rng, size_rng=...) for a share with one size


@dataclass(frozen=True)
class TaskShare:
    """`count` samples of one task in every step; `generate` makes one from a random generator.

    `has_one_size`: all pictures of a step get the same size, which the tower attends as one batch.
    `is_dense_only`: the samples teach the tower alone; nothing is asked or answered.
    """

    name: str
    count: int
    generate: Generator
    weight: float = 1.0
    has_one_size: bool = False
    is_dense_only: bool = False


@dataclass(frozen=True)
class MicroBatch:
    """Tensors of one task. `dense` and the token fields are empty where they do not apply.

    The last grid may be a blank one that rounds up the patches; `num_visual` counts the visual tokens without it.
    """

    task: str
    weight: float
    pixel_values: Tensor
    grids: list[tuple[int, int, int]]
    num_visual: int = 0
    dense: dict[str, Tensor] = field(default_factory=dict)
    input_ids: Tensor | None = None
    position_ids: Tensor | None = None
    labels: Tensor | None = None
    visual_mask: Tensor | None = None
    grounding: dict[str, GroundingTargets] = field(default_factory=dict)

    def to(self, device: str) -> MicroBatch:
        """The same on another device."""
        moved: dict[str, Any] = {"dense": {name: tensor.to(device) for name, tensor in self.dense.items()}}
        for name in ("pixel_values", "input_ids", "position_ids", "labels", "visual_mask"):
            tensor = getattr(self, name)
            moved[name] = None if tensor is None else tensor.to(device)
        moved["grounding"] = {
            kind: GroundingTargets(told.rows.to(device), told.weights.to(device), told.is_target.to(device))
            for kind, told in self.grounding.items()
        }
        return replace(self, **moved)


class Steps(Dataset[list[MicroBatch]]):
    """Item i is the list of micro-batches of step i.

    With several processes each has its own samples: a share's count is divided among them, and the weight of a
    micro-batch says what part of the share it is, so that the mean of all processes' gradients is the whole's.
    """

    def __init__(
        self,
        shares: Sequence[TaskShare],
        *,
        seed: Sequence[int],
        num_steps: int,
        config: ModelConfig,
        kinds: Mapping[str, int],
        encoder: Encoder | None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self._shares, self._seed, self._num_steps = tuple(shares), tuple(seed), num_steps
        self._config, self._kinds, self._encoder = config, dict(kinds), encoder
        self._rank, self._world_size = rank, world_size
        self._spelled: dict[str, list[int]] = {}

    def __len__(self) -> int:
        return self._num_steps

    def __getitem__(self, step: int) -> list[MicroBatch]:
        batches = []
        for index, share in enumerate(self._shares):
            rng = np.random.default_rng([*self._seed, step, index, self._rank])
            share = self._part(share, turn=step + index)
            if share.count == 0:
                continue
            samples = [share.generate(rng, **self._size(share, step)) for _ in range(share.count)]
            if share.is_dense_only:
                batches.append(self._dense_only(share, samples))
            elif self._encoder is None:
                raise EngineError(
                    f"the share {share.name!r} has conversations, and there is no checkpoint to encode them"
                )
            else:
                batches.append(self._conversation(share, samples, self._encoder))
        return batches

    def _part(self, share: TaskShare, *, turn: int) -> TaskShare:
        """This process's part of a share; what does not divide goes to one process after the other."""
        rest = (self._rank + turn) % self._world_size < share.count % self._world_size
        count = share.count // self._world_size + rest
        return replace(share, count=count, weight=share.weight * count * self._world_size / share.count)

    def _size(self, share: TaskShare, step: int) -> dict[str, np.random.Generator]:
        """A fresh generator for every sample of a step, so that each draws the same size."""
        return {"size_rng": np.random.default_rng([*self._seed, step])} if share.has_one_size else {}

    def _dense_only(self, share: TaskShare, samples: list[Sample]) -> MicroBatch:
        pictures = [_picture(sample) for sample in samples]
        # Pictures of equal size next to each other: the tower then attends them as one batch.
        order = sorted(range(len(samples)), key=lambda i: pictures[i].size)
        samples = [samples[i] for i in order]
        made = [patchify(np.asarray(pictures[i])[None], vision=self._config.vision, mean=MEAN, std=STD) for i in order]
        grids = [grid for _, grid in made]
        return MicroBatch(
            task=share.name,
            weight=share.weight,
            dense=self._dense(samples, grids),
            **self._patches([values for values, _ in made], grids),
        )

    def _patches(self, patches: Sequence[npt.NDArray[np.float32]], grids: list[tuple[int, int, int]]) -> dict[str, Any]:
        """The fields for the pictures, with a blank one at the end where the number of patches is not round."""
        if not patches:
            return {"pixel_values": torch.empty(0, 0), "grids": []}
        values = np.concatenate(patches)
        num_visual = len(values) // self._config.vision.spatial_merge_size**2
        if blank := -len(values) % PATCHES:
            values = np.concatenate([values, np.zeros((blank, values.shape[1]), np.float32)])
            grids = [*grids, (1, 2, blank // 2)]
        return {"pixel_values": torch.from_numpy(values), "grids": grids, "num_visual": num_visual}

    def _dense(self, samples: list[Sample], grids: list[tuple[int, int, int]]) -> dict[str, Tensor]:
        merge = self._config.vision.spatial_merge_size
        made = []
        for sample, (_, h, w) in zip(samples, grids, strict=True):
            if sample.dense is None:
                return {}
            made.append(targets(sample.dense, sample.picture.size, (w // merge, h // merge), self._kinds, self._spell))
        return {
            name: torch.from_numpy(np.concatenate([getattr(t, name) for t in made]))
            for name in ("chars", "kind", "name", "words", "box")
        }

    def _spell(self, text: str) -> list[int]:
        """The tokens of a name, whether it begins a text or follows a word; none without a checkpoint."""
        if self._encoder is None or not text:
            return []
        if text not in self._spelled:
            self._spelled[text] = self._encoder.words(text)
        return self._spelled[text]

    def _conversation(self, share: TaskShare, samples: list[Sample], encoder: Encoder) -> MicroBatch:
        encoded = [encoder.encode(sample) for sample in samples]
        order = sorted(range(len(samples)), key=lambda i: encoded[i].grids)
        samples, encoded = [samples[i] for i in order], [encoded[i] for i in order]
        grids = [grid for e in encoded for grid in e.grids]
        has_dense = all(s.dense is not None and len(e.grids) == 1 for s, e in zip(samples, encoded, strict=True))
        tokens = _pad(encoded)
        visual_mask = encoder.is_visual(tokens["input_ids"])
        return MicroBatch(
            task=share.name,
            weight=share.weight,
            dense=self._dense(samples, grids) if has_dense and grids else {},
            visual_mask=visual_mask,
            grounding=grounding_targets(
                [e.places for e in encoded],
                [e.grids for e in encoded],
                [e.stamps for e in encoded],
                visual_mask,
                merge=self._config.vision.spatial_merge_size,
            ),
            **tokens,
            **self._patches([p for e in encoded for p in e.pixel_values], grids),
        )


def _pad(encoded: list[EncodedSample]) -> dict[str, Any]:
    """Right padding: causal rows never look at it. Shapes: (B, T), (3, B, T), (B, T)."""
    longest = max(len(e.input_ids) for e in encoded)
    longest += -longest % TOKENS
    input_ids = torch.zeros(len(encoded), longest, dtype=torch.long)
    position_ids = torch.zeros(3, len(encoded), longest, dtype=torch.long)
    labels = torch.full((len(encoded), longest), IGNORED, dtype=torch.long)
    for row, e in enumerate(encoded):
        length = len(e.input_ids)
        input_ids[row, :length] = torch.from_numpy(e.input_ids)
        position_ids[:, row, :length] = torch.from_numpy(e.position_ids)
        labels[row, :length] = torch.from_numpy(e.labels)
    return {"input_ids": input_ids, "position_ids": position_ids, "labels": labels}


def _picture(sample: Sample) -> PILImage.Image:
    """The sample's picture, resampled to whole cells."""
    image = sample.picture
    width, height = (max(CELL_PX, round(side / CELL_PX) * CELL_PX) for side in image.size)
    return PILImage.fromarray(resize(image, height, width))


def loader(steps: Steps, *, first_step: int, num_workers: int) -> DataLoader[list[MicroBatch]]:
    """Micro-batches of steps first_step.. in order, made ahead by worker processes."""
    return DataLoader(
        steps,
        batch_size=None,
        sampler=range(first_step, len(steps)),
        num_workers=num_workers,
        prefetch_factor=4 if num_workers else None,
        worker_init_fn=_one_thread,
    )


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
