"""Screens from elsewhere: what is asked for is there, and lies where the page says."""

import numpy as np
import pytest

from regard.evals import found_pages, screens
from regard.evals.found_pages import TASK
from regard.train.world.browser import RenderedScreen
from regard.train.world.screens import ScreenBank, write_bank


def test_pages_are_asked_about_and_right_answers_score_one(tmp_path, monkeypatch):
    from PIL import Image

    link = {
        "kind": "link",
        "label": "Contents",
        "value": "",
        "box": [10, 10, 60, 24],
        "checked": False,
        "disabled": False,
    }
    screen = RenderedScreen(Image.new("RGB", (160, 210)), (link,), "", (), ())
    write_bank(tmp_path, [(screen, {"source": "documents", "page": "a.html"})])
    monkeypatch.setattr(found_pages, "found_bank", lambda: ScreenBank(tmp_path))
    for number in range(20):
        sample = TASK.make(np.random.default_rng(number), number)
        assert sample.truth["source"] == "documents" and "ontents" in sample.question
        assert TASK.score(sample, sample.answer) == 1 and TASK.score(sample, "") == 0


def test_documents_are_taken_one_of_each_folder():
    found = found_pages.documents()
    assert len({path.parent for path in found}) == len(found) <= 40


@pytest.mark.parametrize("name", ["found-2", "screens-held-out-4"])
def test_banks_lie_in_the_users_cache(name, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert screens.cache_folder(name) == tmp_path / "regard" / name
