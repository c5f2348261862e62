"""Clips in every container: the frames used are the right ones, at their true times, and bad files are one sentence."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from regard.errors import InputError, MissingDependencyError, RegardError
from regard.messages import Video
from regard.processing.fetch_policy import FetchPolicy
from regard.processing.video import SampledVideo, load_video
from regard.processing.video_file import VideoFile
from tests.clips import constant_times, paint_number, read_number, write_clip

pytest.importorskip("av", reason="reading video needs the extra 'video'")

NTSC = Fraction(30000, 1001)
# 2 s at 30 fps, a pause of 3 s, 4 s at 10 fps: what a phone or a screen recorder makes.
VARIABLE = [n / 30 for n in range(60)] + [5 + n / 10 for n in range(40)]


def numbers(sampled: SampledVideo) -> list[int]:
    return [read_number(frame) for frame in sampled.frames]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="module")
def clip(folder: Path) -> Path:
    """8 s at 25 fps with B-frames and a key frame about every half second."""
    return write_clip(folder / "clip.mp4", constant_times(200))


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm", ".avi"])
@pytest.mark.parametrize("fps", [Fraction(25), NTSC])
def test_the_frames_used_are_the_right_ones_in_every_container(folder: Path, suffix: str, fps: Fraction) -> None:
    path = write_clip(folder / f"{fps.numerator}{suffix}", constant_times(90, fps), fps=fps)
    for options in ({}, {"num_frames": 90}, {"num_frames": 3}, {"start": 1.5, "end": 2.1, "fps": 10}):
        sampled = load_video(Video(path, **options))
        assert numbers(sampled) == list(sampled.frame_indices), options
        assert sampled.frame_times_s == tuple(index / float(fps) for index in sampled.frame_indices)
        assert sampled.num_source_frames == 90
        assert sampled.source_fps == float(fps)


def test_transport_streams_and_frames_without_b_frames_work_too(folder: Path) -> None:
    stream = write_clip(folder / "clip.ts", constant_times(60), codec="libx264")
    plain = write_clip(folder / "plain.mp4", constant_times(60), num_b_frames=0)
    jumpy = write_clip(folder / "jumpy.avi", constant_times(60), num_b_frames=0)
    old = write_clip(folder / "h264.avi", constant_times(60), codec="libx264")
    for path in (stream, plain, jumpy, old):
        sampled = load_video(Video(path, start=0.8, end=2))
        assert numbers(sampled) == list(sampled.frame_indices)
        assert sampled.frame_times_s[0] == 0.8


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".mov"])
def test_a_variable_rate_gives_true_times(folder: Path, suffix: str) -> None:
    path = write_clip(folder / f"variable{suffix}", VARIABLE, fps=Fraction(30))
    sampled = load_video(Video(path, num_frames=100))
    assert numbers(sampled) == list(range(100))
    assert np.allclose(sampled.frame_times_s, VARIABLE, atol=0.001)
    late = load_video(Video(path, start=4.9, end=6.05))
    assert numbers(late) == list(late.frame_indices)
    assert late.frame_indices[0] == 60 and late.frame_times_s[0] == pytest.approx(5.0, abs=0.001)
    assert late.duration_s == pytest.approx(9.0, abs=0.1)


def test_a_header_that_lies_about_a_constant_rate_is_found_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_clip(folder / "lie.mp4", VARIABLE, fps=Fraction(30))
    from regard.processing.frames import Timeline

    honest = VideoFile.timeline

    def gullible(self: VideoFile, *, count_packets: bool = False) -> Timeline:
        return honest(self, count_packets=True) if count_packets else Timeline(100, 30.0)

    monkeypatch.setattr(VideoFile, "timeline", gullible)
    sampled = load_video(Video(path, num_frames=10))
    assert numbers(sampled) == list(sampled.frame_indices)
    assert sampled.frame_times_s[-1] == pytest.approx(VARIABLE[-1], abs=0.001)


def test_a_stretch_decodes_only_its_own_groups_of_pictures(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    original = VideoFile._decoded

    def counted(self: VideoFile, packet: object) -> list[object]:
        frames = original(self, packet)
        decoded.extend(frames)
        return frames

    monkeypatch.setattr(VideoFile, "_decoded", counted)
    sampled = load_video(Video(clip, start=6, end=6.4))
    assert sampled.frame_indices[0] == 150
    assert len(decoded) < 60, "200 frames are in the clip"
    decoded.clear()
    assert numbers(load_video(Video(clip, num_frames=4))) == [0, 66, 133, 199]
    assert len(decoded) < 120


def test_a_rotation_flag_turns_the_frames(folder: Path, clip: Path) -> None:
    program = shutil.which("ffmpeg")
    if program is None:
        pytest.skip("PyAV cannot write rotation flags; this needs the ffmpeg program")
    turned, truth = folder / "turned.mp4", folder / "truth.png"
    flag = ["-metadata:s:v:0", "rotate=90"]
    subprocess.run([program, "-v", "error", "-y", "-i", clip, "-c", "copy", *flag, turned], check=True)
    subprocess.run([program, "-v", "error", "-y", "-i", turned, "-frames:v", "1", truth], check=True)
    upright = np.asarray(Image.open(truth).convert("RGB"))
    if upright.shape[:2] != (192, 64):
        pytest.skip("this ffmpeg does not write the rotation flag from metadata")
    sampled = load_video(Video(turned, num_frames=2))
    assert (sampled.width, sampled.height) == (64, 192)
    assert np.abs(sampled.frames[0].astype(int) - upright).max() < 40
    assert np.abs(sampled.frames[1].astype(int) - upright).max() > 200, "frame 199 is another picture"


def test_an_animated_gif_plays_with_its_own_times_and_holes_are_white(folder: Path) -> None:
    frames = []
    for number in range(6):
        picture = Image.fromarray(paint_number(number)).convert("RGBA")
        picture.paste((0, 0, 0, 0), (0, 60, 192, 64))
        frames.append(picture)
    path = folder / "moving.gif"
    durations = [100, 100, 500, 100, 100, 100]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, disposal=2)
    sampled = load_video(Video(path, num_frames=6))
    assert numbers(sampled) == [0, 1, 2, 3, 4, 5]
    assert np.allclose(sampled.frame_times_s, [0, 0.1, 0.2, 0.7, 0.8, 0.9])
    assert (sampled.frames[0][-1] == 255).all()


def test_frame_lists_are_used_whole_with_their_own_rate(folder: Path) -> None:
    arrays = [paint_number(number) for number in range(5)]
    paths = []
    for number, array in enumerate(arrays):
        paths.append(folder / f"frame{number}.png")
        Image.fromarray(array).save(paths[-1])
    for source in (arrays, paths, [Image.fromarray(array) for array in arrays], np.stack(arrays)):
        sampled = load_video(Video(source))
        assert numbers(sampled) == [0, 1, 2, 3, 4]
        assert sampled.frame_times_s == (0.0, 0.5, 1.0, 1.5, 2.0)
    slow = load_video(Video(arrays, sample_fps=0.3, start=3, max_frames=2))
    assert slow.frame_indices == (1, 4)
    assert slow.frame_times_s == (1 / 0.3, 4 / 0.3)
    assert len(load_video(Video([arrays[0]] * 49, sample_fps=0.7)).frame_indices) == 49
    assert load_video(Video([arrays[0]])).frame_indices == (0, 0)


def test_bad_frame_lists_are_one_sentence() -> None:
    with pytest.raises(InputError, match="the list of frames is empty"):
        load_video(Video([]))
    with pytest.raises(InputError, match="frame 1 is 10x20, the first is 192x64"):
        load_video(Video([paint_number(0), np.zeros((20, 10, 3), np.uint8)]))
    with pytest.raises(InputError, match=r"gone\.png does not exist"):
        load_video(Video(["gone.png"]))


def test_clips_come_from_bytes_and_data_urls_too(clip: Path) -> None:
    import base64

    data = clip.read_bytes()
    url = "data:video/mp4;base64," + base64.b64encode(data).decode()
    for source in (data, url, str(clip), f"file://{clip}"):
        assert numbers(load_video(Video(source, num_frames=3))) == [0, 100, 199]


def test_frames_arrive_resized_and_in_budget(clip: Path) -> None:
    sampled = load_video(Video(clip, fps=1, max_pixels=4096))
    assert sampled.frames.shape == (8, 32, 96, 3) and sampled.frames.dtype == np.uint8
    assert (sampled.width, sampled.height) == (192, 64)
    assert sampled.decode_s > 0


def test_a_single_frame_clip_is_shown_twice(folder: Path) -> None:
    path = write_clip(folder / "one.mp4", [0.0], num_b_frames=0)
    sampled = load_video(Video(path))
    assert sampled.frame_indices == (0, 0) and sampled.timestamps_s == (0.0,)


def test_bad_clips_are_one_sentence(folder: Path, clip: Path) -> None:
    data = clip.read_bytes()

    def refused(source: object, sentence: str, **options: object) -> None:
        with pytest.raises(InputError, match=sentence) as caught:
            load_video(Video(source, **options))
        assert "\n" not in str(caught.value)

    refused("gone.mp4", r"gone\.mp4 does not exist; check the path")
    refused(b"", "nothing is in it")
    refused(data[: len(data) // 2], "is damaged, cut short or no video")
    refused(b"<html><body>Sign in</body></html>", "is an HTML page, which cannot be played; give MP4")
    refused(b"\x00\x00\x01\xba" + bytes(200), "is an MPEG program stream, which cannot be played")
    refused(clip, "sample_fps 3 is given for a clip that has its own times", sample_fps=3)
    refused(clip, "start 0:01:00 is not inside the clip, which ends at 0:00:08", start=60)
    refused(folder, "is a folder")
    whole = io.BytesIO()
    Image.fromarray(paint_number(1)).save(whole, "PNG")
    refused(whole.getvalue(), "no video")
    with pytest.raises(InputError, match="frames of 192x64 pixels, the limit is"):
        load_video(Video(clip), policy=FetchPolicy(max_image_pixels=1000))


def test_a_clip_cut_short_after_its_header_is_refused_only_where_frames_are_missing(folder: Path) -> None:
    path = write_clip(folder / "front.mp4", constant_times(200), options={"movflags": "faststart"})
    cut = path.read_bytes()
    cut = cut[: int(len(cut) * 0.6)]
    with pytest.raises(InputError, match=r"is cut short: \d+ of 200 frames are there"):
        load_video(Video(cut))
    assert numbers(load_video(Video(cut, start=0, end=1)))[0] == 0


def test_a_container_without_frames_or_without_pictures_is_refused(folder: Path) -> None:
    import av

    empty = folder / "empty.mkv"
    with av.open(str(empty), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        container.start_encoding()
    with pytest.raises(InputError, match=r"empty\.mkv (has no frames|is damaged|holds no video)"):
        load_video(Video(empty))
    sound = folder / "sound.mkv"
    with av.open(str(sound), "w") as container:
        audio = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.rate = 8000
        container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
    with pytest.raises(InputError, match="holds no video that can be decoded"):
        load_video(Video(sound))


def test_a_playlist_that_names_other_files_is_refused(folder: Path, clip: Path) -> None:
    playlist = folder / "innocent.mp4"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:8,\nfile://{clip}\n#EXT-X-ENDLIST\n")
    with pytest.raises(InputError, match="is plain text, which cannot be played"):
        load_video(Video(playlist))
    playlist.write_text(f"ffconcat version 1.0\nfile {clip.name}\n")
    with pytest.raises(InputError, match="is plain text, which cannot be played"):
        load_video(Video(playlist))


def test_without_the_optional_package_the_extra_is_named(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'regard\[video\]'"):
        load_video(Video(clip))


@pytest.fixture(scope="module")
def seeds(folder: Path) -> list[bytes]:
    return [
        write_clip(folder / f"seed{suffix}", constant_times(6), key_every=3).read_bytes()
        for suffix in (".mp4", ".mkv", ".avi")
    ]


@settings(max_examples=60, deadline=None)
@given(
    which=st.integers(0, 2),
    changes=st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=12),
    keep=st.integers(1, 1 << 16),
)
def test_mutated_clips_either_load_or_raise_our_error(
    seeds: list[bytes], which: int, changes: list[tuple[int, int]], keep: int
) -> None:
    data = bytearray(seeds[which][:keep])
    for position, value in changes:
        data[position % len(data)] = value
    try:
        sampled = load_video(Video(bytes(data), max_frames=8), policy=FetchPolicy(max_image_pixels=1 << 20))
        assert len(sampled.frames) >= 2
    except RegardError as error:
        assert "\n" not in str(error)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes_are_no_video(data: bytes) -> None:
    with pytest.raises(RegardError):
        load_video(Video(data))
