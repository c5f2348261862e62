"""The order of the run, its failures and its memory, with children that are not there."""

from __future__ import annotations

import pytest

from regard.bench.cases import choose_cases, max_context_tokens, waves
from regard.bench.report import machine_lines
from regard.bench.run import memory_need
from regard.bench.worker import Failed
from tests.bench.fakes import FakePictures, Stage, plan_of

THREE = "regard,transformers,llama.cpp-q8_0"


def test_repetitions_take_turns_between_the_systems():
    stage = Stage()
    stage.run(plan_of(THREE, "decode", repeats=3))
    assert stage.order("ask") == ["regard", "transformers", "llama.cpp-q8_0"] * 3


def test_a_case_is_finished_before_the_next_begins_and_systems_stay_loaded():
    stage = Stage()
    stage.run(plan_of("regard,transformers", "decode,image-ttft", repeats=2))
    lengths = [command["waves"][-1][0]["max_tokens"] for _, command in stage.commands]
    assert lengths == [5, 5, 5, 5, 1, 1, 1, 1]
    assert stage.order("start") == ["regard", "transformers"]
    assert sorted(stage.order("close")) == ["regard", "transformers"]


def test_every_system_is_asked_the_same_and_no_repetition_repeats_a_question():
    stage = Stage()
    stage.run(plan_of("regard,transformers", "images-4", repeats=2))
    first, first_peer, second, second_peer = [command["waves"] for _, command in stage.commands]
    assert first == first_peer and second == second_peer
    words = [request["text"].split(":")[0] for asked in (first, second) for request in asked[-1]]
    pictures = [request["pictures"] for asked in (first, second) for request in asked[-1]]
    assert len(set(words)) == 8 and len(set(map(tuple, pictures))) == 8


def test_the_median_counts_and_quartiles_stand_beside_it():
    seconds = [4.0, 1.0, 2.0, 50.0, 3.0]
    stage = Stage(lambda name, count: seconds[count])
    (row,) = stage.run(plan_of("regard", "image-ttft", repeats=5)).rows
    assert row.median == pytest.approx(1.5)  # the first token comes after half the time
    assert (row.low, row.high) == (pytest.approx(1.0), pytest.approx(2.0))
    assert row.values == pytest.approx([2.0, 0.5, 1.0, 25.0, 1.5])
    assert row.parts == pytest.approx({"preprocess": 0.3, "vision": 0.6, "prefill": 0.6})


def test_rates_count_the_tokens_after_the_first_or_all_of_them_together():
    plan = plan_of("regard", "decode,text-16", repeats=1, num_tokens=5)
    decode, together = Stage(lambda name, count: 2.0).run(plan).rows
    assert decode.median == pytest.approx(4 / 1.0)
    assert together.median == pytest.approx(16 * 5 / 2.0)


def test_a_system_that_fails_in_a_case_is_not_asked_again_there_and_all_else_goes_on():
    def seconds(name: str, count: int) -> float:
        if name == "transformers" and count == 1:
            raise Failed("this did not finish within 600 s")
        return 1.0

    stage = Stage(seconds)
    result = stage.run(plan_of("regard,transformers", "decode,image-ttft", repeats=3))
    assert stage.order("ask").count("transformers") == 2 + 3
    by_key = {(row.case, row.system): row for row in result.rows}
    assert by_key["decode", "transformers"].failure == "this did not finish within 600 s"
    assert by_key["decode", "transformers"].median is None and by_key["decode", "regard"].median is not None
    assert len(by_key["image-ttft", "transformers"].values) == 3


def test_a_system_that_cannot_be_loaded_is_tried_once_and_told_in_every_case():
    stage = Stage(loading={"transformers": "no such architecture"})
    result = stage.run(plan_of("regard,transformers", "decode,image-ttft,shell", repeats=2))
    assert stage.order("start").count("transformers") == 1
    failures = [row.failure for row in result.rows if row.system == "transformers"]
    assert failures == ["could not be loaded: no such architecture"] * 3


def test_a_system_that_fails_its_warm_up_is_closed_and_not_loaded_again():
    stage = Stage()
    stage.warming = {"transformers": "out of memory"}
    result = stage.run(plan_of("regard,transformers", "decode,image-ttft", repeats=2))
    assert stage.order("start").count("transformers") == stage.order("close").count("transformers") == 1
    failures = {row.failure for row in result.rows if row.system == "transformers"}
    assert failures == {"could not answer a first small request: out of memory"}


def test_a_system_that_is_not_installed_is_listed_and_never_started():
    stage = Stage()
    result = stage.run(plan_of("regard,vllm", "decode"), failures={"vllm": "not installed: vllm"})
    assert "vllm" not in stage.order("start")
    assert {row.system for row in result.rows} == {"regard"}
    assert {system.name: system.status for system in result.systems}["vllm"] == "not installed: vllm"


def test_an_interrupted_run_reports_what_it_has_and_says_that_it_is_not_all():
    def seconds(name: str, count: int) -> float:
        if name == "transformers" and count == 1:
            raise KeyboardInterrupt
        return 1.0

    stage = Stage(seconds)
    result = stage.run(plan_of("regard,transformers", "decode,image-ttft", repeats=2))
    assert [(row.case, row.system, len(row.values)) for row in result.rows] == [
        ("decode", "regard", 2),
        ("decode", "transformers", 1),
    ]
    assert any("INTERRUPTED" in line for line in machine_lines(result))
    assert not any("INTERRUPTED" in line for line in machine_lines(Stage().run(plan_of("regard", "decode"))))
    assert sorted(stage.order("close")) == ["regard", "transformers"]


def test_fresh_cases_start_and_close_a_process_each_time():
    stage = Stage()
    result = stage.run(plan_of("regard", "shell,memory", repeats=2))
    assert stage.order("start") == stage.order("close") == ["regard"] * 4
    memory = result.rows[1]
    assert memory.median == 1e9
    assert sum(memory.parts.values()) == pytest.approx(1e9) and set(memory.parts) == {"weights", "cache", "rest"}


def test_the_system_used_longest_ago_is_closed_when_the_next_would_not_fit():
    plan = plan_of(THREE, "decode", repeats=2)
    need = max(memory_need(plan, spec) for spec in plan.systems)
    stage = Stage()

    def room() -> int:
        loaded = len(stage.order("start")) - len(stage.order("close"))
        return (3 - loaded) * need  # room for two, and a third does not fit beside them

    stage.run(plan, room)
    most = 0
    for number in range(len(stage.events)):
        events = [event for event in stage.events[: number + 1] if event[1] != "machine"]
        most = max(most, sum({"start": 1, "close": -1}.get(what, 0) for what, _ in events))
    assert most == 3
    stage = Stage()
    result = stage.run(plan, lambda: 0 if len(stage.order("start")) > len(stage.order("close")) else need)
    assert stage.order("start") == [*THREE.split(","), *THREE.split(",")]
    assert [system.facts["loaded_again"] for system in result.systems] == [1, 1, 1]


def test_one_way_of_batching_takes_part_only_with_concurrent_requests():
    stage = Stage()
    result = stage.run(plan_of("regard,transformers-batch", "decode,images-4"))
    assert [(row.case, row.system) for row in result.rows] == [
        ("decode", "regard"),
        ("images-4", "regard"),
        ("images-4", "transformers-batch"),
    ]


def test_a_system_that_does_not_tell_what_a_case_needs_gets_a_sentence():
    stage = Stage()
    stage.edit = lambda name, answer: _without_first_token(answer)
    (row,) = stage.run(plan_of("regard", "decode")).rows
    assert row.failure == "it does not tell when the first token came"


def _without_first_token(answer: dict) -> dict:
    for given in answer["waves"][-1]["answers"]:
        given["ttft_s"] = None
    return answer


def test_other_work_than_ours_is_remarked():
    stage = Stage()

    def edit(name: str, answer: dict) -> dict:
        if name == "transformers":
            answer["waves"][-1]["answers"][0] |= {"num_prompt_tokens": 41, "num_output_tokens": 3, "text": "It was."}
        return answer

    stage.edit = edit
    ours, peer = stage.run(plan_of("regard,transformers", "decode")).rows
    assert ours.remark == "" and ours.begins_as_ours == 1
    assert peer.remark == "wrote 3 of 5 tokens; read 41 prompt tokens, regard 40"
    assert peer.begins_as_ours == pytest.approx(3 / len("It is a red circle."))


def test_a_second_question_comes_after_another_about_the_same_picture():
    (again, same) = choose_cases("second-question,same-request")
    pictures = FakePictures()
    before, timed = waves(again, 0, 8, pictures)  # type: ignore[arg-type]
    assert before[0].pictures == timed[0].pictures and before[0].text != timed[0].text
    before, timed = waves(same, 0, 8, pictures)  # type: ignore[arg-type]
    assert before == timed


def test_the_context_holds_the_largest_wave():
    cases = choose_cases("decode,images-64,pictures-20")
    assert max_context_tokens(cases, 32) > 64 * (300 + 32)
    assert max_context_tokens(choose_cases("pictures-20"), 32) > 20 * 300
