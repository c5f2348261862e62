"""Everything of the regard-nano folder but the weights: config, tokenizer, generation settings.

The tokenizer learns from what nano talks about: the questions and answers of the rendered world, interface
words, and an open word list. Verbatim spans are left out: they are spelled by character anyway.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from regard.messages import Text
from regard.train.batches import Generator
from regard.train.nano import CONFIG, VOCAB_SIZE
from regard.train.tokenizer_training import train_tokenizer, write_tokenizer
from regard.train.world.sample import plain
from regard.train.world.words import UI_WORDS, word_list

ASSETS = Path(__file__).parents[1] / "assets" / "nano"
SAMPLES_PER_TASK = 1000
SENTENCES = (
    "I cannot see that in the picture.",
    "There is no such button.",
    "Hello! Show me a picture and ask me about it.",
    "I am regard-nano, a very small model for screens, short texts, shapes and clips.",
    "Yes.",
    "No.",
)
FENCE = '```json\n[\n\t{"bbox_2d": [1, 2, 3, 4], "label": "x"},\n\t{"point_2d": [1, 2], "label": "x"}\n]\n```'


def corpus(generators: Sequence[Generator]) -> Iterator[str]:
    """Texts for the tokenizer, a pure function of the generators and the word list."""
    rng = np.random.default_rng(0)
    for generate in generators:
        for _ in range(SAMPLES_PER_TASK):
            for message in generate(rng).messages:
                yield from (plain(part.text) for part in message.parts if isinstance(part, Text))
    for _ in range(200):
        yield FENCE
        yield from SENTENCES
        yield " ".join(UI_WORDS)
    for index, word in enumerate(word_list(held_out=False)):
        yield f" {word.lower()}" if index % 2 else f" {word.capitalize()}"


def write_side_files(folder: Path, generators: Sequence[Generator]) -> dict[str, Any]:
    """Train the tokenizer and write all files but the weights; returns the config.json that was written."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(corpus(generators), vocab_size=VOCAB_SIZE)
    write_tokenizer(tokenizer, folder, (ASSETS / "chat_template.jinja").read_text(encoding="utf-8"))
    for name in ("preprocessor_config.json", "video_preprocessor_config.json"):
        if folder.resolve() != ASSETS.resolve():
            shutil.copy(ASSETS / name, folder / name)
    ids = {
        token: tokenizer.token_to_id(token)
        for token in (
            "<|image_pad|>",
            "<|video_pad|>",
            "<|vision_start|>",
            "<|vision_end|>",
            "<|im_end|>",
            "<|endoftext|>",
        )
    }
    end, text_end = ids["<|im_end|>"], ids["<|endoftext|>"]
    config = CONFIG | {
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
        "text_config": CONFIG["text_config"] | {"bos_token_id": text_end, "eos_token_id": end},
    }
    generation = {
        "bos_token_id": text_end,
        "pad_token_id": text_end,
        "eos_token_id": [end, text_end],
        "do_sample": False,
    }
    for name, content in (("config.json", config), ("generation_config.json", generation)):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return config
