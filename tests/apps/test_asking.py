"""Asking until it is understood, results, and pages of files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from regard.apps.asking import Grammar, ask, ask_many
from regard.apps.pages import list_pages, load_page, open_pages
from regard.apps.reading import Read, read_json
from regard.apps.result import Box2D, TimeSpan, clock, write_whole
from regard.errors import ConfigError, InputError
from regard.reply import Box, Event, Reply
from tests.apps.spoken import SpokenChat, reply

ROOT = Path(__file__).parents[2]


def number_of(answer: Reply) -> Read[int] | None:
    found = read_json(answer.text)
    return found if isinstance(found.value, int) else None


def test_the_first_answer_that_is_understood_is_taken() -> None:
    chat = SpokenChat(["hm", "well", "3", "4"])
    asked = ask(chat, "how many?", number_of)
    assert (asked.value, asked.num_attempts, asked.reply.text) == (3, 3, "3")
    assert [answer.text for answer in asked.replies] == ["hm", "well", "3"]


def test_what_is_never_understood_is_none() -> None:
    asked = ask(SpokenChat(["hm"]), "how many?", number_of, attempts=2)
    assert asked.value is None and asked.num_attempts == 2
    with pytest.raises(ConfigError, match="attempts is 0"):
        ask(SpokenChat(["hm"]), "how many?", number_of, attempts=0)


def test_each_attempt_is_hotter_than_the_one_before() -> None:
    chat = SpokenChat(["hm"])
    ask(chat, "?", number_of, preset="ocr", seed=5, attempts=3)
    assert [asked.get("temperature") for asked in chat.asked] == [None, 1.0, pytest.approx(1.2)]
    assert [asked["seed"] for asked in chat.asked] == [5, 6, 7]
    given = SpokenChat(["hm"])
    ask(given, "?", number_of, temperature=0.0, attempts=3)
    assert [asked["temperature"] for asked in given.asked] == [0.0, 0.3, 0.6]


def test_a_grammar_is_sent_where_it_is_taken_and_only_there() -> None:
    grammar = Grammar("regex", "[0-9]")
    for takes in (True, False):
        chat = SpokenChat(["1"], takes_grammar=takes)
        ask(chat, "?", number_of, grammar=grammar)
        assert chat.asked[0].get("structure") == (grammar if takes else None)


def test_an_answer_that_was_cut_or_looped_is_read_and_told() -> None:
    asked = ask(SpokenChat([reply("[1, 2", "length")]), "?", lambda answer: read_json(answer.text))
    assert asked.value == [1] and asked.repairs[0] == "the answer was cut after 5 tokens" and len(asked.repairs) > 1
    asked = ask(SpokenChat([reply("[1]", "repetition")]), "?", lambda answer: read_json(answer.text))
    assert asked.repairs == ("the answer was ended because it repeated itself",)


def test_several_questions_are_asked_together_and_only_the_failed_ones_again() -> None:
    chat = SpokenChat(lambda what: "7" if what == "good" or len(chat.asked) >= 3 else "hm")
    asked = ask_many(chat, ["good", "bad", "good"], number_of)
    assert [one.value for one in asked] == [7, 7, 7] and [one.num_attempts for one in asked] == [1, 2, 1]
    assert len(chat.asked) == 4


def test_events_are_passed_on() -> None:
    events: list[Event] = []
    assert ask(SpokenChat(["3"]), "?", number_of, on_event=events.append).value == 3
    assert [event.kind for event in events] == ["text", "done"]


def test_a_result_is_frozen_json_and_written_whole(tmp_path: Path) -> None:
    box = Box2D.of(Box(1, 2, 11, 22, "cup"), color="red")
    assert (box.area, box.center, box.to_box()) == (200, (6, 12), Box(1, 2, 11, 22, "cup"))
    with pytest.raises(ValueError, match="frozen"):
        box.x1 = 3  # type: ignore[misc]
    box.save(tmp_path / "box.json")
    assert json.loads((tmp_path / "box.json").read_text())["extra"] == {"color": "red"}
    assert [path.name for path in tmp_path.iterdir()] == ["box.json"]
    with pytest.raises(InputError, match="cannot be written"):
        write_whole(tmp_path / "no" / "box.json", b"")


def test_times_are_written_as_people_write_them() -> None:
    assert [clock(s) for s in (0, 5.04, 59.96, 75.5, 3723, float("nan"))] == [
        "0:00",
        "0:05",
        "1:00",
        "1:15.5",
        "1:02:03",
        "0:00",
    ]
    assert TimeSpan(start_s=3, end_s=61).text == "0:03 - 1:01" and TimeSpan(start_s=3).text == "0:03"


def test_pages_of_a_folder_are_named_without_decoding_and_loaded_in_any_order(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (20 + n, 10), (n * 40, 0, 0)) for n in range(3)]
    frames[0].save(tmp_path / "b.tiff", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "a.png")
    (tmp_path / "deep").mkdir()
    frames[1].save(tmp_path / "deep" / "c.jpg")
    frames[1].save(tmp_path / ".hidden.png")
    (tmp_path / "notes.txt").write_text("no page")
    (tmp_path / "page.pdf").write_bytes((ROOT / "examples" / "page.pdf").read_bytes())
    names = list(list_pages(tmp_path))
    assert [name.text for name in names] == ["a.png", *(f"b.tiff, page {n}" for n in (1, 2, 3)), "c.jpg", "page.pdf"]
    assert [page.picture.size for page in open_pages(tmp_path)][:5] == [
        (20, 10),
        (20, 10),
        (21, 10),
        (22, 10),
        (21, 10),
    ]
    third = load_page(names[3])
    assert third.picture.size == (22, 10) and third.picture.mode == "RGB" and third.name == names[3]
    assert load_page(names[5], dpi=72).picture.width < load_page(names[5], dpi=144).picture.width


def test_what_holds_no_pages_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        list(open_pages(tmp_path / "missing"))
    with pytest.raises(InputError, match="holds no pictures"):
        list(open_pages(tmp_path))
    (tmp_path / "x.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="not a picture"):
        list(list_pages(tmp_path))
