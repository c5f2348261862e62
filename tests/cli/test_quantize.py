"""`regard quantize`: what it writes and reports, and what it refuses in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as PILImage

from regard.cli import quantize as quantize_command
from regard.cli.main import run
from regard.cli.quantize import DEFAULT_QUESTION, read_calibration
from regard.errors import InputError, MissingDependencyError
from regard.messages import Image
from regard.weights import integer
from tests.timings import only
from tests.tiny import tiny_folder


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integer, "Measurements", lambda **_: only("widened"))


@pytest.fixture
def source(tmp_path: Path) -> str:
    return str(tiny_folder(tmp_path / "source"))


@pytest.fixture
def calibration(tmp_path: Path) -> str:
    folder = tmp_path / "calibration"
    folder.mkdir()
    PILImage.new("RGB", (64, 64), "red").save(folder / "a.png")
    PILImage.new("RGB", (96, 64), "blue").save(folder / "b.jpg")
    (folder / "a.txt").write_text("What colour is it?\n\n  What shape?  \n")
    (folder / "words.txt").write_text("Say hello.\n")
    (folder / "notes.md").write_text("not for the model")
    return str(folder)


def report(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run(["quantize", *arguments, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_report_has_sizes_errors_and_agreement(
    source: str, calibration: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (source, str(tmp_path / "out"), "--to", "int8", "--calibration", calibration)
    facts = report(capsys, *arguments)
    assert facts["method"] == "int8" and 0.2 < facts["bytes_after"] / facts["bytes_before"] < 0.6  # from float32
    assert len(facts["layers"]) == 4 * 7 + 3 * 4 + 4 * 2 + 1
    assert all(0 < layer["relative_error"] < 0.02 for layer in facts["layers"])
    found = facts["agreement"]
    assert found["num_prompts"] == 4 and 4 <= found["num_tokens"] <= 4 * 32
    assert found["share"] == found["num_equal"] / found["num_tokens"] > 0.7
    assert found["log_probability_before"] == pytest.approx(found["log_probability_after"], abs=0.3)


def test_prompts_make_the_layers_outputs_closer_and_nearest_leaves_them_out(
    source: str, calibration: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--to", "int4", "--group", "32", "--calibration", calibration)
    facts = report(capsys, source, str(tmp_path / "calibrated"), *options)
    decoder = [layer for layer in facts["layers"] if layer["name"].startswith("model.language_model.layers.")]
    assert facts["num_calibration_prompts"] == 4 and facts["is_compared_on_calibration"]
    assert all((layer["output_error"] is not None) == (layer in decoder) for layer in facts["layers"])
    # The tower and the head are rounded to the nearest, in 8 bits, the decoder so that outputs are closer.
    assert sum(layer["output_error"] < layer["relative_error"] for layer in decoder) > len(decoder) * 0.9
    facts = report(capsys, source, str(tmp_path / "nearest"), "--nearest", *options)
    assert facts["num_calibration_prompts"] == 0 and not facts["is_compared_on_calibration"]
    assert all(layer["output_error"] is None for layer in facts["layers"])
    assert run(["quantize", source, str(tmp_path / "third"), *options]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"{len(decoder)} layers with 4 prompts: " in text and "4 prompts, which were rounded with, too;" in text


def test_of_many_prompts_every_fourth_is_kept_for_comparing(tmp_path: Path) -> None:
    for count, split in ((7, (7, 7)), (8, (6, 2)), (21, (15, 6))):
        (tmp_path / "words.txt").write_text("\n".join(f"Question {index}?" for index in range(count)))
        calibrating, comparing, reason = quantize_command.choose_prompts(tmp_path, tmp_path)
        assert (len(calibrating), len(comparing)) == split and not reason
        both = [prompt[-1].text for prompt in (*calibrating, *comparing)]
        assert len(set(both)) == count and (len(both) == count) == (count >= quantize_command.MIN_SPLIT)


def test_a_model_agrees_with_itself_and_not_with_another(source: str, tmp_path: Path, calibration: str) -> None:
    prompts, other = read_calibration(Path(calibration)), tiny_folder(tmp_path / "other", seed=1)
    itself = quantize_command.compare(Path(source), Path(source), prompts)
    assert itself.share == 1 and itself.log_probability_before == itself.log_probability_after
    assert quantize_command.compare(Path(source), other, prompts).share < 0.3


def test_without_prompts_agreement_is_said_to_be_unmeasured(
    source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = report(capsys, source, str(tmp_path / "json"), "--to", "int4", "--group", "32")
    assert facts["agreement"] is None and "not measured" in facts["agreement_reason"]
    assert run(["quantize", source, str(tmp_path / "out"), "--to", "int4", "--group", "32"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "not measured: no prompts; give pictures and questions with --calibration FOLDER" in text
    assert "largest errors" in text and "int4" in text and "tied" not in text.split("largest errors")[0]


def test_the_bundled_checkpoint_is_asked_its_own_held_out_samples(
    nano_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        prompts, reason = quantize_command.world_prompts(nano_folder, 24, held_out=True)
    finally:
        assert quantize_command.world_prompts(tmp_path, 24, held_out=True)[0] == []
    if not prompts:
        assert "not measured: " in reason
        pytest.skip(reason)
    assert len(prompts) == 24 and all(prompt[-1].role == "user" for prompt in prompts)
    calibrating, comparing, _ = quantize_command.choose_prompts(nano_folder, None)
    assert len(calibrating) == quantize_command.NUM_CALIBRATION and len(comparing) == quantize_command.NUM_HELD_OUT

    def no_fonts(*args: Any, **kwargs: Any) -> None:
        raise MissingDependencyError("no usable font was found")

    monkeypatch.setattr("regard.train.world.lines.make", no_fonts)
    assert quantize_command.choose_prompts(nano_folder, None) == ([], [], "not measured: no usable font was found")


def test_the_html_report_lists_every_layer(source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "report.html"
    arguments = ("--to", "int8", "--keep", "*.layers.0.*", "--report", str(page))
    facts = report(capsys, source, str(tmp_path / "out"), *arguments)
    text = page.read_text()
    assert all(f"<td>{layer['name']}</td>" in text for layer in facts["layers"])
    assert "model.language_model.layers.0.mlp.up_proj</td><td>kept by *.layers.0.*" in text
    assert "<script" not in text and "http" not in text


def test_the_copy_answers(source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["quantize", source, str(tmp_path / "out"), "--to", "int8"]) == 0
    capsys.readouterr()
    assert run(["ask", "Hello", "--model", str(tmp_path / "out"), "--max-tokens", "4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["usage"]["num_output_tokens"] > 0


def test_ask_quantises_while_loading(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["ask", "Hello", "--model", source, "--max-tokens", "4", "--precision"]
    assert run([*arguments, "int4"]) == 0
    capsys.readouterr()
    assert run([*arguments, "int2"]) == 2
    assert capsys.readouterr().err == "regard: precision is 'int2'; the choices are auto, int8, int4\n"


# Calibration folders


def test_pictures_have_their_questions_beside_them(calibration: str) -> None:
    prompts = read_calibration(Path(calibration))
    texts = [prompt[0].text for prompt in prompts]
    assert texts == ["What colour is it?", "What shape?", DEFAULT_QUESTION, "Say hello."]
    assert [any(isinstance(part, Image) for part in prompt[0].parts) for prompt in prompts] == [True, True, True, False]


def test_a_folder_without_prompts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("nothing")
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(InputError, match="holds neither pictures nor questions"):
        read_calibration(tmp_path)
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(InputError, match=r"latin\.txt is not UTF-8 text"):
        read_calibration(tmp_path)


# Refusals


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "int3"], "--to int3: the choices are fp8, int8, int4"),
        (["--to", "int4", "--group", "100"], "the group size is 100; the choices are 32, 64, 128, 256"),
        (["--to", "fp8", "--group", "64"], "a group size, 64, was given for fp8; only int4 has groups, leave it out"),
        (["--to", "int8", "--keep", "nose"], "--keep nose: no layer is named so"),
        (["--to", "int8", "--report", "no/where.html"], "where.html: the folder "),
        (["--to", "int8", "--calibration", "nowhere"], "--calibration nowhere is not a folder"),
        (["--to", "fp8"], "nothing in "),  # the tiny model has no whole block
    ],
    ids=str,
)
def test_bad_options_are_one_line_and_write_nothing(
    source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run(["quantize", source, str(tmp_path / "out"), *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1 and not captured.out
    assert [entry.name for entry in tmp_path.iterdir()] == ["source"]


def test_folders_that_are_no_models_or_not_empty_are_refused(
    source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for model, out in ((str(tmp_path), tmp_path / "out"), ("nowhere", tmp_path / "out"), (source, Path(source))):
        assert run(["quantize", model, str(out), "--to", "int8"]) == 2
        assert capsys.readouterr().err.startswith("regard: ")
    assert not (tmp_path / "out").exists()
