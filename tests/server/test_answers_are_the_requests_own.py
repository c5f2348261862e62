"""What other servers got wrong when requests shared a cache or a batch: each answer belongs to its own picture.

The answers that are right are those of a model that keeps nothing and answers one request at a time.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

pytest.importorskip("openai", reason="openai is not installed")

import openai
from PIL import Image, ImageDraw

from regard.generate import generate
from regard.llm import LLM
from regard.sampling_params import SamplingParams
from tests.server.conftest import asked, data_url

COLORS = ("red", "blue", "green", "black")


def shape(color: str, x: int = 40) -> bytes:
    picture = Image.new("RGB", (256, 192), "white")
    ImageDraw.Draw(picture).ellipse((x, 40, x + 80, 120), fill=color)
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def part(data: bytes) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": data_url(data)}}


def create(client: openai.OpenAI, *pictures: bytes, text: str = "Describe the picture.") -> Any:
    messages = asked(*map(part, pictures), text=text)
    return client.chat.completions.create(model="nano", messages=messages, max_tokens=40, temperature=0)


@pytest.fixture
def alone(nano: LLM) -> Iterator[Any]:
    """The naive loop: no cache, no batch."""

    def answer(*pictures: bytes, text: str = "Describe the picture.") -> str:
        tokenizer = nano.processor.tokenizer
        inputs = nano.processor([*nano_messages(*pictures, text=text)])
        ids = list(generate(nano.model, inputs, SamplingParams(max_tokens=40), eos_token_ids=tokenizer.eos_token_ids))
        return tokenizer.decode([token for token in ids if token not in tokenizer.eos_token_ids])

    yield answer


def nano_messages(*pictures: bytes, text: str) -> Any:
    from regard.conversation import normalize

    return normalize([*pictures, text])


def test_the_same_words_about_another_picture_get_another_answer(client: openai.OpenAI, alone: Any) -> None:
    for _ in range(2):  # the second time all prompts are in the prefix cache
        for color in COLORS:
            reply = create(client, shape(color))
            assert reply.choices[0].message.content == alone(shape(color))
    assert reply.usage.prompt_tokens_details.cached_tokens > 0
    assert len({create(client, shape(color)).choices[0].message.content for color in COLORS}) > 1


def test_pictures_in_another_order_are_another_prompt(client: openai.OpenAI, alone: Any) -> None:
    first, second = shape("red"), shape("blue", 120)
    for pictures in ((first, second), (second, first), (first, second)):
        reply = create(client, *pictures, text="What is in the first picture?")
        assert reply.choices[0].message.content == alone(*pictures, text="What is in the first picture?")


def test_eight_at_once_are_answered_as_one_by_one(client: openai.OpenAI, alone: Any) -> None:
    pictures = [shape(color, x) for color in COLORS for x in (20, 150)]
    wanted = [alone(picture) for picture in pictures]
    with ThreadPoolExecutor(len(pictures)) as pool:
        replies = list(pool.map(lambda picture: create(client, picture), pictures))
    assert [reply.choices[0].message.content for reply in replies] == wanted
