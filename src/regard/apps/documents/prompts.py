"""The prompts of document reading: those that the official models were trained on, and additions in plain words.

Source: document_parsing.ipynb and ocr.ipynb of QwenLM/Qwen3-VL at 9658872. Their whole text is the prompt; additions
(the language, small text) come behind it, because the models answer in the format of the first words.
"""

from __future__ import annotations

import json
import re

READ = "Read all the text in the image."
READ_ONLY = "Please output only the text content from the image without any additional descriptions or formatting."
HTML = "qwenvl html"
MARKDOWN = "qwenvl markdown"
UPRIGHT = "How many degrees clockwise must this page be turned to be upright? Answer 0, 90, 180 or 270."

_SMALL = re.compile(r"(?:^|[/_-])nano(?:$|[/_-])", re.IGNORECASE)


def is_small(model_name: str) -> bool:
    """Whether a model (a folder, a hub id, what a server calls it) is a small one that reads lines and not pages."""
    return _SMALL.search(model_name.rstrip("/")) is not None


def added(prompt: str, *, language: str | None = None, small_text: bool = False) -> str:
    """A prompt with what is known of the page."""
    if language:
        prompt += f"\nThe text is in {language}. Keep its spelling; do not translate."
    if small_text:
        prompt += "\nThe text is small and dense. Read every line to its end and leave nothing out."
    return prompt


def extract_like(form: object) -> str:
    """The official prompt with a form to fill in."""
    return f"Extract the key-value information in the format:{json.dumps(form, ensure_ascii=False)}"
