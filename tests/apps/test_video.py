"""Questions about clips, with a model that sees colours: answers, intervals, budgets, subtitles, the command."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from regard.apps.result import TimeSpan
from regard.apps.video import Watch, sheet, to_srt, to_vtt, words
from regard.apps.video.changes import Change
from regard.apps.video.overview import boundaries
from regard.apps.video.result import Chapter, ScreenText, Spent, VideoEvent, VideoReport
from regard.apps.video.scan import scan
from regard.errors import ConfigError, InputError
from tests.apps.video_helpers import SeeingChat, steady, write_clip

pytest.importorskip("av")

GOLDEN = Path(__file__).parent / "golden"
SQUARES = [("red", 6.4, 99.0, 40), ("blue", 0.0, 13.2, 200), ("green", 20.0, 99.0, 230)]
WIDE = 65536


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "squares.mp4", SQUARES, steady(30))


@pytest.fixture(scope="module")
def fresh_index(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the clip's index, in which no question was asked yet."""
    folder = tmp_path_factory.mktemp("index")
    scan(clip, folder).close()
    return folder


@pytest.fixture
def index(fresh_index: Path, tmp_path: Path) -> Path:
    """A copy of it for one test."""
    return shutil.copytree(fresh_index, tmp_path / "index")


@pytest.fixture
def watch(clip: Path, index: Path) -> Iterator[Watch]:
    with Watch(SeeingChat(), clip, folder=index) as opened:
        yield opened


def test_a_time_is_answered_to_the_frame_and_looked_at_twice(watch: Watch) -> None:
    report = watch.ask("When does the red square appear?")
    assert [event.span.start_s for event in report.events] == [pytest.approx(6.4)]
    assert report.events[0].checked == "looked"
    assert report.answer == "at 0:06.4: a red square appears"


def test_what_disappears_is_shown_backwards_and_named(watch: Watch) -> None:
    report = watch.ask("When does the blue square disappear?")
    assert (report.events[0].text, round(report.events[0].span.start_s, 2)) == ("the blue square disappears", 13.2)


def test_an_end_that_was_named_wrongly_is_found_at_the_place_where_the_thing_appeared(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "ends.mp4", [("red", 6.4, 13.2, 40)], steady(20))

    def says(prompt: str, frames: list[Any]) -> str | None:
        backwards = prompt.startswith("What appears") and says.calls  # type: ignore[attr-defined]
        says.calls += prompt.startswith("What appears")  # type: ignore[attr-defined]
        return "a blue star" if backwards else None

    says.calls = 0  # type: ignore[attr-defined]
    with Watch(SeeingChat(says=says), clip, folder=tmp_path / "index") as watch:
        report = watch.ask("When does the red square disappear?")
    assert report.answer == "at 0:13.2: the red square disappears"


def test_a_question_that_names_a_time_is_answered_there(watch: Watch) -> None:
    assert watch.ask("What appears at 0:20?").answer == "a green square appears"


def test_counting_and_ordering_rest_on_the_events(watch: Watch) -> None:
    assert watch.ask("How many squares appear?").answer == "2"
    assert watch.ask("Which appears first, the green square or the red square?").answer == "the red square"


def test_only_the_stretch_is_looked_at(watch: Watch) -> None:
    report = watch.summary(10, 25)
    assert [event.text for event in report.events] == ["the blue square disappears", "a green square appears"]
    assert "0:13.2" in report.answer and "red" not in report.answer


def test_found_things_have_intervals(watch: Watch) -> None:
    report = watch.find("green square")
    span = report.events[0].span
    assert (round(span.start_s, 1), round(span.end_s or 0)) == (20.0, 30)
    assert watch.find("a purple elephant").events == []


def test_the_second_question_asks_only_what_is_new(watch: Watch) -> None:
    first = watch.ask("When does the red square appear?")
    second = watch.ask("When does the green square appear?")
    assert second.spent.calls == 1 < first.spent.calls
    assert watch.ask("When does the green square appear?").spent.tokens == 0


def test_the_budget_is_kept_and_what_was_not_seen_is_told(clip: Path, index: Path) -> None:
    chat = SeeingChat()
    with Watch(chat, clip, folder=index, budget=300) as watch:
        report = watch.summary()
        assert report.spent.tokens <= 300
        assert report.spent.unseen >= 1
    with Watch(SeeingChat(), clip, folder=index) as rich:
        assert rich.summary().spent.unseen == 0
    with pytest.raises(ConfigError, match="budget"):
        Watch(chat, clip, folder=index, budget=10)


def test_a_small_context_gets_few_small_frames(watch: Watch) -> None:
    watch.ask("When does the red square appear?")
    chat: Any = watch.chat
    assert max(chat.num_frames) <= 16


def test_a_wide_context_lists_events_in_windows_and_reads_them_with_the_question(clip: Path, index: Path) -> None:
    def says(prompt: str, frames: list[Any]) -> str | None:
        if prompt.startswith("Localize"):
            return '{"00:06.00 - 00:29.00": "someone puts down a red square", "00:21.00 - 00:29.00": "a green one"}'
        if "Answer the question" in prompt:
            assert "0:06.4 someone puts down a red square" in prompt
            return "It is put down at 0:00:06."
        return None

    chat = SeeingChat(WIDE, says)
    with Watch(chat, clip, folder=index) as watch:
        report = watch.ask("When is the red square put down?")
    assert [(event.text, round(event.span.start_s, 2)) for event in report.events] == [
        ("someone puts down a red square", 6.4)
    ]
    assert any(prompt.startswith("What appears at") for prompt in chat.prompts)  # the change that nobody listed
    assert any(prompt.startswith("Give the query: 'someone puts down") for prompt in chat.prompts)


def test_text_on_the_picture_has_a_span(clip: Path, index: Path) -> None:
    def says(prompt: str, frames: list[Any]) -> str | None:
        if prompt.startswith("Read all"):
            from tests.apps.video_helpers import colour_of

            return "RED SALE" if colour_of(frames[0]) == "red" else "no text"
        return "{}" if prompt.startswith("Localize") else None

    with Watch(SeeingChat(WIDE, says), clip, folder=index) as watch:
        texts = watch.text().texts
    assert [(text.text, round(text.span.start_s, 1), round(text.span.end_s or 0)) for text in texts] == [
        ("RED SALE", 6.4, 30)
    ]


def test_chapters_cover_the_clip_without_gaps(watch: Watch) -> None:
    chapters = watch.chapters().chapters
    assert chapters[0].span.start_s == 0 and chapters[-1].span.end_s == pytest.approx(watch.duration_s)
    for one, other in zip(chapters, chapters[1:], strict=False):
        assert one.span.end_s == other.span.start_s


def test_chapters_end_at_the_largest_changes_that_are_far_enough_apart() -> None:
    place = (0.0, 0.0, 1.0, 1.0)
    cuts = [Change(t, 0.0, share, "cut", place) for t, share in ((300.0, 0.9), (310.0, 0.8), (600.0, 0.5), (5.0, 1.0))]
    assert boundaries(cuts, 0.0, 900.0) == [300.0, 600.0]


def test_a_stretch_outside_the_clip_is_refused(watch: Watch) -> None:
    with pytest.raises(InputError, match="ends at 0:30"):
        watch.ask("What happens?", 100.0)
    with pytest.raises(InputError, match="question is empty"):
        watch.ask(" ")


def test_the_contact_sheet_shows_each_cited_frame(watch: Watch) -> None:
    picture = sheet(watch.eyes, watch.summary())
    reds = sum(count for count, rgb in picture.getcolors(1 << 24) or [] if rgb[0] > 190 and max(rgb[1:]) < 70)
    assert picture.width > 600 and reds > 1000


# --- exports --------------------------------------------------------------------------------------------------------


def long_report(task: str) -> VideoReport:
    return VideoReport(
        source="film.mp4",
        model="scripted",
        task=task,  # type: ignore[arg-type]
        stretch=TimeSpan(start_s=0, end_s=9000),
        events=[
            VideoEvent(span=TimeSpan(start_s=4010.4), text="a red circle appears", checked="looked"),
            VideoEvent(span=TimeSpan(start_s=59.9996, end_s=61.25), text="1 < 2 & 3 --> 4\n\nnext"),
            VideoEvent(span=TimeSpan(start_s=4011.0), text="the word STOP appears"),
        ],
        chapters=[
            Chapter(span=TimeSpan(start_s=0, end_s=3723.5), title="Start"),
            Chapter(span=TimeSpan(start_s=3723.5, end_s=9000), title="The rest"),
        ],
        texts=[ScreenText(span=TimeSpan(start_s=7199.999, end_s=7200.1), text="two\nlines")],
        spent=Spent(tokens=0, budget=1, calls=0, seconds=0.0),
    )


def read_cues(subtitles: str) -> list[tuple[float, float, str]]:
    """A reader of both formats, strict about what players are strict about."""
    is_vtt = subtitles.startswith("WEBVTT\n\n")
    point = r"\." if is_vtt else ","
    stamp = rf"(\d\d):([0-5]\d):([0-5]\d){point}(\d\d\d)"
    cues = []
    for number, block in enumerate(subtitles.removeprefix("WEBVTT\n\n").strip().split("\n\n"), start=1):
        lines = block.split("\n")
        assert lines[0] == str(number)
        found = re.fullmatch(rf"{stamp} --> {stamp}", lines[1])
        assert found is not None and len(lines) > 2
        fields = [int(field) for field in found.groups()]
        start_s, end_s = (fields[i] * 3600 + fields[i + 1] * 60 + fields[i + 2] + fields[i + 3] / 1000 for i in (0, 4))
        assert end_s > start_s
        cues.append((start_s, end_s, "\n".join(lines[2:])))
    assert cues == sorted(cues)
    return cues


@pytest.mark.parametrize("task", ["find", "chapters", "text"])
@pytest.mark.parametrize("suffix", ["vtt", "srt"])
def test_subtitles_are_as_written_down_and_can_be_read_back(task: str, suffix: str) -> None:
    report = long_report(task)
    written = to_vtt(report) if suffix == "vtt" else to_srt(report)
    golden = GOLDEN / f"video_{task}.{suffix}"
    assert written == golden.read_text()
    cues = read_cues(written)
    assert [cue[0] for cue in cues] == [round(span.start_s, 3) for span, _ in report.cues()]


def test_a_report_becomes_json(watch: Watch) -> None:
    told = json.loads(json.dumps(watch.ask("When does the red square appear?").to_json()))
    assert told["events"][0]["span"]["start_s"] == pytest.approx(6.4)


# --- words ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("When does the red circle appear?", "when"),
        ("At which second does it vanish?", "when"),
        ("How many stars appear?", "count"),
        ("Which comes first, the red circle or the blue star?", "order"),
        ("What is shown on the slide?", "other"),
    ],
)
def test_questions_are_told_apart(question: str, kind: str) -> None:
    assert words.kind_of(question) == kind


def test_words_in_capitals_are_names_also_if_they_are_small() -> None:
    events = ["the word ON appears", "the word OFF appears", "a red circle appears"]
    assert words.fits("When does the word OFF appear?", events)[0][0] == 1


def test_a_word_that_was_read_wrong_fits_a_question_about_it_better_than_other_words() -> None:
    events = ["the word LATE appears", "the word NEW appears", "the word NEW disappears", "a news tape appears"]
    assert [number for number, _ in words.fits("When does the word NEWS disappear?", events)][0] == 2
    assert words.fit("When does the word NEWS appear?", "the word NEWS appears") == 1
    assert words.fit("When does the word TAXI appear?", "the word EXIT appears") == pytest.approx(1 / 3)
    assert words.fit("When does the purple triangle appear?", "a purple rectangle appears") == pytest.approx(3 / 5)


@pytest.mark.parametrize(
    ("text", "time_s"),
    [("What appears at 1:02:03.5?", 3723.5), ("at 75 seconds", 75.0), ("What is there at 12:30?", 750.0)],
)
def test_times_in_questions_are_understood(text: str, time_s: float) -> None:
    found = words.time_in(text)
    assert found is not None and found[0] == time_s


# --- the command ----------------------------------------------------------------------------------------------------


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    from regard.cli.main import run as run_command

    monkeypatch.setattr("regard.cli.terminal.load_chat", lambda *_, **__: SeeingChat())
    return run_command(["video", *arguments])


def test_the_command_answers_in_every_format(
    clip: Path, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ["--index", str(index)]
    assert run(monkeypatch, str(clip), "When does the red square appear?", *at) == 0
    assert capsys.readouterr().out.startswith("at 0:06.4: a red square appears\n")
    picture = tmp_path / "sheet.png"
    found = run(monkeypatch, str(clip), "--find", "red square", "--format", "vtt", "--sheet", str(picture), *at)
    assert found == 0
    assert read_cues(capsys.readouterr().out.strip() + "\n")[0][:2] == (6.4, pytest.approx(30, abs=0.3))
    with PIL.Image.open(picture) as opened:
        assert opened.width > 300
    assert run(monkeypatch, str(clip), "--summary", "--from", "0:10", "--to", "0:15", "--json", *at) == 0
    assert json.loads(capsys.readouterr().out)["stretch"] == {"start_s": 10.0, "end_s": 15.0}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "nothing is asked"),
        (("--summary", "--chapters"), "are different questions"),
        (("q", "--format", "ass"), "--format ass"),
        (("q", "--from", "2:00", "--to", "1:00"), "is not after"),
        (("q", "--sheet", "out.txt"), "suffix"),
        (("q", "--from", "9:00:00"), "ends at"),
    ],
)
def test_wrong_options_are_one_sentence(
    clip: Path,
    index: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    sentence: str,
) -> None:
    assert run(monkeypatch, str(clip), *arguments, "--index", str(index)) == 2
    told = capsys.readouterr().err.strip()
    assert sentence in told and "\n" not in told


def test_a_broken_file_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"\x00\x00\x00\x18ftypmp42" + b"\x00" * 100)
    assert run(monkeypatch, str(tmp_path / "broken.mp4"), "What?", "--index", str(tmp_path)) == 2
    told = capsys.readouterr().err.strip()
    assert told.startswith("regard: broken.mp4") and "\n" not in told
