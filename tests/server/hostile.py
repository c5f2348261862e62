"""A request that means harm or nonsense, and how it is written; the three modules beside it hold the requests.

Names and addresses are those of the stand-in network in test_hostile.py: `site.example` is public by its number and
ends at a server of the test's own, everything else must not be connected to. None leaves this machine.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

CHAT, RESPONSES, MESSAGES, APPS = "/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/apps"
JSON = "application/json"
HUGE = 10**400  # JSON can write it, and no float holds it


@dataclass(frozen=True)
class Hostile:
    """One request. `make` gives its body, made only when it is sent: some are large."""

    name: str
    make: Callable[[], bytes]
    path: str = CHAT
    content_type: str = JSON


def chat(*parts: Any, **fields: Any) -> bytes:
    """A chat completion of one user turn."""
    content = [*parts, {"type": "text", "text": "What is it?"}]
    return json.dumps({"messages": [{"role": "user", "content": content}], "max_tokens": 2} | fields).encode()


def app(given: str, **options: Any) -> bytes:
    """A run of an application."""
    return json.dumps({"inputs": [given], "options": options}).encode()


def picture(url: str, **options: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}, **options}


def clip(url: Any, **options: Any) -> dict[str, Any]:
    return {"type": "video_url", "video_url": {"url": url}, **options}


def data_url(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def words(text: str) -> list[str]:
    return text.split()


def encoded(kind: str, size: tuple[int, int] = (64, 64), **options: Any) -> bytes:
    """A picture of noise in a format."""
    noise = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, kind, **options)
    return file.getvalue()
