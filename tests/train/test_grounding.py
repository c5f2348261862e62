"""Attention supervision: which tokens are told to look where, and what the loss measures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from regard.messages import Image, Message, Text
from regard.model.config import ModelConfig
from regard.model.qwen3_vl import Qwen3VL
from regard.model.rope import rotate
from regard.train import nano
from regard.train.encode import Encoder
from regard.train.grounding import (
    HEADS,
    LATER_WEIGHT,
    AttentionInput,
    Place,
    asked_tokens,
    covered_cells,
    grounding_targets,
    names,
    read_places,
)
from regard.train.loop import initialise
from regard.train.nano_folder import ASSETS
from regard.train.world.sample import Char, DenseTruth, Sample, verbatim


def cells(box: tuple[float, float, float, float], rows: int = 4, columns: int = 5) -> list[tuple[int, int]]:
    return [(int(i) // columns, int(i) % columns) for i in np.flatnonzero(covered_cells(box, rows, columns))]


def test_a_box_covers_the_cells_that_it_fills_by_a_third() -> None:
    assert cells((0.2, 0.25, 0.6, 0.5)) == [(1, 1), (1, 2)]
    assert cells((0.0, 0.0, 1.0, 1.0)) == [(r, c) for r in range(4) for c in range(5)]
    assert cells((0.25, 0.3, 0.3, 0.32)) == [(1, 1)]


@pytest.mark.parametrize(("point", "cell"), [((0.5, 0.5), (2, 2)), ((0.0, 0.0), (0, 0)), ((1.0, 1.0), (3, 4))])
def test_a_point_covers_the_cell_it_lies_in(point: tuple[float, float], cell: tuple[int, int]) -> None:
    assert cells((*point, *point)) == [cell]


def test_every_box_covers_some_cell() -> None:
    rng = np.random.default_rng(0)
    for _ in range(2000):
        (x1, x2), (y1, y2) = np.sort(rng.random(2)), np.sort(rng.random(2))
        assert covered_cells((x1, y1, x2, y2), int(rng.integers(1, 30)), int(rng.integers(1, 30))).any()


def shown(text: str) -> DenseTruth:
    return DenseTruth(chars=tuple(Char(c, 10.0 * i, 5.0) for i, c in enumerate(text.replace(" ", ""))))


def test_characters_of_a_text_that_is_shown_once_have_places() -> None:
    places = list(read_places("a b\u00e9", (1, 1, 1, 2), 7, shown("xa b\u00e9y"), (100, 10)))
    assert places == [
        Place("read", 7, 8, (0.1, 0.5, 0.1, 0.5)),
        Place("read", 9, 10, (0.2, 0.5, 0.2, 0.5)),
        Place("read", 10, 12, (0.3, 0.5, 0.3, 0.5)),
    ]


@pytest.mark.parametrize(("text", "picture"), [("ab", "abab"), ("aa", "aaa"), ("q", "abc"), (" ", "abc")])
def test_a_text_that_is_not_shown_or_shown_twice_has_none(text: str, picture: str) -> None:
    assert list(read_places(text, (1,) * len(text), 0, shown(picture), (100, 10))) == []


def test_the_tokens_before_each_digit_are_told_and_the_ids_are_those_of_the_whole_text() -> None:
    encoder = Encoder(ASSETS)
    picture = PILImage.new("RGB", (128, 64))
    answer = f'```json\n[\n\t{{"bbox_2d": [120, 40, 310, 88], "label": "{verbatim("Save")}"}}\n]\n```'
    messages = (Message("user", (Image(picture), Text("Where?"))), Message("assistant", (Text(answer),)))
    encoded = encoder.encode(Sample("screens", messages, dense=shown("SaveCancel")))
    tokenizer = encoder._processor.tokenizer
    point, *reads = encoded.places
    told = encoded.input_ids[point.first + 1 : point.last + 1]
    assert point.box == (0.12, 0.04, 0.31, 0.088) and tokenizer.decode(told.tolist()) == "120, 40, 310, 88"
    assert [tokenizer.decode([int(encoded.input_ids[place.last])]) for place in reads] == list("Save")
    start = answer.index("\u0001")
    assert (
        tokenizer.encode(answer[:start])
        == encoded.input_ids[encoded.labels != -100].tolist()[: len(tokenizer.encode(answer[:start]))]
    )


def test_places_are_called_by_their_label_or_by_the_action() -> None:
    boxes = '[\n\t{"bbox_2d": [1, 2, 3, 4], "label": "red star"},\n\t{"point_2d": [5, 6]}\n]'
    assert names(boxes) == ["red star", ""]
    call = 'Thought: On.\nAction: "Click Show all"\n<tool_call>\n{"action": "left_click", "coordinate": [5, 6]}'
    assert names(call) == ["Show all"]


@pytest.mark.parametrize(
    ("name", "pieces", "chosen"),
    [
        ("Save", ["Sa", "ve", ".", " Where", " is", " Sa", "ve", "?"], (5, 6)),
        ("save all", [" Save", " it", " all"], (0, 2)),
        ("red star", ["Find", " all", " stars", "."], (2,)),
        ("C", [" Coordinates", " of", " C", "."], (2,)),
        ("Caf\u00e9", ["The", " caf\u00e9", "?"], (1,)),
        ("gone", ["nothing", " here"], ()),
        ("", ["nothing"], ()),
    ],
)
def test_the_words_that_name_a_place_are_found(name: str, pieces: list[str], chosen: tuple[int, ...]) -> None:
    assert asked_tokens(name, pieces) == chosen


def test_the_question_names_the_place_of_its_answer_in_every_turn() -> None:
    encoder = Encoder(ASSETS)
    messages = [Message("user", (Image(PILImage.new("RGB", (128, 64))), Text("Find the red star.")))]
    for turn, shape in enumerate(("red star", "blue circle")):
        answer = f'```json\n[\n\t{{"bbox_2d": [12{turn}, 40, 310, 88], "label": "{shape}"}}\n]\n```'
        messages += [Message("assistant", (Text(answer),)), Message("user", (Text("Now the blue circle, please."),))]
    encoded = encoder.encode(Sample("scenes", tuple(messages[:-1])))
    named = [
        encoder._processor.tokenizer.decode([int(encoded.input_ids[i]) for i in place.asked])
        for place in encoded.places
    ]
    assert [name.strip() for name in named] == ["red star", "blue circle"]
    told = grounding_targets(
        [encoded.places], [encoded.grids], encoder.is_visual(torch.tensor(encoded.input_ids[None])), merge=2
    )
    asked = told["asked"]
    assert asked.rows[0, :3].tolist() == [*(place.first for place in encoded.places), -1]
    seen = told["seen"]
    assert seen.rows[0, :4].tolist() == [token for place in encoded.places for token in place.asked]
    cells = [told[kind].is_target[0, at].nonzero()[:, 0].tolist() for kind, at in (("seen", 0), ("point", 0))]
    assert cells[0] == cells[1] and cells[0]
    assert asked.is_target[0, 1].nonzero()[:, 0].tolist() == list(encoded.places[1].asked)


def test_the_loss_is_the_attention_that_misses_the_targets_of_first_tokens_above_all() -> None:
    torch.manual_seed(0)
    config = ModelConfig.from_hf(nano.CONFIG)
    model = Qwen3VL(config)
    initialise(model)
    kept = AttentionInput(model)
    ids = torch.randint(0, 100, (2, 32))
    positions = torch.arange(32).expand(3, 2, 32)
    model.hidden_states(ids, positions)
    visual_mask = torch.zeros(2, 32, dtype=torch.bool)
    visual_mask[:, 2:10] = True  # 2 x 4 cells
    places = [[Place("point", 20, 23, (0.0, 0.0, 0.25, 0.5))], [Place("point", 30, 31, (0.5, 0.5, 1.0, 1.0))]]
    targets = grounding_targets(places, [[(1, 4, 8)], [(1, 4, 8)]], visual_mask, merge=2)
    assert list(targets) == ["point"] and targets["point"].rows.shape == (2, 16)
    loss, found = kept.loss("point", targets["point"])

    number, head = HEADS["point"]
    layer: Any = model.model.language_model.layers[number]
    attention = layer.self_attn
    x, cos, sin, _ = kept._given[number]
    q = rotate(
        attention.q_norm(attention.q_proj(x).view(2, 32, -1, attention.head_dim)).transpose(1, 2),
        cos[:, None],
        sin[:, None],
    )
    k = rotate(
        attention.k_norm(attention.k_proj(x).view(2, 32, -1, attention.head_dim)).transpose(1, 2),
        cos[:, None],
        sin[:, None],
    )
    group = q.shape[1] // k.shape[1]
    scores = (
        q[:, head * group : (head + 1) * group] @ k[:, head, None].transpose(-1, -2) / math.sqrt(attention.head_dim)
    )
    weights = scores.masked_fill(torch.ones(32, 32).triu(1).bool(), -math.inf).softmax(-1)
    first, *later = weights[0, :, 20:23, 2].unbind(-1)
    other = weights[1, :, 30, 8:10].sum(-1)
    missed = first.log().mean() + other.log().mean() + LATER_WEIGHT * sum(row.log().mean() for row in later)
    torch.testing.assert_close(loss, -missed / (2 + 2 * LATER_WEIGHT))
    assert found == pytest.approx(float(torch.cat([first, other]).detach().mean()), rel=1e-5)
    loss.backward()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in model.parameters())


def test_clips_and_several_pictures_are_left_out() -> None:
    mask = torch.ones(2, 16, dtype=torch.bool)
    places = [[Place("point", 1, 3, (0, 0, 1, 1))]] * 2
    assert grounding_targets(places, [[(2, 4, 4)], [(1, 4, 4), (1, 4, 4)]], mask, merge=2) == {}
