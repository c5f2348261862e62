"""Mock-ups: the HTML says what is drawn, in the application's dialect, and nothing else."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from regard.evals import mockups as task
from regard.train.world.browser import CHROMIUM
from regard.train.world.mockups import MOCKUPS, PROMPT, answer_of, make_mockup, mockup_turns
from regard.train.world.sample import plain
from regard.train.world.screens import ScreenBank, build_bank

pytest.importorskip("playwright", reason="needs playwright")
needs_chromium = pytest.mark.skipif(not CHROMIUM.is_file(), reason=f"needs {CHROMIUM}")
CLASSES = {"primary", "row", "row center", "row end", "row spread", "grid", "card", "side", "narrow", "center", "check",
           "switch", "spread"}  # fmt: skip


@pytest.fixture(scope="module")
def bank(tmp_path_factory) -> ScreenBank:
    folder: Path = tmp_path_factory.mktemp("mockups")
    build_bank(folder, count=12, seed=3, held_out=True, kind=MOCKUPS)
    assert json.loads((folder / "bank.json").read_text())["kind"] == "mockups"
    return ScreenBank(folder)


def answers(num: int = 100) -> list[str]:
    return [answer_of(make_mockup(np.random.default_rng(i), held_out=False)[1]["html"]) for i in range(num)]


def test_answers_have_neither_styles_nor_marks_of_the_browser():
    for answer in answers():
        assert answer.startswith("```html\n<") and answer.endswith(">\n```")
        assert not re.search(r"style=|src=|data-|href|<script|#[0-9a-f]{6}", answer)
        assert set(re.findall(r'class="([^"]*)"', answer)) <= CLASSES


def test_every_text_is_marked_as_read():
    for answer in answers():
        without = re.sub("\u0001.*?\u0002", "", answer)
        bare = re.sub(r"<[^>]*>|```html|```", "", without)
        assert not bare.strip(), bare


def test_the_same_seed_makes_the_same_page():
    assert make_mockup(np.random.default_rng(4), held_out=True) == make_mockup(np.random.default_rng(4), held_out=True)


@needs_chromium
def test_pages_show_all_their_texts_and_are_cut_behind_the_last(bank):
    for index in range(len(bank)):
        screen = bank.screen(index)
        texts = "".join(re.findall("\u0001(.*?)\u0002", screen.extra["html"]))
        assert len(screen.dense.chars) > 0.9 * len("".join(texts.split()))
        assert screen.image.height % 32 == 0 and screen.image.height <= 640
        assert all(char.y < screen.image.height for char in screen.dense.chars)


@needs_chromium
def test_conversations_begin_with_the_page_and_go_on_about_it(bank):
    sample = mockup_turns(np.random.default_rng(0), bank=bank, num_turns=3)
    assert sample.question == PROMPT and len(sample.messages) == 6
    assert task.score(sample, sample.truth["html"]) == 1
    assert task.score(sample, "") == 0
    assert 0 < task.score(sample, sample.truth["html"].replace("<h1>", "<h2>").replace("</h1>", "</h2>")) <= 1
    assert plain(sample.messages[1].text) == sample.truth["html"]
