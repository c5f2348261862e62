"""Which frames, which size, which time: the numbers of a clip, without a clip."""

from __future__ import annotations

import math

import numpy as np
import pytest

from regard.errors import InputError
from regard.messages import Video
from regard.processing.fetch_policy import FetchPolicy
from regard.processing.frames import (
    Timeline,
    VideoSettings,
    choose_frames,
    choose_size,
    format_time,
    group_timestamps,
    parse_time,
    smart_resize_video,
)

POLICY = FetchPolicy()
SETTINGS = VideoSettings()


def chosen(total: int, source_fps: float, **options: float) -> list[int]:
    return choose_frames(Timeline(total, source_fps), Video(None, **options), SETTINGS, policy=POLICY)


def told(total: int, source_fps: float, **options: float) -> list[str]:
    indices = chosen(total, source_fps, **options)
    return [f"{time:.1f}" for time in group_timestamps([index / source_fps for index in indices])]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("12.5", 12.5),
        ("1:30", 90),
        ("0:23:00", 1380),
        ("1:00:00.25", 3600.25),
        ("45s", 45),
        (7, 7),
        (".5", 0.5),
    ],
)
def test_times_are_read_in_every_common_spelling(text: str | float, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "later", "-3", "1:60", "1:60:00", "1:2:3:4", "1h", -1, math.nan, math.inf])
def test_what_is_no_time_is_refused(text: str | float) -> None:
    with pytest.raises(InputError, match="is not a"):
        parse_time(text)


def test_times_are_written_with_a_fraction_only_when_there_is_one() -> None:
    assert [format_time(t) for t in (0, 90, 3661, 12.5, 59.9996)] == [
        "0:00:00",
        "0:01:30",
        "1:01:01",
        "0:00:12.5",
        "0:01:00",
    ]


def test_frames_lie_evenly_as_in_the_reference() -> None:
    assert chosen(30, 10) == [0, 6, 12, 17, 23, 29]
    assert len(chosen(299, 29.97)) == 19
    assert chosen(5, 1) == [0, 1, 2, 3, 4]
    assert chosen(3, 1) == [0, 1, 2]
    assert chosen(7, 1) == list(range(7))
    assert chosen(5, 1, num_frames=8) == [0, 1, 1, 2, 2, 3, 3, 4]
    assert len(chosen(100_000, 25)) == 768


def test_a_single_frame_is_used_twice_because_a_temporal_patch_needs_two() -> None:
    assert chosen(1, 25) == [0, 0]
    assert chosen(100, 25, num_frames=1) == [0, 0]


def test_fps_and_max_frames_combine() -> None:
    assert len(chosen(250, 25, fps=4)) == 40
    assert len(chosen(250, 25, fps=4, max_frames=8)) == 8
    assert len(chosen(250, 25, fps=0.1, min_frames=6)) == 6
    assert len(chosen(250, 25, fps=4, num_frames=10)) == 10
    assert len(chosen(250, 25, fps=1, num_frames=100)) == 10
    assert len(chosen(250, 25, max_frames=2)) == 2
    assert len(chosen(250, 25, num_frames=100, max_frames=30)) == 30
    assert len(chosen(25_000, 25, fps=5, min_frames=1000)) == 1000


def test_a_stretch_is_cut_first_and_keeps_the_times_of_the_clip() -> None:
    indices = chosen(1000, 10, start=20, end=30, fps=1)
    assert indices[0] == 200 and indices[-1] == 299 and len(indices) == 10
    assert chosen(1000, 10, start=99.95) == [999, 999]
    assert chosen(10, 0.1, start=32, end=38) == [3, 3]  # between two slides: the one on display
    assert chosen(100, 29.97, start=1.0, end=500)[0] == 30
    variable = Timeline(4, 1.0, np.array([0.0, 0.5, 4.0, 4.5]))
    assert choose_frames(variable, Video(None, start=0.4, end=4.2, num_frames=2), SETTINGS, policy=POLICY) == [1, 2]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"start": 40}, r"start 0:00:40 is not inside the clip, which ends at 0:00:10"),
        ({"start": 5, "end": 5}, r"end 0:00:05 is not after start 0:00:05"),
        ({"start": -1}, "is not a moment in a clip"),
        ({"fps": 0}, "fps is 0; it must be above 0"),
        ({"num_frames": 0}, "num_frames is 0"),
        ({"min_frames": 9, "max_frames": 3}, "min_frames 9 is above max_frames 3"),
        ({"num_frames": 5000}, "5000 frames are asked for, the limit is 4096"),
    ],
)
def test_options_out_of_range_are_one_sentence(options: dict[str, float], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        chosen(250, 25, **options)


def test_timestamps_are_the_middle_of_each_pair_and_round_half_to_even() -> None:
    assert told(30, 10) == ["0.3", "1.4", "2.6"]
    assert told(48, 24) == ["0.3", "1.6"]
    assert told(100, 25) == ["0.3", "1.4", "2.6", "3.7"]
    assert told(5, 1) == ["0.5", "2.5", "4.0"]
    assert told(299, 29.97)[:5] == ["0.3", "1.4", "2.5", "3.6", "4.7"]
    assert told(2, 30) == ["0.0"]
    ties = [0.25, 0.75, 1.25, 0.15, 0.35, 0.05]
    assert [f"{time:.1f}" for time in group_timestamps(np.repeat(ties, 2).tolist())] == [
        "0.2",
        "0.8",
        "1.2",
        "0.1",
        "0.3",
        "0.1",
    ]


@pytest.mark.parametrize(
    ("clip", "expected"),
    [
        ((2, 64, 96), (64, 96)),
        ((16, 360, 640), (352, 640)),
        ((31, 1080, 1920), (672, 1184)),
        ((32, 1080, 1920), (640, 1152)),
        ((768, 1080, 1920), (128, 224)),
        ((768, 240, 320), (128, 192)),
        ((100, 480, 854), (352, 640)),
        ((5, 720, 1280), (704, 1280)),
        ((3, 1080, 1920), (1088, 1920)),
        ((2, 2160, 3840), (2176, 3840)),
        ((2, 20, 20), (64, 64)),
        ((4, 16, 400), (32, 800)),
    ],
)
def test_video_smart_resize_gives_the_reference_sizes(clip: tuple[int, int, int], expected: tuple[int, int]) -> None:
    assert smart_resize_video(*clip, min_pixels=4096, max_pixels=25165824) == expected


def sized(num_frames: int, height: int, width: int, **options: int) -> tuple[int, int]:
    return choose_size(num_frames, height, width, Video(None, **options), SETTINGS)


def test_pixel_bounds_of_a_frame_and_of_the_clip_combine() -> None:
    assert sized(10, 720, 1280) == (704, 1280)
    assert math.prod(sized(10, 720, 1280, max_pixels=200_000)) <= 200_000
    assert math.prod(sized(10, 120, 160, min_pixels=100_000)) >= 100_000
    assert 10 * math.prod(sized(10, 720, 1280, total_pixels=1_000_000)) <= 1_000_000
    small = sized(10, 720, 1280, total_pixels=1_000_000, max_pixels=60_000, min_pixels=40_000)
    assert 40_000 <= math.prod(small) <= 60_000


def test_pixel_bounds_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(InputError, match="min_pixels 9000 is above max_pixels 8000"):
        sized(4, 100, 100, min_pixels=9000, max_pixels=8000)
    with pytest.raises(InputError, match=r"100 frames of .* the budget is 1000000; lower fps"):
        sized(100, 720, 1280, min_pixels=100_000, total_pixels=1_000_000)
    with pytest.raises(InputError, match="total_pixels is 0"):
        sized(4, 100, 100, total_pixels=0)
    with pytest.raises(InputError, match="aspect ratio of 201"):
        sized(4, 40, 201 * 40)
