"""What the readers of model output are tried on: pieces that matter to them, and units to repeat without end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from regard.apps import reading
from regard.processing import coordinates

SIZE = (2000, 1000)

READERS: dict[str, Callable[[str], Any]] = {
    "read_json": reading.read_json,
    "read_items": reading.read_items,
    "read_object": reading.read_object,
    "read_events": reading.read_events,
    "read_code": lambda text: reading.read_code(text, "html"),
    "read_choice": lambda text: reading.read_choice(text, ["a cat", "b.", "yes"]),
    "read_html": reading.read_html,
    "read_tool_call": reading.read_tool_call,
    "parse_clock": reading.parse_clock,
    "find_boxes_and_points": lambda text: coordinates.find_boxes_and_points(text, [SIZE]),
    "boxes": lambda text: coordinates.boxes(reading.read_items(text).value, SIZE),
    "points": lambda text: coordinates.points(reading.read_items(text).value, SIZE),
    "boxes_3d": lambda text: coordinates.boxes_3d(reading.read_items(text).value),
}

PIECES = [
    *"{}[]():;,\"'\\ \n\t12.-x<>/`*=#|",
    *("{{", "}}", "```", "```json\n", "```html", "~~~", "bbox_2d", '"point_2d": ', '"bbox_3d": [', '"label"', "null"),
    *(
        "None",
        "True",
        "1e999",
        "-0",
        "9" * 30,
        "\\u12",
        "\\ud83d",
        "\\frac",
        "00:12.5 - 01:00",
        "<3.0 seconds>",
        " to ",
    ),
    *("75:30", "1h 2m", "<points x=", "<tool_call>", "</tool_call>", "Thought: ", "Action: ", "<div class=", "</div>"),
    *("<!--", "-->", "Answer: B", "**", "\\boxed{", "//", "/*", "*/", "\u201c", "\u201d", "\uff1a", "\uff0c", "\u732b"),
    *("\ud800", "\x00", "</think>", "name", "arguments", "f(x=1", "# ", "<html>", "</html>", "<function=f>"),
]

UNITS = [
    *('{"a ', '{"a":', "{", "[", "(", "{'a': [", '<points x="', "{\"'", "{a", '"', "'", "/*", "//", "```", "```\n"),
    *("~~~ ", "<div ", '<a "', "<!--", "</", "<tool_call>", "<function=a>", "f(", 'f("', "a=", "Thought: ", "Action: "),
    *("1:", "1:2", "1 ", "1h ", "0:1 - ", "**", "\\boxed{", "Answer: ", "[1, ", '{"a": 1}, ', "{}", "[]", " ", "\n"),
    *("\\", '{"a": "\\', '"a" ', "a: ", "<parameter=a>", "\u201c", "{{", "[{", "1.", "-", "1:2:3,", '\n"', '{"a\n'),
    *(
        ', "a',
        "</think>",
        "</html>",
        "<html>",
        "(('",
        "# ",
        "[# a\n",
        '["a": ',
        "[1 ",
        '{"a": 1',
        "a b ",
        "<p>",
        "<script>",
    ),
    *("[[[", '{"a": {"b": [', "x}", "]", "}", "1h 2m ", "between ", "from 1 to ", "> ", "\t"),
]
