"""Conversations as tensors: what one optimiser step of a fine-tune is fed with.

A conversation goes through the checkpoint's own processor and template once, so that it is spelled as it will be at
inference. What the assistant says, with its end mark, is learned; everything else is not (labels IGNORED).

A step's examples are a function of (seed, step): each epoch is a permutation of its own. So a run that was stopped
goes on with the same examples.
Shape letters: B examples, T tokens, P patches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from regard.conversation import within
from regard.errors import InputError, RegardError
from regard.processing.processor import Processor
from regard.train.finetune.examples import Example

IGNORED = -100
TOKENS = 16  # rows are padded to multiples of it: a CPU's matrix library makes a kernel for every new shape


@dataclass(frozen=True)
class Encoded:
    """Shapes: input_ids, labels (T,); position_ids (3, T); pixel_values (P, C), or (0, 0) without pictures."""

    input_ids: npt.NDArray[np.int64]
    position_ids: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    pixel_values: npt.NDArray[np.float32]
    grids: list[tuple[int, int, int]]


@dataclass(frozen=True)
class Batch:
    """Shapes: input_ids, labels, visual_mask (B, T); position_ids (3, B, T); pixel_values (P, C)."""

    input_ids: Tensor
    position_ids: Tensor
    labels: Tensor
    visual_mask: Tensor
    pixel_values: Tensor
    grids: list[tuple[int, int, int]]

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        return Batch(
            self.input_ids.to(device),
            self.position_ids.to(device),
            self.labels.to(device),
            self.visual_mask.to(device),
            self.pixel_values.to(device),
            self.grids,
        )


class ExampleEncoder:
    """Encodes examples with a checkpoint's processor. `max_pixels`: of each picture that says nothing itself."""

    def __init__(self, folder: Path, max_pixels: int | None = None) -> None:
        self._folder, self._max_pixels = folder, max_pixels
        self._processor = Processor.from_folder(folder)
        tokenizer = self._processor.tokenizer
        self._start, self._end = tokenizer.token_id("<|im_start|>"), tokenizer.token_id("<|im_end|>")
        self._speaker = tokenizer.encode("assistant\n")
        self._visual_ids = torch.tensor([tokenizer.token_id(pad) for pad in ("<|image_pad|>", "<|video_pad|>")])

    def __reduce__(self) -> tuple[type[ExampleEncoder], tuple[Path, int | None]]:
        """Another process reads the folder again."""
        return ExampleEncoder, (self._folder, self._max_pixels)

    def encode(self, example: Example) -> Encoded:
        """Errors: InputError with the example's place: media that cannot be read, nothing to learn, too long."""
        messages = within(example.messages, None, self._max_pixels)
        try:
            inputs = self._processor(messages, tools=example.tools, add_generation_prompt=False)
        except RegardError as error:
            raise InputError(f"{example.where}: {error}") from error
        labels = self._labels(inputs.input_ids)
        if (labels != IGNORED).sum() == 0:
            raise InputError(f"{example.where}: the template shows nothing of what the assistant says")
        pixels = [item.pixel_values for item in inputs.items]
        return Encoded(
            input_ids=inputs.input_ids,
            position_ids=inputs.position_ids,
            labels=labels,
            pixel_values=np.concatenate(pixels) if pixels else np.zeros((0, 0), np.float32),
            grids=[item.grid_thw for item in inputs.items],
        )

    def _labels(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The ids between "<|im_start|>assistant\\n" and the end mark, which is learned too."""
        labels = np.full(len(ids), IGNORED, dtype=np.int64)
        for start in np.flatnonzero(ids == self._start):
            first = start + 1 + len(self._speaker)
            if ids[start + 1 : first].tolist() != self._speaker:
                continue
            ends = np.flatnonzero(ids[first:] == self._end)
            last = first + int(ends[0]) + 1 if len(ends) else len(ids)
            labels[first:last] = ids[first:last]
        return labels

    def collate(self, encoded: Sequence[Encoded]) -> Batch:
        """Examples side by side, padded on the right: causal rows never look at it."""
        longest = max(len(one.input_ids) for one in encoded)
        longest += -longest % TOKENS
        input_ids = torch.zeros(len(encoded), longest, dtype=torch.long)
        position_ids = torch.zeros(3, len(encoded), longest, dtype=torch.long)
        labels = torch.full((len(encoded), longest), IGNORED)
        for row, one in enumerate(encoded):
            length = len(one.input_ids)
            input_ids[row, :length] = torch.from_numpy(one.input_ids)
            position_ids[:, row, :length] = torch.from_numpy(one.position_ids)
            labels[row, :length] = torch.from_numpy(one.labels)
        pixels = [one.pixel_values for one in encoded if one.grids]
        return Batch(
            input_ids,
            position_ids,
            labels,
            torch.isin(input_ids, self._visual_ids),
            torch.from_numpy(np.concatenate(pixels)) if pixels else torch.empty(0, 0),
            [grid for one in encoded for grid in one.grids],
        )


class Steps(Dataset[list[Batch] | RegardError]):
    """Item i is the list of micro-batches of step i; of several processes each has its own part of the step.

    An example that cannot be read gives its error as the item: raised in a worker, it would come with a traceback.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        encoder: ExampleEncoder,
        *,
        num_steps: int,
        batch_size: int,
        micro_batch: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self._examples, self._encoder = list(examples), encoder
        self._num_steps, self._batch_size, self._micro_batch, self._seed = num_steps, batch_size, micro_batch, seed
        self._rank, self._world_size = rank, world_size

    def __len__(self) -> int:
        return self._num_steps

    def __getitem__(self, step: int) -> list[Batch] | RegardError:
        try:
            return self._batches(step)
        except RegardError as error:
            return error

    def _batches(self, step: int) -> list[Batch]:
        chosen = [self._examples[number] for number in self.numbers(step)[self._rank :: self._world_size]]
        # Of about one length side by side: little is padded.
        encoded = sorted(map(self._encoder.encode, chosen), key=lambda one: len(one.input_ids))
        size = self._micro_batch
        return [self._encoder.collate(encoded[first : first + size]) for first in range(0, len(encoded), size)]

    def numbers(self, step: int) -> list[int]:
        """Which examples a step has, all processes together."""
        count = len(self._examples)
        places = range(step * self._batch_size, (step + 1) * self._batch_size)
        orders = {place // count: None for place in places}
        shuffled = {epoch: np.random.default_rng([self._seed, epoch]).permutation(count) for epoch in orders}
        return [int(shuffled[place // count][place % count]) for place in places]


def loader(steps: Steps, *, first_step: int, num_workers: int) -> Iterator[list[Batch]]:
    """Steps first_step.. in order, made ahead by worker processes. Errors: InputError for one that cannot be read."""
    made: DataLoader[list[Batch] | RegardError] = DataLoader(
        steps,
        batch_size=None,
        sampler=range(first_step, len(steps)),
        num_workers=num_workers,
        prefetch_factor=2 if num_workers else None,
        worker_init_fn=_one_thread,
        multiprocessing_context="spawn" if num_workers else None,
    )
    for item in made:
        if isinstance(item, RegardError):
            raise item
        yield item


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
