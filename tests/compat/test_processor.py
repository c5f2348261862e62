"""The drop-in's processor gives the tensors of transformers' own, bit for bit, for the bundled checkpoint."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from regard.compat import AutoProcessor, VideoMetadata
from regard.errors import ConfigError, InputError
from regard.parity.cases import TOOLS, clip, picture
from regard.parity.reference import Reference

NO_CAP = {"cap_pixels_per_frame": False}  # the reference warns unless it is said


def assert_same(ours: Any, theirs: Any) -> None:
    """Names, order, types and every number."""
    assert list(ours) == list(theirs)
    for name, expected in theirs.items():
        assert torch.equal(ours[name], expected) and ours[name].dtype == expected.dtype, name


def user(*parts: Any) -> dict[str, Any]:
    """A user's turn of texts, pictures, and lists of frames."""
    made = []
    for part in parts:
        if isinstance(part, str):
            made.append({"type": "text", "text": part})
        else:
            kind = "video" if isinstance(part, list) else "image"
            made.append({"type": kind, kind: part})
    return {"role": "user", "content": made}


CONVERSATIONS = {
    "text": [user("Why is the sky blue?")],
    "one image": [user(picture(90, 70, 1), "What is it?")],
    "two images of different sizes": [user(picture(61, 150, 2), picture(200, 64, 3), "Which is darker?")],
    "an image larger than the budget": [user(picture(1300, 900, 4), "Describe it.")],
    "an image smaller than the budget": [user(picture(20, 33, 5), "Describe it.")],
    "system turn": [{"role": "system", "content": "Be brief."}, user("Hi <b>, na\u00efve \u65e5\u672c")],
    "a tool's result with an image": [
        user("Read it."),
        {
            "role": "assistant",
            "content": "Let me look.",
            "tool_calls": [{"type": "function", "function": {"name": "zoom", "arguments": {"box": [1, 2]}}}],
        },
        {
            "role": "tool",
            "content": [{"type": "text", "text": "crop: "}, {"type": "image", "image": picture(64, 64, 6)}],
        },
    ],
}


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_a_conversation_gives_the_tensors_of_the_reference(name: str, processor: Any, reference: Reference) -> None:
    options = {"tokenize": True, "add_generation_prompt": True, "return_dict": True, "return_tensors": "pt"}
    ours = processor.apply_chat_template(CONVERSATIONS[name], **options)
    assert_same(ours, reference.processor.apply_chat_template(CONVERSATIONS[name], **options))


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_a_conversation_with_tools_gives_the_text_of_the_reference(
    name: str, processor: Any, reference: Reference
) -> None:
    options: dict[str, Any] = {"tools": list(TOOLS), "add_generation_prompt": True, "add_vision_id": True}
    ours = processor.apply_chat_template(CONVERSATIONS[name], **options)
    assert ours == reference.processor.apply_chat_template(CONVERSATIONS[name], **options)


def test_a_batch_is_padded_on_the_tokenizers_side(processor: Any, reference: Reference) -> None:
    batch = [CONVERSATIONS["two images of different sizes"], CONVERSATIONS["text"], CONVERSATIONS["one image"]]
    options = {"tokenize": True, "return_dict": True, "return_tensors": "pt", "padding": True}
    for side in ("left", "right"):
        processor.tokenizer.padding_side = side
        ours = processor.apply_chat_template(batch, **options)
        assert_same(ours, reference.processor.apply_chat_template(batch, **options, padding_side=side))
        assert (ours.attention_mask[1][0 if side == "left" else -1]) == 0


CLIP_TEXT = "<|im_start|>user\n<|vision_start|><|video_pad|><|vision_end|>When?<|im_end|>\n"


@pytest.mark.filterwarnings("ignore:a clip has no fps")
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"do_sample_frames": False},
        {"fps": 12},
        {"num_frames": 6, "fps": None},
        {"do_sample_frames": False, "do_resize": False},
        {"do_sample_frames": False, "video_metadata": {"fps": 2.0, "total_num_frames": 11}},
        {"video_metadata": {"fps": 4.0, "total_num_frames": 11}},
        {
            "do_sample_frames": False,
            "video_metadata": {"fps": 29.97, "total_num_frames": 100, "frames_indices": list(range(0, 99, 9))},
        },
        {"do_sample_frames": False, "size": {"shortest_edge": 4096, "longest_edge": 40000}},
        {"do_sample_frames": False, "cap_pixels_per_frame": True},
    ],
    ids=str,
)
def test_a_clip_gives_the_tensors_of_the_reference(
    options: Any, processor: Any, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    for one in (processor, reference.processor):
        monkeypatch.setattr(one.video_processor, "max_video_tokens", 4)
    frames = clip(11, 96, 64, 4)
    known = options.get("video_metadata")
    if known is not None:
        known = {"frames_indices": list(range(11)), **known}
        options = options | {"video_metadata": [known]}
    theirs = reference.processor(
        text=[CLIP_TEXT], videos=[frames], return_tensors="pt", **NO_CAP | options | _copied(options)
    )
    assert_same(processor(text=[CLIP_TEXT], videos=[frames], return_tensors="pt", **options), theirs)


def _copied(options: dict[str, Any]) -> dict[str, Any]:
    """The reference writes into the metadata that it is given."""
    return {name: [dict(one) for one in value] for name, value in options.items() if name == "video_metadata"}


@pytest.mark.parametrize("kind", ["array", "channels first", "tensor", "float tensor", "nested", "five dimensions"])
def test_every_form_of_a_clip_is_read_like_the_reference(kind: str, processor: Any, reference: Reference) -> None:
    array = np.stack([np.asarray(frame) for frame in clip(5, 90, 70, 4)])
    tensor = torch.from_numpy(array).permute(0, 3, 1, 2)
    videos: Any = {
        "array": array,
        "channels first": [tensor.numpy()],
        "tensor": [tensor],
        "float tensor": [tensor.float() + 0.3],
        "nested": [[list(array)]],
        "five dimensions": array[None],
    }[kind]
    metadata = [{"fps": 2.0, "total_num_frames": 5, "frames_indices": [0, 1, 2, 3, 4]}]
    options = {"do_sample_frames": False, "return_tensors": "pt"}
    ours = processor(text=CLIP_TEXT, videos=videos, video_metadata=metadata, **options)
    theirs = reference.processor(text=CLIP_TEXT, videos=videos, video_metadata=[dict(metadata[0])], **options, **NO_CAP)
    assert_same(ours, theirs)


def test_a_clips_file_is_sampled_and_timed_like_the_reference(
    examples: Path, processor: Any, reference: Reference
) -> None:
    from transformers.video_utils import load_video

    pytest.importorskip("av")
    path = str(examples / "clip.mp4")
    for options in ({"fps": 2.0}, {"num_frames": 6}):
        sample = functools.partial(reference.processor.video_processor.sample_frames, **options)
        frames, metadata = load_video(path, backend="pyav", sample_indices_fn=sample)
        theirs = reference.processor(
            text=CLIP_TEXT,
            videos=[frames],
            video_metadata=[metadata],
            do_sample_frames=False,
            return_tensors="pt",
            **NO_CAP,
        )
        assert_same(processor(text=CLIP_TEXT, videos=[path], return_tensors="pt", **options), theirs)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "1", "CMYK", "array", "grey array", "tensor", "float tensor"])
def test_every_form_of_a_picture_is_read_like_the_reference(mode: str, processor: Any, reference: Reference) -> None:
    rgb = picture(90, 70, 8)
    image: Any
    if "array" in mode or "tensor" in mode:
        array = np.asarray(rgb.convert("L"))[None] if "grey" in mode else np.asarray(rgb)
        image = [array.copy()] if "array" in mode else torch.from_numpy(array.copy()).permute(2, 0, 1)
        image = image.float() * 0.99 if "float" in mode else image
    else:
        image = rgb.convert(mode)
        if mode == "RGBA":
            image.putalpha(picture(90, 70, 9).convert("L"))
    text = "<|vision_start|><|image_pad|><|vision_end|>"
    ours = processor(text=text, images=image, return_tensors="pt")
    assert_same(ours, reference.processor(text=text, images=image, return_tensors="pt"))


@pytest.mark.parametrize(
    "options",
    [
        {"do_resize": False},
        {"size": {"shortest_edge": 4096, "longest_edge": 10000}},
        {"images_kwargs": {"size": {"shortest_edge": 90000, "longest_edge": 100000}}},
    ],
    ids=str,
)
def test_the_pixel_budget_of_a_call_is_the_references(options: Any, processor: Any, reference: Reference) -> None:
    text, image = "<|vision_start|><|image_pad|><|vision_end|>", picture(192, 128, 7)
    ours = processor(text=text, images=[image], return_tensors="pt", **options)
    assert_same(ours, reference.processor(text=text, images=[image], return_tensors="pt", **options))


def test_the_pixel_budget_can_be_set_on_the_processor(processor: Any) -> None:
    text, image = "<|vision_start|><|image_pad|><|vision_end|>", picture(400, 400, 7)
    expected = processor(text=text, images=image, size={"shortest_edge": 4096, "longest_edge": 16384})
    processor.image_processor.size = {"shortest_edge": 4096, "longest_edge": 16384}
    assert torch.equal(processor(text=text, images=image).image_grid_thw, expected.image_grid_thw)
    processor.image_processor.size["longest_edge"] = 65536
    assert processor(text=text, images=image).image_grid_thw.tolist() == [[1, 32, 32]]
    loaded = AutoProcessor.from_pretrained("nano", min_pixels=4096, max_pixels=16384)
    assert torch.equal(loaded(text=text, images=image).image_grid_thw, expected.image_grid_thw)


def test_a_transparent_file_loses_its_transparency_and_a_turned_one_is_upright(processor: Any, tmp_path: Path) -> None:
    """As the reference decodes files; a PIL picture would be laid on white and left as it lies."""
    turned = picture(64, 128, 3)
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.png", exif=exif)
    clear = picture(64, 64, 4).convert("RGBA")
    clear.putalpha(0)
    clear.save(tmp_path / "clear.png")
    text = "<|vision_start|><|image_pad|><|vision_end|>"
    made = processor(text=text, images=str(tmp_path / "turned.png"))
    assert made.image_grid_thw.tolist() == [[1, 8, 16]]
    made = processor(text=text, images=str(tmp_path / "clear.png"))
    assert torch.equal(made.pixel_values, processor(text=text, images=clear.convert("RGB")).pixel_values)
    with Image.open(tmp_path / "turned.png") as opened:
        assert processor(text=text, images=opened).image_grid_thw.tolist() == [[1, 16, 8]]


def test_an_array_that_must_not_be_written_is_copied(processor: Any) -> None:
    image = picture(90, 70, 8)
    text = "<|vision_start|><|image_pad|><|vision_end|>"
    made = processor(text=text, images=np.asarray(image))
    assert torch.equal(made.pixel_values, processor(text=text, images=image).pixel_values)


def test_without_a_rate_a_clip_counts_as_24_frames_per_second_and_says_so(processor: Any) -> None:
    with pytest.warns(UserWarning, match="24 frames per second"):
        made = processor(text=CLIP_TEXT, videos=[clip(4, 64, 64, 1)], do_sample_frames=False)
    assert "<0.1 seconds>" in processor.decode(made.input_ids[0])


def test_a_list_of_rates_times_given_frames(processor: Any) -> None:
    made = processor(text=CLIP_TEXT, videos=[clip(4, 64, 64, 1)], do_sample_frames=False, fps=[0.5])
    assert "<1.0 seconds>" in processor.decode(made.input_ids[0])
    assert "<5.0 seconds>" in processor.decode(made.input_ids[0])


def test_the_authors_dialect_can_be_chosen(processor: Any) -> None:
    authors = AutoProcessor.from_pretrained("nano", video_dialect="authors")
    options = {"videos": [clip(4, 64, 64, 1)], "do_sample_frames": False, "fps": [2.0]}
    ours, theirs = (one(text=CLIP_TEXT, **options).input_ids[0] for one in (authors, processor))
    assert len(theirs) == len(ours) + 2


def test_lists_arrays_and_tensors_are_returned_as_asked(processor: Any, reference: Reference) -> None:
    texts = ["a", "a b c"]
    for options in ({"padding": True}, {"return_tensors": "np", "padding": True}, {}):
        ours, theirs = processor(text=texts, **options), reference.processor(text=texts, **options)
        assert {name: type(value) for name, value in ours.items()} == {
            name: type(value) for name, value in theirs.items()
        }
        assert all(np.array_equal(ours[name], theirs[name]) for name in theirs if options)
    assert processor.tokenizer("a b")["input_ids"] == reference.processor.tokenizer("a b")["input_ids"]


def test_decoding_equals_the_reference(processor: Any, reference: Reference) -> None:
    end, pad = (processor.tokenizer(text)["input_ids"][0] for text in ("<|im_end|>", "<|endoftext|>"))
    ids = torch.tensor([[300, 64, end], [pad, 286, 278]])
    for options in ({}, {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}):
        assert processor.batch_decode(ids, **options) == reference.processor.batch_decode(ids, **options)
        assert processor.batch_decode(list(ids), **options) == reference.processor.batch_decode(list(ids), **options)
        assert processor.decode(ids[0], **options) == reference.processor.decode(ids[0], **options)
    assert processor.tokenizer.pad_token_id == reference.processor.tokenizer.pad_token_id
    assert processor.tokenizer.padding_side == reference.processor.tokenizer.padding_side


def test_a_batch_of_features_moves_and_casts_only_its_floats(processor: Any) -> None:
    made = processor(text="<|image_pad|>", images=picture(64, 64, 1), return_tensors="pt").to("cpu", torch.bfloat16)
    assert made.pixel_values.dtype == torch.bfloat16 and made.input_ids.dtype == torch.int64
    assert dict(**made).keys() == made.keys()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"text": "Hi", "images": picture(64, 64, 1)}, InputError, "have 0 <|image_pad|> for 1 pictures"),
        ({"text": "<|image_pad|>"}, InputError, "have 1 <|image_pad|> for 0 pictures"),
        ({"text": ["a", "b c d"], "return_tensors": "pt"}, InputError, "pass padding=True"),
        ({}, InputError, "given nothing"),
        ({"text": "a", "return_offsets_mapping": True}, ConfigError, "does not honour return_offsets_mapping=True"),
        ({"text": "a", "nonsense": 1}, ConfigError, "does not honour nonsense=1"),
        ({"text": "<|image_pad|>", "images": picture(64, 64, 1), "do_normalize": False}, ConfigError, "do_normalize"),
        ({"text": "<|image_pad|>", "images": picture(50, 64, 1), "do_resize": False}, InputError, "multiples of 16"),
        ({"text": "<|video_pad|>", "videos": [clip(1, 64, 64, 1)], "fps": 1, "num_frames": 2}, ConfigError, "one of"),
        (
            {
                "text": "<|video_pad|>",
                "videos": [clip(4, 64, 64, 1)],
                "video_metadata": [VideoMetadata(40, 2.0)],
            },
            InputError,
            "do_sample_frames=False",
        ),
        (
            {"text": "<|image_pad|>", "images": picture(64, 64, 1), "truncation": True, "max_length": 2},
            InputError,
            "cut a picture",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_is_not_honoured_is_refused(options: Any, error: type[Exception], words: str, processor: Any) -> None:
    with pytest.raises(error) as caught:
        processor(**options)
    assert words in str(caught.value)


def test_a_name_that_the_template_does_not_read_is_refused(processor: Any) -> None:
    with pytest.raises(ConfigError, match="enable_thinking"):
        processor.apply_chat_template([user("Hi")], enable_thinking=True)


def test_an_attribute_that_nobody_reads_cannot_be_set(processor: Any) -> None:
    with pytest.raises(AttributeError):
        processor.image_processor.do_normalise = False
    with pytest.raises(InputError, match="longest_edge"):
        processor.image_processor.size = {"height": 3}
