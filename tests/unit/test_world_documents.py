"""Small papers: answers say what is drawn, in the formats that are asked for."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from regard.train.world import document_strips, documents
from regard.train.world.document_text import HELD_OUT_LABELS, LABELS, Texts
from regard.train.world.sample import Sample

NUM_SAMPLES = 240


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    rng = np.random.default_rng(1)
    return [documents.make(rng, held_out=False, num_turns=4) for _ in range(NUM_SAMPLES)]


def turns(sample: Sample):
    texts = [message.text.replace("\u0001", "").replace("\u0002", "") for message in sample.messages]
    return list(zip(texts[::2], texts[1::2], strict=True))


def answers(samples: list[Sample], prompt: str) -> list[str]:
    return [answer for sample in samples for question, answer in turns(sample) if question.startswith(prompt)]


def test_the_same_seed_gives_the_same_paper_and_questions():
    first, second = (documents.make(np.random.default_rng(3), held_out=True, num_turns=3) for _ in range(2))
    assert turns(first) == turns(second) and first.dense == second.dense
    a, b = (np.asarray(sample.prompt[0].parts[0].source) for sample in (first, second))
    assert np.array_equal(a, b)


def test_all_kinds_are_asked(samples):
    kinds = {sample.truth["kind"] for sample in samples}
    assert kinds == {"text", "html", "markdown", "table", "pairs", "spot", "find"}


def test_no_question_comes_twice_in_a_conversation(samples):
    assert all(len({question for question, _ in turns(sample)}) == len(turns(sample)) for sample in samples)


def test_html_is_closed_and_its_boxes_lie_in_the_picture_from_top_to_bottom(samples):
    made = answers(samples, documents.HTML)
    assert len(made) > 50
    for answer in made:
        opened: list[str] = []
        parser = HTMLParser()
        parser.handle_starttag = lambda tag, attrs, opened=opened: opened.append(tag)
        parser.handle_endtag = lambda tag, opened=opened: opened.remove(tag)
        parser.feed(answer)
        assert not opened
        boxes = [[int(v) for v in found.split()] for found in re.findall(r'data-bbox="([\d ]+)"', answer)]
        assert boxes and all(0 <= x1 < x2 <= 1000 and 0 <= y1 < y2 <= 1000 for x1, y1, x2, y2 in boxes)
        assert boxes == sorted(boxes, key=lambda box: box[1])


def test_rows_of_tables_are_equally_long_with_their_merged_cells(samples):
    made = [table for answer in answers(samples, "") for table in re.findall("<table>.*?</table>", answer)]
    assert sum("span=" in table for table in made) > 5
    for table in made:
        rows = [re.findall(r"<td([^>]*)>", row) for row in re.findall("<tr>(.*?)</tr>", table)]
        spans = [
            [(int((re.search(r'colspan="(\d)', cell) or [0, 1])[1]), "rowspan" in cell) for cell in row] for row in rows
        ]
        from_above = 0
        for row in spans:
            width = sum(across for across, _ in row) + from_above
            from_above = sum(down for _, down in row)
            assert width == sum(across for across, _ in spans[0])


def test_pairs_are_one_json_object_in_the_order_of_the_prompt(samples):
    made = [
        (question, answer) for s in samples for question, answer in turns(s) if question.startswith("Extract the key")
    ]
    assert len(made) > 30 and any('""' in answer for _, answer in made)
    for question, answer in made:
        assert list(json.loads(answer)) == list(json.loads(question.split("format:")[1]))
        assert "\n" not in answer


def test_every_character_of_the_text_has_its_place(samples):
    for sample in samples:
        if sample.truth["kind"] == "text":
            written = sorted("".join(sample.truth["text"].split()))
            assert sorted(char.char for char in sample.dense.chars) == written
            width, height = sample.truth["width"], sample.truth["height"]
            assert all(0 <= char.x <= width and 0 <= char.y <= height for char in sample.dense.chars)


def test_found_texts_have_the_box_around_their_characters(samples):
    found = [s for s in samples if s.truth["kind"] == "find"]
    assert len(found) > 10
    for sample in found:
        x1, y1, x2, y2 = sample.truth["boxes"][0]
        scale_x, scale_y = sample.truth["width"] / 1000, sample.truth["height"] / 1000
        inside = [
            c.char
            for c in sample.dense.chars
            if x1 * scale_x - 1 <= c.x <= x2 * scale_x + 1 and y1 * scale_y <= c.y <= y2 * scale_y
        ]
        assert "".join(inside) == "".join(sample.truth["text"].split())


def test_held_out_papers_have_labels_that_training_never_shows():
    assert not set(LABELS) & set(HELD_OUT_LABELS)
    training, held_out = (Texts(np.random.default_rng(0), held_out=side) for side in (False, True))
    assert not set(training._words) & set(held_out._words)


def test_strips_are_32_px_high_with_one_width_for_a_step():
    rng = np.random.default_rng(0)
    made = [document_strips.make_strip(rng, held_out=False, size_rng=np.random.default_rng(7)) for _ in range(40)]
    sizes = {sample.prompt[0].parts[0].source.size for sample in made}
    assert len(sizes) == 1 and sizes.pop()[1] == 32


def test_strips_say_nothing_where_nothing_is_written():
    rng = np.random.default_rng(0)
    made = [document_strips.make_strip(rng, held_out=False) for _ in range(300)]
    empty = [sample for sample in made if not sample.truth["text"]]
    assert 3 < len(empty) < 40
    assert all(sample.answer == "" and not sample.dense.chars for sample in empty)
    assert max(len(sample.answer) for sample in made) <= document_strips.MAX_CHARS
    for sample in made:
        assert "".join(char.char for char in sample.dense.chars) == "".join(sample.answer.split())


def test_turned_pages_tell_how_to_turn_them_back():
    rng = np.random.default_rng(0)
    made = [document_strips.make_turned(rng, held_out=False) for _ in range(60)]
    assert {sample.answer for sample in made} == {"0", "90", "180", "270"}
    for sample in made:
        picture = sample.prompt[0].parts[0].source
        upright = picture.rotate(-sample.truth["degrees"], expand=True)
        ink = np.abs(np.asarray(upright.convert("L"), float) - float(np.median(np.asarray(picture.convert("L")))))
        profile_rows, profile_columns = ink.mean(axis=1).std(), ink.mean(axis=0).std()
        sample.truth["rows_stand_out"] = profile_rows > profile_columns
    assert sum(sample.truth["rows_stand_out"] for sample in made) > 40
