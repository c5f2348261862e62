"""Pictures: every mode and container becomes upright RGB, and every bad one becomes one sentence."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from regard.errors import InputError, RegardError
from regard.model.config import VisionConfig
from regard.processing.fetch_policy import FetchPolicy
from regard.processing.image import load_image, patchify, pixel_bounds, resize, smart_resize

HALF = (0.5, 0.5, 0.5)
VISION = VisionConfig(
    depth=1,
    hidden_size=16,
    intermediate_size=16,
    num_heads=1,
    out_hidden_size=16,
    patch_size=16,
    temporal_patch_size=2,
    spatial_merge_size=2,
    in_channels=3,
    num_position_embeddings=4,
    deepstack_visual_indexes=(0,),
)


def gradient(height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 7 % 256, columns * 5 % 256, (rows + columns) * 3 % 256], axis=-1).astype(np.uint8)


def encoded(image: Image.Image, format_name: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG whose header promises a size and whose body holds one byte."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


@pytest.mark.parametrize("format_name", ["PNG", "BMP", "TIFF", "GIF", "WEBP"])
def test_lossless_formats_give_back_the_pixels(format_name: str) -> None:
    palette = Image.fromarray(gradient(9, 14)).quantize(64)
    options = {"lossless": True} if format_name == "WEBP" else {}
    source = palette if format_name == "GIF" else palette.convert("RGB")
    loaded = load_image(encoded(source, format_name, **options))
    assert loaded.mode == "RGB"
    assert np.array_equal(np.asarray(loaded), np.asarray(palette.convert("RGB")))


def test_a_jpeg_is_close_to_its_pixels() -> None:
    smooth = Image.fromarray(gradient(8, 8)).resize((64, 64), Image.Resampling.BICUBIC)
    loaded = np.asarray(load_image(encoded(smooth, "JPEG", quality=95)), dtype=int)
    assert np.abs(loaded - np.asarray(smooth, dtype=int)).mean() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_turns_the_picture_upright(orientation: int) -> None:
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16, :16] = (255, 0, 0)  # a red corner, top left
    undo = {2: [1], 3: [3], 4: [5], 5: [7], 6: [2], 7: [8], 8: [4]}  # the transpose that stores it sideways
    methods = {
        1: Image.Transpose.FLIP_LEFT_RIGHT,
        2: Image.Transpose.ROTATE_90,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.ROTATE_270,
        5: Image.Transpose.FLIP_TOP_BOTTOM,
        7: Image.Transpose.TRANSPOSE,
        8: Image.Transpose.TRANSVERSE,
    }
    stored = Image.fromarray(upright)
    for step in undo.get(orientation, []):
        stored = stored.transpose(methods[step])
    exif = Image.Exif()
    exif[0x0112] = orientation
    loaded = load_image(encoded(stored, "PNG", exif=exif))
    assert np.array_equal(np.asarray(loaded), upright)


def test_transparency_is_laid_on_white_in_every_mode_that_has_it() -> None:
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[0, 0] = (255, 0, 0, 255)
    rgba[0, 1] = (0, 0, 255, 128)
    expected = [[[255, 0, 0], [127, 127, 255]], [[255, 255, 255], [255, 255, 255]]]
    assert np.asarray(load_image(rgba)).tolist() == expected
    assert np.asarray(load_image(encoded(Image.fromarray(rgba), "PNG"))).tolist() == expected

    grey = Image.fromarray(np.array([[[0, 255], [0, 0]]], np.uint8), "LA")
    assert np.asarray(load_image(encoded(grey, "PNG"))).tolist() == [[[0, 0, 0], [255, 255, 255]]]

    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    with_hole = encoded(palette, "PNG", transparency=1)
    assert np.asarray(load_image(with_hole)).tolist() == [[[10, 20, 30], [255, 255, 255]]]
    shaded = encoded(palette, "PNG", transparency=bytes([255, 0]))
    assert np.asarray(load_image(shaded)).tolist() == [[[10, 20, 30], [255, 255, 255]]]

    level = Image.fromarray(np.array([[7, 9]], np.uint8), "L")
    assert np.asarray(load_image(encoded(level, "PNG", transparency=9))).tolist() == [[[7] * 3, [255] * 3]]


def test_sixteen_bits_keep_the_high_byte_in_grey_and_in_colour() -> None:
    levels = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    grey = load_image(encoded(Image.fromarray(levels), "PNG"))
    assert np.asarray(grey)[0, :, 0].tolist() == [0, 0, 1, 128, 255]
    assert np.asarray(load_image(encoded(Image.fromarray(levels), "TIFF")))[0, :, 2].tolist() == [0, 0, 1, 128, 255]

    rows = b"\0" + b"".join(struct.pack(">HHH", level, level, level) for level in (0, 256, 65535))
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 3, 1, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    colour = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    assert np.asarray(load_image(colour)).tolist() == [[[0] * 3, [1] * 3, [255] * 3]]


def test_cmyk_bilevel_and_grey_become_rgb() -> None:
    cmyk = Image.new("CMYK", (4, 4), (0, 255, 255, 0))
    red = np.asarray(load_image(encoded(cmyk, "TIFF")))[0, 0].tolist()
    assert red == [255, 0, 0]
    jpeg = np.asarray(load_image(encoded(cmyk, "JPEG")))[0, 0]
    assert jpeg[0] > 240 and jpeg[1] < 15
    assert np.asarray(load_image(Image.new("1", (2, 2), 1)))[0, 0].tolist() == [255] * 3
    assert np.asarray(load_image(np.full((2, 2), 9, np.uint8)))[0, 0].tolist() == [9] * 3


def test_an_animated_gif_gives_its_first_frame() -> None:
    frames = [Image.new("P", (8, 8), index) for index in (0, 1)]
    for frame in frames:
        frame.putpalette([200, 0, 0, 0, 200, 0])
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100)
    assert np.asarray(load_image(data))[0, 0].tolist() == [200, 0, 0]


def test_float_pixels_and_wide_integers_are_refused_because_their_range_is_unknown() -> None:
    with pytest.raises(InputError, match="float pixels without a known range"):
        load_image(Image.new("F", (2, 2), 0.5))
    with pytest.raises(InputError, match="32-bit pixels without a known range"):
        load_image(Image.new("I", (2, 2), 1 << 20))


def test_a_huge_png_is_refused_from_its_header() -> None:
    with pytest.raises(InputError, match=r"is 50000x50000 = 2500\.0 Mpx, the limit is 134\.2 Mpx"):
        load_image(png_header(50_000, 50_000))
    small = FetchPolicy(max_image_pixels=99)
    with pytest.raises(InputError, match="10x10"):
        load_image(np.zeros((10, 10, 3), np.uint8), policy=small)


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    page = tmp_path / "shot.png"
    page.write_text("<!DOCTYPE html><html><body>Not found</body></html>")
    with pytest.raises(InputError, match=r"shot\.png is an HTML page, not a picture; give PNG, JPEG"):
        load_image(page)
    empty = tmp_path / "empty.png"
    empty.touch()
    with pytest.raises(InputError, match=r"empty\.png is empty \(0 bytes\)"):
        load_image(str(empty))
    with pytest.raises(InputError, match=r"missing\.png does not exist; check the path"):
        load_image(tmp_path / "missing.png")
    with pytest.raises(InputError, match="is a PDF, not a picture"):
        load_image(b"%PDF-1.7 ...")
    with pytest.raises(InputError, match="the dict given is no media"):
        load_image({})
    with pytest.raises(InputError, match=r"shape \(3, 4, 3\) and type float64"):
        load_image(np.zeros((3, 4, 3)))
    with pytest.raises(InputError, match="5 channels"):
        load_image(np.zeros((3, 4, 5), np.uint8))


@pytest.mark.parametrize("format_name", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_truncated_picture_is_one_sentence(format_name: str) -> None:
    whole = encoded(Image.fromarray(gradient(64, 64)), format_name)
    with pytest.raises(InputError, match=r"^the input of \d+ bytes (is damaged|has a damaged)"):
        load_image(whole[: len(whole) // 2])


# One case per row of the reference's behaviour: (height, width) -> (height, width).
SMART_RESIZE = [
    ((28, 28), (256, 256)),
    ((1, 200), (32, 3648)),
    ((10, 2000), (32, 3648)),
    ((333, 777), (320, 768)),
    ((300, 500), (288, 512)),
    ((1000, 1000), (992, 992)),
    ((1000, 700), (992, 704)),
    ((5000, 4500), (4288, 3872)),
    ((8000, 6000), (4704, 3520)),
    ((4096, 4096), (4096, 4096)),
]


@pytest.mark.parametrize(("given_size", "expected"), SMART_RESIZE)
def test_smart_resize_gives_the_reference_sizes(given_size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert smart_resize(*given_size, min_pixels=65536, max_pixels=16777216) == expected


def test_an_aspect_ratio_of_200_passes_and_201_is_refused() -> None:
    assert smart_resize(1, 200, min_pixels=65536, max_pixels=16777216) == (32, 3648)
    with pytest.raises(InputError, match="is 201x1, an aspect ratio of 201; the limit is 200"):
        smart_resize(1, 201, min_pixels=65536, max_pixels=16777216)
    with pytest.raises(InputError, match="aspect ratio of 250"):
        smart_resize(20, 5000, min_pixels=65536, max_pixels=16777216)


def test_a_requested_bound_moves_the_default_but_not_the_other_request() -> None:
    assert pixel_bounds(None, None, default_min=100, default_max=200) == (100, 200)
    assert pixel_bounds(None, 50, default_min=100, default_max=200) == (50, 50)
    assert pixel_bounds(300, None, default_min=100, default_max=200) == (300, 300)
    with pytest.raises(InputError, match="min_pixels 300 is above max_pixels 200"):
        pixel_bounds(300, 200, default_min=100, default_max=200)
    with pytest.raises(InputError, match="max_pixels is 0"):
        pixel_bounds(None, 0, default_min=100, default_max=200)


def test_an_unchanged_size_is_not_resampled_and_backends_stay_close() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (32, 64, 3), dtype=np.uint8)
    assert np.array_equal(resize(noise, 32, 64), noise)
    smooth = np.asarray(Image.fromarray(noise).resize((320, 160), Image.Resampling.BICUBIC))
    torch_pixels = resize(smooth, 96, 192).astype(int)
    pillow_pixels = resize(Image.fromarray(smooth), 96, 192, backend="pillow").astype(int)
    assert torch_pixels.shape == (96, 192, 3)
    assert np.abs(torch_pixels - pillow_pixels).max() <= 2


def test_patches_go_block_by_block_and_a_picture_fills_both_temporal_slots() -> None:
    frame = np.zeros((64, 96, 3), np.uint8)
    for row in range(4):
        for column in range(6):
            frame[row * 16 : row * 16 + 16, column * 16 : column * 16 + 16] = 10 * row + column
    pixel_values, grid = patchify(frame[None], vision=VISION, mean=(0, 0, 0), std=(1 / 255,) * 3)
    assert grid == (1, 4, 6)
    assert pixel_values.shape == (24, 1536) and pixel_values.dtype == np.float32
    order = [round(value) for value in pixel_values[:, 0]]
    assert order[:8] == [0, 1, 10, 11, 2, 3, 12, 13]
    assert order[12:16] == [20, 21, 30, 31]
    slots = pixel_values.reshape(24, 3, 2, 16, 16)
    assert np.array_equal(slots[:, :, 0], slots[:, :, 1])


def test_an_odd_clip_repeats_its_last_frame() -> None:
    frames = np.stack([np.full((32, 32, 3), value, np.uint8) for value in (0, 100, 255)])
    pixel_values, grid = patchify(frames, vision=VISION, mean=HALF, std=HALF)
    assert grid == (2, 2, 2)
    slots = pixel_values.reshape(2, 4, 3, 2, 16, 16)
    assert slots[0, 0, 0, 0, 0, 0] == -1.0
    assert slots[0, 0, 0, 1, 0, 0] == np.float32((100 - 127.5) / 127.5)
    assert slots[1, 0, 0, 0, 0, 0] == slots[1, 0, 0, 1, 0, 0] == 1.0


SEEDS = [encoded(Image.fromarray(gradient(12, 12)), name) for name in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")]


@settings(max_examples=150, deadline=None)
@given(
    seed=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=6),
    keep=st.integers(1, 4000),
)
@pytest.mark.filterwarnings("ignore")  # Pillow warns about odd metadata
def test_mutated_pictures_either_load_or_raise_our_error(
    seed: bytes, changes: list[tuple[int, int]], keep: int
) -> None:
    data = bytearray(seed[:keep])
    for position, value in changes:
        data[position % len(data)] = value
    try:
        assert load_image(bytes(data), policy=FetchPolicy(max_image_pixels=1 << 20)).mode == "RGB"
    except RegardError as error:
        assert "\n" not in str(error)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_raise_our_error(data: bytes) -> None:
    with pytest.raises(RegardError):
        load_image(data)
