"""Bodies of the Messages API become conversations; what cannot be honoured is named."""

from __future__ import annotations

import pytest

from regard.errors import InputError
from regard.messages import Document, Image, Message, Part, Text, ToolCall
from regard.server.messages_request import read_messages, read_system

BASE64 = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
PICTURE = Image("data:image/png;base64,AAAA")


def files(file_id: str) -> Part:
    if file_id != "f1":
        raise InputError(f"there is no file {file_id!r}")
    return Document("a.pdf")


def read(*messages: dict) -> tuple[Message, ...]:
    return read_messages(list(messages), files)


def test_a_system_prompt_is_text_or_blocks() -> None:
    assert read_system(None) == () == read_system("")
    assert read_system("Be brief.") == (Message("system", (Text("Be brief."),)),)
    blocks = [
        {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "Go."},
    ]
    assert read_system(blocks) == (Message("system", (Text("Be brief.\n\nGo."),)),)


def test_text_pictures_and_documents_of_the_user() -> None:
    content = [
        {"type": "text", "text": "What?", "cache_control": {"type": "ephemeral"}},
        {"type": "image", "source": BASE64},
        {"type": "image", "source": {"type": "url", "url": "https://a.b/c.png"}, "max_pixels": 1000},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}},
        {"type": "document", "title": "Note", "source": {"type": "text", "media_type": "text/plain", "data": "words"}},
        {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "inside"}]}},
        {"type": "document", "source": {"type": "file", "file_id": "f1"}},
    ]
    (message,) = read({"role": "user", "content": content})
    assert message.parts == (
        Text("What?"),
        PICTURE,
        Image("https://a.b/c.png", max_pixels=1000),
        Document("data:application/pdf;base64,AAAA"),
        Text("Note\n"),
        Text("words"),
        Text("inside"),
        Document("a.pdf"),
    )


def test_calls_and_their_results_in_the_calls_order_pictures_included() -> None:
    messages = read(
        {"role": "user", "content": "Zoom twice."},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": ""},
                {"type": "text", "text": "Yes."},
                {"type": "tool_use", "id": "a", "name": "zoom", "input": {"x": 1}},
                {"type": "tool_use", "id": "b", "name": "zoom", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "b", "content": [{"type": "image", "source": BASE64}]},
                {"type": "tool_result", "tool_use_id": "a", "content": "too small", "is_error": True},
                {"type": "text", "text": "Go on."},
            ],
        },
    )
    assert messages == (
        Message("user", (Text("Zoom twice."),)),
        Message(
            "assistant",
            (Text("Yes."),),
            reasoning="hm",
            tool_calls=(ToolCall("zoom", {"x": 1}), ToolCall("zoom", {})),
        ),
        Message("tool", (Text("Error: "), Text("too small"))),
        Message("tool", (PICTURE,)),
        Message("user", (Text("Go on."),)),
    )


@pytest.mark.parametrize(
    ("messages", "sentence"),
    [
        ([], "messages of the request is \\[\\]; it must be a list with at least one message"),
        ([{"role": "system", "content": "x"}], "role of a message is 'system'; it must be 'user' or 'assistant'"),
        ([{"role": "user", "content": 3}], "the content of a message of role 'user' is 3; it must be text or a list"),
        ([{"role": "user", "content": "x", "name": "me"}], "a message has the field 'name', which is not supported"),
        ([{"role": "user", "content": [{"type": "audio"}]}], "a content block has the type 'audio'; it must be text"),
        (
            [{"role": "user", "content": [{"type": "image", "source": {**BASE64, "media_type": "image/tiff"}}]}],
            "media_type of source of a block of type 'image' is 'image/tiff'; it must be 'image/jpeg' or",
        ),
        (
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "document", "citations": {"enabled": True}, "source": {"type": "url", "url": "x"}}
                    ],
                }
            ],
            "enabled of citations of a block of type 'document' is True, which is not supported",
        ),
        (
            [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "x"}]}],
            "tool_result names 'a', which is no open tool_use of the message before",
        ),
        (
            [
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": i, "name": "f", "input": {}} for i in ("a", "b")],
                },
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "b", "content": "x"}]},
            ],
            "the tool_use 'a' has no tool_result; give one for each",
        ),
        ([{"role": "assistant", "content": [{"type": "image", "source": BASE64}]}], "a block of the assistant has the"),
    ],
)
def test_what_cannot_be_understood_is_told_in_one_sentence(messages: list, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        read_messages(messages, files)
