"""What is sent: options in each server's words, pictures, pages and clips, and boxes in the user's pixels."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PILImage

from regard.client import HttpChat
from regard.client.content import write_content
from regard.client.dialects import DIALECTS, KINDS, chosen_sampling, sampling_body, template_body, tool_json
from regard.errors import ConfigError, InputError
from regard.messages import Document, Image, Message, Text, ToolCall, Video
from regard.reply import Box, Point
from regard.sampling_params import Structure
from tests.fake_server import Answer, chunk, events, fake_server, models, says

VLLM, SGLANG, DASHSCOPE, OPENAI, REGARD = (
    DIALECTS[kind] for kind in ("vllm", "sglang", "dashscope", "openai", "regard")
)


def sent(kind: str, preset: str | None = None, **options: Any) -> dict[str, Any]:
    params, names = chosen_sampling(preset, options, is_thinking=False)
    return sampling_body(DIALECTS[kind], params, names)


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


# Options


@pytest.mark.parametrize("kind", KINDS)
def test_without_preset_and_options_the_server_decides(kind: str) -> None:
    assert sent(kind) == {}


@pytest.mark.parametrize("kind", KINDS)
def test_what_every_server_knows_is_sent_by_its_name(kind: str) -> None:
    wanted = {"temperature": 0.5, "top_p": 0.9, "max_tokens": 7, "seed": 3, "stop": ["END"]}
    assert sent(kind, temperature=0.5, top_p=0.9, max_tokens=7, seed=3, stop="END") == wanted


def test_a_preset_is_sent_in_full_so_that_no_default_of_the_server_mixes_in() -> None:
    assert sent("vllm", "visual", max_tokens=9) == {
        "temperature": 0.7,
        "top_p": 0.8,
        "top_k": 20,
        "min_p": 0.0,
        "presence_penalty": 1.5,
        "frequency_penalty": 0.0,
        "repetition_penalty": 1.0,
        "max_tokens": 9,
    }
    assert sent("dashscope", "visual", max_tokens=9) == {
        "temperature": 0.7,
        "top_p": 0.8,
        "top_k": 20,
        "presence_penalty": 1.5,
        "repetition_penalty": 1.0,
        "max_tokens": 9,
    }


def test_a_preset_that_a_server_cannot_honour_is_refused_and_one_that_it_can_is_not() -> None:
    with pytest.raises(
        ConfigError, match="top_k cannot be honoured by an OpenAI-compatible.*; regard, vllm, sglang, dash"
    ):
        sent("openai", "visual")
    assert sent("openai", "greedy")["temperature"] == 0.0  # its top_k is off, so nothing is lost


@pytest.mark.parametrize(
    ("kind", "options", "body"),
    [
        ("vllm", {"top_k": 0}, {"top_k": 0}),
        ("sglang", {"top_k": 0}, {"top_k": -1}),
        ("dashscope", {"top_k": 0}, {"top_k": 101}),
        ("openai", {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}, {}),
        ("vllm", {"thinking_budget": 5}, {"thinking_token_budget": 5}),
        ("dashscope", {"thinking_budget": 5}, {"thinking_budget": 5}),
        ("vllm", {"logit_bias": {7: 1.5}}, {"logit_bias": {"7": 1.5}}),
        ("vllm", {"ignore_eos": True, "min_tokens": 4000}, {"ignore_eos": True, "min_tokens": 4000}),
        ("sglang", {"stop_token_ids": [5]}, {"stop_token_ids": [5]}),
    ],
)
def test_options_are_spelled_in_the_servers_words(kind: str, options: dict[str, Any], body: dict[str, Any]) -> None:
    assert sent(kind, **options) == body


@pytest.mark.parametrize(
    ("kind", "options", "sentence"),
    [
        ("openai", {"min_p": 0.1}, "min_p cannot be honoured"),
        ("dashscope", {"frequency_penalty": 1.0}, "frequency_penalty cannot be honoured by DashScope; regard, vllm"),
        ("sglang", {"thinking_budget": 5}, "thinking_budget cannot be honoured by SGLang; regard, vllm, dashscope can"),
        ("vllm", {"repetition_guard": True}, "repetition_guard cannot be honoured by vLLM; regard can"),
        ("vllm", {"n": 2}, "n is 2; a chat has one answer"),
        ("vllm", {"num_logprobs": 2}, "servers send no token ids to go with them"),
        ("vllm", {"temperature": -1}, "temperature is -1"),
        ("vllm", {"heat": 1}, "there is no option 'heat'; the options are"),
    ],
)
def test_what_cannot_be_honoured_is_refused(kind: str, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        sent(kind, **options)


SCHEMA = {"type": "object", "properties": {"a": {"type": "number"}}}


@pytest.mark.parametrize("kind", KINDS)
def test_a_schema_is_a_response_format_everywhere(kind: str) -> None:
    body = sent(kind, structure=Structure("json_schema", SCHEMA))
    assert body["response_format"]["type"] == "json_schema"
    assert body["response_format"]["json_schema"]["schema"] == SCHEMA
    assert sent(kind, structure=Structure("json_object")) == {"response_format": {"type": "json_object"}}


def test_other_structures_go_to_the_servers_that_know_them() -> None:
    choice = Structure("choice", ["a.b", "c"])
    assert sent("vllm", structure=choice) == {"structured_outputs": {"choice": ["a.b", "c"]}}
    assert sent("sglang", structure=choice) == {"regex": r"(a\.b|c)"}
    assert sent("sglang", structure=Structure("regex", "[0-9]+")) == {"regex": "[0-9]+"}
    assert sent("vllm", structure=Structure("grammar", "start: /x/")) == {
        "structured_outputs": {"grammar": "start: /x/"}
    }
    with pytest.raises(ConfigError, match="structure grammar cannot be honoured by SGLang, which knows json_schema"):
        sent("sglang", structure=Structure("grammar", "start: /x/"))
    with pytest.raises(ConfigError, match="structure choice cannot be honoured by DashScope"):
        sent("dashscope", structure=choice)


def test_the_templates_options_are_sent_where_they_are_read() -> None:
    assert template_body(VLLM, True) == {"chat_template_kwargs": {"add_vision_id": True}}
    assert template_body(OPENAI, False) == {}
    with pytest.raises(ConfigError, match="add_vision_id cannot be honoured by DashScope"):
        template_body(DASHSCOPE, True)


def test_a_tool_may_be_given_as_its_function_alone() -> None:
    function = {"name": "zoom", "parameters": {"type": "object"}}
    assert tool_json(function) == tool_json({"type": "function", "function": function})
    with pytest.raises(ConfigError, match="it must be an object with a function that has a name"):
        tool_json({"parameters": {}})


# Pictures


def png(size: tuple[int, int], mode: str = "RGB", **options: Any) -> bytes:
    out = io.BytesIO()
    PILImage.new(mode, size, 100 if mode == "L" else None).save(out, options.pop("format", "PNG"), **options)
    return out.getvalue()


def pictures(kind: str, *parts: Any) -> tuple[list[Any], list[PILImage.Image], list[tuple[int, int]]]:
    """The parts as sent, their pictures, and the sizes that boxes are given in."""
    content = write_content([Message("user", (*parts, Text("?")))], DIALECTS[kind])
    made = content.messages[0]["content"][:-1]
    opened = [PILImage.open(io.BytesIO(data_of(part["image_url"]["url"]))) for part in made]
    return made, opened, content.image_sizes


def data_of(url: str) -> bytes:
    return base64.b64decode(url.partition(",")[2])


def test_a_plain_picture_goes_out_byte_for_byte(tmp_path: Path) -> None:
    for name, data, kind in (("a.png", png((40, 20)), "png"), ("a.jpg", png((40, 20), "L", format="JPEG"), "jpeg")):
        path = tmp_path / name
        path.write_bytes(data)
        for source in (str(path), path, data):
            (part,), _, sizes = pictures("vllm", Image(source))
            assert part["image_url"]["url"].startswith(f"data:image/{kind};base64,")
            assert data_of(part["image_url"]["url"]) == data and sizes == [(40, 20)]


def test_what_servers_see_differently_is_made_plain_first() -> None:
    """A turned photo, transparency, 16 bits, an animation's later frames, formats that few servers read."""
    exif = PILImage.Exif()
    exif[0x0112] = 6  # turned by a quarter
    turned = png((40, 20), format="JPEG", exif=exif)
    clear = png((40, 20), "RGBA")
    sources = [turned, clear, png((40, 20), "I;16"), png((40, 20), format="BMP"), PILImage.new("RGB", (40, 20))]
    _, opened, sizes = pictures("vllm", *map(Image, sources))
    assert sizes == [(20, 40), *[(40, 20)] * 4]
    assert [picture.size for picture in opened] == sizes
    assert all((picture.format, picture.mode) == ("PNG", "RGB") for picture in opened)
    assert opened[1].getpixel((0, 0)) == (255, 255, 255)  # transparent on white, as for a local model


def test_pixel_limits_are_told_to_servers_that_take_them() -> None:
    for kind in ("regard", "dashscope"):
        (part,), (picture,), _ = pictures(kind, Image(png((400, 200)), min_pixels=70_000, max_pixels=100_000))
        assert (part["min_pixels"], part["max_pixels"], picture.size) == (70_000, 100_000, (400, 200))


@pytest.mark.parametrize("kind", ["vllm", "sglang", "openai"])
def test_for_other_servers_a_picture_is_resized_here_and_boxes_keep_the_users_pixels(kind: str) -> None:
    (part,), (picture,), sizes = pictures(kind, Image(png((400, 200)), max_pixels=40_000))
    assert set(part) == {"type", "image_url"}
    assert picture.size == (256, 128) and sizes == [(400, 200)]  # multiples of 32, as the model would choose
    _, (enlarged,), _ = pictures(kind, Image(png((64, 32)), min_pixels=65_536))
    assert enlarged.size[0] * enlarged.size[1] >= 65_536
    _, (same,), _ = pictures(kind, Image(png((400, 200)), min_pixels=100, max_pixels=1_000_000))
    assert same.size == (400, 200)


def test_pages_are_pictures_with_their_numbers(examples: Path) -> None:
    content = write_content([Message("user", (Document(str(examples / "page.pdf"), pages="1"), Text("?")))], OPENAI)
    (page,) = content.media
    assert (page.kind, page.page, page.name) == ("page", 1, str(examples / "page.pdf"))
    picture = PILImage.open(io.BytesIO(data_of(content.messages[0]["content"][0]["image_url"]["url"])))
    assert picture.size == (page.width, page.height)


def test_a_picture_that_is_missing_is_told_before_anything_is_sent(no_proxy: None) -> None:
    with fake_server(says("A")) as server, HttpChat.connect(server.url) as chat:
        with pytest.raises(InputError, match="nowhere.png does not exist"):
            chat.stream([Image("nowhere.png"), "What?"])
        assert server.bodies == []


@pytest.mark.parametrize("owned_by", ["vllm", "regard", "openai"])
def test_boxes_are_in_pixels_of_the_users_picture_with_any_engine(owned_by: str, no_proxy: None) -> None:
    text = '{"bbox_2d": [250, 250, 500, 750], "label": "Save"} and {"point_2d": [500, 500]}'
    with fake_server(says(text), owned_by=owned_by) as server, HttpChat.connect(server.url) as chat:
        reply = chat.chat([PILImage.new("RGB", (9, 9)), Image(png((400, 200)), max_pixels=40_000), "Where?"])
    assert reply.boxes == (Box(100, 50, 200, 150, "Save", image=1),)
    assert reply.points == (Point(200, 100, image=1),)


# Clips


def video(kind: str, part: Video) -> tuple[list[Any], dict[str, Any]]:
    content = write_content([Message("user", (part, Text("?")))], DIALECTS[kind])
    assert [(one.kind, one.width) for one in content.media] == [("video", 0)] and content.image_sizes == []
    return content.messages[0]["content"][:-1], content.fields


def test_a_clip_goes_to_our_server_whole_and_with_its_options(examples: Path) -> None:
    (part,), fields = video("regard", Video(str(examples / "clip.mp4"), fps=1.0, start=0.5, max_frames=8))
    url = part["video_url"]["url"]
    assert url.startswith("data:video/mp4;base64,") and data_of(url) == (examples / "clip.mp4").read_bytes()
    assert (part["fps"], part["start"], part["max_frames"], fields) == (1.0, 0.5, 8, {})


def test_a_list_of_frames_goes_to_our_server_without_loss() -> None:
    frames = [np.full((32, 64, 3), level, np.uint8) for level in (0, 100, 200)]
    (part,), _ = video("regard", Video(frames, sample_fps=4.0))
    assert part["sample_fps"] == 4.0
    levels = [PILImage.open(io.BytesIO(data_of(url))).getpixel((0, 0))[0] for url in part["video"]]
    assert levels == [0, 100, 200]


def test_vllm_is_told_to_sample_like_the_family_and_not_32_frames(examples: Path) -> None:
    clip = str(examples / "clip.mp4")
    for options, sampling in (
        ({}, {"fps": 2.0, "num_frames": 768}),
        ({"fps": 1.0, "max_frames": 9}, {"fps": 1.0, "num_frames": 9}),
        ({"num_frames": 6}, {"fps": -1, "num_frames": 6}),
    ):
        (part,), fields = video("vllm", Video(clip, **options))
        assert part["type"] == "video_url" and fields == {"media_io_kwargs": {"video": sampling}}
    with pytest.raises(ConfigError, match="start of a clip cannot be honoured by vLLM"):
        video("vllm", Video(clip, start=1.0))
    with pytest.raises(ConfigError, match="clips of one request have different options"):
        write_content([Message("user", (Video(clip), Video(clip, fps=1.0)))], VLLM)


def test_vllm_takes_lists_of_frames_at_its_own_rate() -> None:
    frames = [PILImage.new("RGB", (32, 32))] * 3
    (part,), fields = video("vllm", Video(frames, sample_fps=2.0))
    kind, _, data = part["video_url"]["url"].partition(",")
    assert (kind, len(data.split(",")), fields) == ("data:video/jpeg;base64", 3, {})
    with pytest.raises(ConfigError, match="sample_fps is 4.0; vLLM takes every list of frames for 2 per second"):
        video("vllm", Video(frames, sample_fps=4.0))


def test_sglang_takes_a_clip_as_it_is_and_no_options(examples: Path) -> None:
    (part,), _ = video("sglang", Video(str(examples / "clip.mp4")))
    assert part["video_url"]["url"].startswith("data:video/mp4")
    with pytest.raises(ConfigError, match="fps of a clip cannot be honoured by SGLang"):
        video("sglang", Video(str(examples / "clip.mp4"), fps=1.0))
    with pytest.raises(ConfigError, match="lists of frames cannot be sent to SGLang"):
        video("sglang", Video([PILImage.new("RGB", (32, 32))] * 3))


def test_dashscope_gets_frames_with_their_rate(examples: Path) -> None:
    (part,), _ = video("dashscope", Video(str(examples / "clip.mp4"), fps=2.0))
    assert part["type"] == "video" and part["fps"] == pytest.approx(2.0, rel=0.15)
    assert len(part["video"]) >= 4 and part["video"][0].startswith("data:image/jpeg;base64,")
    (part,), _ = video("dashscope", Video("https://example.org/a.mp4", fps=1.0))
    assert part == {"type": "video_url", "video_url": {"url": "https://example.org/a.mp4"}, "fps": 1.0}
    with pytest.raises(ConfigError, match="DashScope counts the time of a clip from its first frame"):
        video("dashscope", Video(str(examples / "clip.mp4"), start=1.0))


def test_a_server_without_video_gets_pictures_each_after_its_time(examples: Path) -> None:
    parts, _ = video("openai", Video(str(examples / "clip.mp4"), num_frames=4))
    assert [part["type"] for part in parts] == ["text", "image_url"] * 4
    assert parts[0]["text"] == "<0.0 seconds>" and parts[2]["text"] != parts[4]["text"]


# Conversations


def test_results_follow_their_calls_by_id() -> None:
    calls = (ToolCall("zoom", {"x": 1}), ToolCall("ask", {}))
    turns = [
        Message("system", (Text("Be brief."),)),
        Message("user", (Text("Look."),)),
        Message("assistant", (), reasoning="hm", tool_calls=calls),
        Message("tool", (Text("one"),)),
        Message("tool", (Text("two"),)),
    ]
    made = write_content(turns, VLLM).messages
    assert [turn["role"] for turn in made] == ["system", "user", "assistant", "tool", "tool"]
    assert [call["id"] for call in made[2]["tool_calls"]] == [made[3]["tool_call_id"], made[4]["tool_call_id"]]
    assert json.loads(made[2]["tool_calls"][0]["function"]["arguments"]) == {"x": 1}
    assert made[2]["reasoning_content"] == made[2]["reasoning"] == "hm"
    assert "reasoning_content" not in write_content(turns, OPENAI).messages[2]


def test_what_our_server_saw_is_told_under_the_names_that_the_user_gave(no_proxy: None, examples: Path) -> None:
    report = {"kind": "image", "name": "the data URL (99 characters)", "width": 352, "height": 256}
    report |= {"resized_width": 352, "resized_height": 256, "num_visual_tokens": 88, "timestamps_s": [], "later": 1}
    stream = Answer([events(chunk(content="A"), {**chunk("stop"), "media": [report, report]})])
    listing = models({"id": "m", "regard": {"is_thinking": False}})
    with fake_server(stream, listing=listing) as server, HttpChat.connect(server.url) as chat:
        reply = chat.chat([Image(str(examples / "settings.png")), Document(str(examples / "page.pdf"), pages="1"), "?"])
    first, second = reply.media
    assert (first.name, first.kind) == (str(examples / "settings.png"), "image")
    assert (second.name, second.kind, second.page) == (str(examples / "page.pdf"), "page", 1)
    assert reply.usage.num_visual_tokens == 176 and first.timestamps_s == ()
