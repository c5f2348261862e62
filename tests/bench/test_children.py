"""Real processes: the protocol, the time limit, and one small run of ours from end to end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from regard.bench.child import serve
from regard.bench.clock import forget_peak_memory, peak_memory_bytes
from regard.bench.gguf_files import gguf_name, write_gguf
from regard.bench.pictures import Pictures
from regard.bench.requests import Answered, LoadOptions, Request, Unsupported, WaveResult
from regard.bench.start import make_plan
from regard.bench.worker import Failed, Worker
from regard.cli.main import run as run_command
from regard.errors import ConfigError
from regard.parity.random_checkpoint import write_random_checkpoint
from regard.weights.checkpoint import read_config
from regard.weights.stored import TensorFolder

OPTIONS = LoadOptions("folder", "float32", num_threads=1, max_concurrent=1, num_context_tokens=100)


class Echo:
    """A system that answers with the question."""

    def facts(self) -> dict[str, Any]:
        return {"dtype": "none"}

    def answer(self, requests: Sequence[Request]) -> WaveResult:
        if requests[0].frames:
            raise Unsupported("echoes have no clips")
        return WaveResult(1.0, tuple(Answered(1, 2, 3.0, text=request.text) for request in requests))


def ask(*texts: str, frames: tuple[str, ...] = ()) -> str:
    return json.dumps({"do": "answer", "waves": [[asdict(Request(text, 2, frames=frames)) for text in texts]]})


def spoken(make: Any, *commands: str) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = []
    serve(make, iter(commands), said.append)
    return said


def test_a_child_says_when_it_is_ready_and_answers_line_by_line():
    ready, first, second = spoken(Echo, ask("one", "two"), ask("three"))
    assert ready == {"ready": {"dtype": "none"}}
    assert [answer["text"] for answer in first["waves"][0]["answers"]] == ["one", "two"]
    assert WaveResult.from_json(json.loads(json.dumps(second))["waves"][0]).answers[0] == Answered(
        1, 2, 3.0, text="three"
    )
    assert first["peak_bytes"] > 0


def test_a_command_that_fails_is_a_sentence_and_the_next_one_is_answered():
    _, refused, broken, fine = spoken(Echo, ask("a", frames=("f.png",)), "no json", ask("b"))
    assert refused == {"error": "echoes have no clips"}
    assert broken["error"].startswith("JSONDecodeError: ")
    assert "waves" in fine


def test_a_system_that_does_not_load_says_why_and_ends():
    def make() -> Echo:
        raise ValueError("weights of\nanother model")

    assert spoken(make, ask("a")) == [{"error": "ValueError: weights of another model"}]


def test_a_child_without_its_system_is_a_failure_with_a_sentence(tmp_path):
    worker = Worker("no-such-system", OPTIONS, tmp_path)
    with pytest.raises(Failed, match="StopIteration"):
        worker.ready(60)
    worker.close()
    assert not worker.is_alive


def test_a_child_that_takes_too_long_is_ended(tmp_path):
    worker = Worker("machine", OPTIONS, tmp_path)
    worker.ready(60)
    with pytest.raises(Failed, match="did not finish within 0.01 s"):
        worker.ask({"do": "measure"}, 0.01)
    assert not worker.is_alive
    worker.close()
    with pytest.raises(Failed, match="ended by SIGKILL"):
        worker.ask({"do": "measure"}, 1)


PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, text=True)
print(child.stdout.readline(), flush=True)
time.sleep(60)
"""
BUSY_CHILD = """
import os, threading, time
from regard.bench import child
child.PARENT_CHECK_S = 0.05
threading.Thread(target=child.end_with, args=(os.getppid(),), daemon=True).start()
print(os.getpid(), flush=True)
time.sleep(60)
"""


def test_a_child_ends_with_its_parent_even_in_the_middle_of_a_command():
    """A killed benchmark once left a peer computing, which slowed down the next run."""
    command = [sys.executable, "-c", PARENT, BUSY_CHILD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child_pid = int(parent.stdout.readline())
        os.kill(child_pid, 0)  # it is there
        parent.kill()
    deadline = time.monotonic() + 10
    while is_running(child_pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    """Whether the process computes; one that has ended and that nobody waits for does not."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux forgets a peak")
def test_the_peak_of_memory_counts_from_where_it_was_forgotten():
    block = bytearray(os.urandom(1)) * 200_000_000
    before = peak_memory_bytes()
    del block
    forget_peak_memory()
    assert before - peak_memory_bytes() > 100_000_000


def test_the_same_number_draws_the_same_pixels_and_another_number_others(tmp_path):
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    first, again = (Path(Pictures(folder).path("seven", (64, 32))).read_bytes() for folder in folders)
    other = Path(Pictures(folders[0]).path("eight", (64, 32))).read_bytes()
    assert first == again != other


@pytest.mark.parametrize("is_tied", [True, False])
def test_gguf_knows_every_tensor_of_the_official_layout_by_one_name(tmp_path, is_tied):
    folder = write_random_checkpoint(tmp_path, tied=is_tied)
    config = read_config(folder)
    names = [gguf_name(name, config) for name in TensorFolder(folder).tensors]
    assert len(set(names)) == len(names)
    assert ("output.weight" in names) is not is_tied
    with pytest.raises(ConfigError, match="does not know the tensor 'model.other.weight'"):
        gguf_name("model.other.weight", config)


def test_gguf_files_hold_the_checkpoints_values(tmp_path):
    gguf = pytest.importorskip("gguf", reason="writes GGUF files")
    folder = write_random_checkpoint(tmp_path / "model")
    stored = TensorFolder(folder)
    for name in ("BF16", "Q8_0"):
        model, mmproj = write_gguf(folder, name, tmp_path / "out")
        tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(model).tensors}
        found = gguf.quants.dequantize(tensors["blk.1.attn_q.weight"].data, tensors["blk.1.attn_q.weight"].tensor_type)
        wanted = stored.mapped("model.language_model.layers.1.self_attn.q_proj.weight").float().numpy()
        assert abs(found - wanted).max() < 0.02 * abs(wanted).max()
    towers = {tensor.name: tensor for tensor in gguf.GGUFReader(mmproj).tensors}
    kernel = stored.mapped("model.visual.patch_embed.proj.weight").float().numpy()
    assert (towers["v.patch_embd.weight.1"].data == kernel[:, :, 1]).all()
    assert "v.deepstack.2.fc2.bias" in towers


@pytest.mark.parametrize(
    "options, said",
    [
        (["--systems", "regard,other"], "there is no system 'other'"),
        (["--cases", "nothing"], "there is no case 'nothing'"),
        (["--shape", "3b"], "the shape is '3b'"),
        (["--shape", "2b", "--model", "folder"], "give one of them"),
        (["--model", "no/such/folder"], "no model"),
    ],
)
def test_a_wrong_option_is_one_sentence(options, said, capsys):
    assert run_command(["bench", *options]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_a_plan_takes_all_systems_and_cases_by_default():
    plan = make_plan()
    assert {"regard", "regard-int8", "transformers", "llama.cpp-q4_0", "vllm"} <= {spec.name for spec in plan.systems}
    assert {"decode", "image-ttft", "images-64", "video-64", "shell", "memory"} <= {case.name for case in plan.cases}
    assert plan.dtype == "float32" and plan.load_options(Path("x")).max_concurrent == 64


def test_the_command_measures_ours_and_writes_the_files(tmp_path, capsys):
    out = tmp_path / "result"
    options = ["--systems", "regard,vllm", "--cases", "decode,same-request", "--repeats", "2", "--tokens", "4"]
    assert run_command(["bench", *options, "--threads", "1", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    last = json.loads(printed.splitlines()[-1])
    rows = {(row["case"], row["system"]): row for row in last["rows"]}
    assert rows["decode", "regard"]["median"] > 0 and len(rows["decode", "regard"]["values"]) == 2
    assert rows["same-request", "regard"]["parts"]["vision"] == 0  # nothing is encoded a second time
    assert rows["decode", "regard"]["share"]["of"] == "memory bandwidth"
    assert json.loads((out / "bench.json").read_text()) == last
    assert (out / "bench.svg").read_text().startswith("<svg") and "decode, one stream" in (out / "bench.md").read_text()
