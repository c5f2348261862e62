"""native.c: compiled once, found again, done without where there is no compiler; and whose threads wait."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from regard.kernels import native

ASK = "from regard.kernels import native; print(native.library() is not None, '|', native.why_not())"


def run(code: str, **variables: str) -> str:
    environment = os.environ | {"OMP_NUM_THREADS": "2"} | variables
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.skipif(native.library() is None, reason=f"no native kernels: {native.why_not()}")
def test_the_library_is_compiled_once_and_then_found(tmp_path: Path) -> None:
    made = []
    for _ in range(2):
        assert run(ASK, XDG_CACHE_HOME=str(tmp_path)).startswith("True")
        made.append([(path.name, path.stat().st_mtime_ns) for path in (tmp_path / "regard").iterdir()])
    assert made[0] == made[1] and len(made[0]) == 1 and made[0][0][0].startswith("native-")


def test_without_a_compiler_the_answer_is_the_same_and_the_reason_is_told(tmp_path: Path) -> None:
    variables = {"XDG_CACHE_HOME": str(tmp_path), "CC": str(tmp_path / "no-compiler")}
    assert run(ASK, **variables).strip() == "False | no C compiler was found"
    code = "from regard import LLM\nprint(LLM.load('nano').chat('Spell the word river.', max_tokens=12).text)"
    assert run(code, **variables) == run(code)


def test_a_compiler_that_fails_is_no_error(tmp_path: Path) -> None:
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    told = run(ASK, XDG_CACHE_HOME=str(tmp_path), CC=str(broken))
    assert told.startswith("False") and "failed" in told
    assert [path.name for path in (tmp_path / "regard").iterdir()] == []


@pytest.mark.skipif(native.library() is None, reason=f"no native kernels: {native.why_not()}")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_rms_norm_equals_pytorchs(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x, gain = torch.randn(5, 96).to(dtype), torch.randn(96)
    expected = F.rms_norm(x.float(), (96,), gain, 1e-6)
    found = native.rms_norm(x, gain, 1e-6)
    assert found.dtype == dtype and (found.float() - expected).abs().max() < (1e-6 if dtype == torch.float32 else 2e-2)


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_a_thread_that_lets_go_of_its_workers_leaves_none_behind_and_can_have_new_ones() -> None:
    code = """
import os, torch
from regard.kernels.threads import release_threads
count = lambda: len(os.listdir('/proc/self/task'))
x = torch.randn(600, 600)
before = count()
torch.set_num_threads(2)
whole = x @ x
busy = count()
release_threads()
after = count()
print(before < busy, after < busy, torch.equal(x @ x, whole))
"""
    assert run(code).split() == ["True", "True", "True"]
