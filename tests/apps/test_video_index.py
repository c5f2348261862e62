"""Reading clips: what changes is found to the frame, whatever the container did with times; the index is reused."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from regard.apps.video import changes
from regard.apps.video.changes import COLUMNS, ROWS
from regard.apps.video.index import Index
from regard.apps.video.looks import Eyes, numbers_for
from regard.apps.video.scan import scan
from regard.errors import InputError
from tests.apps.video_helpers import WIDTH, colour_of, steady, write_clip

pytest.importorskip("av")

RED = ("red", 6.4, 99.0, 40)
BLUE = ("blue", 0.0, 13.2, 200)


def found(index: Index) -> list[tuple[float, str]]:
    return [(round(change.time_s, 2), change.kind) for change in index.changes]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_changes_are_found_to_the_frame(tmp_path: Path, suffix: str) -> None:
    clip = write_clip(tmp_path / f"clip{suffix}", [RED, BLUE], steady(20))
    with scan(clip, tmp_path / "index") as index:
        assert found(index) == [(6.4, "appears"), (13.2, "disappears")]
        assert abs(index.facts.duration_s - 20) < 0.3
        assert index.facts.num_frames == 100
        x1, _, x2, _ = index.changes[0].place
        assert abs(x1 * WIDTH - 40) < 8 and abs(x2 * WIDTH - 88) < 8


def test_times_begin_at_the_first_frame_also_where_the_file_begins_later(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "late.mkv", [RED], steady(12), offset_s=77.0)
    with scan(clip, tmp_path / "index") as index:
        assert found(index) == [(6.4, "appears")]


def test_times_above_an_hour_are_kept(tmp_path: Path) -> None:
    times = [*np.arange(0, 4000, 100.0), *np.arange(4000, 4020, 0.2)]
    clip = write_clip(tmp_path / "long.mkv", [("red", 4010.4, 9999.0, 40)], list(map(float, times)), key_every=5)
    with scan(clip, tmp_path / "index") as index:
        assert found(index) == [(4010.4, "appears")]
        with Eyes(clip, index, numbers_for(8192)) as eyes:
            look = eyes.fine([4009.4, 4009.9, 4010.4, 4010.9])
            assert [colour_of(picture) for picture in look.pictures] == [None, None, "red", "red"]
            assert look.told_s(4010.4) == 1.0 and look.true_s(1.0) == pytest.approx(4010.4)


def test_a_variable_frame_rate_does_not_move_events(tmp_path: Path) -> None:
    times, time_s = [], 0.0
    for number in range(90):
        times.append(round(time_s, 3))
        time_s += 0.04 if number % 3 else 0.4
    event_s = times[47]
    clip = write_clip(tmp_path / "variable.mp4", [("green", event_s, 99.0, 120)], times)
    with scan(clip, tmp_path / "index") as index:
        assert [pytest.approx(event_s, abs=0.002)] == [change.time_s for change in index.changes]


def test_what_comes_and_goes_between_two_key_frames_is_found_by_the_size_of_packets(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "short.mp4", [("black", 21.0, 23.0, 100)], steady(60), key_every=50)
    with scan(clip, tmp_path / "index") as index:
        assert found(index) == [(21.0, "appears"), (23.0, "disappears")]


def test_a_clip_with_a_single_key_frame_is_read_too(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "one_key.mp4", [RED], steady(30), key_every=1000)
    with scan(clip, tmp_path / "index") as index:
        assert found(index) == [(6.4, "appears")]
        assert len(index.times_s) > 10


def test_the_index_is_used_again_and_made_anew_when_the_clip_changes(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    clip = write_clip(tmp_path / "clip.mp4", [RED], steady(10))
    scan(clip, folder).close()
    with Index.open(clip, folder) as index:  # type: ignore[union-attr]
        index.keep("answer", ["kept"])
    os.utime(clip, (1, 1))  # touched, the same bytes
    with scan(clip, folder) as index:
        assert index.recall("answer") == ["kept"]
    moved = clip.rename(tmp_path / "moved.mp4")
    with scan(moved, folder) as index:
        assert index.recall("answer") == ["kept"]
    write_clip(moved, [BLUE], steady(16))
    assert Index.open(moved, folder) is None
    with scan(moved, folder) as index:
        assert index.recall("answer") is None
        assert found(index) == [(13.2, "disappears")]


def test_a_change_that_the_quick_hash_misses_is_noticed_by_the_whole_one(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    clip = write_clip(tmp_path / "clip.mp4", [RED], steady(10))
    path = scan(clip, folder)
    path.close()
    import sqlite3

    database = sqlite3.connect(path.path)  # as if the index were of other bytes with the same pieces
    with database:
        database.execute("UPDATE meta SET value = '\"0000\"' WHERE key = 'sha256'")
        database.execute("UPDATE meta SET value = '[1]' WHERE key = 'mtimes'")
    database.close()
    assert Index.open(clip, folder) is None


def test_an_index_that_was_cut_short_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    clip = write_clip(tmp_path / "clip.mp4", [RED], steady(10))
    index = scan(clip, folder)
    index.close()
    data = index.path.read_bytes()
    index.path.write_bytes(data[: len(data) // 2])
    with scan(clip, folder) as again:
        assert found(again) == [(6.4, "appears")]


def test_the_second_opening_does_not_read_the_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = write_clip(tmp_path / "clip.mp4", [RED], steady(10))
    scan(clip, tmp_path / "index").close()
    monkeypatch.setattr("regard.apps.video.scan.VideoFile", None)
    began = time.perf_counter()
    scan(clip, tmp_path / "index").close()
    assert time.perf_counter() - began < 3


def test_broken_files_are_told_in_one_sentence(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", [RED], steady(10))
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(clip.read_bytes()[:400])
    (tmp_path / "words.mp4").write_text("no video at all")
    for path in (broken, tmp_path / "words.mp4"):
        with pytest.raises(InputError) as caught:
            scan(path, tmp_path / "index")
        assert "\n" not in str(caught.value) and path.name in str(caught.value)
    assert not list((tmp_path / "index").glob("*"))  # nothing half made is left


def test_a_film_in_which_everything_moves_has_no_changes() -> None:
    rng = np.random.default_rng(0)
    assert changes.stands_out(list(rng.uniform(0.2, 0.3, 200))) == []
    assert changes.stands_out([*rng.uniform(0.02, 0.03, 100), 0.7, *rng.uniform(0.02, 0.03, 100)]) == [100]


def test_a_slow_change_is_told_at_its_middle() -> None:
    grids = [np.full((ROWS, COLUMNS, 3), 100, np.int16) for _ in range(21)]
    for number, grid in enumerate(grids):
        grid[10:20, 10:20] = 100 + 5 * number
    located = changes.locate([number / 10 for number in range(21)], grids)
    assert [change.time_s for change in located] == [pytest.approx(1.1, abs=0.15)]
