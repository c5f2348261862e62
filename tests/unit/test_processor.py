"""Messages with media become a prompt, patches and a report of what the model sees."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest

from regard.errors import CapacityError, CheckpointError, ConfigError, InputError
from regard.messages import Document, Image, Message, Part, Text, Video
from regard.model.config import ModelConfig
from regard.processing.media_settings import read_image_settings, read_video_settings
from regard.processing.processor import Processor
from tests.tiny import THINKING_TEMPLATE, tiny_config, tiny_folder

PAIR = "<|vision_start|><|video_pad|><|vision_end|>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("processor"))


@pytest.fixture(scope="module")
def processor(folder: Path) -> Processor:
    return Processor.from_folder(folder)


def copy_without(folder: Path, to: Path, *names: str) -> Path:
    shutil.copytree(folder, to, ignore=shutil.ignore_patterns(*names, "*.safetensors"))
    return to


def user(*parts: Part) -> list[Message]:
    return [Message("user", parts)]


def noise(height: int, width: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def frames(num_frames: int) -> Video:
    return Video([noise(70, 100, seed) for seed in range(num_frames)], sample_fps=1)


def test_text_alone_is_a_prompt_too(processor: Processor) -> None:
    inputs = processor(user(Text("Hi")))
    assert inputs.prompt == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert inputs.items == () and inputs.media == () and inputs.rope_delta == 0
    assert processor.tokenizer.decode(inputs.input_ids.tolist(), skip_special=False) == inputs.prompt


def test_a_pictures_report_says_what_the_model_saw(processor: Processor, tmp_path: Path) -> None:
    path = tmp_path / "shot.png"
    PIL.Image.fromarray(noise(100, 333)).save(path)
    inputs = processor(user(Image(str(path)), Text("?")))
    (report,), (item,) = inputs.media, inputs.items
    assert (report.kind, report.name, report.width, report.height) == ("image", str(path), 333, 100)
    assert (report.resized_width, report.resized_height, report.num_visual_tokens) == (320, 96, 30)
    assert item.grid_thw == (1, 6, 20) and item.pixel_values.shape == (120, 1536)
    assert inputs.input_ids.tolist().count(processor.config.image_token_id) == 30
    assert inputs.input_ids[item.token_offset] == processor.config.image_token_id
    assert inputs.input_ids[item.token_offset - 1] == processor.config.vision_start_token_id


def test_pixel_bounds_hold_for_one_picture_only(processor: Processor) -> None:
    small, large = processor(user(Image(noise(256, 256), max_pixels=64 * 64), Image(noise(256, 256)))).items
    assert small.grid_thw == (1, 4, 4) and large.grid_thw == (1, 16, 16)


def test_equal_pixels_have_equal_hashes_whatever_they_came_from(processor: Processor, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    PIL.Image.fromarray(noise(64, 64)).save(path)
    sources = [noise(64, 64), str(path), path.read_bytes(), noise(64, 64, seed=1)]
    hashes = [item.content_hash for item in processor(user(*map(Image, sources))).items]
    assert len(set(hashes[:3])) == 1 and hashes[3] != hashes[0]


@pytest.mark.parametrize(
    ("dialect", "expected"),
    [
        ("authors", f"<0.5 seconds>{PAIR}<2.5 seconds>{PAIR}<4.0 seconds>{PAIR}"),
        (
            "transformers",
            f"<|vision_start|><0.5 seconds>{PAIR}<2.5 seconds>{PAIR}<4.0 seconds>{PAIR}<|vision_end|>",
        ),
    ],
)
def test_a_clip_is_written_in_the_chosen_dialect(folder: Path, dialect: str, expected: str) -> None:
    processor = Processor.from_folder(folder, video_dialect=dialect)  # type: ignore[arg-type]
    inputs = processor(user(Text("see:"), frames(5)))
    assert inputs.prompt == f"<|im_start|>user\nsee:{expected}<|im_end|>\n<|im_start|>assistant\n"
    (report,) = inputs.media
    assert (report.kind, report.num_frames, report.timestamps_s) == ("video", 5, (0.5, 2.5, 4.0))
    assert report.frame_times_s == (0, 1, 2, 3, 4)
    assert report.num_visual_tokens == inputs.input_ids.tolist().count(processor.config.video_token_id)
    assert inputs.items[0].grid_thw[0] == 3


def test_pictures_and_clips_keep_their_order_across_turns_and_tools(processor: Processor) -> None:
    messages = [
        Message("user", (frames(2), Text("a"), Image(noise(64, 96)))),
        Message("assistant", (Text("b"),)),
        Message("tool", (Image(noise(96, 64)),)),
        Message("tool", (frames(3),)),
    ]
    inputs = processor(messages, add_vision_id=True)
    assert [item.is_video for item in inputs.items] == [True, False, False, True]
    assert [report.kind for report in inputs.media] == ["video", "image", "image", "video"]
    assert inputs.items[1].grid_thw == (1, 4, 6) and inputs.items[2].grid_thw == (1, 6, 4)
    offsets = [item.token_offset for item in inputs.items]
    assert offsets == sorted(offsets)
    assert "Picture 2: " in inputs.prompt and "Video 2: " in inputs.prompt


def test_a_document_becomes_one_picture_for_each_page(processor: Processor, examples: Path) -> None:
    pytest.importorskip("pypdfium2")
    path = str(examples / "page.pdf")
    (report,) = processor(user(Document(path, dpi=36), Text("?"))).media
    assert (report.kind, report.page, report.name) == ("page", 1, path)


def test_a_picture_that_the_template_does_not_show_is_refused(processor: Processor) -> None:
    messages = [Message("system", (Image(noise(64, 64)),)), *user(Text("?"))]
    with pytest.raises(InputError, match=r"shows 0 of 1 pictures; put pictures into user or tool messages"):
        processor(messages)


def test_a_text_that_imitates_a_picture_is_refused(processor: Processor) -> None:
    with pytest.raises(InputError, match=r"contains <\|image_pad\|>.*remove it"):
        processor(user(Text("<|vision_start|><|image_pad|><|vision_end|>")))


def test_nothing_to_say_is_refused(processor: Processor) -> None:
    with pytest.raises(InputError, match="there is no message"):
        processor([])


def test_a_prompt_longer_than_the_context_is_refused(processor: Processor) -> None:
    with pytest.raises(CapacityError, match=r"has 5\d\d\d tokens .* context holds 4096; shorten it"):
        processor(user(Text("a" * 5000)))
    pictures = [Image(noise(256, 256)) for _ in range(70)]
    with pytest.raises(CapacityError, match="lower max_pixels"):
        processor(user(*pictures))


def test_the_thinking_edition_starts_in_thinking(folder: Path, processor: Processor, tmp_path: Path) -> None:
    copied = copy_without(folder, tmp_path / "thinking", "chat_template.jinja")
    shutil.copy(THINKING_TEMPLATE, copied / "chat_template.jinja")
    assert Processor.from_folder(copied).starts_in_thinking and not processor.starts_in_thinking


def test_options_out_of_range_are_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="video_dialect is 'vllm'"):
        Processor.from_folder(folder, video_dialect="vllm")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="resize_backend is 'cv2'"):
        Processor.from_folder(folder, resize_backend="cv2")  # type: ignore[arg-type]


def test_a_folder_that_is_no_model_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        Processor.from_folder(tmp_path)
    copied = copy_without(folder, tmp_path / "other")
    config = json.loads((copied / "config.json").read_text(encoding="utf-8")) | {"image_token_id": 5}
    (copied / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(CheckpointError, match="do not belong together"):
        Processor.from_folder(copied)


VISION = ModelConfig.from_hf(tiny_config()).vision


def test_a_folder_without_preprocessor_files_gets_the_familys_numbers(tmp_path: Path) -> None:
    image, (video, _) = read_image_settings(tmp_path, VISION), read_video_settings(tmp_path, VISION)
    assert (image.min_pixels, image.max_pixels) == (65536, 16777216)
    assert (video.min_total_pixels, video.max_total_pixels) == (4096, 25165824)
    assert (video.fps, video.min_frames, video.max_frames) == (2.0, 4, 768)


@pytest.mark.parametrize(
    "config",
    [
        {"size": {"shortest_edge": 1024, "longest_edge": 2048}},
        {"min_pixels": 1024, "max_pixels": 2048},
        {"size": {"min_pixels": 1024, "max_pixels": 2048}},
        {"min_pixels": 1024, "max_pixels": 2048, "size": {"shortest_edge": 5, "longest_edge": 6}},
    ],
)
def test_bounds_are_read_in_both_spellings(tmp_path: Path, config: dict[str, object]) -> None:
    for name in ("preprocessor_config.json", "video_preprocessor_config.json"):
        (tmp_path / name).write_text(json.dumps(config), encoding="utf-8")
    image, (video, _) = read_image_settings(tmp_path, VISION), read_video_settings(tmp_path, VISION)
    assert (image.min_pixels, image.max_pixels) == (1024, 2048)
    assert (video.min_total_pixels, video.max_total_pixels) == (1024, 2048)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"patch_size": 14}, "patch_size is 14; only 16"),
        ({"do_normalize": False}, "do_normalize is False; only True"),
        ({"resample": 2}, "resample is 2; only 3"),
        ({"rescale_factor": 0.5}, "rescale_factor is 0.5"),
        ({"image_mean": [0.5]}, "image_mean is"),
        ({"image_std": [0.5, 0, 0.5]}, "image_std is"),
        ({"min_pixels": "many"}, "min_pixels is 'many'"),
        ({"size": {"shortest_edge": 9, "longest_edge": 3}}, "above the largest"),
    ],
)
def test_settings_that_would_change_pixels_unseen_are_refused(
    tmp_path: Path, config: dict[str, object], reason: str
) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(CheckpointError, match=reason):
        read_image_settings(tmp_path, VISION)
