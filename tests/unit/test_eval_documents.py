"""Scores of papers: right answers score 1, mistakes cost what they should."""

import numpy as np
import pytest

from regard.evals import documents
from regard.evals.refusals import is_refusal
from regard.evals.tables import read_tables, teds

TABLE = "<table><tr><td>Item</td><td>Price</td></tr><tr><td>Tea</td><td>2.40</td></tr></table>"


def samples(num: int):
    return [documents.TASK.make(np.random.default_rng([4, i]), i) for i in range(num)]


def test_the_generators_own_answers_score_one():
    made = samples(60)
    assert {sample.truth["kind"] for sample in made} >= {"strip", "text", "html", "table", "pairs", "find"}
    for sample in made:
        assert documents.score(sample, sample.answer) == pytest.approx(1.0), sample.question


def test_answers_to_other_samples_score_little_and_nonsense_nothing():
    made = samples(60)
    swapped = [documents.score(a, b.answer) for a, b in zip(made, made[1:] + made[:1], strict=True)]
    assert sum(swapped) / len(swapped) < 0.25
    for sample in made:
        if sample.answer:
            assert documents.score(sample, "") == 0 and documents.score(sample, "{[<td") <= 0.2


def test_equal_tables_are_alike_and_each_wrong_node_costs_its_share():
    assert teds(TABLE, TABLE) == 1
    assert teds(TABLE.replace("2.40", "2.41"), TABLE) == pytest.approx(1 - 0.25 / 7)
    assert teds(TABLE.replace("<td>Tea</td>", ""), TABLE) == pytest.approx(1 - 1 / 7)
    assert teds(TABLE.replace("<td>Tea</td>", '<td colspan="2">Tea</td>'), TABLE) == pytest.approx(1 - 1 / 7)


def test_th_tbody_and_missing_ends_make_no_difference():
    loose = "<table><tbody><tr><th>Item<th>Price<tr><td>Tea<td>2.40"
    assert teds(f"Here: {loose}", TABLE) == 1


def test_no_table_and_an_endless_one_score_nothing():
    assert teds("Item Price", TABLE) == 0
    assert teds("<table>" + "<tr><td>a" * 1000, TABLE) == 0
    assert len(read_tables("<table><tr><td>1</td></tr></table>" * 2)) == 2


@pytest.mark.parametrize("answer", ["There is no such button.", "```json\n[]\n```", "I can't find a Save button."])
def test_refusals_are_known(answer):
    assert is_refusal(answer)


@pytest.mark.parametrize("answer", ['[{"bbox_2d": [1, 2, 3, 4], "label": "no"}]', "Yes.", ""])
def test_places_and_silence_are_no_refusals(answer):
    assert not is_refusal(answer)
