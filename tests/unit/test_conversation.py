"""What people type, and the messages it becomes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PILImage

from regard.conversation import media_part, normalize, within
from regard.errors import InputError
from regard.messages import Document, Image, Message, Text, ToolCall, Video


def encoded(kind: str, num_frames: int = 1) -> bytes:
    frames = [PILImage.new("RGB", (8, 8), (40 * n, 0, 0)) for n in range(num_frames)]
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, **({"save_all": True, "append_images": frames[1:]} if num_frames > 1 else {}))
    return buffer.getvalue()


def test_a_string_is_a_question() -> None:
    assert normalize("Hello") == (Message("user", (Text("Hello"),)),)


def test_names_of_files_in_a_list_are_files_and_the_rest_is_words() -> None:
    (message,) = normalize(["shot.png", "clip.MP4", "paper.pdf", "https://example.org/x", "What is shown?"])
    assert message == Message(
        "user",
        (Image("shot.png"), Video("clip.MP4"), Document("paper.pdf"), Image("https://example.org/x"),
         Text("What is shown?")),
    )  # fmt: skip


def test_a_file_without_a_suffix_is_told_by_its_first_bytes(tmp_path: Path) -> None:
    for name, head, kind in (
        ("a", b"%PDF-1.7", Document),
        ("b", b"\x00\x00\x00\x18ftypisom", Video),
        ("c", b"\x1a\x45\xdf\xa3", Video),
        ("d", b"RIFF\x00\x00\x00\x00AVI LIST", Video),
        ("e", b"RIFF\x00\x00\x00\x00WEBPVP8 ", Image),
        ("f", b"\x00\x00\x00\x1cftypavif", Image),
        ("g", b"\x89PNG\r\n\x1a\n", Image),
    ):
        (tmp_path / name).write_bytes(head)
        assert type(media_part(str(tmp_path / name))) is kind, name
        assert type(media_part(head)) is kind, name


def test_a_gif_with_a_huge_header_is_told_apart_without_an_error() -> None:
    """Pillow's own check of sizes used to raise an error here that nobody caught."""
    huge = b"GIF89a" + b"\x50\xc3" * 2 + b"\0\0\0" + b",\0\0\0\0" + b"\x50\xc3" * 2 + b"\0\x02\0;"
    assert isinstance(media_part(huge), Image)


def test_a_gif_that_moves_is_a_clip_and_one_that_does_not_is_a_picture(tmp_path: Path) -> None:
    (tmp_path / "moves.gif").write_bytes(encoded("gif", 3))
    (tmp_path / "still.gif").write_bytes(encoded("gif"))
    assert isinstance(media_part(tmp_path / "moves.gif"), Video)
    assert isinstance(media_part(tmp_path / "still.gif"), Image)
    assert isinstance(media_part(encoded("gif", 3)), Video)
    assert isinstance(media_part(b"GIF89a damaged"), Image)


def test_a_file_that_does_not_exist_is_still_a_file() -> None:
    assert normalize(["nowhere.jpg", "What?"])[0].parts[0] == Image("nowhere.jpg")
    assert media_part(Path("nowhere")) == Image(Path("nowhere"))


def test_data_urls_say_what_they_are() -> None:
    assert isinstance(media_part("data:image/png;base64,AAAA"), Image)
    assert isinstance(media_part("data:video/mp4;base64,AAAA"), Video)
    assert isinstance(media_part("data:application/pdf;base64,AAAA"), Document)


def test_urls_are_judged_by_their_path_and_not_their_query() -> None:
    assert isinstance(media_part("https://example.org/talk.webm?token=a.png"), Video)
    assert isinstance(media_part("https://example.org/view?file=talk.webm"), Image)


def test_pictures_bytes_and_arrays_are_media() -> None:
    picture, data = PILImage.new("RGB", (4, 4)), encoded("png")
    parts = normalize([picture, data, np.zeros((4, 4, 3), np.uint8), "Compare."])[0].parts
    assert [type(part) for part in parts] == [Image, Image, Image, Text]
    assert parts[0] == Image(picture) and parts[1] == Image(data)


def test_a_list_inside_the_list_and_a_four_dimensional_array_are_clips() -> None:
    frames = [PILImage.new("RGB", (4, 4)) for _ in range(3)]
    assert normalize([frames, "What happens?"])[0].parts[0] == Video(frames)
    clip = media_part(np.zeros((5, 4, 4, 3), np.uint8))
    assert isinstance(clip, Video) and len(clip.source) == 5


def test_messages_and_parts_pass_unchanged() -> None:
    message = Message("user", (Image("a.png", max_pixels=4096), Text("b")))
    assert normalize(message) == normalize([message]) == (message,)
    assert normalize([Image("a.png", max_pixels=4096), Text("b")]) == (message,)


def test_openai_messages_become_ours() -> None:
    messages = [
        {"role": "developer", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "auto"}},
                {"type": "input_image", "image_url": "a.png", "max_pixels": 65536},
                {"type": "video_url", "video_url": {"url": "b.mp4", "fps": 1.0}, "start": 3, "end": 9.5},
                {"type": "document", "document": "c.pdf", "pages": "1-3"},
                {"type": "text", "text": "photo.png"},
            ],
        },
        {"role": "assistant", "content": None, "reasoning_content": "hm",
         "tool_calls": [{"id": "1", "type": "function", "function": {"name": "zoom", "arguments": '{"x": [1]}'}}]},
        {"role": "tool", "tool_call_id": "1", "content": "done"},
    ]  # fmt: skip
    assert normalize(messages) == (
        Message("system", (Text("Be brief."),)),
        Message(
            "user",
            (
                Image("https://example.org/a.png"),
                Image("a.png", max_pixels=65536),
                Video("b.mp4", fps=1.0, start=3, end=9.5),
                Document("c.pdf", pages="1-3"),
                Text("photo.png"),
            ),
        ),
        Message("assistant", (), reasoning="hm", tool_calls=(ToolCall("zoom", {"x": [1]}),)),
        Message("tool", (Text("done"),)),
    )


def test_the_words_of_a_message_are_never_taken_for_a_file() -> None:
    assert normalize([{"role": "user", "content": "shot.png"}]) == (Message("user", (Text("shot.png"),)),)


def test_qwens_own_part_spelling_is_understood() -> None:
    part = {"type": "video", "video": ["f0.png", "f1.png"], "sample_fps": 1.0, "num_frames": 2, "max_frames": 4}
    assert normalize([part])[0].parts == (Video(["f0.png", "f1.png"], sample_fps=1.0, num_frames=2, max_frames=4),)


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ([], "the list of messages is empty"),
        ([3], "3 is neither text nor media"),
        ([[]], "a list of frames is empty"),
        ([Message("user"), "words"], "'words' is no message"),
        ([{"role": "robot", "content": "x"}], "role 'robot'; the roles are system, user, assistant, tool"),
        ([{"role": "user", "content": 3}], "content of a message is 3"),
        ([{"role": "user", "content": "x", "cotnent": "y"}], "the key 'cotnent', which is not known; the keys are"),
        ([{"type": "sound", "sound": "x"}], "type 'sound'; the types are text"),
        ([{"type": "image", "image": "a.png", "max_pixel": 3}], "the key 'max_pixel', which is not known"),
        ([{"type": "image_url", "image_url": {"uri": "a.png"}}], "the key 'uri'"),
        ([{"type": "image", "image": "a.png", "fps": 3}], "the key 'fps'"),
        ([{"type": "image_url", "image_url": {"url": "a.png", "detail": "low"}}], "detail is 'low'"),
        ([{"type": "image"}], "has no 'image'"),
        ([{"type": "image", "image": "a.png", "max_pixels": "big"}], "max_pixels is 'big'; it must be a number"),
        ([{"type": "text", "text": 3}], "is 3; it must be a string"),
        ([{"role": "assistant", "tool_calls": ["zoom"]}], "a tool call is 'zoom'"),
        ([{"role": "assistant", "tool_calls": [{"name": "a", "arguments": "{"}]}], "are not JSON"),
        ([{"role": "assistant", "tool_calls": [{"name": "a", "arguments": "[1]"}]}], "must be a JSON object"),
    ],
)
def test_what_cannot_be_understood_is_refused_in_a_sentence(what: Any, sentence: str) -> None:
    with pytest.raises(InputError) as refusal:
        normalize(what)
    assert sentence in str(refusal.value)


def test_a_long_value_is_shortened_in_the_sentence() -> None:
    with pytest.raises(InputError) as refusal:
        normalize([{"role": "user", "content": {"x": "y" * 5000}}])
    assert len(str(refusal.value)) < 200


def test_a_presets_limits_reach_the_pictures_that_have_none_of_their_own() -> None:
    own, bare, page, clip = Image("a.png", max_pixels=9999), Image("b.png"), Document("c.pdf"), Video("d.mp4")
    (message,) = within((Message("user", (own, bare, page, clip, Text("e"))),), 100, 200)
    assert message.parts == (
        own,
        Image("b.png", min_pixels=100, max_pixels=200),
        Document("c.pdf", min_pixels=100, max_pixels=200),
        clip,
        Text("e"),
    )
