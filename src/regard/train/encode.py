"""A sample as token ids, positions and labels, the way `processing` would render the same conversation.

Only what the assistant says is learned (labels elsewhere are IGNORED). Verbatim spans are spelled
character by character; a tokenizer decodes any spelling to the same text, and single characters are what a
small model can learn to read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from regard.messages import Message, Text
from regard.processing.processor import Processor
from regard.train.world.sample import VERBATIM_END, VERBATIM_START, Sample

IGNORED = -100


@dataclass(frozen=True)
class EncodedSample:
    """Shapes: input_ids, labels (T,); position_ids (3, T); one (P, C) and one grid per item."""

    input_ids: npt.NDArray[np.int64]
    position_ids: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    pixel_values: list[npt.NDArray[np.float32]]
    grids: list[tuple[int, int, int]]


class Encoder:
    """Encodes samples with a checkpoint's own processor."""

    def __init__(self, folder: Path) -> None:
        self._processor = Processor.from_folder(folder)
        tokenizer = self._processor.tokenizer
        self._end = tokenizer.encode("<|im_end|>\n")
        self._visual_ids = [tokenizer.token_id("<|image_pad|>"), tokenizer.token_id("<|video_pad|>")]

    def encode(self, sample: Sample) -> EncodedSample:
        """The prompt through the processor, then the answer's ids after it."""
        inputs = self._processor(sample.messages[:-1])
        answer = self.answer_ids(sample.messages[-1]) + self._end
        prompt_length = len(inputs.input_ids)
        first = prompt_length + inputs.rope_delta
        answer_positions = np.arange(first, first + len(answer), dtype=np.int64)
        # The last token, a newline after the end mark, is never generated and not learned.
        labels = np.array([IGNORED] * prompt_length + answer[:-1] + [IGNORED], dtype=np.int64)
        return EncodedSample(
            input_ids=np.concatenate([inputs.input_ids, np.array(answer, dtype=np.int64)]),
            position_ids=np.concatenate([inputs.position_ids, np.tile(answer_positions, (3, 1))], axis=1),
            labels=labels,
            pixel_values=[item.pixel_values for item in inputs.items],
            grids=[item.grid_thw for item in inputs.items],
        )

    def answer_ids(self, message: Message) -> list[int]:
        """Ids of an answer; verbatim spans one character at a time."""
        encode = self._processor.tokenizer.encode
        ids: list[int] = []
        for index, piece in enumerate(message.text.replace(VERBATIM_END, VERBATIM_START).split(VERBATIM_START)):
            if index % 2:
                ids += [i for character in piece for i in encode(character)]
            elif piece:
                ids += encode(piece)
        return ids

    def is_visual(self, input_ids: Tensor) -> Tensor:
        """Where visual rows go. Shapes: same as input_ids, bool."""
        return torch.isin(input_ids, torch.tensor(self._visual_ids))


def without_markers(message: Message) -> Message:
    """The message as a user would see it."""
    parts = tuple(
        Text(p.text.replace(VERBATIM_START, "").replace(VERBATIM_END, "")) if isinstance(p, Text) else p
        for p in message.parts
    )
    return replace(message, parts=parts)
