"""Everything of the regard-nano folder but the weights: config, tokenizer, generation settings.

The tokenizer has the words that questions and answers are made of, and spells all others: a name has to be matched with
the characters that the tower sees, which a small model learns for characters, not for syllables.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers.models import BPE

from regard.messages import Text
from regard.processing.tokenizer import family_tokenizer
from regard.train.batches import Generator
from regard.train.nano import CONFIG, VOCAB_SIZE
from regard.train.tokenizer_training import spelling, train_tokenizer, write_tokenizer
from regard.train.world.sample import VERBATIM_END, VERBATIM_START

ASSETS = Path(__file__).parents[1] / "assets" / "nano"
SAMPLES_PER_TASK, MIN_SHARE = 1000, 0.02
_VERBATIM = re.compile(f"{VERBATIM_START}[^{VERBATIM_END}]*{VERBATIM_END}")
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
    """Words for the tokenizer, a pure function of the generators.

    A word counts if it occurs in MIN_SHARE of a task's conversations, outside of what is read off the picture. Each
    comes as often as the root of its count, so that rare ones become whole, too.
    """
    rng = np.random.default_rng(0)
    split = family_tokenizer(BPE()).pre_tokenizer.pre_tokenize_str
    counts: Counter[str] = Counter()
    for generate in generators:
        seen: Counter[str] = Counter()
        for _ in range(SAMPLES_PER_TASK):
            texts = [part.text for m in generate(rng).messages for part in m.parts if isinstance(part, Text)]
            unread = [piece for text in texts for piece in _VERBATIM.split(text)]
            seen.update({text[start:end] for text in unread for _, (start, end) in split(text)})
        counts.update({word: count for word, count in seen.items() if count >= MIN_SHARE * SAMPLES_PER_TASK})
    for text in (FENCE, *SENTENCES):
        counts.update({text[start:end]: SAMPLES_PER_TASK for _, (start, end) in split(text)})
    for word, count in sorted(counts.items()):
        yield from [word] * math.isqrt(count)


def write_side_files(folder: Path, generators: Sequence[Generator], *, vocab_size: int = VOCAB_SIZE) -> dict[str, Any]:
    """Train the tokenizer and write all files but the weights; returns the config.json that was written."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = spelling(train_tokenizer(corpus(generators), vocab_size=vocab_size))
    write_tokenizer(tokenizer, folder, (ASSETS / "chat_template.jinja").read_text(encoding="utf-8"))
    for name in ("preprocessor_config.json", "video_preprocessor_config.json"):
        settings = json.loads((ASSETS / name).read_text(encoding="utf-8"))
        settings["patch_size"] = CONFIG["vision_config"]["patch_size"]
        (folder / name).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
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
        "text_config": CONFIG["text_config"]
        | {"vocab_size": vocab_size, "bos_token_id": text_end, "eos_token_id": end},
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
