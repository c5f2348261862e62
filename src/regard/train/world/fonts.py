"""Fonts to render with: installed families that can write Latin, and the two families kept for tests.

Which fonts exist depends on the machine; `apt` packages that the shipped checkpoint was trained with are
named in its model card. Held out: 'Open Sans' and 'PT Serif', never used in training, in any style.
"""

from __future__ import annotations

import functools
import subprocess

from PIL import ImageFont

from regard.errors import MissingDependencyError

HELD_OUT_FAMILIES = ("Open Sans", "PT Serif")
_HELD_OUT_PREFIXES = ("open sans", "pt serif")
_PROBE = "AaBbGgQqRr0123456789!?\u00e9\u00fc"
_SKIP = ("emoji", "symbol", "dingbat", "math", "music", "barcode", "braille", "standard symbols", "d050000l", "ocr b")


_PLAIN = (
    "DejaVuSans.ttf",
    "DejaVuSans-Bold.ttf",
    "DejaVuSerif.ttf",
    "DejaVuSansMono.ttf",
    "LiberationSans-Regular.ttf",
    "LiberationSans-Bold.ttf",
    "LiberationSerif-Regular.ttf",
    "LiberationMono-Regular.ttf",
    "Roboto-Regular.ttf",
    "Lato-Regular.ttf",
    "NotoSans-Regular.ttf",
    "NotoSerif-Regular.ttf",
    "Carlito-Regular.ttf",
    "Caladea-Regular.ttf",
    "Inter-Regular.otf",
    "FreeSans.ttf",
    "FreeSerif.ttf",
    "NotoSansMono-Regular.ttf",
    "Cantarell-Regular.otf",
    "Karla-Regular.ttf",
    "Sora-Regular.ttf",
    "Manrope-Regular.otf",
    "OxygenSans.ttf",
    "Hack-Regular.ttf",
)


@functools.cache
def plain_font_files() -> tuple[tuple[str, int], ...]:
    """Some two dozen upright book faces of the training split: what reading is learned on first."""
    return tuple(face for face in font_files(False) if face[0].rsplit("/", 1)[-1] in _PLAIN)


@functools.cache
def font_files(held_out: bool) -> tuple[tuple[str, int], ...]:
    """(file, index) of usable faces of the chosen split, sorted by path so that seeds mean the same again.

    Errors: MissingDependencyError if fontconfig lists none.
    """
    try:
        listing = subprocess.run(
            ["fc-list", ":lang=en", "--format", "%{file}\t%{index}\t%{family[0]}\t%{variable}\t%{scalable}\n"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise MissingDependencyError(
            f"fc-list failed ({error}); install Debian's 'fontconfig' to render texts"
        ) from error
    faces = []
    for line in sorted(set(listing.splitlines())):
        file, index, family, variable, scalable = line.split("\t")
        name = family.lower()
        is_test = name.startswith(_HELD_OUT_PREFIXES)
        is_usable = scalable == "True" and variable != "True" and int(index) < 16 and not any(s in name for s in _SKIP)
        if (
            is_usable
            and is_test == held_out
            and file.endswith((".ttf", ".otf", ".ttc"))
            and _can_write(file, int(index))
        ):
            faces.append((file, int(index)))
    if not faces:
        raise MissingDependencyError("no usable font was found; install font packages such as Debian's 'fonts-dejavu'")
    return tuple(faces)


def _can_write(file: str, index: int) -> bool:
    """Whether the probe's glyphs exist and differ from the missing-glyph box."""
    try:
        font = ImageFont.truetype(file, 20, index=index)
    except OSError:
        return False
    missing = bytes(font.getmask("\uffff"))
    return all(bytes(font.getmask(c)) not in (missing, b"") for c in _PROBE)


@functools.lru_cache(maxsize=16384)
def load_font(file: str, index: int, size_px: int) -> ImageFont.FreeTypeFont:
    """A face at a size, kept open."""
    return ImageFont.truetype(file, size_px, index=index)
