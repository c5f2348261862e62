"""Searchable PDF: the scan as it is, and over it its words as text that is not drawn but found, marked and copied.

A PDF that was read keeps its pages, and gets the text as one more stream of drawing commands on each; a page that has
text of its own is left alone. Pictures become pages of a new PDF: a JPEG's bytes go in unchanged, everything else
without loss. Each word is set at its place, in its direction, and stretched to its width; words of a page that leans
stand level, step by step, because viewers take slanted words apart. A page that was turned for reading is shown turned.

The font has one empty letter for all characters, so that any script can be written without embedding one: the letter
has no outline, its number is the character's, and viewers are told by a table which is which. Words stand in text
rendering mode 3 (invisible); a viewer that ignored it would still draw nothing.
"""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from regard.apps.documents.result import Line, PageText, Word
from regard.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    from pikepdf import Object, Page, Pdf

CHUNK = 24  # picture pages that are in memory together
UNITS = 1000  # of the font's em
WIDTH = 500  # of its only letter
ASCENT, DESCENT = 800, -200
JPEG_QUALITY = 92
DEFAULT_DPI = 144  # of pictures that do not say
SMALLEST, LARGEST = 3.0, 14_400.0  # sides of a page that PDF allows, in points


def open_pikepdf() -> Any:
    """The library. Errors: MissingDependencyError where it is not installed."""
    try:
        import pikepdf
    except ImportError:
        raise MissingDependencyError(
            "writing searchable PDF needs pikepdf, which is not installed; run: pip install 'regard[documents]'"
        ) from None
    return pikepdf


def add_layer(source: Path, pages: Iterable[PageText], out: Path) -> None:
    """Write `source`, a PDF, to `out` with the text of its pages. Errors: InputError if it cannot be read."""
    pikepdf = open_pikepdf()
    try:
        with pikepdf.open(source) as pdf:
            font = _font(pdf, pikepdf)
            for page in pages:
                if page.source != "pdf" and page.page <= len(pdf.pages):
                    _write_text(pdf, pdf.pages[page.page - 1], page, font, pikepdf)
            _save(pdf, out)
    except pikepdf.PdfError as error:
        raise InputError(f"{source.name} cannot be written as a searchable PDF ({error}); save it anew first") from None


def picture_pdf(
    pages: Iterable[PageText], load: Callable[[PageText], tuple[Image.Image, bytes | None]], out: Path, work: Path
) -> None:
    """Write pictures as the pages of a PDF with their text. `load` gives a page's picture, and its JPEG's bytes if any.

    `work` is a folder for parts, which are removed.
    """
    pikepdf = open_pikepdf()
    parts: list[Path] = []
    try:
        for number, chunk in enumerate(_chunks(pages)):
            part = work / f"part-{number:05}.pdf"
            with pikepdf.new() as pdf:
                font = _font(pdf, pikepdf)
                for page in chunk:
                    picture, jpeg = load(page)
                    _write_text(pdf, _picture_page(pdf, picture, jpeg, pikepdf), page, font, pikepdf)
                _save(pdf, part)
            parts.append(part)
        # Streams of open files are copied when the whole is written, so memory holds no pictures here.
        opened = [pikepdf.open(part) for part in parts]
        try:
            with pikepdf.new() as pdf:
                for part_pdf in opened:
                    pdf.pages.extend(part_pdf.pages)
                _save(pdf, out)
        finally:
            for part_pdf in opened:
                part_pdf.close()
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


def _chunks(pages: Iterable[PageText]) -> Iterator[list[PageText]]:
    chunk: list[PageText] = []
    for page in pages:
        chunk.append(page)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _save(pdf: Pdf, out: Path) -> None:
    draft = out.with_name(f".{out.name}.part")
    pdf.save(draft, deterministic_id=True)
    draft.replace(out)


def _picture_page(pdf: Pdf, picture: Image.Image, jpeg: bytes | None, pikepdf: Any) -> Page:
    """A page as large as the picture at its resolution, with the picture on it."""
    name = pikepdf.Name
    dpi = float(picture.info.get("dpi", (DEFAULT_DPI,))[0] or DEFAULT_DPI)
    dpi = dpi if 20 <= dpi <= 2400 else DEFAULT_DPI
    width, height = (min(max(side * 72 / dpi, SMALLEST), LARGEST) for side in picture.size)
    stream = pikepdf.Stream(pdf, jpeg if jpeg is not None else b"")
    stream.Type, stream.Subtype = name.XObject, name.Image
    stream.Width, stream.Height, stream.BitsPerComponent = picture.width, picture.height, 8
    stream.ColorSpace = name.DeviceGray if picture.mode == "L" else name.DeviceRGB
    if jpeg is not None:
        stream.Filter = name.DCTDecode
    elif _is_photo(picture):
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=JPEG_QUALITY)
        stream.write(buffer.getvalue(), filter=name.DCTDecode)
    else:
        stream.write(picture.tobytes())  # compressed when saved
    pdf.add_blank_page(page_size=(width, height))
    page = pdf.pages[-1]
    page.obj.Resources = pikepdf.Dictionary(XObject=pikepdf.Dictionary(Im0=stream))
    page.obj.Contents = pikepdf.Stream(pdf, f"q {width:.3f} 0 0 {height:.3f} 0 0 cm /Im0 Do Q\n".encode())
    return page


def _is_photo(picture: Image.Image) -> bool:
    """Whether a picture has more shades than plain writing, so that lossless storage would be large."""
    small = picture.convert("RGB").reduce(max(1, max(picture.size) // 512))
    return small.getcolors(4096) is None


def _write_text(pdf: Pdf, page: Page, text: PageText, font: Object, pikepdf: Any) -> None:
    """Add a page's words, and show it turned if it was turned for reading."""
    box = [float(value) for value in page.cropbox]
    x1, y1, x2, y2 = min(box[0], box[2]), min(box[1], box[3]), max(box[0], box[2]), max(box[1], box[3])
    rotate = int(page.obj.get("/Rotate", 0)) % 360 if "/Rotate" in page.obj else _inherited_rotation(page)
    to_page = _placing((x1, y1, x2, y2), rotate, text.width, text.height)
    lines = [line for line in text.lines if line.words]
    if lines:
        commands = "".join(_line(line, to_page, text.turn, text.skew) for line in lines)
        name = page.add_resource(font, pikepdf.Name.Font, pikepdf.Name("/RegardText"))
        page.contents_add(pikepdf.Stream(pdf, b"q\n"), prepend=True)
        content = f"\nQ\nq\nBT\n3 Tr\n{commands}ET\nQ\n".replace("/F ", f"{name} ")
        page.contents_add(pikepdf.Stream(pdf, content.encode("ascii")))
    if text.turn:
        page.obj.Rotate = (rotate + text.turn) % 360


def _inherited_rotation(page: Page) -> int:
    node = page.obj.get("/Parent")
    for _ in range(64):
        if node is None:
            return 0
        if "/Rotate" in node:
            return int(node["/Rotate"]) % 360
        node = node.get("/Parent")
    return 0


Placing = Callable[[float, float], tuple[float, float]]


def _placing(box: tuple[float, float, float, float], rotate: int, width: int, height: int) -> Placing:
    """From pixels of the picture to points of the page, whose crop box is shown turned clockwise by `rotate`."""
    x1, y1, x2, y2 = box

    def place(x: float, y: float) -> tuple[float, float]:
        across, down = x / width, y / height  # of the page as it is shown
        if rotate == 90:
            return x1 + down * (x2 - x1), y1 + across * (y2 - y1)
        if rotate == 180:
            return x2 - across * (x2 - x1), y1 + down * (y2 - y1)
        if rotate == 270:
            return x2 - down * (x2 - x1), y2 - across * (y2 - y1)
        return x1 + across * (x2 - x1), y2 - down * (y2 - y1)

    return place


def _line(line: Line, to_page: Placing, turn: int, skew: float) -> str:
    last = len(line.words) - 1
    return "".join(
        _word(word, to_page, turn, skew, "" if number == last else " ") for number, word in enumerate(line.words)
    )


def _word(word: Word, to_page: Placing, turn: int, skew: float, space: str) -> str:
    """The commands that set a word: font and size, stretching, place and direction, letters.

    On the picture as given people read in the direction of `turn` degrees counter-clockwise.
    """
    x1, y1, x2, y2 = word.box
    wide, high = (x2 - x1, y2 - y1) if turn % 180 == 0 else (y2 - y1, x2 - x1)
    # The box is the smallest one around a word that leans: its own height follows from it.
    sin, cos = abs(math.sin(math.radians(skew))), math.cos(math.radians(skew))
    own = (high * cos - wide * sin) / (cos**2 - sin**2)
    wide, high = max(wide, 0.5), max(own, 0.4 * high, 0.5)
    angle = float(turn)
    along = (math.cos(math.radians(angle)), -math.sin(math.radians(angle)))  # in the picture, y downwards
    down = (-along[1], along[0])
    middle = ((x1 + x2) / 2, (y1 + y2) / 2)
    drop = high / 2 * (ASCENT + DESCENT) / (ASCENT - DESCENT)  # of the baseline under the middle
    start = (
        middle[0] - along[0] * wide / 2 + down[0] * drop,
        middle[1] - along[1] * wide / 2 + down[1] * drop,
    )
    a, b = to_page(*start), to_page(start[0] + along[0] * wide, start[1] + along[1] * wide)
    c = to_page(start[0] - down[0] * high, start[1] - down[1] * high)
    length = math.hypot(b[0] - a[0], b[1] - a[1])
    size = math.hypot(c[0] - a[0], c[1] - a[1])
    if length <= 0 or size <= 0:
        return ""
    codes = word.text.encode("utf-16-be")
    natural = len(codes) / 2 * WIDTH / UNITS * size
    cos_a, sin_a = (b[0] - a[0]) / length, (b[1] - a[1]) / length
    shown = (word.text + space).encode("utf-16-be").hex()
    return (
        f"/F {size:.2f} Tf {100 * length / natural:.2f} Tz "
        f"{cos_a:.5f} {sin_a:.5f} {-sin_a:.5f} {cos_a:.5f} {a[0]:.2f} {a[1]:.2f} Tm <{shown}> Tj\n"
    )


def _font(pdf: Pdf, pikepdf: Any) -> Object:
    """The font of one empty letter."""
    name, dictionary = pikepdf.Name, pikepdf.Dictionary
    file = pikepdf.Stream(pdf, _truetype())
    file.Length1 = len(_truetype())
    descriptor = dictionary(
        Type=name.FontDescriptor,
        FontName=name.RegardEmpty,
        Flags=5,
        FontBBox=[0, DESCENT, WIDTH, ASCENT],
        ItalicAngle=0,
        Ascent=ASCENT,
        Descent=DESCENT,
        CapHeight=ASCENT,
        StemV=80,
        FontFile2=pdf.make_indirect(file),
    )
    descendant = dictionary(
        Type=name.Font,
        Subtype=name.CIDFontType2,
        BaseFont=name.RegardEmpty,
        CIDSystemInfo=dictionary(Registry=b"Adobe", Ordering=b"Identity", Supplement=0),
        FontDescriptor=pdf.make_indirect(descriptor),
        DW=WIDTH,
        CIDToGIDMap=pdf.make_indirect(pikepdf.Stream(pdf, b"\x00\x01" * 65536)),
    )
    return pdf.make_indirect(
        dictionary(
            Type=name.Font,
            Subtype=name.Type0,
            BaseFont=name.RegardEmpty,
            Encoding=name("/Identity-H"),
            DescendantFonts=[pdf.make_indirect(descendant)],
            ToUnicode=pdf.make_indirect(pikepdf.Stream(pdf, _TO_UNICODE)),
        )
    )


_TO_UNICODE = b"""/CIDInit /ProcSet findresource begin
12 dict begin
begincmap
/CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def
/CMapName /Adobe-Identity-UCS def
/CMapType 2 def
1 begincodespacerange
<0000> <FFFF>
endcodespacerange
1 beginbfrange
<0000> <FFFF> <0000>
endbfrange
endcmap
CMapName currentdict /CMap defineresource pop
end
end
"""


def _truetype() -> bytes:
    """A TrueType font of two letters without outline, the tables that PDF asks for."""
    tables = {
        b"glyf": b"\0\0\0\0",
        b"head": struct.pack(
            ">IIIIHHqqhhhhHHhhh",
            0x10000, 0x10000, 0, 0x5F0F3CF5, 11, UNITS, 0, 0, 0, DESCENT, WIDTH, ASCENT, 0, 8, 2, 1, 0,
        ),
        b"hhea": struct.pack(
            ">IhhhHhhhhhhhhhhhH", 0x10000, ASCENT, DESCENT, 0, WIDTH, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2
        ),
        b"hmtx": struct.pack(">HhHh", WIDTH, 0, WIDTH, 0),
        b"loca": struct.pack(">III", 0, 0, 0),
        b"maxp": struct.pack(">IHHHHHHHHHHHHHH", 0x10000, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0),
    }  # fmt: skip
    offset = 12 + 16 * len(tables)
    directory, body = b"", b""
    for tag, data in sorted(tables.items()):
        padded = data + b"\0" * (-len(data) % 4)
        checksum = sum(struct.unpack(f">{len(padded) // 4}I", padded)) & 0xFFFFFFFF
        directory += struct.pack(">4sIII", tag, checksum, offset + len(body), len(data))
        body += padded
    return struct.pack(">IHHHH", 0x10000, len(tables), 64, 2, 32) + directory + body
