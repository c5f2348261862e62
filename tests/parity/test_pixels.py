"""Pixel values, grids, frame choice and timestamps equal the reference's torchvision path, bit for bit.

The reference's processors are built from the numbers of an official checkpoint's preprocessor files. They
import torchvision, which may need help beside a CPU torch (regard.parity.reference).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regard.errors import MissingDependencyError
from regard.messages import Video
from regard.model.config import VisionConfig
from regard.parity.reference import import_torchvision
from regard.processing.fetch_policy import DEFAULT_POLICY
from regard.processing.frames import (
    Timeline,
    VideoSettings,
    choose_frames,
    choose_size,
    group_timestamps,
    smart_resize_video,
)
from regard.processing.image import load_image, patchify, resize, smart_resize
from regard.processing.video import load_video

HALF = (0.5, 0.5, 0.5)
IMAGE_BOUNDS = {"min_pixels": 65536, "max_pixels": 16777216}
VIDEO_BOUNDS = {"min_pixels": 4096, "max_pixels": 25165824}
VISION = VisionConfig(
    depth=1,
    hidden_size=16,
    intermediate_size=16,
    num_heads=1,
    out_hidden_size=16,
    patch_size=16,
    temporal_patch_size=2,
    spatial_merge_size=2,
    in_channels=3,
    num_position_embeddings=4,
    deepstack_visual_indexes=(0,),
)
SHARED = {
    "patch_size": 16,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "image_mean": list(HALF),
    "image_std": list(HALF),
}


@pytest.fixture(scope="module", autouse=True)
def torchvision() -> None:
    pytest.importorskip("transformers", reason="the reference")
    try:
        import_torchvision()
    except MissingDependencyError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def image_processor(torchvision: None) -> Any:
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor

    return Qwen2VLImageProcessor(size={"shortest_edge": 65536, "longest_edge": 16777216}, **SHARED)


@pytest.fixture(scope="module")
def video_processor(torchvision: None) -> Any:
    from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor

    size = {"shortest_edge": 4096, "longest_edge": 25165824}
    return Qwen3VLVideoProcessor(size=size, cap_pixels_per_frame=False, **SHARED)


def picture(mode: str, width: int, height: int) -> Image.Image:
    """Smooth colour with noise on top: every kind of resampling error would show."""
    rng = np.random.default_rng(width * 10_000 + height)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 7, 4), dtype=np.uint8), "RGBA")
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=int)
    noisy = np.clip(smooth + rng.integers(-20, 21, smooth.shape), 0, 255).astype(np.uint8)
    coloured = Image.fromarray(noisy, "RGBA")
    return coloured.convert("RGB").convert(mode) if mode == "P" else coloured.convert(mode)


PICTURES = [
    ("RGB", 640, 480),
    ("RGB", 333, 777),
    ("RGB", 100, 75),
    ("RGB", 1200, 900),
    ("RGB", 512, 512),
    ("RGB", 3, 590),
    ("RGBA", 401, 299),
    ("LA", 300, 200),
    ("L", 517, 389),
    ("P", 260, 300),
    ("1", 300, 301),
    ("CMYK", 320, 333),
]


@pytest.mark.parametrize(("mode", "width", "height"), PICTURES)
def test_a_picture_has_the_reference_pixel_values(image_processor: Any, mode: str, width: int, height: int) -> None:
    source = picture(mode, width, height)
    expected = image_processor(source, return_tensors="np")
    loaded = load_image(source)
    size = smart_resize(height, width, **IMAGE_BOUNDS)
    pixel_values, grid = patchify(resize(loaded, *size)[None], vision=VISION, mean=HALF, std=HALF)
    assert expected["image_grid_thw"].tolist() == [list(grid)]
    assert np.array_equal(pixel_values, expected["pixel_values"])


def test_another_mean_and_deviation_are_fused_the_same_way(image_processor: Any) -> None:
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor

    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    shared = SHARED | {"image_mean": list(mean), "image_std": list(std)}
    reference = Qwen2VLImageProcessor(size={"shortest_edge": 65536, "longest_edge": 16777216}, **shared)
    source = picture("RGB", 300, 280)
    pixels = resize(source, *smart_resize(280, 300, **IMAGE_BOUNDS))
    pixel_values, _ = patchify(pixels[None], vision=VISION, mean=mean, std=std)
    assert np.array_equal(pixel_values, reference(source, return_tensors="np")["pixel_values"])


CLIPS = [(8, 120, 160), (7, 120, 160), (3, 64, 96), (5, 20, 30), (2, 360, 640), (9, 33, 257), (31, 54, 96)]


@pytest.mark.parametrize(("num_frames", "height", "width"), CLIPS)
def test_a_clip_has_the_reference_pixel_values(video_processor: Any, num_frames: int, height: int, width: int) -> None:
    frames = np.stack([np.asarray(picture("RGB", width + n, height))[:, :width] for n in range(num_frames)])
    expected = video_processor(videos=[frames], do_sample_frames=False, return_tensors="np")
    sampled = load_video(Video(frames))
    pixel_values, grid = patchify(sampled.frames, vision=VISION, mean=HALF, std=HALF)
    assert expected["video_grid_thw"].tolist() == [list(grid)]
    assert np.array_equal(pixel_values, expected["pixel_values_videos"])


def test_the_frames_of_a_file_are_those_that_the_reference_would_sample(video_processor: Any) -> None:
    from transformers.video_utils import VideoMetadata

    rng = np.random.default_rng(0)
    settings = VideoSettings()
    for _ in range(300):
        total, fps = int(rng.integers(2, 4000)), float(rng.choice([1, 10, 24, 25, 29.97, 30000 / 1001, 50, 60]))
        metadata = VideoMetadata(total_num_frames=total, fps=fps, duration=total / fps)
        wish = rng.choice([0.5, 1.0, 2.0, 3.7])
        ours = choose_frames(Timeline(total, fps), Video(None, fps=float(wish)), settings, policy=DEFAULT_POLICY)
        theirs = video_processor.sample_frames(metadata, fps=float(wish)).tolist()
        assert ours == (theirs * 2 if len(theirs) == 1 else theirs), (total, fps, wish)
        count = int(rng.integers(2, 50))
        ours = choose_frames(Timeline(total, fps), Video(None, num_frames=count), settings, policy=DEFAULT_POLICY)
        assert ours == video_processor.sample_frames(metadata, num_frames=count, fps=None).tolist()


def test_timestamps_equal_the_reference_formula() -> None:
    from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor

    calculate = Qwen3VLProcessor._calculate_timestamps
    rng = np.random.default_rng(1)
    for _ in range(300):
        indices = sorted(rng.integers(0, 5000, int(rng.integers(1, 40))).tolist())
        fps = float(rng.choice([1, 10, 24, 25, 29.97, 30000 / 1001, 50, 60]))
        ours = group_timestamps([index / fps for index in indices])
        assert list(ours) == calculate(None, list(indices), fps, 2)


def test_sizes_equal_the_reference_for_random_inputs() -> None:
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize as image_reference
    from transformers.models.qwen3_vl.video_processing_qwen3_vl import smart_resize as video_reference

    rng = np.random.default_rng(2)
    for _ in range(2000):
        height, width = (int(2 ** rng.uniform(3, 13)) for _ in range(2))
        if max(height, width) > 200 * min(height, width):
            continue
        assert smart_resize(height, width, **IMAGE_BOUNDS) == image_reference(height, width, factor=32, **IMAGE_BOUNDS)
        count = int(rng.integers(2, 769))
        expected = video_reference(count, height, width, factor=32, temporal_factor=2, **VIDEO_BOUNDS)
        assert smart_resize_video(count, height, width, **VIDEO_BOUNDS) == expected
        assert choose_size(count, height, width, Video(None), VideoSettings()) == expected


def test_a_file_on_disk_has_the_reference_pixel_values(video_processor: Any, tmp_path: Path) -> None:
    """The reference is given the frames that its own rule picks, decoded by PyAV one after the other."""
    av = pytest.importorskip("av", reason="reading video needs the extra 'video'")
    from tests.clips import constant_times, write_clip

    path = write_clip(tmp_path / "clip.mp4", constant_times(61))
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    sampled = load_video(Video(path, num_frames=7))
    chosen = np.stack([frames[index] for index in sampled.frame_indices])
    expected = video_processor(videos=[chosen], do_sample_frames=False, return_tensors="np")
    pixel_values, _ = patchify(sampled.frames, vision=VISION, mean=HALF, std=HALF)
    assert np.array_equal(pixel_values, expected["pixel_values_videos"])
