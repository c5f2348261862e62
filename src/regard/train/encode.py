"""A sample as token ids, positions and labels, the way `processing` would render the same conversation.

Only what the assistant says is learned (labels elsewhere are IGNORED). Verbatim spans are spelled
character by character; a tokenizer decodes any spelling to the same text, and single characters are what a
small model can learn to read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from regard.messages import Message, Text
from regard.processing.processor import Processor
from regard.train.grounding import (
    COORDINATES,
    Name,
    Place,
    area_of,
    asked_tokens,
    clue_spans,
    names,
    read_places,
)
from regard.train.world.sample import VERBATIM_END, VERBATIM_START, Clue, Sample, plain

IGNORED = -100
_TIME = re.compile(r"(\d+:)?\d+\.\d+")


@dataclass(frozen=True)
class EncodedSample:
    """Shapes: input_ids, labels (T,); position_ids (3, T); one (P, C) and one grid per item.

    `places`: the tokens that say something about a place of the picture. `stamps`: where the prompt has one clip, the
    tokens of the digits of each temporal group's time.
    """

    input_ids: npt.NDArray[np.int64]
    position_ids: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    pixel_values: list[npt.NDArray[np.float32]]
    grids: list[tuple[int, int, int]]
    places: list[Place]
    stamps: list[tuple[int, ...]]


class Encoder:
    """Encodes samples with a checkpoint's own processor."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processor = Processor.from_folder(folder)
        tokenizer = self._processor.tokenizer
        self._end = tokenizer.encode("<|im_end|>\n")
        self._pieces: dict[int, str] = {}
        self._visual_ids = [tokenizer.token_id("<|image_pad|>"), tokenizer.token_id("<|video_pad|>")]

    def __reduce__(self) -> tuple[type[Encoder], tuple[Path]]:
        """Another process reads the folder again: where samples are made in spawned processes, this goes to them."""
        return Encoder, (self._folder,)

    def encode(self, sample: Sample) -> EncodedSample:
        """The first prompt through the processor, then answers and further questions after it.

        The family's templates write a later turn the same whether it is rendered alone or in place, so the pieces
        can be joined, and those with pictures keep their positions but for where they start (checked in tests).
        """
        prompt = sample.prompt
        inputs = self._processor(prompt)
        ids, labels = list(inputs.input_ids), [IGNORED] * len(inputs.input_ids)
        positions = [inputs.position_ids]
        items = list(inputs.items)
        places: list[Place] = []
        next_position = len(ids) + inputs.rope_delta
        question = 0  # where the last question's own words begin
        clues = iter(sample.clues)
        for message in sample.messages[len(prompt) :]:
            if message.role == "assistant":
                answer, spans = self.answer(message, sample)
                told = [replace(place, first=place.first + len(ids), last=place.last + len(ids)) for place in spans]
                places += self._named(told, plain(message.text), ids + answer, question)
                places += self._clued(next(clues, ()), ids, answer, question)
                piece = answer + self._end
                # The newline after the end mark is never generated and not learned.
                labels += [*answer, self._end[0], *[IGNORED] * (len(self._end) - 1)]
            elif all(isinstance(part, Text) for part in message.parts):
                piece = self._processor.tokenizer.encode(self._processor.template.render([message]))
                question = len(ids)
                labels += [IGNORED] * len(piece)
            else:
                question = len(ids)
                more = self._processor([message])
                ids += list(more.input_ids)
                labels += [IGNORED] * len(more.input_ids)
                positions.append(more.position_ids + next_position)
                items += more.items
                next_position += len(more.input_ids) + more.rope_delta
                continue
            ids += piece
            positions.append(np.tile(np.arange(next_position, next_position + len(piece), dtype=np.int64), (3, 1)))
            next_position += len(piece)
        return EncodedSample(
            input_ids=np.array(ids, dtype=np.int64),
            position_ids=np.concatenate(positions, axis=1),
            labels=np.array(labels, dtype=np.int64),
            pixel_values=[item.pixel_values for item in items],
            grids=[item.grid_thw for item in items],
            places=places,
            stamps=self._stamps(ids, items[0].grid_thw[0]) if len(items) == 1 and items[0].grid_thw[0] > 1 else [],
        )

    def _named(self, places: list[Place], answer: str, ids: list[int], question: int) -> list[Place]:
        """Places with the tokens that name them, of the tokens from `question` on."""
        named = iter(names(answer))
        pieces = [self._piece(i) for i in ids[question:]]
        result = []
        for place in places:
            if place.kind == "point":
                tokens = asked_tokens(next(named), pieces[: place.first - question + 1])
                place = replace(place, names=(Name(tuple(question + index for index in tokens), place.areas),))
            result.append(place)
        return result

    def _clued(self, clues: Sequence[Clue], ids: list[int], answer: list[int], question: int) -> list[Place]:
        """The places that an answer's clues tell of; `ids` are all before the answer."""
        pieces = [self._piece(i) for i in ids[question:]]
        places = []
        for clue, first, last in clue_spans(clues, [self._piece(i) for i in answer]):
            called = tuple(
                Name(tuple(question + index for index in asked_tokens(name, pieces)), areas)
                for name, areas in clue.names
            )
            is_time = bool(clue.areas) and _TIME.fullmatch(clue.said) is not None
            is_count = clue.said.isdigit()
            rows = len(ids) + first - 1, len(ids) + last - 1
            places.append(Place("point", *rows, clue.areas, called, is_time=is_time, is_count=is_count))
        return places

    def _stamps(self, ids: list[int], num_groups: int) -> list[tuple[int, ...]]:
        """The tokens of the digits in `<3.5 seconds>` before each group of a clip."""
        visual = np.flatnonzero(np.isin(ids, self._visual_ids)).reshape(num_groups, -1)
        stamps = []
        for first in visual[:, 0]:
            start = int(first) - 2  # before the mark where the group starts
            while "<" not in self._piece(ids[start]):
                start -= 1
            stamps.append(tuple(i for i in range(start, int(first)) if any(c.isdigit() for c in self._piece(ids[i]))))
        return stamps

    def _piece(self, token_id: int) -> str:
        if token_id not in self._pieces:
            self._pieces[token_id] = self._processor.tokenizer.decode([token_id])
        return self._pieces[token_id]

    def words(self, name: str) -> list[int]:
        """The tokens of a name but spaces, once each, whether it begins a text or follows a word."""
        encode = self._processor.tokenizer.encode
        return [i for i in dict.fromkeys([*encode(" " + name), *encode(name)]) if self._piece(i).strip()]

    def answer(self, message: Message, sample: Sample) -> tuple[list[int], list[Place]]:
        """Ids of an answer, verbatim spans one character at a time, and what the tokens say about places."""
        encode = self._processor.tokenizer.encode
        ids: list[int] = []
        places: list[Place] = []
        for index, piece in enumerate(message.text.replace(VERBATIM_END, VERBATIM_START).split(VERBATIM_START)):
            if index % 2:
                spelled = [encode(character) for character in piece]
                if sample.dense is not None:
                    counts = [len(character) for character in spelled]
                    places += read_places(piece, counts, len(ids) - 1, sample.dense, sample.picture.size)
                ids += [i for character in spelled for i in character]
                continue
            done = 0
            # Numbers are words of their own to the pre-tokenizer: pieces cut beside them have the same ids.
            for found in COORDINATES.finditer(piece):
                start, end = found.span(1)
                ids += encode(piece[done:start])
                digits = encode(piece[start:end])
                places.append(Place("point", len(ids) - 1, len(ids) + len(digits) - 1, (area_of(found[1]),)))
                ids += digits
                done = end
            if done < len(piece):
                ids += encode(piece[done:])
        return ids, places

    def is_visual(self, input_ids: Tensor) -> Tensor:
        """Where visual rows go. Shapes: same as input_ids, bool."""
        return torch.isin(input_ids, torch.tensor(self._visual_ids))
