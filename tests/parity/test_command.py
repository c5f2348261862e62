"""`regard parity`: the table, the JSON, the exit status, and what it refuses."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from regard.cli.main import run
from regard.parity import cases as cases_module
from regard.parity import suite
from regard.parity.compare import Measurement
from regard.parity.random_checkpoint import write_random_checkpoint

GOOD = Measurement("tiny dense", "logits", "text", 3e-6, 1e-4)
SMALLER = Measurement("tiny dense", "logits", "one image", 1e-6, 1e-4)
EQUAL = Measurement("tiny dense", "token ids", "text", 0.0, 0.0)
BAD = Measurement("tiny MoE", "greedy 64 tokens", "text", 60.0, 0.0, "first difference at token 4")
NAN = Measurement("tiny MoE", "logits", "text", float("nan"), 1e-4)


def fake(monkeypatch: pytest.MonkeyPatch, *measurements: Measurement) -> None:
    pytest.importorskip("transformers", reason="the reference")
    monkeypatch.setattr(suite, "compare_tiny", lambda: iter(measurements))


def test_all_within_limits_is_exit_status_0_and_one_row_per_check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake(monkeypatch, GOOD, SMALLER, EQUAL)
    monkeypatch.setenv("COLUMNS", "200")
    assert run(["parity"]) == 0
    out = capsys.readouterr().out
    assert "transformers 5" in out.splitlines()[0]
    assert out.count("logits") == 1 and "3.0e-06" in out and "1e-04" in out and "equal" in out
    assert "3 measurements, 0 failed" in out and "video_dialect 'transformers'" in out


def test_each_case_is_a_row_on_request(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    fake(monkeypatch, GOOD, SMALLER)
    assert run(["parity", "--each-case"]) == 0
    assert capsys.readouterr().out.count("logits") == 2


@pytest.mark.parametrize("failure", [BAD, NAN], ids=["beyond the limit", "not a number"])
def test_one_failure_is_exit_status_1_and_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], failure: Measurement
) -> None:
    fake(monkeypatch, GOOD, failure)
    monkeypatch.setenv("COLUMNS", "200")
    assert run(["parity"]) == 1
    out = capsys.readouterr().out
    assert out.count("FAILED") == 1 and failure.detail in out


def test_json_holds_every_measurement_and_is_valid_even_for_not_a_number(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake(monkeypatch, GOOD, NAN)
    assert run(["parity", "--json"]) == 1
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert found["passed"] is False and found["versions"]["transformers"]
    assert [row["passed"] for row in found["measurements"]] == [True, False]
    assert found["measurements"][0]["difference"] == 3e-6 and found["measurements"][1]["difference"] is None


def test_a_folder_is_compared_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("transformers", reason="the reference")
    make = cases_module.make_cases
    monkeypatch.setattr(suite, "make_cases", lambda folder: make(folder)[2:3])
    folder = write_random_checkpoint(tmp_path / "mine", seed=7)
    assert run(["parity", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {row["checkpoint"] for row in found["measurements"]} == {str(folder)}
    assert {row["case"] for row in found["measurements"]} == {"one image"}


def test_a_missing_reference_is_one_sentence_that_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert run(["parity"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "transformers is not installed" in error and "'regard[dev]'" in error


def test_a_checkpoint_that_does_not_fit_twice_into_memory_is_refused_before_it_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("transformers", reason="the reference")
    monkeypatch.setattr("regard.device.available_memory_bytes", lambda: 1000)
    assert run(["parity", str(write_random_checkpoint(tmp_path / "mine"))]) == 1
    assert "for two copies in float32" in capsys.readouterr().err


def test_tiny_and_a_model_together_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["parity", "nano", "--tiny"]) == 2
    assert "--tiny" in capsys.readouterr().err


def never() -> Iterator[Measurement]:
    pytest.fail("nothing may be compared")


def test_a_folder_without_a_config_is_bad_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("transformers", reason="the reference")
    monkeypatch.setattr(suite, "compare_tiny", never)
    assert run(["parity", str(tmp_path)]) == 2
    assert "config.json" in capsys.readouterr().err
