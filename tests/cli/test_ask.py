"""`regard ask`: what it prints where, what it draws, and what it refuses before a model is loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from regard.cli.ask import media_parts, split_inputs
from regard.cli.main import run
from regard.errors import InputError
from regard.inputs import ModelInputs
from regard.messages import Document, Image, Video
from tests.scripted import script
from tests.tiny import ID_BY_TOKEN, tiny_folder

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def regard(model: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `regard ask WORDS...` with the tiny model; gives exit status, stdout, stderr."""

    def ask(*words: object) -> tuple[int, str, str]:
        status = run(["ask", *map(str, words), "--model", str(model)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return ask


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make the model say one text, and the end token, whatever it is asked."""

    def text_script(text: str) -> None:
        def tokens(_: ModelInputs) -> Iterator[int]:
            for byte in text.encode():
                yield sorted(_byte_alphabet()).index(_byte_alphabet()[byte])
            yield ID_BY_TOKEN["<|im_end|>"]

        script(monkeypatch, tokens)

    return text_script


def _byte_alphabet() -> list[str]:
    """The character by which byte-level BPE writes each byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "shot.png"
    PILImage.new("RGB", (400, 200), "gray").save(path)
    return path


# What is printed


def test_the_answer_goes_to_stdout_and_nothing_else_does(regard: Run, say, picture: Path) -> None:
    say("It is gray.")
    assert regard(picture, "What colour?") == (0, "It is gray.\n", "")


def test_a_question_without_a_picture_is_answered(regard: Run, say) -> None:
    say("Hello.")
    assert regard("Hi") == (0, "Hello.\n", "")


def test_several_pictures_a_clip_and_a_page_are_seen_in_order(regard: Run, picture: Path, examples: Path) -> None:
    words = (picture, examples / "clip.mp4", examples / "page.pdf", picture, "Compare.", "--max-tokens", 1, "--json")
    status, out, _ = regard(*words)
    media = json.loads(out)["media"]
    assert status == 0
    assert [report["kind"] for report in media] == ["image", "video", "page", "image"]


def test_json_is_the_whole_reply_and_one_object(regard: Run, say, picture: Path) -> None:
    say("It is gray.")
    status, out, err = regard(picture, "What colour?", "--json")
    reply = json.loads(out)
    assert (status, err, reply["text"]) == (0, "", "It is gray.")
    assert (reply["media"][0]["width"], reply["usage"]["num_output_tokens"]) == (400, 12)


def test_media_says_what_the_model_saw(regard: Run, say, picture: Path) -> None:
    say("Yes.")
    status, out, err = regard(picture, "See?", "--media", "--max-pixels", 32768)
    assert (status, out) == (0, "Yes.\n")
    assert "400x200" in err and "256x128" in err


def test_an_answer_that_was_cut_is_told_on_stderr(regard: Run, picture: Path) -> None:
    status, _, err = regard(picture, "Go on.", "--max-tokens", 2)
    assert (status, err) == (0, "regard: the answer was cut after 2 tokens; raise --max-tokens\n")


def test_a_stop_string_is_honoured(regard: Run, say) -> None:
    say("one two three")
    assert regard("Count.", "--stop", " thr", "--stop", "four") == (0, "one two\n", "")


def test_a_seed_repeats_a_sampled_answer(regard: Run) -> None:
    words = ("Hi", "--temperature", 1, "--top-p", 0.9, "--top-k", 50, "--max-tokens", 8, "--json", "--seed")
    first, second, other = (json.loads(regard(*words, seed)[1])["token_ids"] for seed in (1, 1, 2))
    assert first == second != other


def test_thinking_goes_to_stderr_and_can_be_hidden(tmp_path: Path, say, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tiny_folder(tmp_path / "thinker", thinking=True)
    say("hm\n</think>\n\nYes.")
    assert run(["ask", "Hi", "--model", str(folder)]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err.strip()) == ("Yes.\n", "hm")
    assert run(["ask", "Hi", "--model", str(folder), "--no-thinking"]) == 0
    assert capsys.readouterr() == ("Yes.\n", "")


def test_a_system_message_reaches_the_prompt(regard: Run) -> None:
    def num_tokens(*words: object) -> int:
        return json.loads(regard("Hi", *words, "--json", "--max-tokens", 1)[1])["usage"]["num_prompt_tokens"]

    assert num_tokens("--system", "Be brief.") > num_tokens() + len("Be brief.")


# --boxes


def test_what_the_answer_points_at_is_drawn(regard: Run, say, picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    say('{"bbox_2d": [250, 250, 500, 750], "label": "Save"}')
    status, _, err = regard(picture, "Where?", "--boxes", out)
    assert (status, err) == (0, f"drawn: {out}\n")
    with PILImage.open(out) as opened:
        drawn = np.asarray(opened)
    assert drawn.shape == (200, 400, 3)
    rows, columns = np.nonzero((drawn != 128).any(axis=2))
    assert abs(columns.min() - 100) < 6 and abs(columns.max() - 200) < 6 and abs(rows.max() - 150) < 6


def test_the_picture_that_is_pointed_at_is_the_one_drawn(regard: Run, say, picture: Path, tmp_path: Path) -> None:
    """With several pictures a place is on the last."""
    small = tmp_path / "small.png"
    PILImage.new("RGB", (64, 64)).save(small)
    say('{"point_2d": [500, 500]}')
    assert regard(small, picture, "Where?", "--boxes", tmp_path / "out.png")[0] == 0
    with PILImage.open(tmp_path / "out.png") as drawn:
        assert drawn.size == (400, 200)


def test_a_page_of_a_pdf_can_be_drawn_on(regard: Run, say, examples: Path, tmp_path: Path) -> None:
    say('{"bbox_2d": [100, 100, 900, 500]}')
    words = (examples / "page.pdf", "Where?", "--pages", 1, "--boxes", tmp_path / "out.png", "--json")
    status, out, _ = regard(*words)
    seen = json.loads(out)["media"][0]
    assert (status, seen["kind"], seen["page"]) == (0, "page", 1)
    with PILImage.open(tmp_path / "out.png") as drawn:
        assert drawn.size == (seen["width"], seen["height"])


def test_an_answer_that_points_at_nothing_is_printed_and_then_refused(
    regard: Run, say, picture: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.png"
    say("I cannot see it.")
    status, stdout, err = regard(picture, "Where?", "--boxes", out)
    assert (status, stdout) == (1, "I cannot see it.\n")
    assert f"the answer points at nothing, so {out} was not written" in err and err.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("out.txt", "it must be .png, .jpg"), ("nowhere/out.png", "does not exist; make it first")],
)
def test_a_picture_that_could_not_be_written_is_refused_before_asking(
    regard: Run, picture: Path, tmp_path: Path, name: str, sentence: str
) -> None:
    status, out, err = regard(picture, "Where?", "--boxes", tmp_path / name)
    assert (status, out) == (2, "") and sentence in err


def test_boxes_without_a_picture_are_refused(regard: Run, tmp_path: Path) -> None:
    status, _, err = regard("Where?", "--boxes", tmp_path / "out.png")
    assert status == 2 and "needs a picture or a PDF" in err


# Files and the question


def test_the_last_argument_is_the_question(picture: Path) -> None:
    assert split_inputs([str(picture), "What is it?"]) == ([str(picture)], "What is it?")
    assert split_inputs(["https://example.org/a.png", "What?"]) == (["https://example.org/a.png"], "What?")
    assert split_inputs(["What?"]) == ([], "What?")
    assert split_inputs(["Either/or: is it a or b?"]) == ([], "Either/or: is it a or b?")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere.png", "What?"], "nowhere.png does not exist"),
        (["shots/nowhere", "What?"], "shots/nowhere does not exist"),
        (["my shot.png", "What?"], "my shot.png does not exist"),
        (["nowhere.mp4"], "nowhere.mp4 does not exist"),
        (["shots/nowhere"], "shots/nowhere does not exist"),
        (["Where", "is", "it?"], "'Where' is neither a file nor a URL; put the question last, in quotes"),
        (["  "], "the question is empty"),
    ],
)
def test_a_missing_file_is_told_as_one_and_not_taken_for_words(arguments: list[str], sentence: str) -> None:
    with pytest.raises(InputError) as refusal:
        split_inputs(arguments)
    assert sentence in str(refusal.value)


def test_a_file_without_a_question_asks_for_one(picture: Path) -> None:
    with pytest.raises(InputError, match="no question after"):
        split_inputs([str(picture)])


def test_options_go_to_the_inputs_that_take_them(picture: Path) -> None:
    options = {"max_pixels": 9999, "fps": 1.0, "start": 3.0, "pages": "2"}
    assert media_parts([str(picture), "b.mp4", "c.pdf"], options) == (
        Image(str(picture), max_pixels=9999),
        Video("b.mp4", max_pixels=9999, fps=1.0, start=3.0),
        Document("c.pdf", max_pixels=9999, pages="2"),
    )


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--fps", "2", "--fps needs an input that is of the kind video, and none was given"),
        ("--pages", "1", "--pages needs an input that is of the kind document, and none was given"),
        ("--start", "soon", "'soon' is not a time"),
        ("--preset", "fast", "no preset 'fast'"),
        ("--temperature", "-1", "temperature is -1"),
        ("--device", "toaster", "no device 'toaster'"),
        ("--video-dialect", "x", "video_dialect is 'x'"),
    ],
)
def test_an_option_that_cannot_be_honoured_is_refused(
    regard: Run, picture: Path, option: str, value: str, sentence: str
) -> None:
    status, out, err = regard(picture, "What?", option, value)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("regard: ") and sentence in err


def test_pixel_options_need_something_with_pixels(regard: Run) -> None:
    status, _, err = regard("Hi", "--max-pixels", 99999)
    assert status == 2 and "--max-pixels needs an input that is of the kind image or document or video" in err


# The command line itself


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["ask"], "Missing argument"),
        (["ask", "Hi", "--fsp", "3"], "No such option: --fsp"),
        (["ask", "Hi", "--fps", "fast"], "Invalid value for '--fps'"),
        (["look"], "No such command 'look'"),
    ],
)
def test_a_usage_error_is_one_line_and_exit_status_2(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and sentence in captured.err


def test_debug_shows_the_trace(picture: Path) -> None:
    with pytest.raises(InputError):
        run(["ask", "nowhere.png", "What?", "--debug"])


def test_a_fault_of_ours_is_one_line_too(regard: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("division\nby zero")

    script(monkeypatch, fail)
    status, _, err = regard("Hi")
    assert status == 1
    assert err == "regard: this is a fault of regard's: ZeroDivisionError: division by zero; --debug shows the trace\n"


def test_ctrl_c_ends_with_130_and_no_trace(regard: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    script(monkeypatch, interrupt)
    assert regard("Hi") == (130, "", "")


def test_no_arguments_show_the_help_and_version_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    assert "regard" in capsys.readouterr().out
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("regard ")


def test_control_characters_of_an_answer_do_not_reach_a_terminal(
    regard: Run, say, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    say("\x1b]0;owned\x07red\x1b[31m\n\tok")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert regard("Hi")[1] == "]0;ownedred[31m\n\tok\n"


def test_the_installed_command_answers(model: Path, picture: Path) -> None:
    words = ["-m", "regard", "ask", picture, "What?", "--model", model, "--max-tokens", "2", "--json"]
    finished = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, timeout=120)
    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout)["usage"]["num_output_tokens"] <= 2
