"""Bodies of the Responses API become conversations; what cannot be honoured is named."""

from __future__ import annotations

import pytest

from regard.errors import InputError
from regard.messages import Document, Image, Message, Part, Text, ToolCall
from regard.server.responses_request import read_input, with_system

PICTURE = "data:image/png;base64,AAAA"


def no_files(file_id: str) -> Part:
    raise InputError(f"there is no file {file_id!r}")


def read(value: object, **options) -> tuple[Message, ...]:
    return with_system(read_input(value, no_files, **options), None)


def test_text_is_a_question() -> None:
    assert read("Why?") == (Message("user", (Text("Why?"),)),)


def test_messages_with_and_without_a_type_pictures_and_files() -> None:
    content = [
        {"type": "input_text", "text": "What?"},
        {"type": "input_image", "image_url": PICTURE, "detail": "auto", "max_pixels": 1000},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"},
    ]
    expected = Message(
        "user", (Text("What?"), Image(PICTURE, max_pixels=1000), Document("data:application/pdf;base64,AAAA"))
    )
    assert read([{"role": "user", "content": content}]) == (expected,)
    assert read([{"type": "message", "role": "user", "content": content, "id": "msg_1"}]) == (expected,)


def test_what_the_assistant_said_in_several_items_is_one_turn_and_outputs_follow_their_calls() -> None:
    items = [
        {"role": "user", "content": "Zoom twice."},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Yes.", "annotations": []}],
        },
        {"type": "function_call", "call_id": "a", "name": "zoom", "arguments": '{"x": 1}'},
        {"type": "function_call", "call_id": "b", "name": "zoom", "arguments": ""},
        {"type": "function_call_output", "call_id": "b", "output": [{"type": "input_image", "image_url": PICTURE}]},
        {"type": "function_call_output", "call_id": "a", "output": "done"},
        {"role": "user", "content": "And?"},
    ]
    assert read(items) == (
        Message("user", (Text("Zoom twice."),)),
        Message(
            "assistant",
            (Text("Yes."),),
            reasoning="hm",
            tool_calls=(ToolCall("zoom", {"x": 1}), ToolCall("zoom", {})),
        ),
        Message("tool", (Text("done"),)),
        Message("tool", (Image(PICTURE),)),
        Message("user", (Text("And?"),)),
    )


def test_outputs_may_answer_calls_of_the_response_before() -> None:
    assert read([{"type": "function_call_output", "call_id": "a", "output": "done"}], open_calls=["a"]) == (
        Message("tool", (Text("done"),)),
    )


def test_instructions_and_leading_system_messages_are_one_system_message_before_all() -> None:
    turns = read_input([{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hi"}], no_files)
    before = (Message("user", (Text("Hello"),)), Message("assistant", (Text("Hello."),)))
    assert with_system(turns, "You see.", before) == (
        Message("system", (Text("You see.\n\nBe brief."),)),
        *before,
        Message("user", (Text("Hi"),)),
    )


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (3, "input of the request is 3; it must be text or a list of items"),
        ([3], "an item of input is 3; it must be an object"),
        (
            [{"type": "web_search_call"}],
            "an item of input has the type 'web_search_call'; it must be message, function",
        ),
        ([{"role": "robot", "content": "Hi"}], "role of an item of type 'message' is 'robot'; it must be 'user' or"),
        ([{"role": "user", "content": "Hi", "colour": 1}], "an item of type 'message' has the field 'colour'"),
        ([{"role": "user", "content": [{"type": "input_audio"}]}], "a part has the type 'input_audio'; it must be"),
        ([{"role": "user", "content": [{"type": "input_image"}]}], "needs either image_url or file_id"),
        (
            [{"role": "user", "content": [{"type": "input_image", "image_url": PICTURE, "detail": "low"}]}],
            "detail of a part of type 'input_image' is 'low', which is not supported; leave it out or give 'auto'",
        ),
        ([{"role": "user", "content": [{"type": "input_file"}]}], "needs one of file_data, file_url and file_id"),
        ([{"role": "user", "content": [{"type": "input_image", "file_id": "f1"}]}], "there is no file 'f1'"),
        ([{"role": "user", "content": "Hi"}, {"role": "system", "content": "x"}], "stands after others; put it first"),
        ([{"type": "function_call_output", "call_id": "a", "output": "x"}], "names the call 'a', and no function_call"),
        (
            [{"type": "function_call", "call_id": "a", "name": "f", "arguments": "[1]"}],
            "arguments of the call 'f' are '\\[1\\]'; they must be a JSON object",
        ),
        (
            [
                {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
                {"type": "function_call", "call_id": "b", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "b", "output": "x"},
            ],
            "the call 'a' has no function_call_output; give one for each call",
        ),
    ],
)
def test_what_cannot_be_understood_is_told_in_one_sentence(value: object, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        read(value)
