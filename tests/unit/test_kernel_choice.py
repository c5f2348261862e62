"""Which kernel is taken: by measured times, from a file that may be missing, damaged or somebody else's."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from regard.kernels import choice
from regard.kernels.choice import ROWS, LinearKernel, Measurements, choose_linear, is_sound
from regard.kernels.int8 import INT8_KERNELS, Int8Weight, multiply_widened, pack_widened, quantise_int8
from tests.timings import fixed_times

KERNELS = tuple(LinearKernel(name, pack_widened, multiply_widened) for name in ("preferred", "other"))


@pytest.fixture
def weight() -> Int8Weight:
    return quantise_int8(torch.randn(32, 64, generator=torch.Generator().manual_seed(0)))


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache file on a machine with nothing else to do."""
    monkeypatch.setattr(choice, "is_busy", lambda: False)
    return tmp_path / "regard" / "kernels.json"


class Counting:
    """A kernel that counts its calls."""

    def __init__(self) -> None:
        self.num_calls = 0
        self.kernel = LinearKernel("counting", pack_widened, self.multiply)

    def multiply(self, x_MK: Tensor, packed: Any, bias: Tensor | None) -> Tensor:
        self.num_calls += 1
        return multiply_widened(x_MK, packed, bias)


def names(kernels: tuple[LinearKernel[Int8Weight], ...], weight: Int8Weight, times: Measurements) -> list[str]:
    return [chosen.kernel.name for chosen in choose_linear(kernels, weight, torch.float32, "int8", times)]


def test_the_preferred_kernel_is_taken_unless_another_is_clearly_faster(weight: Int8Weight) -> None:
    nearly = fixed_times(lambda name, rows: 1.2 if name == "preferred" else 1.0)
    clearly = fixed_times(lambda name, rows: 1.3 if name == "preferred" else 1.0)
    assert names(KERNELS, weight, nearly) == ["preferred"] * len(ROWS)
    assert names(KERNELS, weight, clearly) == ["other"] * len(ROWS)


def test_what_is_taken_for_one_row_is_taken_for_more_unless_that_costs_much(weight: Int8Weight) -> None:
    """A second kernel may hold a second copy of the weight."""
    times = fixed_times(lambda name, rows: {1: 1.0, 4: 1.2, 16: 5.0}.get(rows, 1.0) if name == "preferred" else 1.0)
    assert names(KERNELS, weight, times) == ["preferred", "preferred", "other", "preferred", "preferred"]


def test_a_choice_says_why(weight: Int8Weight) -> None:
    unfit = LinearKernel("unfit", pack_widened, multiply_widened, lambda weight: "needs more outputs")
    times = fixed_times(lambda name, rows: 7.0)
    chosen = choose_linear((unfit, *KERNELS), weight, torch.float32, "int8", times)
    assert chosen[0].reason == "preferred 7 us, other 7 us; unfit: needs more outputs"


def test_a_kernel_that_is_wrong_here_or_does_not_exist_is_never_taken(weight: Int8Weight, file: Path) -> None:
    def wrong(x_MK: Tensor, packed: Any, bias: Tensor | None) -> Tensor:
        return 1.02 * multiply_widened(x_MK, packed, bias)

    def missing(x_MK: Tensor, packed: Any, bias: Tensor | None) -> Tensor:
        return torch.ops.aten.no_such_operator(x_MK)

    kernels = (
        LinearKernel("wrong", pack_widened, wrong),
        LinearKernel("missing", pack_widened, missing),
        *KERNELS[:1],
    )
    chosen = choose_linear(kernels, weight, torch.float32, "int8", Measurements(file))
    assert {one.kernel.name for one in chosen} == {"preferred"}
    assert "wrong: wrong, not there or a reference" in chosen[0].reason and "missing: wrong" in chosen[0].reason
    assert names(kernels, weight, Measurements(file, budget_s=0)) == ["preferred"] * len(ROWS)


def test_saturating_integers_are_found_out(weight: Int8Weight) -> None:
    """As on CPUs without VNNI: sums of two neighbouring products of u8 and s8 stop at 32767."""

    def saturating(x_MK: Tensor, packed: Any, bias: Tensor | None) -> Tensor:
        shifted = (x_MK * 127 / x_MK.abs().amax(dim=1, keepdim=True)).round() + 128
        pairs = (shifted[:, None] * packed.codes_NK).unflatten(-1, (-1, 2)).sum(-1).clamp(-32768, 32767)
        product = pairs.sum(-1) - 128 * packed.codes_NK.sum(-1)
        return product * x_MK.abs().amax(dim=1, keepdim=True) / 127 * packed.scale_N

    kernel = LinearKernel("saturating", pack_widened, saturating)
    assert not is_sound(kernel, weight, torch.float32)
    small = replace(weight, codes_NK=weight.codes_NK // 4)  # with small weights nothing saturates, and it is right
    assert is_sound(kernel, small, torch.float32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_kernel_of_last_resort_is_sound_everywhere(weight: Int8Weight, dtype: torch.dtype) -> None:
    assert is_sound(INT8_KERNELS[-1], weight, dtype)


def test_times_are_measured_once_and_read_afterwards(weight: Int8Weight, file: Path) -> None:
    counting = Counting()
    first = Measurements(file).times((counting.kernel,), weight, torch.float32, "int8")
    num_calls = counting.num_calls
    assert num_calls > len(ROWS)
    assert Measurements(file).times((counting.kernel,), weight, torch.float32, "int8") == first
    assert counting.num_calls == num_calls
    Measurements(file).times((counting.kernel,), weight, torch.bfloat16, "int8")
    assert counting.num_calls > num_calls, "another dtype is another product"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"MACHINE": 3}', '{"MACHINE": {"KEY": {"1": {}}}}', "\x00"])
def test_a_damaged_file_is_measured_again_and_replaced(weight: Int8Weight, file: Path, text: str) -> None:
    file.parent.mkdir()
    key = "int8 64 -> 32, float32"
    file.write_text(text.replace("MACHINE", choice.machine_name()).replace("KEY", key))
    times = Measurements(file).times(KERNELS, weight, torch.float32, "int8")
    assert times is not None and set(times) == set(ROWS)
    assert key in json.loads(file.read_text())[choice.machine_name()]


def test_a_folder_that_cannot_be_written_is_no_error(weight: Int8Weight, file: Path) -> None:
    file.parent.write_text("a file stands where the folder would be")
    assert Measurements(file).times(KERNELS, weight, torch.float32, "int8") is not None


def test_what_other_machines_and_processes_measured_stays(weight: Int8Weight, file: Path) -> None:
    mine = Measurements(file)
    file.parent.mkdir()
    file.write_text(json.dumps({"another CPU": {"x": {}}, choice.machine_name(): {"y": {}}}))
    mine.times(KERNELS, weight, torch.float32, "int8")
    written = json.loads(file.read_text())
    assert "x" in written["another CPU"] and len(written[choice.machine_name()]) == 2
    assert [left.name for left in file.parent.iterdir()] == ["kernels.json"]


def test_on_a_busy_machine_nothing_is_written(weight: Int8Weight, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "is_busy", lambda: True)
    assert Measurements(file).times(KERNELS, weight, torch.float32, "int8") is not None
    assert not file.exists()


def test_when_the_time_for_measuring_is_used_up_the_preferred_kernel_is_taken(weight: Int8Weight, file: Path) -> None:
    spent = Measurements(file, budget_s=0)
    (chosen,) = choose_linear(KERNELS, weight, torch.float32, "int8", spent)
    assert chosen.kernel.name == "preferred" and chosen.rows == 1 and "not measured" in chosen.reason
    assert not file.exists()


def test_a_measurement_of_a_large_weight_is_short() -> None:
    """Only its first outputs are measured."""
    part = choice._part(quantise_int8(torch.zeros(40_000, 2048)), 256)
    assert part.shape[0] * part.shape[1] * 256 <= choice.MAX_PRODUCTS


def test_the_file_lies_in_the_users_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert choice.cache_file() == tmp_path / "regard" / "kernels.json"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert choice.cache_file().name == "kernels.json"


def test_one_row_is_measured_with_the_weight_out_of_the_caches(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that computes fast on what a cache holds may read memory slowly."""
    monkeypatch.setattr(choice, "EVICTING_BYTES", 1024)
    evicted: list[int] = []

    def cold_s(kernel: LinearKernel, *given: Any) -> float:
        evicted.append(given[-1].nbytes)
        return {"preferred": 1e-6, "other": 2e-6}[kernel.name]

    monkeypatch.setattr(choice, "_cold_s", cold_s)
    monkeypatch.setattr(choice, "_shortest_s", lambda kernel, *_: {"preferred": 2e-6, "other": 1e-6}[kernel.name])
    weight = quantise_int8(torch.randn(32, 64))
    small = Measurements(file).times(KERNELS, weight, torch.float32, "int8")
    large = Measurements(file, largest=torch.zeros(1024)).times(KERNELS, weight, torch.float32, "int8, large")
    assert small is not None and large is not None
    assert small[1] == large[1] == {"preferred": 1.0, "other": 2.0}
    assert small[4] == large[4] == {"preferred": 2.0, "other": 1.0}
    assert evicted == [choice.INNER_CACHE_BYTES] * 2 + [4096] * 2


def test_a_reference_implementation_is_left_after_one_row_and_not_tried_again(file: Path) -> None:
    """oneDNN has no other for 8-bit codes on some CPUs: 256 rows took ten seconds, all the time for measuring."""
    asked: list[int] = []

    def slow(x_MK: Tensor, packed: Any, bias: Tensor | None) -> Tensor:
        asked.append(len(x_MK))
        time.sleep(0.02)
        return multiply_widened(x_MK, packed, bias)

    kernels = (*KERNELS[:1], LinearKernel("slow", pack_widened, slow), *KERNELS[1:])
    measurements = Measurements(file)
    for num_outputs in (32, 64):
        weight = quantise_int8(torch.randn(num_outputs, 64))
        assert "slow" not in names(kernels, weight, measurements)
    assert max(asked) <= 3 and len(asked) < 8  # the rows that are checked, and one


def test_what_there_is_no_time_to_measure_is_multiplied_as_what_was_measured(
    weight: Int8Weight, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "_cold_s", lambda kernel, *_: {"preferred": 9e-6, "other": 1e-6}[kernel.name])
    measurements = Measurements(file)
    assert names(KERNELS, weight, measurements)[0] == "other"
    measurements._budget_s = 0
    unmeasured = quantise_int8(torch.randn(96, 64))
    chosen = choose_linear(KERNELS, unmeasured, torch.float32, "int8", measurements)
    assert chosen[0].kernel.name == "other" and chosen[0].reason.startswith("as int8 ")
    another_kind = choose_linear(KERNELS, unmeasured, torch.float32, "int4", measurements)
    assert another_kind[0].kernel.name == "preferred" and "not measured" in another_kind[0].reason


def test_cold_times_are_measured_by_running_the_kernel(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "EVICTING_BYTES", 1024)
    times = Measurements(file, largest=torch.zeros(64, 64)).times(
        INT8_KERNELS, quantise_int8(torch.randn(256, 64)), torch.float32, "int8"
    )
    assert times is not None and all(0 < us < 1e6 for us in times[1].values())
