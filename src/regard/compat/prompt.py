"""Placeholders in a prompt become as many tokens as the model sees of each picture and clip.

The string is encoded once with a single pad for each picture and each group of a clip; then pads are repeated, which
gives the ids of the written-out string, because added tokens are cut out before anything else is tokenized. How a
clip's times are written comes in two dialects (`processing/processor.py` shows them).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from regard.errors import InputError
from regard.model.config import ModelConfig
from regard.processing.processor import IMAGE_PAD, VIDEO_PAD, VISION_END, VISION_START, VideoDialect
from regard.processing.tokenizer import Tokenizer

_BARE = re.compile(f"{re.escape(IMAGE_PAD)}|{re.escape(VIDEO_PAD)}")
_WRAPPED = re.compile(f"{re.escape(VISION_START + VIDEO_PAD + VISION_END)}|{_BARE.pattern}")


@dataclass(frozen=True)
class Placeholder:
    """What stands for one picture or clip: `num_tokens` for each time, or for a picture's one group."""

    num_tokens: int
    timestamps_s: tuple[float, ...] = ()


def encode_prompts(
    texts: Sequence[str],
    pictures: Sequence[Placeholder],
    clips: Sequence[Placeholder],
    *,
    tokenizer: Tokenizer,
    config: ModelConfig,
    dialect: VideoDialect,
) -> list[list[int]]:
    """The ids of each prompt; pictures and clips are taken in the order of their placeholders.

    Errors: InputError if there are more or fewer placeholders than media.
    """
    for pad, media, noun in ((IMAGE_PAD, pictures, "picture"), (VIDEO_PAD, clips, "clip")):
        num_pads = sum(text.count(pad) for text in texts)
        if num_pads != len(media):
            raise InputError(f"the prompts have {num_pads} {pad} for {len(media)} {noun}s; write one for each {noun}")
    next_picture, next_clip = iter(pictures), iter(clips)
    pattern = _WRAPPED if dialect == "authors" else _BARE
    rows = []
    for text in texts:
        repeats: list[int] = []

        def expand(found: re.Match[str], repeats: list[int] = repeats) -> str:
            if VIDEO_PAD not in found[0]:
                repeats.append(next(next_picture).num_tokens)
                return IMAGE_PAD
            clip = next(next_clip)
            repeats.extend([clip.num_tokens] * len(clip.timestamps_s))
            return "".join(f"<{time:.1f} seconds>{VISION_START}{VIDEO_PAD}{VISION_END}" for time in clip.timestamps_s)

        ids = np.array(tokenizer.encode(pattern.sub(expand, text)), dtype=np.int64)
        counts = np.ones(len(ids), dtype=np.int64)
        counts[(ids == config.image_token_id) | (ids == config.video_token_id)] = repeats
        rows.append(np.repeat(ids, counts).tolist())
    return rows
