"""Files to pages: pictures, multi-page TIFF, PDFs, and folders of them, one page in memory at a time.

    for page in open_pages("scans/"):
        page.path, page.number, page.num_pages, page.picture

`list_pages` names the same pages without decoding one, so that work can be divided, and taken up again later:
`load_page` decodes any of them. A folder is read in the order of its paths, with its folders; what is neither picture
nor PDF, and what is hidden, is passed over. The first frame of an animation is its page.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image as Pillow

from regard.errors import InputError
from regard.messages import IMAGE_SUFFIXES, Document
from regard.processing.image import load_image, open_image
from regard.processing.pdf import count_pages, load_pages

DPI = 144  # of PDF pages: what the family's long-document notebook renders with


@dataclass(frozen=True)
class PageName:
    """Where a page is: page `number` (1-based) of the `num_pages` of a file."""

    path: Path
    number: int
    num_pages: int

    @property
    def text(self) -> str:
        """For people: `report.pdf` or `report.pdf, page 3`."""
        return self.path.name if self.num_pages == 1 else f"{self.path.name}, page {self.number}"


@dataclass(frozen=True)
class Page:
    """A page and its picture, in RGB and upright by its EXIF tag."""

    path: Path
    number: int
    num_pages: int
    picture: Pillow.Image

    @property
    def name(self) -> PageName:
        """Where it is."""
        return PageName(self.path, self.number, self.num_pages)


def list_files(path: str | Path) -> list[Path]:
    """The file itself, or all pictures and PDFs of a folder. Errors: InputError if there is none."""
    path = Path(path)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"{path} does not exist; name a picture, a PDF or a folder")
    known = IMAGE_SUFFIXES | {".pdf"}
    files = sorted(
        file
        for file in path.rglob("*")
        if file.suffix.lower() in known
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
    )
    if not files:
        raise InputError(f"the folder {path} holds no pictures and no PDFs; name another one")
    return files


def list_pages(path: str | Path) -> Iterator[PageName]:
    """All pages of a file or folder, nothing decoded. Errors: InputError for a file that cannot be read."""
    for file in list_files(path):
        num_pages = _count(file)
        for number in range(1, num_pages + 1):
            yield PageName(file, number, num_pages)


def load_page(name: PageName, *, dpi: int = DPI) -> Page:
    """Decode one page. Errors: InputError for a damaged page or one that is not there."""
    if _is_pdf(name.path):
        for number, picture in load_pages(Document(str(name.path), pages=str(name.number), dpi=dpi)):
            return Page(name.path, number, name.num_pages, picture)
    return Page(name.path, name.number, name.num_pages, _frame(name.path, name.number))


def open_pages(path: str | Path, *, dpi: int = DPI) -> Iterator[Page]:
    """Decode all pages of a file or folder, one after the other. Errors: as `load_page`."""
    for file in list_files(path):
        num_pages = _count(file)
        if _is_pdf(file):
            for number, picture in load_pages(Document(str(file), dpi=dpi)):
                yield Page(file, number, num_pages, picture)
                del picture
        else:
            for number in range(1, num_pages + 1):
                yield Page(file, number, num_pages, _frame(file, number))


def _is_pdf(path: Path) -> bool:
    with path.open("rb") as file:
        return b"%PDF" in file.read(1024)


def _count(path: Path) -> int:
    if _is_pdf(path):
        return count_pages(Document(str(path)))
    image = open_image(path)
    return _num_frames(image) if image.format == "TIFF" else 1


def _num_frames(image: Pillow.Image) -> int:
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:  # Pillow's parsers raise anything; decoding says in one sentence what is wrong
        return 1


def _frame(path: Path, number: int) -> Pillow.Image:
    if number == 1:
        return load_image(path)
    image = open_image(path)
    try:
        image.seek(number - 1)
        open_image(image)  # its size: pages of a file may have different ones
        image.load()
    except InputError:
        raise
    except Exception as error:  # as above
        reason = str(error).strip().rstrip(".") or type(error).__name__
        raise InputError(f"page {number} of {path.name} is damaged ({reason}); leave it out") from None
    return load_image(image.copy())
