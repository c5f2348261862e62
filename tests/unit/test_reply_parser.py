"""Replies split into thinking, text and calls, the same however they are cut."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.messages import ToolCall
from regard.processing.reply_parser import ParsedReply, ReplyParser, parse_reply

ZOOM = '<tool_call>\n{"name": "zoom", "arguments": {"box": [1, 2]}}\n</tool_call>'
ZOOM_CALL = ToolCall("zoom", {"box": [1, 2]})


def parse(raw: str, starts_in_thinking: bool = False) -> ParsedReply:
    return parse_reply(raw, starts_in_thinking=starts_in_thinking)


def test_a_plain_reply_is_its_own_text() -> None:
    assert parse("\n Two < three\n\n") == ParsedReply("\n Two < three\n\n", None, ())


def test_thinking_that_the_prompt_opened_ends_at_its_closing_tag() -> None:
    assert parse("\neasy\n</think>\n\nTwo.", True) == ParsedReply("Two.", "easy", ())


def test_thinking_cut_short_is_all_thinking() -> None:
    assert parse("first I look at\n", True) == ParsedReply("", "first I look at", ())


def test_a_leading_think_tag_opens_thinking_in_either_edition() -> None:
    assert parse("\n<think>\na\n</think>\nb") == ParsedReply("b", "a", ())
    assert parse("<think>\na\n</think>\nb", True) == ParsedReply("b", "a", ())


def test_think_tags_inside_a_text_are_text() -> None:
    assert parse("the <think> tag and </think>").text == "the <think> tag and </think>"


def test_an_empty_thinking_block_is_an_empty_string() -> None:
    assert parse("</think>\n\nhi", True) == ParsedReply("hi", "", ())


def test_a_call_with_words_before_it() -> None:
    assert parse("Sure.\n" + ZOOM) == ParsedReply("Sure.", None, (ZOOM_CALL,))


def test_several_calls_and_text_between_and_after() -> None:
    parsed = parse(f"A\n{ZOOM}\n{ZOOM}\nB {ZOOM} C")
    assert parsed.text == "A\nB \n C"
    assert parsed.tool_calls == (ZOOM_CALL,) * 3


def test_arguments_may_be_a_string_that_holds_an_object() -> None:
    assert parse('<tool_call>{"name": "b", "arguments": "{\\"x\\": 1}"}</tool_call>').tool_calls == (
        ToolCall("b", {"x": 1}),
    )
    assert parse('<tool_call>{"name": "b"}</tool_call>').tool_calls == (ToolCall("b", {}),)


@pytest.mark.parametrize(
    "body",
    ["", "{", '{"name": 3}', "[1]", '{"name": "a", "arguments": [1]}', "{'name': 'a'}", '{"a": ' * 5000],
)
def test_a_malformed_call_stays_in_the_text_and_is_reported(body: str) -> None:
    raw = f"A\n<tool_call>{body}</tool_call>\nB"
    assert parse(raw) == ParsedReply(raw, None, (), (body,))


def test_a_call_without_its_closing_tag_is_accepted_if_complete() -> None:
    assert parse(ZOOM.removesuffix("\n</tool_call>")).tool_calls == (ZOOM_CALL,)
    cut = ZOOM[:40]
    assert parse(cut) == ParsedReply(cut, None, (), (cut.removeprefix("<tool_call>"),))


def test_a_call_inside_thinking_is_thinking() -> None:
    assert parse(f"{ZOOM}</think>ok", True) == ParsedReply("ok", ZOOM, ())


def test_text_is_shown_as_soon_as_it_is_certain() -> None:
    parser = ReplyParser(starts_in_thinking=False)
    assert parser.push("Hello\n") == [("text", "Hello")]
    assert parser.push("a <tool") == [("text", "\na ")]
    assert parser.push("box> ") == [("text", "<toolbox> ")]
    assert parser.finish() == []


pieces = st.lists(
    st.sampled_from(
        [
            "<think>",
            "</think>",
            "<tool_call>",
            "</tool_call>",
            ZOOM,
            "\n",
            "\n\n",
            " ",
            "a",
            "<",
            "<t",
            "{}",
            "</",
            "\u20ac",
        ]
    ),
    max_size=12,
).map("".join)


@settings(max_examples=600, deadline=None)
@given(raw=pieces, starts=st.booleans(), data=st.data())
def test_streamed_equals_whole_for_every_split(raw: str, starts: bool, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    parser = ReplyParser(starts_in_thinking=starts)
    shown = []
    for start, stop in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        shown += parser.push(raw[start:stop])
    shown += parser.finish()
    whole = parse(raw, starts)
    assert "".join(text for kind, text in shown if kind == "text") == whole.text
    assert "".join(text for kind, text in shown if kind == "thinking") == (whole.thinking or "")
    assert tuple(parser.tool_calls) == whole.tool_calls
    assert tuple(parser.malformed_calls) == whole.malformed_calls
    assert all(text for _, text in shown)
