"""Attention supervision: which tokens are told to look where, and what the loss measures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from regard.messages import Image, Message, Text, Video
from regard.model.config import ModelConfig
from regard.model.qwen3_vl import Qwen3VL
from regard.model.rope import rotate
from regard.train import nano
from regard.train.encode import Encoder
from regard.train.grounding import (
    HEADS,
    LATER_WEIGHT,
    AttentionInput,
    Name,
    Place,
    asked_tokens,
    clue_spans,
    covered_cells,
    grounding_targets,
    names,
    read_places,
)
from regard.train.loop import initialise
from regard.train.nano_folder import ASSETS
from regard.train.world import clip_windows, clips, scenes, screen_lists, screen_questions, spatial
from regard.train.world.sample import Area, Char, Clue, DenseTruth, Sample, verbatim


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
        Place("read", 7, 8, (Area((0.1, 0.5, 0.1, 0.5)),)),
        Place("read", 9, 10, (Area((0.2, 0.5, 0.2, 0.5)),)),
        Place("read", 10, 12, (Area((0.3, 0.5, 0.3, 0.5)),)),
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
    assert point.areas == (Area((0.12, 0.04, 0.31, 0.088)),) and tokenizer.decode(told.tolist()) == "120, 40, 310, 88"
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
        encoder._processor.tokenizer.decode([int(encoded.input_ids[i]) for i in place.names[0].tokens])
        for place in encoded.places
    ]
    assert [name.strip() for name in named] == ["red star", "blue circle"]
    told = grounding_targets(
        [encoded.places], [encoded.grids], [[]], encoder.is_visual(torch.tensor(encoded.input_ids[None])), merge=2
    )
    asked = told["asked"]
    assert asked.rows[0, :3].tolist() == [*(place.first for place in encoded.places), -1]
    seen = told["seen"]
    assert seen.rows[0, :4].tolist() == [token for place in encoded.places for token in place.names[0].tokens]
    cells = [told[kind].is_target[0, at].nonzero()[:, 0].tolist() for kind, at in (("seen", 0), ("point", 0))]
    assert cells[0] == cells[1] and cells[0]
    assert asked.is_target[0, 1].nonzero()[:, 0].tolist() == list(encoded.places[1].names[0].tokens)


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
    places = [
        [Place("point", 20, 23, (Area((0.0, 0.0, 0.25, 0.5)),))],
        [Place("point", 30, 31, (Area((0.5, 0.5, 1.0, 1.0)),))],
    ]
    targets = grounding_targets(places, [[(1, 4, 8)], [(1, 4, 8)]], [[], []], visual_mask, merge=2)
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


def test_samples_with_several_pictures_or_clips_are_left_out() -> None:
    mask = torch.ones(2, 16, dtype=torch.bool)
    places = [[Place("point", 1, 3, (Area((0, 0, 1, 1)),))]] * 2
    grids = [[(2, 4, 4), (1, 4, 4)], [(1, 4, 4), (1, 4, 4)]]
    assert grounding_targets(places, grids, [[], []], mask, merge=2) == {}


def test_every_area_of_what_is_counted_is_a_row_of_its_own_and_they_share_one_weight() -> None:
    mask = torch.zeros(1, 16, dtype=torch.bool)
    mask[:, 2:10] = True  # 2 x 4 cells
    areas = (Area((0, 0, 0.25, 0.5)), Area((0.5, 0.5, 1, 1)))
    place = Place("point", 14, 16, areas, (Name((11, 12), areas),))
    told = grounding_targets([[place]], [[(1, 4, 8)]], [[]], mask, merge=2)

    def rows(kind: str) -> list[tuple[int, float, list[int]]]:
        of_kind = told[kind]
        return [
            (int(row), round(float(weight), 3), looked_at.nonzero()[:, 0].tolist())
            for row, weight, looked_at in zip(of_kind.rows[0], of_kind.weights[0], of_kind.is_target[0], strict=True)
            if row >= 0
        ]

    later = round(LATER_WEIGHT / 2, 3)
    assert rows("point") == [(14, 0.5, [2]), (15, later, [2]), (14, 0.5, [8, 9]), (15, later, [8, 9])]
    assert sorted(rows("seen")) == [(11, 0.5, [2]), (11, 0.5, [8, 9]), (12, 0.5, [2]), (12, 0.5, [8, 9])]
    assert rows("asked") == [(14, 1.0, [11, 12])]
    assert set(told) == {"point", "seen", "asked"}


def clip_sample() -> Sample:
    """Four frames at one a second; a red circle appears in the third, at the top left."""
    frames = [PILImage.new("RGB", (64, 32), "white") for _ in range(4)]
    areas = (Area((0, 0, 0.25, 0.5), group=1),)
    messages = (
        Message("user", (Video(frames, sample_fps=1.0), Text("When does the red circle appear?"))),
        Message("assistant", (Text("2.0 seconds"),)),
    )
    return Sample("clips", messages, clues=((Clue("2.0", areas, (("red circle", areas),)),),))


def test_a_clip_is_told_its_times_what_was_there_before_and_the_moment_that_is_asked_for() -> None:
    encoder = Encoder(ASSETS)
    encoded = encoder.encode(clip_sample())
    ids = encoded.input_ids.tolist()
    visual_mask = encoder.is_visual(torch.tensor([ids]))
    told = grounding_targets([encoded.places], [encoded.grids], [encoded.stamps], visual_mask, merge=2)
    visual = visual_mask[0].nonzero()[:, 0].tolist()  # 2 groups of 2 x 4 cells
    assert len(visual) == 16

    def looked_at(kind: str, row: int) -> list[int]:
        return told[kind].is_target[0, row].nonzero()[:, 0].tolist()

    def shown(tokens: list[int]) -> str:
        return "".join(encoder._piece(ids[token]) for token in tokens)

    assert told["before"].rows[0].tolist() == [*visual[8:], *[-1] * 8]
    assert [looked_at("before", row) for row in range(8)] == [[cell] for cell in visual[:8]]
    assert told["time"].rows[0].tolist() == visual
    assert (
        shown(looked_at("time", 0)) == "05" and shown(looked_at("time", 15)) == "25"
    )  # of <0.5 seconds>, <2.5 seconds>
    assert looked_at("seen", 0) == looked_at("point", 0) == [visual[8]]
    assert shown(looked_at("asked", 0)).strip() == "red circle"
    assert shown([int(told["stamp"].rows[0, 0]) + 1]) == "2" and shown(looked_at("stamp", 0)) == "25"


def test_two_things_that_are_compared_are_asked_and_other() -> None:
    encoder = Encoder(ASSETS)
    left, right = (Area((0, 0, 0.5, 1)),), (Area((0.5, 0, 1, 1)),)
    messages = (
        Message("user", (Image(PILImage.new("RGB", (64, 32))), Text("Is the red star left of the blue star?"))),
        Message("assistant", (Text("Yes."),)),
    )
    encoded = encoder.encode(
        Sample("scenes", messages, clues=((Clue("Yes", left, (("red star", left), ("blue star", right))),),))
    )
    told = grounding_targets(
        [encoded.places], [encoded.grids], [[]], encoder.is_visual(torch.tensor(encoded.input_ids[None])), merge=2
    )
    for kind, name in (("asked", "red star"), ("other", "blue star")):
        tokens = told[kind].is_target[0, 0].nonzero()[:, 0]
        assert encoder._processor.tokenizer.decode(encoded.input_ids[tokens].tolist()).strip() == name
    _, height, width = encoded.grids[0]
    cells = encoder.is_visual(torch.tensor(encoded.input_ids)).nonzero()[:, 0].reshape(height // 2, width // 2)
    assert told["against"].is_target[0, 0].nonzero()[:, 0].tolist() == cells[:, width // 4 :].flatten().tolist()
    assert told["point"].is_target[0, 0].nonzero()[:, 0].tolist() == cells[:, : width // 4].flatten().tolist()


def test_a_count_is_told_one_cell_of_each_thing_and_the_mark_before_the_picture() -> None:
    mask = torch.zeros(1, 16, dtype=torch.bool)
    mask[:, 2:10] = True  # 2 x 4 cells
    areas = (Area((0, 0, 0.5, 0.4)), Area((0.5, 0.5, 1, 1)))
    for wanted in (areas, ()):
        place = Place("point", 14, 15, wanted, is_count=True)
        told = grounding_targets([[place]], [[(1, 4, 8)]], [[]], mask, merge=2)["counted"]
        looked_at = [row.nonzero()[:, 0].tolist() for row in told.is_target[0]]
        assert looked_at[: 1 + len(wanted)] == [[1], [3], [9]][: 1 + len(wanted)]
        assert told.weights[0].tolist() == pytest.approx(
            [1 / (1 + len(wanted))] * (1 + len(wanted)) + [0] * (15 - len(wanted))
        )


def test_a_clue_that_the_answer_does_not_say_is_refused() -> None:
    assert [(a, b) for _, a, b in clue_spans([Clue("b c"), Clue("c")], ["a", " b", " c", " c"])] == [(1, 3), (3, 4)]
    with pytest.raises(ValueError, match="does not say 'd'"):
        list(clue_spans([Clue("d")], ["a", " b"]))


@pytest.mark.parametrize("generator", [scenes, clips, clip_windows, spatial])
def test_what_the_rendered_world_says_it_is_about_is_found_in_questions_and_answers(generator: Any) -> None:
    encoder = Encoder(ASSETS)
    num_named = 0
    for seed in range(40):
        sample = generator.make(np.random.default_rng(seed), held_out=False, num_turns=4)
        encoded = encoder.encode(sample)
        if sample.clues:
            assert len(sample.clues) == sum(message.role == "assistant" for message in sample.messages)
        for place in encoded.places:
            assert all(area.group < encoded.grids[0][0] for area in place.areas)
            assert all(name.tokens for name in place.names)
            num_named += len(place.names)
    assert num_named > 20


def test_what_a_screen_has_is_looked_at_before_its_box_and_what_it_has_not_at_the_mark_before_the_picture() -> None:
    encoder = Encoder(ASSETS)
    image = PILImage.new("RGB", (256, 64), "white")
    save = {"kind": "button", "label": "Save", "value": "", "checked": False, "box": [0, 0, 64, 32]}
    copy = {**save, "label": "Copy"}
    rng = np.random.default_rng(0)
    asked = [screen_questions.ask(rng, image, [save], [copy]) for _ in range(12)]
    absent = [screen_lists.ask_absent(rng, image, [save], [copy]) for _ in range(12)]
    firsts: dict[bool, set[str]] = {True: set(), False: set()}
    for is_there, samples in ((True, asked), (False, absent)):
        for sample in samples:
            assert sample is not None
            if sample.truth["form"] == "yesno":
                continue
            encoded = encoder.encode(sample)
            ids = torch.tensor(encoded.input_ids[None])
            visual = encoder.is_visual(ids)
            told = grounding_targets([encoded.places], [encoded.grids], [[]], visual, merge=2)
            leading = told["point"].is_target[0, told["point"].weights[0] == 1].any(0).nonzero()[:, 0]
            first_cell = int(visual[0].nonzero()[0, 0])
            if is_there:
                assert first_cell in leading and visual[0, leading].all()
            else:
                assert leading.tolist() == [first_cell - 1]
            clued = [place for place in encoded.places if place.names]
            firsts[is_there] |= {encoder._piece(int(ids[0, place.first + 1])).strip() for place in clued}
            assert all(
                encoder._processor.tokenizer.decode([int(ids[0, token]) for token in name.tokens]).strip().lower()
                == (save if is_there else copy)["label"].lower()
                for place in encoded.places
                for name in place.names
            )
    assert firsts[False] == {"```", "[]", "There"} and {"```", "["} <= firsts[True]
