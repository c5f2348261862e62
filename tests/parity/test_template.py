"""Rendered prompts equal those of transformers' own renderer, for any conversation."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.messages import Image, Message, Video
from regard.processing.chat_template import ChatTemplate

pytest.importorskip("transformers")
from transformers.utils.chat_template_utils import render_jinja_template

from tests.parity.conversations import TOOLS, as_dicts, conversations

ROOT = Path(__file__).parents[2]
SOURCES = [
    (ROOT / path).read_text(encoding="utf-8")
    for path in ("src/regard/assets/nano/chat_template.jinja", "src/regard/assets/thinking/chat_template.jinja")
]
TEMPLATES = {source: ChatTemplate(source) for source in SOURCES}


@pytest.mark.parametrize("source", SOURCES, ids=["instruct", "thinking"])
@settings(max_examples=80, deadline=None)
@given(
    messages=conversations(st.sampled_from([Image("a.png"), Video("b.mp4")])),
    with_tools=st.booleans(),
    add_generation_prompt=st.booleans(),
    add_vision_id=st.booleans(),
)
def test_rendering_equals_the_reference(
    source: str, messages: list[Message], with_tools: bool, add_generation_prompt: bool, add_vision_id: bool
) -> None:
    tools = TOOLS if with_tools else None
    ours = TEMPLATES[source].render(messages, tools, add_generation_prompt, add_vision_id)
    theirs, _ = render_jinja_template(
        [as_dicts(messages)],
        tools=tools,
        chat_template=source,
        add_generation_prompt=add_generation_prompt,
        add_vision_id=add_vision_id,
    )
    assert ours == theirs[0]
