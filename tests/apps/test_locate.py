"""`locate` and `regard locate` with answers that are given: what is asked, what is made of them, what is written."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from regard.apps.spatial import Camera, Located, locate, prompts
from regard.apps.spatial.locate import names_of, read_count
from regard.apps.spatial.names import own_label, plural
from regard.apps.spatial.views import View
from regard.apps.spatial.zoom import view_of
from regard.cli.main import run
from regard.errors import ConfigError, InputError
from regard.messages import ToolCall
from regard.reply import Box
from tests.apps.spoken import SpokenChat, reply, told

CUP, PLATE = '{"bbox_2d": [100, 100, 200, 200], "label": "cups"}', '{"bbox_2d": [500, 500, 700, 900], "label": "plate"}'
TWO = f"```json\n[\n\t{CUP},\n\t{PLATE}\n]\n```"


@pytest.fixture
def picture() -> Image.Image:
    return Image.new("RGB", (2000, 1000), "white")


def corners(found: Located) -> list[tuple[float, ...]]:
    return [(box.x1, box.y1, box.x2, box.y2) for box in found.boxes]


def test_one_description_and_several_categories_are_asked_for_in_the_familys_words(picture: Image.Image) -> None:
    chat = SpokenChat([TWO])
    locate(chat, picture, "shadow of the paper fox.")
    locate(chat, picture, ["cup", "plate/dish"])
    locate(chat, picture, "cup", every=True)
    locate(chat, picture, "vehicle", attributes=["type", "color"])
    locate(chat, picture, "free space on the table", points=True)
    assert chat.questions == [
        "Locate the shadow of the paper fox, report the bbox coordinates in JSON format.",
        'Locate every instance that belongs to the following categories: "cup, plate/dish". '
        "Report bbox coordinates in JSON format.",
        'Locate every instance that belongs to the following categories: "cup". '
        "Report bbox coordinates in JSON format.",
        'Locate every instance that belongs to the following categories: "vehicle". For each vehicle, report bbox '
        'coordinates, type and color in JSON format like this: {"bbox_2d": [x1, y1, x2, y2], "label": "vehicle", '
        '"type": "...", "color": "..."}',
        "Locate the free space on the table in this image. Output the point coordinates in JSON format.",
    ]


def test_the_answer_is_bound_to_the_familys_form() -> None:
    form = prompts.places_grammar("bbox_2d", ["cup", 'a "b" (c)']).text
    assert re.fullmatch(form, '```json\n[\n\t{"bbox_2d": [0, 20, 1000, 999], "label": "cup"}\n]\n```')
    assert re.fullmatch(form, '```json\n[\n\t{"bbox_2d": [0, 20, 10, 9], "label": "a \\"b\\" (c)"}\n]\n```')
    assert re.fullmatch(form, "```json\n[\n]\n```")
    assert not re.fullmatch(form, '```json\n[\n\t{"bbox_2d": [0, 20, 1001, 9], "label": "cup"}\n]\n```')
    assert not re.fullmatch(form, '```json\n[\n\t{"bbox_2d": [0, 20, 100, 9], "label": "pot"}\n]\n```')


def test_places_are_pixels_of_the_users_picture_and_labels_those_asked_for(picture: Image.Image) -> None:
    found = locate(SpokenChat([TWO]), picture, ["cup", "plate/dish"])
    assert corners(found) == [(200, 100, 400, 200), (1000, 500, 1400, 900)]
    assert [box.label for box in found.boxes] == ["cup", "plate/dish"]
    assert [(count.label, count.found) for count in found.counts] == [("cup", 1), ("plate/dish", 1)]
    assert (found.width, found.height, found.repairs) == (2000, 1000, ())
    assert found.count("cup") == 1 and found.count("") == 2


def test_attributes_stay_with_their_box(picture: Image.Image) -> None:
    answer = '[{"bbox_2d": [1, 2, 3, 4], "label": "vehicle", "type": "bus", "color": "red"}]'
    (box,) = locate(SpokenChat([answer]), picture, "vehicle", attributes=["type", "color"]).boxes
    assert box.extra == {"type": "bus", "color": "red"}


def test_labels_that_were_not_asked_for_can_be_left_out(picture: Image.Image) -> None:
    found = locate(SpokenChat([TWO]), picture, ["cup", "pot"], strict=True)
    assert len(found.boxes) == 1 and "left out 1 that were not asked for" in found.repairs
    assert [own_label(text, ["box of tea"]) for text in ("Boxes of tea", "the box of tea", "", "point_1")] == [
        "Boxes of tea", "box of tea", "box of tea", "box of tea",
    ]  # fmt: skip
    assert [own_label(text, ["berry", "glass"]) for text in ("Berries", "glasses", "x", "")] == [
        "berry",
        "glass",
        "x",
        "",
    ]


def test_names_become_plurals_where_english_has_them() -> None:
    names = ("car", "bus", "box", "berry", "key", "\u676f\u5b50", "point 1", "glasses")
    assert [plural(name) for name in names] == [
        "cars", "bus", "boxes", "berries", "keys", "\u676f\u5b50", "point 1", "glasses",
    ]  # fmt: skip


def test_a_refusal_is_asked_again_and_then_means_nothing(picture: Image.Image) -> None:
    chat = SpokenChat(["There is none."])
    found = locate(chat, picture, "cup", attempts=2)
    assert found.boxes == () and len(chat.asked) == 2 and "the answer names no place" in found.repairs
    empty = SpokenChat(["```json\n[]\n```"])
    assert locate(empty, picture, "cup").boxes == () and len(empty.asked) == 1


def test_a_looping_answer_that_was_cut_is_finished(picture: Image.Image) -> None:
    line = '\t{"bbox_2d": [100, 100, 200, 200], "label": "cup"},\n'
    found = locate(
        SpokenChat([reply("```json\n[\n" + line * 40 + '\t{"bbox_2d": [10', "length")]), picture, "cup", every=True
    )
    assert len(found.boxes) == 1
    assert "left out 39 repeated boxes" in found.repairs and found.repairs[0].startswith("the answer was cut after")


def test_long_pictures_are_looked_at_in_tiles_and_put_together() -> None:
    picture = Image.new("RGB", (1380, 245))
    chat = SpokenChat(['[{"bbox_2d": [0, 100, 100, 900], "label": "sign"}]'])
    found = locate(chat, picture, "sign", every=True)
    assert found.num_views == len(chat.asked) == len(found.boxes) > 1
    lefts = [box.x1 for box in found.boxes]
    assert lefts[0] == 0 and lefts == sorted(lefts) and all(box.y1 == 24.5 for box in found.boxes)
    assert all(side % 32 == 0 for number in range(len(chat.asked)) for side in chat.pictures(number)[0].size)
    assert locate(chat, picture, "sign", tiles="off").num_views == 1


def test_small_things_get_a_second_look_that_is_mapped_back(picture: Image.Image) -> None:
    coarse = '[{"bbox_2d": [500, 500, 520, 540], "label": "star"}]'  # 1000..1040, 500..540 pixels
    chat = SpokenChat([coarse, '[{"bbox_2d": [330, 330, 670, 670], "label": "star"}]'])
    found = locate(chat, picture, "star", zoom=True)
    assert len(chat.asked) == 2
    ((x1, y1, x2, y2),) = corners(found)
    assert (x1, y1) == pytest.approx((960 + 0.33 * 120, 460 + 0.33 * 120)) and x2 - x1 == pytest.approx(0.34 * 120)
    elsewhere = SpokenChat([coarse, '[{"bbox_2d": [0, 0, 50, 50], "label": "star"}]'])
    assert corners(locate(elsewhere, picture, "star", zoom=True)) == [(1000, 500, 1040, 540)], "not the same thing"


def test_where_nothing_is_found_the_model_may_use_its_zoom_tool(picture: Image.Image) -> None:
    def call(numbers: list[int], index: int) -> ToolCall:
        return ToolCall("image_zoom_in_tool", {"bbox_2d": numbers, "label": "star", "img_idx": index})

    answers = [
        "[]",
        reply("", "tool_calls", [call([500, 500, 1000, 1000], 0)]),
        reply("", "tool_calls", [call([0, 0, 500, 500], 1)]),
        "It is there.",
        '[{"bbox_2d": [500, 500, 600, 600], "label": "star"}]',
    ]
    chat = SpokenChat(answers)
    found = locate(chat, picture, "star", zoom=True)
    assert corners(found) == [(1250, 625, 1300, 650)]  # in the upper left quarter of the lower right quarter
    assert chat.asked[1]["tools"][0]["function"]["name"] == "image_zoom_in_tool"
    assert len(chat.pictures(3)) == 3, "the picture and both parts"
    assert found.num_questions == 5


def test_without_a_tool_call_the_quarters_are_looked_at(picture: Image.Image) -> None:
    chat = SpokenChat(["[]", "I see nothing.", "[]", "[]", "[]", '[{"bbox_2d": [0, 0, 100, 100], "label": "star"}]'])
    found = locate(chat, picture, "star", zoom=True)
    assert len(chat.asked) == 6 and len(found.boxes) == 1 and found.boxes[0].x1 > 800 and found.boxes[0].y1 > 400


@pytest.mark.parametrize("numbers", [[1, 2, 3], "all", None, [0, 0, 1, 1], [float("nan")] * 4, [True, "a", 3, 4]])
def test_parts_that_cannot_be_looked_at_are_no_parts(numbers: Any) -> None:
    assert view_of({"bbox_2d": numbers, "img_idx": 0}, [View(0, 0, 100, 100)], "norm1000") is None


def test_parts_may_be_reversed_outside_and_of_a_picture_that_does_not_exist() -> None:
    views = [View(0, 0, 1000, 1000), View(500, 500, 1000, 1000)]
    assert view_of({"bbox_2d": [900, 900, -50, 100], "img_idx": 0}, views, "norm1000") == View(0, 100, 900, 900)
    assert view_of({"bbox_2d": [0, 0, 2000, 500], "img_idx": 7}, views, "norm1000") == View(500, 500, 1000, 750)


def test_boxes_in_space_are_asked_one_category_at_a_time_and_projected(picture: Image.Image) -> None:
    answer = '[{"bbox_3d": [0, 0, 10, 2, 2, 2, 0, 0, 0], "label": "car"}]'
    chat = SpokenChat([answer, answer.replace("car", "bus").replace("10", "20")])
    found = locate(chat, picture, ["car", "bus"], three_d=True, camera="1000,1000,1000,500", relations=True)
    assert len(chat.asked) == 2 and chat.questions[0].startswith(
        "Find all cars in this image. For each car, provide its 3D"
    )
    assert found.camera == Camera(fx=1000, fy=1000, cx=1000, cy=500)
    near, far = found.space_boxes
    assert near.box == pytest.approx((1000 - 1000 / 9, 500 - 1000 / 9, 1000 + 1000 / 9, 500 + 1000 / 9), abs=1e-3)
    assert len(near.edges) == 12 and [r.text for r in found.relations] == ["car in front of bus"]
    assert locate(SpokenChat([answer]), picture, "car", three_d=True).camera.is_estimated  # type: ignore[union-attr]
    drawn = found.draw()
    assert drawn.size == picture.size and drawn.getpixel((round(near.box[0]), 500)) != (255, 255, 255)  # type: ignore[index]


def test_points_come_from_points_and_from_boxes_and_repeats_are_left_out(picture: Image.Image) -> None:
    answer = '[{"point_2d": [500, 500], "label": "point_1"}, {"point_2d": [500, 501]}, {"bbox_2d": [0, 0, 100, 100]}]'
    found = locate(SpokenChat([answer]), picture, "free space", points=True)
    assert [(p.x, p.y, p.label) for p in found.points] == [(1000, 500, "free space"), (100, 50, "free space")]
    xml = locate(
        SpokenChat(['<points x1="10" y1="20" x2="30" y2="40" alt="cups">cup</points>']), picture, "cup", points=True
    )
    assert [(p.x, p.y) for p in xml.points] == [(20, 20), (60, 40)]


def test_counts_are_checked_by_asking(picture: Image.Image) -> None:
    chat = SpokenChat(told({"How many cups": "There are two cups.", "How many plates": "1", "Locate": TWO}))
    found = locate(chat, picture, ["cup", "plate"], count=True)
    assert [(c.found, c.told, c.agrees) for c in found.counts] == [(1, 2, False), (1, 1, True)]
    assert [read_count(text) for text in ("3", "No cups.", "twelve", "I see 1,000,000,000 of them", "?")] == [
        3,
        0,
        12,
        1,
        None,
    ]


def test_of_overlapping_things_the_model_says_which_is_in_front(picture: Image.Image) -> None:
    pair = '[{"bbox_2d": [100, 100, 300, 300], "label": "cup"}, {"bbox_2d": [200, 200, 400, 400], "label": "cup"}]'
    chat = SpokenChat(told({"in front": "B", "Locate": pair}))
    (occlusion,) = locate(chat, picture, "cup", every=True, occlusion=True).occlusions
    assert (occlusion.front, occlusion.behind, occlusion.covered) == (1, 0, pytest.approx(0.25))
    assert "A.cup on the left\nB.cup on the right" in chat.questions[1]


def test_options_that_do_not_go_together_and_empty_words_are_refused(picture: Image.Image) -> None:
    chat = SpokenChat([TWO])
    for options in ({"points": True, "three_d": True}, {"camera": "60"}, {"occlusion": True, "points": True}):
        with pytest.raises(ConfigError):
            locate(chat, picture, "cup", **options)
    for what in ("", " ", [], ["a", ""]):
        with pytest.raises(InputError):
            names_of(what)


def test_the_coco_file_loads_in_pycocotools(picture: Image.Image, tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed: pip install 'regard[dev]'")
    found = locate(SpokenChat([TWO]), picture, ["cup", "plate", "pot"])
    path = tmp_path / "coco.json"
    path.write_text(found.text("coco"))
    data = coco.COCO(str(path))
    assert [category["name"] for category in data.loadCats(data.getCatIds())] == ["cup", "plate", "pot"]
    (one, two) = data.loadAnns(data.getAnnIds(imgIds=[1]))
    assert one["bbox"] == [200, 100, 200, 100] and two["area"] == 400 * 400 and data.getAnnIds(catIds=[3]) == []
    results = data.loadRes([{**annotation, "score": 1.0} for annotation in found.to_coco()["annotations"]])
    assert len(results.getAnnIds()) == 2
    dotted = locate(SpokenChat(['[{"point_2d": [500, 500]}]']), picture, "cup", points=True).to_coco()
    assert dotted["annotations"][0]["keypoints"] == [1000, 500, 2] and dotted["categories"][0]["keypoints"] == ["point"]


def test_yolo_csv_and_json_say_the_same(picture: Image.Image) -> None:
    found = locate(SpokenChat([TWO]), picture, ["plate", "cup"])
    assert found.to_yolo().splitlines() == [
        "1 0.150000 0.150000 0.100000 0.100000",
        "0 0.600000 0.700000 0.200000 0.400000",
    ]
    assert found.yolo_names() == ("plate", "cup")
    rows = list(csv.DictReader(io.StringIO(found.to_csv())))
    assert rows[0]["label"] == "cup" and [float(rows[0][key]) for key in ("x1", "y1", "x2", "y2")] == [
        200,
        100,
        400,
        200,
    ]
    assert Located.model_validate(json.loads(found.text("json"))).to_json() == found.to_json()
    dotted = locate(SpokenChat(['[{"point_2d": [500, 500]}]']), picture, "cup", points=True)
    with pytest.raises(InputError, match="points"):
        dotted.to_yolo()


def test_drawing_needs_a_picture_and_marks_it(picture: Image.Image) -> None:
    found = locate(SpokenChat([TWO]), picture, "cup")
    assert len(found.draw().getcolors(1_000_000)) > 1
    alone = Located.model_validate(found.to_json())
    with pytest.raises(InputError, match="no picture"):
        alone.draw()
    assert alone.draw(picture).size == picture.size


@pytest.fixture
def spoken(monkeypatch: pytest.MonkeyPatch) -> SpokenChat:
    chat = SpokenChat([TWO])
    monkeypatch.setattr("regard.cli.terminal.load_chat", lambda name, **_: chat)
    return chat


def test_the_command_writes_every_format_and_a_picture(
    spoken: SpokenChat, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "desk.png"
    Image.new("RGB", (2000, 1000)).save(path)
    assert run(["locate", str(path), "cup, plate", "--draw", str(tmp_path / "out.png"), "--relations"]) == 0
    captured = capsys.readouterr()
    told = json.loads(captured.out)
    assert told["boxes"][1]["x2"] == 1400 and told["relations"][0]["kind"] == "left of" and "drawn:" in captured.err
    assert (tmp_path / "out.png").is_file()
    assert run(["locate", str(path), "cup, plate", "--format", "yolo", "-o", str(tmp_path / "desk.txt")]) == 0
    assert (tmp_path / "classes.txt").read_text() == "cup\nplate\n" and len(
        (tmp_path / "desk.txt").read_text().splitlines()
    ) == 2
    capsys.readouterr()
    assert run(["locate", str(path), "cup", "--format", "csv"]) == 0
    assert capsys.readouterr().out.startswith("image,kind,label,")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["missing.png", "cup"], "missing.png"),
        (["PICTURE", " , "], "nothing to look for"),
        (["PICTURE", "cup", "--format", "xml"], "--format is 'xml'"),
        (["PICTURE", "cup", "--format", "yolo", "--points"], "no points"),
        (["PICTURE", "cup", "--draw", "out.pdf"], "suffix"),
        (["PICTURE", "cup", "--draw", "no/such/out.png"], "does not exist"),
        (["PICTURE", "cup", "--camera", "60"], "three_d"),
        (["PICTURE", "cup", "--three-d", "--camera", "a"], "camera"),
        (["PICTURE", "cup", "--tiles", "axb"], "tiles"),
        (["PICTURE", "cup", "--three-d", "--points"], "exclude"),
        (["PICTURE", "cup", "--json", "--format", "csv"], "exclude"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    spoken: SpokenChat, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    path = tmp_path / "desk.png"
    Image.new("RGB", (64, 64)).save(path)
    assert run(["locate", *(str(path) if word == "PICTURE" else word for word in arguments)]) == 2
    error = capsys.readouterr().err.strip()
    assert sentence in error and "\n" not in error


def test_the_models_own_confidence_goes_with_its_boxes(picture: Image.Image) -> None:
    sure = replace(reply(TWO), boxes=(Box(0, 0, 1, 1, confidence=0.9), Box(0, 0, 1, 1, confidence=0.4)))
    chat = SpokenChat([sure])
    found = locate(chat, picture, ["cup", "plate"], confidence=True)
    assert [box.confidence for box in found.boxes] == [0.9, 0.4] and chat.asked[0]["num_logprobs"] == 0
    assert found.to_coco()["annotations"][0]["score"] == 0.9
    assert locate(SpokenChat([sure]), picture, "cup").boxes[0].confidence == 0.9
