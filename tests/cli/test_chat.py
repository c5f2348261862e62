"""`regard chat`: the history, the commands, and lines that go wrong without ending the conversation."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image as PILImage

from regard.cli.main import run
from regard.conversation import normalize
from regard.inputs import ModelInputs
from regard.messages import Image, Message, Text
from tests.scripted import script
from tests.tiny import ID_BY_TOKEN, tiny_folder

Talk = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def talk(model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Talk:
    """Type lines into `regard chat`; gives exit status, stdout, stderr."""

    def chat(*lines: object, options: tuple[str, ...] = ()) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        status = run(["chat", "--model", str(model), "--max-tokens", "3", *options])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return chat


@pytest.fixture
def prompts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the model is given, turn by turn; it answers "A" each time."""
    given: list[str] = []

    def tokens(inputs: ModelInputs) -> Iterator[int]:
        given.append(inputs.prompt)
        yield ord("A") - ord("!")
        yield ID_BY_TOKEN["<|im_end|>"]

    script(monkeypatch, tokens)
    return given


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "my shot.png"
    PILImage.new("RGB", (64, 64), "gray").save(path)
    return path


def test_each_turn_sees_the_ones_before(talk: Talk, prompts: list[str]) -> None:
    status, out, err = talk("first", "", "second")
    assert (status, out, err) == (0, "A\nA\n", "")
    assert "first<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n<|im_start|>user\nsecond" in prompts[1]


def test_a_picture_goes_with_the_next_question_and_stays_in_the_history(
    talk: Talk, prompts: list[str], picture: Path
) -> None:
    talk(f"/image {picture}", "what is it", "and now")
    assert [prompt.count("<|image_pad|>") for prompt in prompts] == [1, 1]
    assert "<|vision_end|>what is it" in prompts[0]


def test_clear_forgets_all_but_the_system_message(talk: Talk, prompts: list[str]) -> None:
    talk("first", "/clear", "second", options=("--system", "Be brief."))
    assert "first" not in prompts[1] and "Be brief." in prompts[1]


def test_quit_ends_and_leaves_the_rest_unread(talk: Talk, prompts: list[str]) -> None:
    assert talk("/quit", "first")[0] == 0
    assert prompts == []


def test_media_tells_what_was_seen_last(talk: Talk, prompts: list[str], picture: Path) -> None:
    assert "64x64" in talk(f"/image {picture}", "what is it", "/media")[2]
    assert "has seen no picture" in talk("/media")[2]


def test_a_saved_conversation_can_be_read_back(talk: Talk, prompts: list[str], picture: Path, tmp_path: Path) -> None:
    talk(f"/image {picture}", "what is it", f"/save {tmp_path / 'talk.json'}", f"/save {tmp_path / 'talk.md'}")
    assert normalize(json.loads((tmp_path / "talk.json").read_text())) == (
        Message("user", (Image(str(picture)), Text("what is it"))),
        Message("assistant", (Text("A"),)),
    )
    page = (tmp_path / "talk.md").read_text()
    assert "what is it" in page and "**assistant**\n\nA" in page


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("/dance", "there is no command '/dance'; /help lists them"),
        ("/image nowhere.png", "nowhere.png does not exist"),
        ("/image", "/image needs a path or a URL"),
        ("/save talk.doc", "must end in .md or .json"),
        ("/save /nowhere/talk.md", "cannot be written"),
    ],
)
def test_a_line_that_goes_wrong_is_one_sentence_and_the_talk_goes_on(
    talk: Talk, prompts: list[str], line: str, sentence: str
) -> None:
    status, out, err = talk(line, "still there?")
    assert (status, out, err.count("\n")) == (0, "A\n", 1)
    assert sentence in err


def test_an_interrupted_answer_is_forgotten_with_its_question(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []

    def tokens(inputs: ModelInputs) -> Iterator[int]:
        given.append(inputs.prompt)
        if len(given) == 1:
            raise KeyboardInterrupt
        yield ID_BY_TOKEN["<|im_end|>"]

    script(monkeypatch, tokens)
    status, _, err = talk("first", "second")
    assert status == 0 and "the question is forgotten" in err
    assert "first" not in given[1]


def test_help_lists_every_command(talk: Talk, prompts: list[str]) -> None:
    err = talk("/help")[2]
    assert all(command in err for command in ("/image", "/video", "/media", "/save", "/clear", "/quit"))


def test_json_prints_one_reply_a_line(talk: Talk, prompts: list[str]) -> None:
    lines = talk("first", "second", options=("--json",))[1].splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["A", "A"]


def test_a_wrong_option_is_told_before_the_first_question(talk: Talk, prompts: list[str]) -> None:
    status, out, err = talk("first", options=("--temperature", "-1"))
    assert (status, out) == (2, "") and "temperature is -1" in err
