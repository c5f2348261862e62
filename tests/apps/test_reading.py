"""The readers on written-down outputs of models: the value, whether something had to be mended, and no exception."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regard.apps import reading
from regard.processing import coordinates
from tests.apps.damage import PIECES, READERS, UNITS

OUTPUTS = Path(__file__).parent / "outputs"
SIZE = (2000, 1000)


def outputs() -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted(OUTPUTS.glob("*.jsonl")) for line in path.read_text().splitlines()]


def read(function: str, text: Any, arguments: list[Any]) -> tuple[Any, tuple[str, ...]]:
    """The value as JSON has it, and the repairs."""
    if function == "parse_clock":
        return reading.parse_clock(text), ()
    if function in ("boxes", "points"):
        items = reading.read_items(text)
        if function == "boxes":
            boxes = coordinates.boxes(items.value, SIZE)
            return [[box.x1, box.y1, box.x2, box.y2, box.label] for box in boxes], items.repairs
        return [[point.x, point.y, point.label] for point in coordinates.points(items.value, SIZE)], items.repairs
    found = getattr(reading, function)(text, *arguments)
    if function == "read_events":
        return [[event.start_s, event.end_s, event.text] for event in found.value], found.repairs
    if function == "read_tool_call" and found.value is not None:
        call = found.value
        return [call.name, call.arguments, call.thought, call.action], found.repairs
    return found.value, found.repairs


def test_there_are_enough_outputs_and_each_stands_for_something_else() -> None:
    rows = outputs()
    assert len(rows) >= 300
    assert len({(row["function"], repr(row["text"]), str(row.get("arguments"))) for row in rows}) >= 300


@pytest.mark.parametrize("row", outputs(), ids=lambda row: f"{row['function']}: {row['defect']}".replace("\n", " "))
def test_an_output_is_read_as_it_was_meant(row: dict[str, Any]) -> None:
    value, repairs = read(row["function"], row["text"], row.get("arguments", []))
    wanted = row["value"]
    if row["function"] == "read_events":  # a text of None: whatever is left of the sentence
        value = [[*one[:2], None if wish[2] is None else one[2]] for one, wish in zip(value, wanted, strict=True)]
    assert value == wanted
    if row["repairs"] is not None:
        assert bool(repairs) == row["repairs"], repairs


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(PIECES), max_size=60).map("".join))
def test_no_text_of_pieces_raises(text: str) -> None:
    for reader in READERS.values():
        reader(text)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from([row["text"] for row in outputs() if isinstance(row["text"], str)]), st.data())
def test_no_damaged_output_raises(text: str, data: st.DataObject) -> None:
    """An output with a stretch taken out and a piece put in."""
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    damaged = text[:start] + data.draw(st.sampled_from(PIECES)) + text[end:]
    for reader in READERS.values():
        reader(damaged)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=15,
    ).filter(lambda value: isinstance(value, dict | list))
)
def test_json_that_is_right_is_not_touched(value: Any) -> None:
    assert reading.read_json(json.dumps(value)) == reading.Read(value)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.dictionaries(
            st.from_regex(r"[a-z_]{1,8}", fullmatch=True), st.integers(-999, 999) | st.lists(st.integers(0, 999))
        ),
        min_size=1,
        max_size=4,
    )
)
def test_what_python_prints_is_read_back(value: Any) -> None:
    assert reading.read_json(repr(value)).value == value


BUILT_ON_OTHERS = (
    "read_json",
    "read_items",
    "boxes",
    "points",
    "boxes_3d",
)  # read_object and read_events go through them


@pytest.mark.parametrize("unit", UNITS)
def test_endless_outputs_are_read_in_linear_time(unit: str) -> None:
    """10,000 characters of the same, well under a second each, where squares would take many."""
    text = unit * (10_000 // len(unit))
    for name, reader in READERS.items():
        if name in BUILT_ON_OTHERS:
            continue
        start = time.process_time()
        reader(text)
        spent = time.process_time() - start
        assert spent < 2, f"{name} took {spent:.1f} s"
