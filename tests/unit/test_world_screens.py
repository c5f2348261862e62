"""Banks of screens: is their truth true, can they be continued, do questions and answers fit together?"""

import json
import pickle
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regard.errors import ConfigError, InputError
from regard.train.world.browser import CHROMIUM
from regard.train.world.screen_labels import common_words, dictionary_words
from regard.train.world.screen_layouts import make_page
from regard.train.world.screen_questions import ask, askable, box_answer, point_answer
from regard.train.world.screen_theme import HELD_OUT_FONTS, TRAINING_FONTS, contrast
from regard.train.world.screens import KINDS, MIN_ASKABLE, ScreenBank, build_bank

pytest.importorskip("playwright", reason="needs playwright")
needs_chromium = pytest.mark.skipif(not CHROMIUM.is_file(), reason=f"needs {CHROMIUM}")
NUM_SCREENS = 24


@pytest.fixture(scope="module")
def bank_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bank")
    build_bank(folder, count=NUM_SCREENS, seed=7, held_out=True)
    return folder


def a_widget(label: str, kind: str = "button", box=(32.0, 20.0, 96.0, 40.0), **more) -> dict:
    return {"kind": kind, "label": label, "value": "", "box": box, "checked": False, "disabled": False} | more


# --- words and looks -----------------------------------------------------------------------------------------


def test_training_and_held_out_screens_share_no_dictionary_word_and_no_font():
    training, held_out = set(dictionary_words(False)), set(dictionary_words(True))
    assert len(training) > 10_000 and len(held_out) > 1_000
    assert not training & held_out
    assert not (training | held_out) & common_words()
    assert not set(TRAINING_FONTS) & set(HELD_OUT_FONTS)


@needs_chromium
def test_most_words_on_held_out_screens_are_never_seen_in_training(bank_folder):
    bank = ScreenBank(bank_folder)
    unseen = set(dictionary_words(True))
    labels = [w["label"] for i in range(len(bank)) for w in bank.screen(i).widgets if w["kind"] != "text"]
    words = [word.strip("?") for label in labels for word in label.lower().split()]
    assert sum(word in unseen for word in words) > 0.5 * len(words)


def test_contrast_is_21_between_black_and_white_and_1_between_equal_colours():
    assert contrast((0, 0, 0), (1, 1, 1)) == pytest.approx(21)
    assert contrast((0.3, 0.5, 0.1), (0.3, 0.5, 0.1)) == pytest.approx(1)


def test_the_same_seed_makes_the_same_page():
    pages = [make_page(np.random.default_rng([1, 2]), held_out=False) for _ in range(2)]
    assert pages[0] == pages[1]
    assert pages[0] != make_page(np.random.default_rng([1, 3]), held_out=False)


# --- banks ---------------------------------------------------------------------------------------------------


@needs_chromium
def test_every_screen_of_a_bank_can_be_asked_about_and_its_boxes_lie_inside(bank_folder):
    bank = ScreenBank(bank_folder)
    assert len(bank) == NUM_SCREENS
    for i in range(len(bank)):
        screen = bank.screen(i)
        assert len(askable(screen.widgets)) >= MIN_ASKABLE
        assert len({(w["kind"], w["label"]) for w in screen.widgets}) > 1
        for item in screen.dense.items:
            x1, y1, x2, y2 = item.box
            assert item.kind in KINDS
            assert -1 <= x1 < x2 <= screen.image.width + 1 and -1 <= y1 < y2 <= screen.image.height + 1
        assert all(0 <= c.x <= screen.image.width and 0 <= c.y <= screen.image.height for c in screen.dense.chars)


@needs_chromium
def test_the_letters_of_a_button_lie_in_its_box(bank_folder):
    bank = ScreenBank(bank_folder)
    checked = 0
    for i in range(len(bank)):
        screen = bank.screen(i)
        for item in screen.dense.items:
            if item.kind == "button":
                x1, y1, x2, y2 = item.box
                inside = [c.char for c in screen.dense.chars if x1 <= c.x <= x2 and y1 <= c.y <= y2]
                assert "".join(inside) == item.text.replace(" ", "")
                checked += 1
    assert checked > 10


@needs_chromium
def test_text_contrasts_with_what_is_around_it(bank_folder):
    """Grey values in a button spread over a tenth of the range, even below a veil, unless it is disabled."""
    bank = ScreenBank(bank_folder)
    for i in range(len(bank)):
        screen = bank.screen(i)
        for widget in screen.widgets:
            if widget["kind"] == "button" and not widget["disabled"]:
                x1, y1, x2, y2 = (round(v) for v in widget["box"])
                inner = np.asarray(screen.image.convert("L"))[y1 + 3 : y2 - 3, x1 + 6 : x2 - 6].astype(int)
                assert inner.max() - inner.min() > 25, widget["label"]


@needs_chromium
def test_a_bank_is_continued_not_rebuilt_and_the_same_seed_gives_the_same_truth(bank_folder, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(bank_folder, folder)
    shard = folder / "shard-0000.zip"
    written = shard.stat().st_mtime_ns
    calls: list[tuple[int, int]] = []
    build_bank(folder, count=NUM_SCREENS, seed=7, held_out=True, on_progress=lambda *call: calls.append(call))
    assert shard.stat().st_mtime_ns == written and not calls
    shard.unlink()
    build_bank(folder, count=NUM_SCREENS, seed=7, held_out=True, on_progress=lambda *call: calls.append(call))
    assert calls == [(NUM_SCREENS, NUM_SCREENS)]
    old, new = ScreenBank(bank_folder), ScreenBank(folder)
    assert all(old.screen(i).dense == new.screen(i).dense for i in range(NUM_SCREENS))


@needs_chromium
def test_a_folder_with_a_bank_of_another_seed_is_refused(bank_folder):
    with pytest.raises(ConfigError, match="empty folder"):
        build_bank(bank_folder, count=NUM_SCREENS, seed=8, held_out=True)


def test_a_folder_without_a_bank_is_refused(tmp_path):
    with pytest.raises(InputError, match="build_bank"):
        ScreenBank(tmp_path)


@needs_chromium
def test_a_bank_sent_to_another_process_gives_the_same_samples(bank_folder):
    bank = ScreenBank(bank_folder)
    first = bank.sample(np.random.default_rng(3))
    again = pickle.loads(pickle.dumps(bank)).sample(np.random.default_rng(3))
    assert first.truth == again.truth and first.answer == again.answer


# --- questions -----------------------------------------------------------------------------------------------

PICTURE = Image.new("RGB", (320, 200))


def test_answers_are_the_familys_json_in_thousandths_of_the_picture():
    box = (32, 20, 96, 40)
    expected_box = '```json\n[\n\t{"bbox_2d": [100, 100, 300, 200], "label": "\u0001Save\u0002"}\n]\n```'
    expected_point = '```json\n[\n\t{"point_2d": [200, 150], "label": "\u0001Save\u0002"}\n]\n```'
    assert box_answer("Save", box, PICTURE.size) == expected_box
    assert point_answer("Save", box, PICTURE.size) == expected_point


def test_labels_that_occur_twice_in_a_kind_are_never_asked_for():
    widgets = [a_widget("Edit"), a_widget("edit"), a_widget("Edit", "link"), a_widget("Save")]
    assert [(w["kind"], w["label"]) for w in askable(widgets)] == [("link", "Edit"), ("button", "Save")]


def test_a_label_shared_by_two_kinds_is_asked_for_with_its_kind():
    widgets = [a_widget("Name", "text field", box=(10, 10, 60, 30)), a_widget("Name", "link", box=(10, 50, 60, 70))]
    rng = np.random.default_rng(0)
    for _ in range(200):
        truth = ask(rng, PICTURE, widgets, widgets).truth
        if truth["form"] in ("bbox", "point"):
            words = ("field", "input", "text box") if truth["kind"] == "text field" else ("link",)
            assert any(word in truth["question"] for word in words), truth["question"]


def test_every_form_of_question_is_asked_and_most_are_about_places():
    widgets = [
        a_widget("Save"), a_widget("Sync", "switch", checked=True), a_widget("Name", "text field", value="Ada"),
        a_widget("Settings", "heading"),
    ]  # fmt: skip
    rng = np.random.default_rng(0)
    samples = [ask(rng, PICTURE, widgets, [a_widget("Delete")]) for _ in range(600)]
    forms = Counter(sample.truth["form"] for sample in samples)
    assert forms["bbox"] > forms["point"] > forms["yesno"] > 20 and forms["text"] > 20
    assert len({s.truth["question"] for s in samples}) > 150
    for sample in samples:
        truth = sample.truth
        assert json.loads(json.dumps(truth)) is not None
        assert truth["answer"] == sample.answer and sample.messages[0].text == truth["question"]
        if "Delete" in truth["question"] and truth["form"] == "yesno":
            assert sample.answer == "No."
        if truth["question"] == "Is Sync on?":
            assert sample.answer == "Yes."
        if truth["form"] == "text":
            assert sample.answer in ("Ada", "Settings")
        if truth["form"] == "bbox":
            found = json.loads(sample.answer.removeprefix("```json\n").removesuffix("\n```"))
            assert found == [{"bbox_2d": [100, 100, 300, 200], "label": truth["label"]}]


@needs_chromium
def test_questions_about_absent_things_are_answered_no(bank_folder: Path):
    bank = ScreenBank(bank_folder)
    rng = np.random.default_rng(5)
    answers = Counter()
    for _ in range(600):
        sample = bank.sample(rng)
        if sample.truth["form"] == "yesno":
            answers[sample.answer] += 1
            assert ("box" in sample.truth) or sample.answer == "No."
    assert answers["Yes."] > 10 and answers["No."] > 10
