"""The pages of a PDF as pictures, one at a time.

    for number, page in load_pages(Document("report.pdf", pages="1-3,7", dpi=144)):
        ...                                         # number is 1-based, page an RGB picture

A page is rendered on white with its annotations and form fields, its crop box and rotation applied. The file
is opened lazily and a page is freed before the next one is rendered, so memory does not grow with the number
of pages. PDFium must not be entered by two threads at once; a lock around each call sees to it.

`load_words` gives the words of a page's own text with their places. Encrypted files are not opened: there is no way
to give a password.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from regard.errors import InputError, MissingDependencyError
from regard.messages import Document
from regard.processing.download import NETWORK, Network
from regard.processing.fetch import describe_bytes, local_path, read_bytes, source_name
from regard.processing.fetch_policy import DEFAULT_POLICY, FetchPolicy

if TYPE_CHECKING:
    from PIL import Image

POINTS_PER_INCH = 72
MAX_DPI = 1200
MAX_PAGES = 10_000  # chosen of one document
_RANGE = re.compile(r"(\d{1,9})(?:\s*(-)\s*(\d{1,9})?)?")
_PDFIUM = threading.Lock()  # the library's state is the process's, so its lock is too


def parse_pages(pages: str | None, num_pages: int) -> list[int]:
    """Turn "1-3,7" or "5-" into page numbers (1-based), in the order written; None means all.

    Errors: InputError when it is no list of pages or a page is not in the document.
    """
    if pages is None:
        return list(range(1, num_pages + 1))
    if not isinstance(pages, str):
        raise InputError(f"pages is {str(pages)[:40]}; write numbers and ranges such as '1-3,7'")
    numbers: list[int] = []
    for piece in pages.split(","):
        found = _RANGE.fullmatch(piece.strip())
        if found is None:
            raise InputError(f"{pages[:40]!r} is no list of pages; write numbers and ranges such as 1-3,7")
        first = int(found[1])
        last = first if found[2] is None else int(found[3] or num_pages)
        if not 1 <= first <= last <= num_pages:
            raise InputError(
                f"pages {piece.strip()!r} are not in the document, which has {num_pages}; choose from them"
            )
        if len(numbers) + last + 1 - first > MAX_PAGES:
            raise InputError(f"pages names more than {MAX_PAGES} pages; ask for fewer at a time")
        numbers += range(first, last + 1)
    return numbers


def count_pages(document: Document, *, policy: FetchPolicy = DEFAULT_POLICY, network: Network = NETWORK) -> int:
    """How many pages the file has. Errors: as `load_pages` for a file that cannot be opened."""
    with _opened(document, policy, network) as (_, num_pages, _error):
        return num_pages


def load_pages(
    document: Document, *, policy: FetchPolicy = DEFAULT_POLICY, network: Network = NETWORK
) -> Iterator[tuple[int, Image.Image]]:
    """Render the chosen pages, yielding (page number, RGB picture).

    Errors: InputError for a file that is missing, damaged, encrypted or no PDF, for pages that are not there
    or too large at this dpi; MissingDependencyError when pypdfium2 is not installed.
    """
    name = source_name(document.source)
    if not isinstance(document.dpi, int | float) or not 1 <= document.dpi <= MAX_DPI:
        raise InputError(f"dpi is {str(document.dpi)[:40]}; it must be from 1 to {MAX_DPI}")
    with _opened(document, policy, network) as (pdf, num_pages, pdfium_error):
        for number in parse_pages(document.pages, num_pages):
            with _PDFIUM:
                try:
                    picture = _render(pdf, number, document.dpi, name, policy)
                except pdfium_error as error:
                    raise InputError(f"page {number} of {name} is damaged ({error}); leave it out") from None
            yield number, picture
            del picture


@dataclass(frozen=True)
class PdfWord:
    """A word of a PDF's own text, its box in pixels of the rendered page, and the number of its line (0-based)."""

    text: str
    box: tuple[float, float, float, float]
    line: int


def load_words(document: Document, number: int, *, policy: FetchPolicy = DEFAULT_POLICY) -> list[PdfWord]:
    """The words that page `number` (1-based) says itself, in the file's order; empty for a scan. Errors: as above."""
    with _opened(document, policy, NETWORK) as (pdf, num_pages, pdfium_error):
        if not 1 <= number <= num_pages:
            raise InputError(f"page {number} is not in {source_name(document.source)}, which has {num_pages}")
        with _PDFIUM:
            try:
                return _words(pdf, number, document.dpi / POINTS_PER_INCH)
            except pdfium_error:
                return []  # a page that cannot be opened says nothing


def _words(pdf: Any, number: int, scale: float) -> list[PdfWord]:
    import ctypes

    import pypdfium2.raw as pdfium

    page = pdf[number - 1]
    text = page.get_textpage()
    try:
        width, height = (round(side * scale) for side in page.get_size())
        x, y = ctypes.c_int(), ctypes.c_int()
        # In tenths of a pixel, for device places are whole numbers.
        to_device = (page.raw, 0, 0, width * 10, height * 10, 0)
        words: list[PdfWord] = []
        letters, line = "", 0
        corners: list[tuple[float, float]] = []
        for index in range(text.count_chars()):
            code = pdfium.FPDFText_GetUnicode(text.raw, index)
            letter = chr(code) if 0 < code < 0x110000 and not 0xD800 <= code < 0xE000 else " "
            if letter.isspace() or not letter.isprintable():
                if letters:
                    words.append(_word(letters, corners, line))
                letters, corners = "", []
                line += letter == "\n"
                continue
            left, bottom, right, top = text.get_charbox(index, loose=True)
            for place in ((left, top), (right, bottom)):
                pdfium.FPDF_PageToDevice(*to_device, *place, ctypes.byref(x), ctypes.byref(y))
                corners.append((x.value / 10, y.value / 10))
            letters += letter
        return words + ([_word(letters, corners, line)] if letters else [])
    finally:
        text.close()
        page.close()


def _word(letters: str, corners: list[tuple[float, float]], line: int) -> PdfWord:
    x, y = zip(*corners, strict=True)
    return PdfWord(letters, (min(x), min(y), max(x), max(y)), line)


@contextmanager
def _opened(document: Document, policy: FetchPolicy, network: Network) -> Iterator[tuple[Any, int, type[Exception]]]:
    """The file opened by PDFium, its number of pages, and the error that PDFium raises. Errors: as `load_pages`."""
    try:
        import pypdfium2
    except ImportError:
        raise MissingDependencyError(
            "reading PDF needs pypdfium2, which is not installed; run: pip install 'regard[pdf]'"
        ) from None
    name = source_name(document.source)
    path = local_path(document.source, policy=policy)
    source: Any = str(path) if path is not None else None
    source = source or read_bytes(document.source, "document", policy=policy, network=network)
    with _PDFIUM:
        try:
            pdf = pypdfium2.PdfDocument(source)
            pdf.init_forms()
            num_pages = len(pdf)
        except pypdfium2.PdfiumError as error:
            raise _unreadable(error, name, source) from None
    try:
        yield pdf, num_pages, pypdfium2.PdfiumError
    finally:
        with _PDFIUM:
            pdf.close()


def _unreadable(error: Exception, name: str, source: Any) -> InputError:
    text = str(error)
    if "password" in text.lower() or "security" in text.lower():
        return InputError(f"{name} is encrypted; save it without a password first")
    if isinstance(source, str):
        with open(source, "rb") as file:
            head = file.read(512)
    else:
        head = source[:512]
    if b"%PDF" in head:
        return InputError(f"{name} is damaged or cut short ({text.rstrip('.')}); save or download it again")
    return InputError(f"{name} is {describe_bytes(head)}, not a PDF; give a PDF")


def _render(pdf: Any, number: int, dpi: int, name: str, policy: FetchPolicy) -> Image.Image:
    page = pdf[number - 1]
    try:
        scale = dpi / POINTS_PER_INCH
        width, height = (round(side * scale) for side in page.get_size())
        if width < 1 or height < 1:
            raise InputError(f"page {number} of {name} is {width}x{height} pixels at {dpi} dpi; it shows nothing")
        if width * height > policy.max_image_pixels:
            fitting = max(1, int(dpi * (policy.max_image_pixels / (width * height)) ** 0.5))
            raise InputError(
                f"page {number} of {name} is {width}x{height} pixels at {dpi} dpi, "
                f"the limit is {policy.max_image_pixels / 1e6:.1f} Mpx; use at most {fitting} dpi"
            )
        bitmap = page.render(scale=scale, may_draw_forms=True)
        try:
            return bitmap.to_pil().convert("RGB")  # a copy, the bitmap is freed
        finally:
            bitmap.close()
    finally:
        page.close()
