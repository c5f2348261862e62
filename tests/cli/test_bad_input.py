"""What users get wrong, end to end: each broken input is one sentence on stderr and exit status 2.

The inputs are made here, byte by byte where no library would write them. The model is a tiny random
checkpoint: what matters is where the road ends, and nothing here may reach an answer.
"""

from __future__ import annotations

import io
import json
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from regard.cli.main import run
from tests.tiny import tiny_folder

QUESTION = "What is this?"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run `regard WORDS...`, check that it is refused properly, and return the sentence."""

    def check(*words: object) -> str:
        status = run([str(word) for word in words])
        captured = capsys.readouterr()
        assert status == 2, f"exit status {status}, stderr: {captured.err}"
        assert captured.out == "", f"something was written to stdout: {captured.out!r}"
        lines = captured.err.splitlines()
        assert len(lines) == 1, f"{len(lines)} lines instead of one: {captured.err}"
        assert "Traceback" not in lines[0]
        return lines[0]

    return check


Refused = Callable[..., str]


def test_the_same_road_answers_when_nothing_is_broken(
    model: Path, examples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without this, every test here would also pass with a program that refuses everything."""
    line = str(examples / "line.png")
    assert run(["ask", line, QUESTION, "--model", str(model), "--max-tokens", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["usage"]["num_output_tokens"] <= 2


# Pictures


def test_a_missing_file_is_named(refused: Refused, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "nowhere.png"
    sentence = refused("ask", path, QUESTION, "--model", model)
    assert str(path) in sentence and "does not exist" in sentence


def test_an_empty_file_is_named_with_its_size(refused: Refused, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "empty.png"
    path.touch()
    sentence = refused("ask", path, QUESTION, "--model", model)
    assert str(path) in sentence and "0 bytes" in sentence


def test_a_truncated_jpeg_is_not_silently_half_grey(refused: Refused, model: Path, tmp_path: Path) -> None:
    path, buffer = tmp_path / "half.jpg", io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "jpeg")
    path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    sentence = refused("ask", path, QUESTION, "--model", model)
    assert str(path) in sentence and ("truncated" in sentence or "damaged" in sentence)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_a_header_that_promises_2500_megapixels_is_refused_before_memory_is_taken(
    refused: Refused, model: Path, tmp_path: Path
) -> None:
    path = tmp_path / "bomb.png"
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0))
    rest = png_chunk(b"IDAT", zlib.compress(bytes(1000))) + png_chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + rest)
    sentence = refused("ask", path, QUESTION, "--model", model)
    assert "50000x50000" in sentence and "limit" in sentence


def test_a_web_page_named_png_is_called_what_it_is(refused: Refused, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "page.png"
    path.write_text("<!doctype html><html><body>404 Not Found</body></html>")
    sentence = refused("ask", path, QUESTION, "--model", model)
    assert str(path) in sentence and "HTML" in sentence


def test_an_aspect_ratio_of_201_is_over_the_limit_of_200(refused: Refused, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "thread.png"
    Image.new("RGB", (2010, 10)).save(path)
    sentence = refused("ask", path, QUESTION, "--model", model)
    assert str(path) in sentence and "201" in sentence and "200" in sentence


# Videos and documents


def test_a_truncated_mp4_is_named(refused: Refused, model: Path, examples: Path, tmp_path: Path) -> None:
    path, whole = tmp_path / "half.mp4", (examples / "clip.mp4").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    sentence = refused("ask", path, QUESTION, "--model", model)
    assert str(path) in sentence


def test_a_video_without_frames_says_so(refused: Refused, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "nothing.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        container.start_encoding()
    sentence = refused("ask", path, QUESTION, "--model", model)
    assert str(path) in sentence and "frame" in sentence


def encrypted_pdf() -> bytes:
    """A page behind a user password: no empty password fits these made-up keys."""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 100 100] >>",
        b"<< /Filter /Standard /V 1 /R 2 /P -44 /O <" + b"ab" * 32 + b"> /U <" + b"cd" * 32 + b"> >>",
    ]
    body, offsets = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    trailer = b"<< /Size 5 /Root 1 0 R /Encrypt 4 0 R /ID [<00> <00>] >>"
    body_end = b"xref\n0 5\n0000000000 65535 f \n%strailer\n%s\nstartxref\n%d\n%%%%EOF\n"
    return body + body_end % (table, trailer, len(body))


def test_an_encrypted_pdf_asks_for_an_open_one(refused: Refused, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "secret.pdf"
    path.write_bytes(encrypted_pdf())
    sentence = refused("ask", path, QUESTION, "--model", model)
    assert str(path) in sentence and "password" in sentence


# Checkpoints


def test_a_wrong_hub_id_is_named(refused: Refused, examples: Path) -> None:
    sentence = refused("ask", examples / "line.png", QUESTION, "--model", "nobody/no-such-model")
    assert "nobody/no-such-model" in sentence


def test_a_name_that_is_neither_folder_nor_hub_id_is_named(refused: Refused, examples: Path) -> None:
    sentence = refused("ask", examples / "line.png", QUESTION, "--model", "no such/model/anywhere")
    assert "no such/model/anywhere" in sentence


@pytest.fixture
def broken(model: Path, tmp_path: Path) -> Path:
    """A copy of the checkpoint to break."""
    return Path(shutil.copytree(model, tmp_path / "broken"))


def test_a_folder_without_config_says_which_file_is_missing(refused: Refused, broken: Path, examples: Path) -> None:
    (broken / "config.json").unlink()
    sentence = refused("ask", examples / "line.png", QUESTION, "--model", broken)
    assert str(broken) in sentence and "config.json" in sentence


def test_a_missing_shard_is_named(refused: Refused, broken: Path, examples: Path) -> None:
    tensors = load_file(broken / "model.safetensors")
    names = sorted(tensors)
    files = {name: f"model-0000{1 + index % 2}-of-00002.safetensors" for index, name in enumerate(names)}
    first = files[names[0]]
    save_file({name: tensors[name] for name in names if files[name] == first}, broken / first)
    (broken / "model.safetensors").unlink()
    (broken / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))
    sentence = refused("ask", examples / "line.png", QUESTION, "--model", broken)
    assert "model-00002-of-00002.safetensors" in sentence


def test_a_tensor_of_the_wrong_shape_is_named_with_both_shapes(refused: Refused, broken: Path, examples: Path) -> None:
    tensors = load_file(broken / "model.safetensors")
    tensors["model.language_model.norm.weight"] = tensors["model.language_model.norm.weight"][:31].clone()
    save_file(tensors, broken / "model.safetensors")
    sentence = refused("ask", examples / "line.png", QUESTION, "--model", broken)
    assert "model.language_model.norm.weight" in sentence and "31" in sentence and "32" in sentence


def test_a_tensor_of_an_unknown_dtype_is_named(refused: Refused, broken: Path, examples: Path) -> None:
    path = broken / "model.safetensors"
    data = path.read_bytes()
    header = data[8 : 8 + struct.unpack("<Q", data[:8])[0]]
    path.write_bytes(data[:8] + header.replace(b'"F32"', b'"Q32"') + data[8 + len(header) :])
    sentence = refused("ask", examples / "line.png", QUESTION, "--model", broken)
    assert "Q32" in sentence and str(broken) in sentence


def test_an_unknown_dtype_option_lists_the_known_ones(refused: Refused, model: Path, examples: Path) -> None:
    sentence = refused("ask", examples / "line.png", QUESTION, "--model", model, "--dtype", "float12")
    assert "float12" in sentence and "bfloat16" in sentence


def test_a_malformed_template_is_named_with_its_line(refused: Refused, broken: Path, examples: Path) -> None:
    (broken / "chat_template.jinja").write_text("{% for message in messages %}\n{{ message.role }\n{% endfor %}\n")
    sentence = refused("ask", examples / "line.png", QUESTION, "--model", broken)
    assert "template" in sentence and "line 2" in sentence


def test_a_template_that_fails_on_this_conversation_is_not_our_crash(
    refused: Refused, broken: Path, examples: Path
) -> None:
    (broken / "chat_template.jinja").write_text("{{ raise_exception('no pictures please') }}")
    sentence = refused("ask", examples / "line.png", QUESTION, "--model", broken)
    assert "no pictures please" in sentence


def test_a_config_of_another_family_is_named(refused: Refused, broken: Path, examples: Path) -> None:
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps(config | {"model_type": "llama"}))
    sentence = refused("ask", examples / "line.png", QUESTION, "--model", broken)
    assert "llama" in sentence and "qwen3_vl" in sentence


def test_a_config_that_is_no_json_is_named(refused: Refused, broken: Path, examples: Path) -> None:
    (broken / "config.json").write_text('{"model_type": ')
    sentence = refused("ask", examples / "line.png", QUESTION, "--model", broken)
    assert "config.json" in sentence


# Options


def test_an_unknown_option_and_a_missing_question_are_one_line_too(refused: Refused) -> None:
    assert "--colour" in refused("ask", "shot.png", QUESTION, "--colour", "red")
    assert refused("ask")


def test_a_sampling_option_out_of_range_says_the_range(refused: Refused, model: Path, examples: Path) -> None:
    sentence = refused("ask", examples / "line.png", QUESTION, "--model", model, "--temperature", "-1")
    assert "-1" in sentence and "temperature" in sentence
