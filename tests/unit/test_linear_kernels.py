"""Products with 8-bit, 4-bit and float weights against plain arithmetic in float64 written out here."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from regard.kernels import int4, int8, native
from regard.kernels.choice import LinearKernel, LinearProduct, choose_linear
from regard.kernels.floats import FLOAT_KERNELS, FloatWeight
from regard.kernels.int4 import INT4_KERNELS, Int4Weight, quantise_int4
from regard.kernels.int8 import INT8_KERNELS, Int8Weight, quantise_int8, quantise_rows
from tests.timings import fixed_times

# (rows of x, inputs, outputs): whole vectors, tails of every kind, a sum long enough to leave float32's integers.
SHAPES = [(1, 64, 32), (5, 192, 96), (3, 50, 33), (300, 128, 48), (2, 2048, 16)]
# Integers are exact and become float32 once; both scales round.
EXACT = 1e-6
BF16_STEP = 2.0**-8


def gaussian(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected.double()).norm() / expected.double().norm())


@pytest.fixture(autouse=True)
def _skip_without_a_compiler(request: pytest.FixtureRequest) -> None:
    if "native" in request.node.name and native.library() is None:
        pytest.skip(f"no native kernels: {native.why_not()}")


def by_name(kernels: tuple[LinearKernel, ...]) -> dict[str, LinearKernel]:
    return {kernel.name: kernel for kernel in kernels}


# 8 bits


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", ["onednn", "int_mm"])
def test_integer_products_equal_the_exact_integer_product(name: str, shape: tuple[int, int, int]) -> None:
    num_rows, num_inputs, num_outputs = shape
    x, bias = gaussian(num_rows, num_inputs), gaussian(num_outputs, seed=2)
    weight = quantise_int8(gaussian(num_outputs, num_inputs, seed=1))
    codes, scale = quantise_rows(x)
    product = codes.double() @ weight.codes_NK.double().t()
    expected = product * scale.double() * weight.scale_N.double() + bias.double()
    kernel = by_name(INT8_KERNELS)[name]
    assert relative(kernel.multiply(x, kernel.pack(weight), bias), expected) < EXACT


@pytest.mark.parametrize("name", ["onednn", "int_mm"])
def test_the_largest_codes_do_not_saturate(name: str) -> None:
    """Without VNNI instructions two neighbouring products can overflow 16 bits; such a kernel must not be chosen."""
    weight = Int8Weight(torch.full((16, 512), 127, dtype=torch.int8), torch.ones(16))
    kernel = by_name(INT8_KERNELS)[name]
    found = kernel.multiply(torch.full((2, 512), 3.0), kernel.pack(weight), None)
    assert torch.allclose(found, torch.full((2, 16), 3.0 * 127 * 512))


@pytest.mark.parametrize("shape", [(1, 64, 32), (5, 192, 96), (300, 128, 48)], ids=str)
@pytest.mark.parametrize(("name", "bound"), [("int8pack", 2 * BF16_STEP), ("widened", EXACT), ("native", EXACT)])
def test_weight_only_products_keep_x_as_it_is(name: str, bound: float, shape: tuple[int, int, int]) -> None:
    num_rows, num_inputs, num_outputs = shape
    x, bias = gaussian(num_rows, num_inputs), gaussian(num_outputs, seed=2)
    weight = quantise_int8(gaussian(num_outputs, num_inputs, seed=1))
    expected = x.double() @ weight.widened().double().t() + bias.double()
    kernel = by_name(INT8_KERNELS)[name]
    assert not kernel.obstacle(weight)
    assert relative(kernel.multiply(x, kernel.pack(weight), bias), expected) < bound


def test_int8pack_refuses_sizes_that_it_would_read_past_and_copies_weights_that_are_not_aligned() -> None:
    """It loads whole aligned vectors: a weight in a mapped file ended the process."""
    kernel = by_name(INT8_KERNELS)["int8pack"]
    assert kernel.obstacle(quantise_int8(gaussian(16, 24))) and kernel.obstacle(quantise_int8(gaussian(33, 64)))
    shifted = torch.zeros(16 * 64 + 1, dtype=torch.int8)[1:].view(16, 64)
    packed, *_ = kernel.pack(Int8Weight(shifted, torch.ones(16)))
    assert packed.data_ptr() % 64 == 0
    shifted_x = gaussian(1, 65, dtype=torch.bfloat16)[:, 1:]
    assert kernel.multiply(shifted_x, kernel.pack(Int8Weight(shifted, torch.ones(16))), None).abs().max() == 0


def test_each_row_is_rounded_by_its_own_scale_to_at_most_half_a_step() -> None:
    x = gaussian(64, 200) * torch.logspace(-6, 6, 64)[:, None]
    codes, scale = quantise_rows(x)
    assert codes.dtype == torch.int8 and (codes.abs().amax(dim=1) == 127).all()
    assert ((codes * scale - x).abs() <= 0.5001 * scale).all()


def test_a_row_gives_the_same_whatever_its_neighbours_are(monkeypatch: pytest.MonkeyPatch) -> None:
    x = gaussian(50, 64)
    whole = quantise_rows(x)
    monkeypatch.setattr(int8, "_CHUNK_VALUES", 64 * 7 // torch.get_num_threads())
    for found, expected in zip(quantise_rows(x), whole, strict=True):
        assert torch.equal(found, expected)
    alone = quantise_rows(x[17:18])
    assert torch.equal(alone[0], whole[0][17:18]) and torch.equal(alone[1], whole[1][17:18])


def test_a_row_of_zeros_stays_zero() -> None:
    codes, scale = quantise_rows(torch.zeros(2, 8))
    assert not codes.any() and scale.isfinite().all()


def test_the_error_on_gaussian_data_is_that_of_rounding_to_8_bits() -> None:
    """About 0.8 % from the weights and as much from the rows of x: 1.2 % together."""
    x, weight = gaussian(64, 2048), gaussian(256, 2048, seed=1)
    kernel = by_name(INT8_KERNELS)["int_mm"]
    found = kernel.multiply(x, kernel.pack(quantise_int8(weight)), None)
    assert 0.009 < relative(found, x @ weight.t()) < 0.013


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["onednn", "int_mm", "int8pack", "widened", "native"])
def test_results_have_the_dtype_of_x(name: str, dtype: torch.dtype) -> None:
    kernel, weight = by_name(INT8_KERNELS)[name], quantise_int8(gaussian(32, 64))
    assert kernel.multiply(gaussian(3, 64, dtype=dtype), kernel.pack(weight), None).dtype == dtype


# 4 bits


NAMES_AND_BOUNDS_4 = [("int4pack", 2 * BF16_STEP), ("as_int8", 0.015), ("widened", EXACT), ("native", 0.01)]


def widened_by_indexing(weight: Int4Weight) -> Tensor:
    """The formula of the module, one byte at a time."""
    half = weight.codes.shape[1]
    columns = torch.arange(weight.num_inputs)
    codes = weight.codes.int()[:, columns % half]
    codes = torch.where(columns < half, codes % 16, codes // 16)
    groups = columns // weight.group
    return (codes - 8).double() * weight.scale_NG.double()[:, groups] + weight.zero_NG.double()[:, groups]


@pytest.mark.parametrize("group", [32, 128])
@pytest.mark.parametrize("size", [(32, 128), (33, 50), (16, 300), (48, 256)], ids=str)
def test_4_bit_codes_mean_what_the_formula_says(size: tuple[int, int], group: int) -> None:
    values = gaussian(*size)
    weight = quantise_int4(values, group)
    assert weight.shape == size and weight.group == group
    expected = widened_by_indexing(weight)
    assert relative(weight.widened(), expected) < EXACT
    assert relative(expected, values) < 0.12


@pytest.mark.parametrize("group", [32, 128])
@pytest.mark.parametrize("size", [(32, 128), (33, 50), (16, 300), (48, 256)], ids=str)
@pytest.mark.parametrize("num_rows", [1, 7, 70])
@pytest.mark.parametrize(("name", "bound"), NAMES_AND_BOUNDS_4)
def test_4_bit_products_are_those_of_the_dequantised_weight(
    name: str, bound: float, num_rows: int, size: tuple[int, int], group: int
) -> None:
    weight = quantise_int4(gaussian(*size, seed=1), group)
    kernel = by_name(INT4_KERNELS)[name]
    if kernel.obstacle(weight):
        assert size[0] % 16 if name == "int4pack" else name == "native" and weight.scale_NG.shape[1] % 2
        return
    x, bias = gaussian(num_rows, size[1]), gaussian(size[0], seed=2)
    expected = x.double() @ widened_by_indexing(weight).t() + bias
    assert relative(kernel.multiply(x, kernel.pack(weight), bias), expected) < bound


def test_tiles_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight = gaussian(3, 64), quantise_int4(gaussian(100, 64, seed=1), 32)
    names = ["as_int8", "widened"]
    found = [k.multiply(x, k.pack(weight), None) for k in map(by_name(INT4_KERNELS).get, names)]  # type: ignore[union-attr]
    monkeypatch.setattr("regard.kernels.tiles.TILE_VALUES", 64 * 16)
    monkeypatch.setattr(int4, "TILE_VALUES", 64 * 16)
    for name, expected in zip(names, found, strict=True):
        kernel = by_name(INT4_KERNELS)[name]
        torch.testing.assert_close(kernel.multiply(x, kernel.pack(weight), None), expected, atol=1e-5, rtol=1e-5)


def test_smaller_groups_have_smaller_errors() -> None:
    values = gaussian(64, 1024)
    errors = [relative(quantise_int4(values, group).widened(), values) for group in (256, 128, 64, 32)]
    assert errors == sorted(errors, reverse=True) and 0.09 < errors[1] < 0.1


def test_narrowing_a_groups_range_pays() -> None:
    """Codes spread over the whole range of each group, as plain rounding does it, lose more."""
    values = gaussian(64, 1024)
    groups = values.view(64, 8, 128)
    low, high = groups.aminmax(dim=-1, keepdim=True)
    step = (high - low) / 15
    plain = ((groups - low) / step).round() * step + low
    assert relative(quantise_int4(values, 128).widened(), values) < 0.99 * relative(plain.view(64, 1024), values)


def test_equal_values_are_kept() -> None:
    weight = quantise_int4(torch.full((16, 64), 0.5), 32)
    assert torch.equal(weight.widened(), torch.full((16, 64), 0.5))


# bfloat16


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", ["plain", "native", "onednn", "widened"])
def test_bf16_products_round_once(name: str, shape: tuple[int, int, int]) -> None:
    num_rows, num_inputs, num_outputs = shape
    x, bias = gaussian(num_rows, num_inputs, dtype=torch.bfloat16), gaussian(num_outputs, seed=2, dtype=torch.bfloat16)
    weight = FloatWeight(gaussian(num_outputs, num_inputs, seed=1, dtype=torch.bfloat16))
    expected = x.double() @ weight.values_NK.double().t() + bias.double()
    kernel = by_name(FLOAT_KERNELS)[name]
    found = kernel.multiply(x, kernel.pack(weight), bias)
    assert found.dtype == torch.bfloat16 and relative(found, expected) < BF16_STEP


@pytest.mark.parametrize("name", ["native", "widened"])
def test_bf16_weights_are_exact_for_a_float32_x(name: str) -> None:
    x, weight = gaussian(5, 2048), FloatWeight(gaussian(700, 2048, seed=1, dtype=torch.bfloat16))
    expected = x.double() @ weight.values_NK.double().t()
    kernel = by_name(FLOAT_KERNELS)[name]
    found = kernel.multiply(x, kernel.pack(weight), None)
    assert found.dtype == torch.float32 and relative(found, expected) < EXACT


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", ["plain", "native", "onednn", "widened"])
def test_float32_products_equal_the_exact_product(name: str, shape: tuple[int, int, int]) -> None:
    num_rows, num_inputs, num_outputs = shape
    x, bias = gaussian(num_rows, num_inputs), gaussian(num_outputs, seed=2)
    weight = FloatWeight(gaussian(num_outputs, num_inputs, seed=1))
    kernel = by_name(FLOAT_KERNELS)[name]
    found = kernel.multiply(x, kernel.pack(weight), bias)
    assert relative(found, x.double() @ weight.values_NK.double().t() + bias) < EXACT


# Together


def test_a_product_takes_the_kernel_that_its_number_of_rows_asks_for() -> None:
    weight = quantise_int8(gaussian(32, 64))
    times = fixed_times(lambda name, rows: {"int_mm": 5.0, "widened": 1.0 if rows >= 16 else 50.0}.get(name))
    choices = choose_linear(INT8_KERNELS, weight, torch.float32, "int8", times)
    assert [choice.kernel.name for choice in choices] == ["int_mm", "int_mm", "widened", "widened", "widened"]
    product, x = LinearProduct(weight, choices), gaussian(20, 64)
    exact = by_name(INT8_KERNELS)["widened"]
    assert torch.equal(product(x), exact.multiply(x, weight, None))
    assert not torch.equal(product(x[:15]), exact.multiply(x[:15], weight, None))


def test_a_product_keeps_leading_dimensions_and_takes_no_rows_at_all() -> None:
    weight = quantise_int8(gaussian(32, 64))
    product = LinearProduct(weight, choose_linear(INT8_KERNELS, weight, torch.float32, "int8", fixed_times()))
    assert product(gaussian(2, 3, 64)).shape == (2, 3, 32)
    assert product(torch.zeros(0, 64)).shape == (0, 32)
