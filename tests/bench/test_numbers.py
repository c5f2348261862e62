"""What a request costs, what the ratios mean, and how both are shown."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from regard.bench.plot import render_plot
from regard.bench.report import HEADERS, absent, cells, quantity, render_markdown, rival
from regard.bench.results import quartiles
from regard.bench.systems import SYSTEMS
from regard.bench.work import decode_bytes, prefill_operations, vision_operations, weight_bytes
from regard.weights.family import public_models
from regard.weights.memory import weight_bytes as file_bytes
from tests.bench.fakes import Stage, plan_of

MODELS = {(model.size, model.precision): model.config for model in public_models()}
SPECS = {spec.name: spec for spec in SYSTEMS}
MIXED = "regard,regard-int8,transformers,llama.cpp-bf16,llama.cpp-q8_0,vllm"


def test_a_picture_question_at_the_2b_shape_costs_what_profiling_says():
    """640x480 pixels are 1,200 patches; with 34 tokens of words around 300 visual ones, 1.9 Tflop in all."""
    config = MODELS["2B", "bf16"]
    assert vision_operations(config.vision, 1200) == pytest.approx(0.93e12, rel=0.01)
    assert prefill_operations(config.text, 334) == pytest.approx(0.96e12, rel=0.02)


@pytest.mark.parametrize(
    "system, expected", [("regard", 3.44e9), ("llama.cpp-bf16", 3.44e9), ("llama.cpp-q8_0", 1.83e9), ("vllm", 3.44e9)]
)
def test_a_token_at_the_2b_shape_reads_the_decoder_and_the_head(system, expected):
    config = MODELS["2B", "bf16"]
    width = SPECS[system].width(config, "bfloat16")
    assert decode_bytes(config, width, 2, 0) == pytest.approx(expected, rel=0.01)
    assert decode_bytes(config, width, 2, 1000) - decode_bytes(config, width, 2, 0) == 1000 * 2 * 28 * 8 * 128 * 2


@pytest.mark.parametrize("size", ["2B", "8B", "30B-A3B"])
def test_exact_weights_take_as_many_bytes_as_the_file(size):
    config = MODELS[size, "bf16"]
    assert weight_bytes(config, SPECS["regard"].width(config, "bfloat16")) == file_bytes(config)


def test_experts_that_a_token_does_not_use_are_not_read():
    config = MODELS["30B-A3B", "bf16"]
    width = SPECS["regard"].width(config, "bfloat16")
    assert decode_bytes(config, width, 2, 0) < 0.15 * weight_bytes(config, width)


def test_quartiles_of_one_value_are_that_value():
    assert quartiles([3.0]) == (3.0, 3.0, 3.0)
    assert quartiles([5.0, 1.0, 3.0, 2.0, 4.0]) == (2.0, 3.0, 4.0)


def stage_where_regard_is_twice_as_fast() -> Stage:
    seconds = {"regard": 1.0, "regard-int8": 0.5, "transformers": 4.0, "llama.cpp-bf16": 2.0, "llama.cpp-q8_0": 1.5}
    return Stage(lambda name, count: seconds[name])


def test_ratios_say_how_many_times_as_well_ours_does_whatever_the_unit():
    plan = plan_of(MIXED, "decode,image-ttft", repeats=2)
    result = stage_where_regard_is_twice_as_fast().run(plan, failures={"vllm": "not installed: vllm"})
    for case in ("decode", "image-ttft"):
        rows = {row.system: row for row in result.rows if row.case == case}
        assert rival(rows["regard"], same_weights=True) == ("llama.cpp-bf16", pytest.approx(2.0))
        assert rival(rows["regard"], same_weights=False) == ("llama.cpp-q8_0", pytest.approx(1.5))
        assert rival(rows["regard-int8"], same_weights=True) == ("llama.cpp-q8_0", pytest.approx(3.0))
        assert rows["transformers"].times == {}


def test_shares_are_of_the_rate_that_the_weights_are_computed_with():
    plan = plan_of("regard,regard-int8", "decode,image-ttft", repeats=1)
    decode, _, exact, int8 = stage_where_regard_is_twice_as_fast().run(plan).rows
    assert decode.share is not None and decode.share.of == "memory bandwidth"
    assert exact.share is not None and exact.share.of == "float32 rate"  # nano is computed in float32
    assert int8.share is not None and int8.share.of == "int8 rate"
    assert set(exact.share.parts) == {"vision", "prefill"}
    assert exact.share.value / int8.share.value == pytest.approx((1e12 / 1e11) / 2)


def test_16_bit_weights_may_be_computed_in_either_float_and_are_held_to_the_faster():
    plan = replace(plan_of("transformers", "image-ttft", repeats=1), dtype="bfloat16")
    (row,) = stage_where_regard_is_twice_as_fast().run(plan).rows
    assert row.share is not None and row.share.of == "bfloat16 rate"


def test_numbers_keep_their_units():
    assert quantity(0.1234, "s") == "123 ms" and quantity(12.345, "s") == "12.3 s"
    assert quantity(6.5, "tokens/s") == "6.5 tokens/s" and quantity(12345.6, "tokens/s") == "12346 tokens/s"
    assert quantity(3 * 2**20, "bytes") == "3 MiB" and quantity(-(2**31), "bytes") == "-2.00 GiB"


def test_page_and_json_hold_every_row_with_hardware_and_command():
    plan = plan_of(MIXED, "decode,images-8,memory", repeats=2)
    result = stage_where_regard_is_twice_as_fast().run(plan, failures={"vllm": "not installed: vllm"})
    page = render_markdown(result, "bench.svg")
    for words in ("regard bench", "CPUs", "load average", "GB/s", "torch", "not installed: vllm", "Q8_0"):
        assert words in page
    assert all(len(line.split(" | ")) == len(HEADERS) for line in page.splitlines() if line.startswith("| "))
    again = json.loads(json.dumps(result.to_json()))
    assert len(again["rows"]) == len(plan.cases) * (len(plan.systems) - 1)
    assert again["machine"]["cpu"] and again["load_average"].keys() == {"before", "after"}


def test_a_failure_stands_in_its_row_and_what_is_not_installed_is_listed_once():
    stage = stage_where_regard_is_twice_as_fast()
    stage.loading = {"transformers": "no memory"}
    result = stage.run(plan_of("regard,transformers,vllm", "decode"), failures={"vllm": "not installed: vllm"})
    assert cells(result.rows[1]) == (*cells(result.rows[1])[:2], "-", "", "could not be loaded: no memory", "", "", "")
    assert absent(result) == ["transformers: could not be loaded: no memory", "vllm: not installed: vllm"]


def test_the_plot_is_one_document_with_a_bar_or_a_reason_for_each_row():
    plan = plan_of(MIXED, "decode,image-ttft", repeats=2)
    reason = (
        'crashed with <signal> & "quotes" and a very long explanation that would run out of the picture\'s right edge'
    )
    stage = stage_where_regard_is_twice_as_fast()
    stage.loading = {"vllm": reason}
    result = stage.run(plan)
    root = ElementTree.fromstring(render_plot(result))
    space = "{http://www.w3.org/2000/svg}"
    words = ["".join(text.itertext()) for text in root.iter(f"{space}text")]
    bars = [bar for bar in root.iter(f"{space}rect") if bar.get("rx")]
    assert len(bars) == sum(row.median is not None for row in result.rows) == 10
    assert (
        sum(text.startswith("could not be loaded: crashed with <signal> &") and text.endswith("...") for text in words)
        == 2
    )
    labels = [text.text for text in root.iter(f"{space}text") if text.get("class") == "name"]
    assert labels == [system.name for system in plan.systems] * 2
    width = float(root.get("width", "0"))
    assert all(float(bar.get("x", "0")) + float(bar.get("width", "0")) < width for bar in bars)
