"""Messages in, `ModelInputs` out: the one place where media, template, tokenizer and positions meet.

    processor = Processor.from_folder(folder)
    inputs = processor([Message("user", (Image("shot.png"), Text("Where is the Save button?")))])

Steps: decode and resize every picture, clip and page in order; render the chat template with one placeholder
for each; put each clip's timestamps into the string; encode the string once; repeat each pad token as often as
its picture has merged patches (the same ids as encoding the expanded string, because added tokens are cut out
before anything else is tokenized); compute the positions.

A clip of two groups at 0.3 s and 1.6 s is written in one of two dialects (<pad> stands for its repeats):

    "authors"       <0.3 seconds><start><pad><end><1.6 seconds><start><pad><end>
    "transformers"  <start><0.3 seconds><start><pad><end><1.6 seconds><start><pad><end><end>

The first is what the model's authors shipped (transformers 4.57), the second what transformers writes since 5.10.

It does not run the model, cache pictures between requests, or read replies.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from regard.errors import CapacityError, CheckpointError, ConfigError, InputError
from regard.inputs import ModelInputs, VisionItem
from regard.messages import Image, Message, Text, Video
from regard.model.config import ModelConfig
from regard.processing.chat_template import ChatTemplate
from regard.processing.decode import Decode, decode
from regard.processing.fetch_policy import DEFAULT_POLICY, FetchPolicy
from regard.processing.image import ResizeBackend
from regard.processing.media import MediaReader, SeenMedia
from regard.processing.positions import mrope_positions
from regard.processing.side_files import read_json_object
from regard.processing.tokenizer import Tokenizer

VideoDialect = Literal["authors", "transformers"]

IMAGE_PAD, VIDEO_PAD = "<|image_pad|>", "<|video_pad|>"
VISION_START, VISION_END = "<|vision_start|>", "<|vision_end|>"
_BARE = re.compile(f"{re.escape(IMAGE_PAD)}|{re.escape(VIDEO_PAD)}")
_WRAPPED = re.compile(f"{re.escape(VISION_START + VIDEO_PAD + VISION_END)}|{_BARE.pattern}")


class Processor:
    """Turns conversations into model inputs; made once for a checkpoint, safe to share between threads."""

    def __init__(
        self,
        config: ModelConfig,
        tokenizer: Tokenizer,
        template: ChatTemplate,
        media: MediaReader,
        *,
        generation_config: Mapping[str, Any],
        video_dialect: VideoDialect = "authors",
    ) -> None:
        if video_dialect not in ("authors", "transformers"):
            raise ConfigError(f"video_dialect is {video_dialect!r}; it must be 'authors' or 'transformers'")
        self.config = config
        self.tokenizer = tokenizer
        self.template = template
        self.media = media
        self.generation_config = dict(generation_config)
        self.video_dialect = video_dialect
        self.starts_in_thinking = template.opens_thinking

    @classmethod
    def from_folder(
        cls,
        folder: Path,
        *,
        video_dialect: VideoDialect = "authors",
        resize_backend: ResizeBackend = "torch",
        policy: FetchPolicy = DEFAULT_POLICY,
        decode: Decode = decode,
    ) -> Processor:
        """Read a model folder's side files. `policy` says what may be fetched, `decode` decodes it.

        Errors: CheckpointError naming the file that is missing or wrong.
        """
        raw_config = read_json_object(folder / "config.json")
        if not raw_config:
            raise CheckpointError(f"{folder} has no config.json, so it is not a model folder; check the path")
        config = ModelConfig.from_hf(raw_config)
        tokenizer = Tokenizer.from_folder(folder)
        for token, expected in ((IMAGE_PAD, config.image_token_id), (VIDEO_PAD, config.video_token_id)):
            if tokenizer.token_id(token) != expected:
                raise CheckpointError(
                    f"{folder}: config.json gives {token} the id {expected}, but the tokenizer has "
                    f"{tokenizer.token_id(token)}; the files do not belong together"
                )
        return cls(
            config,
            tokenizer,
            ChatTemplate.from_folder(folder),
            MediaReader.from_folder(folder, config.vision, resize_backend=resize_backend, policy=policy, decode=decode),
            generation_config=read_json_object(folder / "generation_config.json"),
            video_dialect=video_dialect,
        )

    def __call__(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        add_vision_id: bool = False,
    ) -> ModelInputs:
        """Make one prompt.

        Errors: InputError for media or messages that cannot be used; CapacityError if the prompt is longer
        than the model's context.
        """
        if not messages:
            raise InputError("there is no message; give at least one")
        messages, seen = self._look(messages)
        rendered = self.template.render(messages, tools, add_generation_prompt, add_vision_id)
        prompt, seen, repeats = self._place(rendered, seen)
        input_ids, offsets = self._encode(prompt, repeats)
        self._check_length(len(input_ids), seen)
        grids = [item.grid_thw for item in seen]
        position_ids, rope_delta = mrope_positions(input_ids, grids, self.config)
        num_pads = [item.grid_thw[0] for item in seen]  # before repeating: one for a picture, one for each group
        first_pads = np.cumsum(num_pads) - num_pads
        items = tuple(
            VisionItem(
                item.patches,
                item.grid_thw,
                item.is_video,
                item.content_hash,
                int(offsets[first]),
                mean=item.normalization.mean,
                std=item.normalization.std,
            )
            for item, first in zip(seen, first_pads, strict=True)
        )
        return ModelInputs(
            input_ids=input_ids,
            position_ids=position_ids,
            rope_delta=rope_delta,
            items=items,
            prompt=prompt,
            media=tuple(item.report for item in seen),
        )

    def _look(self, messages: Sequence[Message]) -> tuple[list[Message], list[SeenMedia]]:
        """Decode all media in order; a document's part becomes one picture part for each page."""
        seen: list[SeenMedia] = []
        looked: list[Message] = []
        for message in messages:
            parts: list[Text | Image | Video] = []
            for part in message.parts:
                if isinstance(part, Text):
                    _refuse_pads(part.text)
                    parts.append(part)
                    continue
                with closing(self.media.read(part)) as items:
                    for item in items:
                        seen.append(item)
                        parts.append(Video(part.source) if item.is_video else Image(part.source))
                        self._check_length(sum(one.report.num_visual_tokens for one in seen), seen)
            looked.append(replace(message, parts=tuple(parts)))
        return looked, seen

    def _place(self, rendered: str, seen: Sequence[SeenMedia]) -> tuple[str, list[SeenMedia], list[int]]:
        """Write the clips' timestamps; returns the string, the items in its order, and each pad's repeats."""
        pictures, clips = [item for item in seen if not item.is_video], [item for item in seen if item.is_video]
        for pad, items, noun in ((IMAGE_PAD, pictures, "picture"), (VIDEO_PAD, clips, "clip")):
            if rendered.count(pad) != len(items):
                raise InputError(
                    f"the chat template shows {rendered.count(pad)} of {len(items)} {noun}s; put {noun}s into user or "
                    f"tool messages, and no {pad} into texts"
                )
        next_picture, next_clip = iter(pictures), iter(clips)
        placed: list[SeenMedia] = []
        repeats: list[int] = []

        def expand(placeholder: re.Match[str]) -> str:
            item = next(next_clip if VIDEO_PAD in placeholder[0] else next_picture)
            placed.append(item)
            num_groups = item.grid_thw[0]
            repeats.extend([item.report.num_visual_tokens // num_groups] * num_groups)
            if not item.is_video:
                return IMAGE_PAD
            times = item.report.timestamps_s
            return "".join(f"<{time:.1f} seconds>{VISION_START}{VIDEO_PAD}{VISION_END}" for time in times)

        pattern = _WRAPPED if self.video_dialect == "authors" else _BARE
        return pattern.sub(expand, rendered), placed, repeats

    def _encode(self, prompt: str, repeats: Sequence[int]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The ids with every pad repeated, and where the repeats of each pad start."""
        ids = np.array(self.tokenizer.encode(prompt), dtype=np.int64)
        is_pad = (ids == self.config.image_token_id) | (ids == self.config.video_token_id)
        counts = np.ones(len(ids), dtype=np.int64)
        counts[is_pad] = repeats
        return np.repeat(ids, counts), (np.cumsum(counts) - counts)[is_pad]

    def _check_length(self, num_tokens: int, seen: Sequence[SeenMedia]) -> None:
        limit = self.config.text.max_position_embeddings
        if num_tokens > limit:
            num_visual = sum(item.report.num_visual_tokens for item in seen)
            advice = "lower max_pixels, fps or the number of pages" if num_visual * 2 > num_tokens else "shorten it"
            raise CapacityError(
                f"the prompt has {num_tokens} tokens ({num_visual} of them visual), the model's context holds {limit}; "
                f"{advice}"
            )


def _refuse_pads(text: str) -> None:
    for pad in (IMAGE_PAD, VIDEO_PAD):
        if pad in text:
            raise InputError(f"a text contains {pad}, which the model reads as a piece of a picture; remove it")
