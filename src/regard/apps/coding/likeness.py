"""How alike colours and pictures are: CIEDE2000 and SSIM.

`color_difference` follows Sharma, Wu, Dalal, "The CIEDE2000 color-difference formula" (2005), all weights 1; sRGB to
CIELAB under D65. `picture_likeness` is the structural similarity of Wang et al. (2004) on grey values with an even
7x7 window, the mean over the larger of the two pictures: what one of them does not cover counts as 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

WINDOW_PX = 7
COMPARED_WIDTH_PX = 512  # pictures are shrunk to at most this width first: what differs by a pixel is not seen
_TO_XYZ = np.array(
    ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
)
_WHITE = np.array((0.95047, 1.0, 1.08883))


def lab(color: Sequence[float]) -> tuple[float, float, float]:
    """An sRGB colour (0-255) in CIELAB."""
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (c / 255 for c in color)]
    xyz = _TO_XYZ @ np.array(linear) / _WHITE
    x, y, z = (float(v) ** (1 / 3) if v > 0.008856 else 7.787 * float(v) + 16 / 116 for v in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def color_difference(first: Sequence[float], second: Sequence[float]) -> float:
    """CIEDE2000 of two sRGB colours (0-255): 0 equal, about 1 just visible, 100 black and white."""
    return ciede2000(lab(first), lab(second))


def ciede2000(first: Sequence[float], second: Sequence[float]) -> float:
    """The difference of two CIELAB colours."""
    (l1, a1, b1), (l2, a2, b2) = first, second
    mean_chroma = (math.hypot(a1, b1) + math.hypot(a2, b2)) / 2
    g = 0.5 * (1 - math.sqrt(mean_chroma**7 / (mean_chroma**7 + 25.0**7)))
    a1, a2 = a1 * (1 + g), a2 * (1 + g)
    c1, c2 = math.hypot(a1, b1), math.hypot(a2, b2)
    h1, h2 = (math.degrees(math.atan2(b, a)) % 360 if a or b else 0.0 for a, b in ((a1, b1), (a2, b2)))
    dl, dc = l2 - l1, c2 - c1
    turn = h2 - h1
    if c1 * c2 == 0:
        turn = 0.0
    elif turn > 180:
        turn -= 360
    elif turn < -180:
        turn += 360
    dh = 2 * math.sqrt(c1 * c2) * math.sin(math.radians(turn / 2))
    mean_l, mean_c = (l1 + l2) / 2, (c1 + c2) / 2
    if c1 * c2 == 0:
        mean_h = h1 + h2
    elif abs(h1 - h2) <= 180:
        mean_h = (h1 + h2) / 2
    else:
        mean_h = (h1 + h2 + (360 if h1 + h2 < 360 else -360)) / 2

    def cosine(degrees: float) -> float:
        return math.cos(math.radians(degrees))

    t = (1 - 0.17 * cosine(mean_h - 30) + 0.24 * cosine(2 * mean_h) + 0.32 * cosine(3 * mean_h + 6)
         - 0.20 * cosine(4 * mean_h - 63))  # fmt: skip
    s_l = 1 + 0.015 * (mean_l - 50) ** 2 / math.sqrt(20 + (mean_l - 50) ** 2)
    s_c, s_h = 1 + 0.045 * mean_c, 1 + 0.015 * mean_c * t
    rotation = -2 * math.sqrt(mean_c**7 / (mean_c**7 + 25.0**7))
    rotation *= math.sin(math.radians(60 * math.exp(-(((mean_h - 275) / 25) ** 2))))
    parts = dl / s_l, dc / s_c, dh / s_h
    return math.sqrt(max(0.0, sum(p * p for p in parts) + rotation * parts[1] * parts[2]))


def picture_likeness(first: Image.Image, second: Image.Image) -> float:
    """Mean SSIM of two pictures laid upon each other at their top left corners, -1 to 1."""
    factor = min(1.0, COMPARED_WIDTH_PX / max(first.width, second.width))
    a, b = _grey(first, factor), _grey(second, factor)
    height, width = min(a.shape[0], b.shape[0]), min(a.shape[1], b.shape[1])
    covered = ssim_map(a[:height, :width], b[:height, :width])
    whole = max(a.shape[0], b.shape[0]) * max(a.shape[1], b.shape[1])
    return float(covered.sum() / whole)


def ssim_map(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """SSIM around each pixel of two grey pictures of equal size, levels 0-255."""

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return ndimage.uniform_filter(values, WINDOW_PX, mode="nearest")

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    shared = mean(a * b) - mean_a * mean_b
    return ((2 * mean_a * mean_b + c1) * (2 * shared + c2)) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))


def _grey(picture: Image.Image, factor: float) -> NDArray[np.float64]:
    size = max(1, round(picture.width * factor)), max(1, round(picture.height * factor))
    return np.asarray(picture.convert("L").resize(size, Image.Resampling.BOX), dtype=np.float64)
