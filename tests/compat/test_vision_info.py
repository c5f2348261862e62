"""`process_vision_info` returns the pixels, frames and metadata of qwen-vl-utils, for every option of a part."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from regard.compat import process_vision_info
from regard.compat.video_processor import decode_file
from regard.compat.vision_info import _frame_range, _num_frames, _smart_resize
from regard.errors import InputError, MissingDependencyError
from regard.parity.cases import clip, picture
from regard.parity.reference import Reference, import_torchvision


@pytest.fixture(scope="module")
def theirs() -> Any:
    """Their module, reading files with the decoder that ours uses: which frames there are is not the question here."""
    try:
        import_torchvision()
    except MissingDependencyError as error:
        pytest.skip(str(error))
    module = pytest.importorskip("qwen_vl_utils.vision_process", reason="the reference of process_vision_info")

    def read(part: dict[str, Any]) -> tuple[Any, dict[str, Any], float]:
        known: dict[str, Any] = {}

        def choose(total: int, fps: float) -> list[int]:
            first, last, num_in_range = module.calculate_video_frame_range(part, total, fps)
            wished = module.smart_nframes(part, total_frames=num_in_range, video_fps=fps)
            indices = torch.linspace(first, last, wished).round().long().tolist()
            known.update(fps=fps, frames_indices=indices, total_num_frames=num_in_range, video_backend="pyav")
            return indices

        frames, _ = decode_file(part["video"], choose)
        return frames, known, len(frames) / max(known["total_num_frames"], 1e-6) * known["fps"]

    module.get_video_reader_backend = lambda: "decord"
    module.VIDEO_READER_BACKENDS["decord"] = read
    return module


def asking(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [*parts, {"type": "text", "text": "What is it?"}]}]


def assert_same(conversation: Any, theirs: Any, **options: Any) -> Any:
    ours, expected = process_vision_info(conversation, **options), theirs.process_vision_info(conversation, **options)
    assert len(ours) == len(expected)
    for image, other in itertools.zip_longest(ours[0] or [], expected[0] or []):
        assert image.mode == other.mode and np.array_equal(np.asarray(image), np.asarray(other))
    for video, other in itertools.zip_longest(ours[1] or [], expected[1] or []):
        assert isinstance(video, tuple) == isinstance(other, tuple)
        frames, known = video if isinstance(video, tuple) else (video, None)
        their_frames, their_known = other if isinstance(other, tuple) else (other, None)
        assert frames.dtype == their_frames.dtype and torch.equal(frames, their_frames)
        assert known == their_known
    assert (ours[0] is None, ours[1] is None, ours[2:]) == (expected[0] is None, expected[1] is None, expected[2:])
    return ours


IMAGES = {
    "plain": {"image": picture(333, 250, 1)},
    "small": {"image": picture(20, 9, 1)},
    "transparent": {"image": picture(90, 70, 2).convert("RGBA")},
    "grey": {"image": picture(90, 70, 2).convert("L")},
    "palette": {"image": picture(90, 70, 2).convert("P")},
    "bounds": {"image": picture(640, 480, 3), "min_pixels": 50176, "max_pixels": 50176},
    "large least": {"image": picture(64, 48, 3), "min_pixels": 200000},
    "exact size": {"image": picture(640, 480, 3), "resized_height": 280, "resized_width": 420},
}
IMAGES["transparent"]["image"].putalpha(picture(90, 70, 5).convert("L"))


@pytest.mark.parametrize("image_patch_size", [14, 16])
@pytest.mark.parametrize("name", IMAGES)
def test_a_picture_is_resized_to_the_same_pixels(name: str, image_patch_size: int, theirs: Any) -> None:
    conversation = asking({"type": "image", **IMAGES[name]})
    assert_same(conversation, theirs, image_patch_size=image_patch_size)


def test_a_picture_is_fetched_from_a_path_a_file_url_and_a_data_url(
    examples: Path, theirs: Any, tmp_path: Path
) -> None:
    import base64

    path = examples / "settings.png"
    data = "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
    for source in (str(path), f"file://{path}", data):
        assert_same(asking({"type": "image", "image": source}), theirs, image_patch_size=16)
    turned = picture(64, 128, 3)
    exif = turned.getexif()
    exif[0x0112] = 6  # which this library, unlike the processor, does not look at
    turned.save(tmp_path / "turned.jpg", exif=exif)
    assert_same(asking({"image": str(tmp_path / "turned.jpg")}), theirs, image_patch_size=16)
    (image,), _ = process_vision_info(
        asking({"type": "image_url", "image_url": {"url": str(path)}}), image_patch_size=16
    )
    assert image.size == (352, 256)


CLIPS = {
    "frames": {"video": clip(5, 90, 70, 4)},
    "frames with a rate": {"video": clip(4, 90, 70, 4), "sample_fps": 1, "raw_fps": 30.0},
    "large frames": {"video": clip(6, 700, 500, 4), "max_pixels": 360 * 420},
    "a budget for all": {"video": clip(6, 700, 500, 4), "total_pixels": 600000},
    "a least size": {"video": clip(4, 90, 70, 4), "min_pixels": 4 * 32 * 32, "max_pixels": 256 * 32 * 32},
    "an exact size": {"video": clip(4, 90, 70, 4), "resized_height": 100, "resized_width": 200},
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("options", [{}, {"return_video_kwargs": True}, {"return_video_metadata": True}], ids=str)
@pytest.mark.parametrize("name", CLIPS)
def test_a_clip_of_frames_is_resized_to_the_same_pixels(name: str, options: Any, theirs: Any) -> None:
    assert_same(asking({"type": "video", **CLIPS[name]}), theirs, image_patch_size=16, **options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"fps": 1.0},
        {"nframes": 5},
        {"fps": 4, "max_frames": 6},
        {"min_frames": 11},
        {"video_start": 0.5, "video_end": 1.7},
        {"video_end": 1.0, "min_pixels": 1024, "max_pixels": 64 * 64},
    ],
    ids=str,
)
def test_a_clips_file_gives_the_same_frames(options: Any, examples: Path, theirs: Any) -> None:
    pytest.importorskip("av")
    conversation = asking({"type": "video", "video": str(examples / "clip.mp4"), **options})
    ours = assert_same(conversation, theirs, image_patch_size=16, return_video_kwargs=True, return_video_metadata=True)
    assert ours[2] == {"do_sample_frames": False} and len(ours[1][0][0]) % 2 == 0


def test_frame_counts_and_ranges_equal_theirs_everywhere(theirs: Any) -> None:
    """Also the refusals: a clip of three frames at 29.97 a second, one of a single frame."""
    parts: list[dict[str, Any]] = [{}, {"fps": 0.5}, {"fps": 7}, {"nframes": 3}, {"nframes": 40}, {"min_frames": 9}]
    parts += [{"max_frames": 5}, {"video_start": 0.2}, {"video_end": 0.9}, {"video_start": 0.3, "video_end": 0.31}]
    for part, total, fps in itertools.product(parts, (1, 2, 3, 5, 7, 30, 299, 4000), (1.0, 10.0, 24.0, 29.97)):
        assert outcome(_range_and_count, part, total, fps) == outcome(their_range_and_count(theirs), part, total, fps)


def _range_and_count(part: dict[str, Any], total: int, fps: float) -> tuple[int, int, int]:
    first, last = _frame_range(part, total, fps)
    return first, last, _num_frames(part, last - first + 1, fps)


def their_range_and_count(theirs: Any) -> Any:
    def count(part: dict[str, Any], total: int, fps: float) -> tuple[int, int, int]:
        first, last, num_in_range = theirs.calculate_video_frame_range(part, total, fps)
        return first, last, theirs.smart_nframes(part, total_frames=num_in_range, video_fps=fps)

    return count


def outcome(function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except (InputError, ValueError):
        return "refused"


def test_sizes_equal_theirs_everywhere(theirs: Any) -> None:
    bounds = [(4096, 16777216), (50176, 50176), (200000, 300000), (4096, 9000.5)]
    sides = (3, 17, 32, 47, 48, 90, 640, 1333, 4100)
    for height, width, (low, high), factor in itertools.product(sides, sides, bounds, (28, 32)):
        ours = outcome(_smart_resize, height, width, factor, low, high)
        expected = outcome(theirs.smart_resize, height, width, factor, low, high)
        assert ours == expected or (ours == "refused" and 0 in expected)


def test_a_batch_of_conversations_is_read_in_order(theirs: Any) -> None:
    batch = [
        asking({"type": "image", "image": picture(64, 64, 1)}),
        [{"role": "system", "content": "Be brief."}],
        asking({"type": "image", "image": picture(96, 64, 2)}, {"type": "image", "image": picture(64, 96, 3)}),
    ]
    images, videos = assert_same(batch, theirs, image_patch_size=16)
    assert [image.size for image in images] == [(64, 64), (96, 64), (64, 96)] and videos is None


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"type": "image"}, "must name an 'image'"),
        ({"type": "image", "image": picture(64, 64, 1), "detail": "high"}, "'detail', which is not honoured"),
        ({"type": "video", "video": clip(4, 64, 64, 1), "num_frames": 3}, "'num_frames', which is not honoured"),
        ({"type": "image", "image": picture(64, 64, 1), "resized_height": 32}, "give both"),
        ({"type": "image", "image": "/no/such/file.png"}, "does not exist"),
        ({"type": "image", "image": Image.new("RGB", (1, 400))}, "aspect ratio"),
        ({"type": "video", "video": []}, "list of frames is empty"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_part_that_cannot_be_used_is_refused(part: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        process_vision_info(asking(part), image_patch_size=16)


def test_the_program_of_the_model_card_gives_the_tensors_of_the_reference(
    examples: Path, processor: Any, reference: Reference, theirs: Any
) -> None:
    """process_vision_info, then the processor with do_resize=False, on a picture and a clip's file."""
    pytest.importorskip("av")
    messages = asking(
        {"type": "image", "image": f"file://{examples / 'settings.png'}", "max_pixels": 60000},
        {"type": "video", "video": str(examples / "clip.mp4"), "total_pixels": 300000},
    )
    made = []
    for fetch, one in ((process_vision_info, processor), (theirs.process_vision_info, reference.processor)):
        text = one.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        images, videos, video_kwargs = fetch(
            messages, image_patch_size=16, return_video_kwargs=True, return_video_metadata=True
        )
        videos, metadata = (list(column) for column in zip(*videos, strict=True))
        options = {"return_tensors": "pt", "do_resize": False, "cap_pixels_per_frame": False, **video_kwargs}
        made.append(one(text=text, images=images, videos=videos, video_metadata=metadata, **options))
    assert list(made[0]) == list(made[1])
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[1])
