"""An hour of video costs no more memory than a minute, and half a minute of it is found without decoding the rest."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MIB = 1024 * 1024
# Runs in a process of its own: the peak of a process can only be read, never reset.
MEASURE = """
import json, resource, sys, time
import numpy as np, torch, av
from regard.messages import Video
from regard.processing.frames import parse_time
from regard.processing.image import resize
from regard.processing.video import load_video
from regard.processing.video_file import VideoFile

resize(np.zeros((64, 64, 3), np.uint8), 32, 32)
idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
decoded = 0
original = VideoFile._decoded
def counted(self, packet):
    global decoded
    frames = original(self, packet)
    decoded += len(frames)
    return frames
VideoFile._decoded = counted
sampled = load_video(Video(sys.argv[1], start=parse_time(sys.argv[2]), end=parse_time(sys.argv[3])))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
numbers = []
for frame in sampled.frames:
    height, width = frame.shape[:2]
    row = frame[int(height * 632 / 720)].mean(axis=1)
    bars = [row[int(width * (64 + 64 * (bit + 0.5)) / 1280)] > 127 for bit in range(18)]
    numbers.append(sum(1 << bit for bit in range(18) if bars[bit]))
print(json.dumps({
    "above_idle_kib": peak - idle, "decode_s": sampled.decode_s, "decoded": decoded, "numbers": numbers,
    "indices": sampled.frame_indices, "total": sampled.num_source_frames, "shape": sampled.frames.shape,
}))
"""


@pytest.mark.slow
@pytest.mark.needs_ffmpeg
@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="makes its clip with the ffmpeg program")
def test_half_a_minute_of_an_hour_decodes_only_its_own_frames_in_little_memory(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="reading video needs the extra 'video'")
    clip = tmp_path / "long.mp4"
    subprocess.run([ROOT / "scripts" / "make_long_clip.sh", clip], check=True)
    command = [sys.executable, "-c", MEASURE, clip, "0:23:00", "0:23:30"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    found = json.loads(done.stdout)
    print(found)
    assert found["numbers"] == found["indices"]
    assert (found["indices"][0], found["indices"][-1]) == (23 * 60 * 2, 23 * 60 * 2 + 59)
    assert found["total"] == 7_200
    assert found["decoded"] <= 70, "the stretch has 60 frames"
    assert found["above_idle_kib"] * 1024 < 1024 * MIB
