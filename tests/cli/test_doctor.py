"""`regard doctor`: what it finds, why, and its exit status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from regard import llm as llm_module
from regard.cli import doctor as doctor_module
from regard.cli.main import run
from regard.device import allowed_cpus
from regard.errors import CheckpointError
from regard.kernels import choice, native
from tests.timings import fixed_times
from tests.tiny import tiny_folder


@pytest.fixture
def nano(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny random checkpoint takes the bundled one's place: the command is tested here, not the model."""
    folder = tiny_folder(tmp_path / "nano")
    monkeypatch.setattr(llm_module, "resolve_model", lambda name, offline: folder)
    monkeypatch.setattr(doctor_module, "KERNEL_SHAPE", (256, 256))
    monkeypatch.setattr(choice, "Measurements", lambda: fixed_times(lambda name, rows: 7.0))
    return folder


def report(capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    status = run(["doctor", "--json"])
    return status, json.loads(capsys.readouterr().out)


def test_the_facts_are_those_of_this_machine(nano: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, facts = report(capsys)
    assert status == 0
    assert facts["torch"]["version"] == torch.__version__
    assert facts["cpu"]["allowed"] == allowed_cpus() <= facts["cpu"]["total"]
    assert 0 < facts["memory"]["available_bytes"] <= facts["memory"]["total_bytes"]
    assert set(facts["cpu"]["flags"]) <= set(doctor_module.FLAGS)


def test_every_choice_has_its_reason(nano: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, facts = report(capsys)
    choices = [*facts["choices"].values(), facts["nano"]["device"], facts["nano"]["dtype"]]
    assert len(choices) == 5
    assert all(choice["value"] and choice["reason"] for choice in choices)


def test_the_kernels_of_each_format_are_shown_with_their_times(nano: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, facts = report(capsys)
    assert set(facts["kernels"]) == {"int8", "int4", "bfloat16", "float32"}
    for choices in facts["kernels"].values():
        assert [chosen["rows"] for chosen in choices] == list(choice.ROWS)
        assert all(f"{chosen['value']} 7 us" in chosen["reason"] for chosen in choices)
    assert run(["doctor"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    preferred = "native" if native.library() is not None else "int_mm"
    assert f"int8 layers 1 row and more: {preferred}: {preferred} 7 us" in text


def test_nano_is_loaded_and_asked(nano: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, facts = report(capsys)
    assert facts["nano"]["answers"] and facts["nano"]["problem"] is None
    assert facts["nano"]["load_s"] > 0 and facts["nano"]["answer_s"] > 0


def test_packages_have_a_version_or_the_extra_that_brings_them(
    nano: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(doctor_module.OPTIONAL, "no_such_module", ("no-such", "video", "nothing"))
    assert run(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "pip install 'regard[video]' brings nothing" in " ".join(out.split())
    status, facts = report(capsys)
    assert facts["packages"]["no_such_module"]["version"] is None
    assert facts["packages"]["av"]["version"] and "libavcodec" in facts["ffmpeg"]


def test_a_nano_that_does_not_load_is_told_and_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str, offline: bool) -> Path:
        raise CheckpointError("the bundled checkpoint is missing; install regard again")

    monkeypatch.setattr(llm_module, "resolve_model", missing)
    assert run(["doctor"]) == 1
    assert "does not work: the bundled checkpoint is missing" in " ".join(capsys.readouterr().out.split())
