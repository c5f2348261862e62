"""Forms filled from files: the pages are read for evidence, and shown to the model for the values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from regard.apps.documents.extract import Extracted, extract
from regard.apps.documents.reader import Reading, read_page
from regard.apps.documents.result import DocumentText
from regard.apps.documents.upright import set_upright
from regard.apps.pages import list_pages, load_page
from regard.client import Chat
from regard.errors import InputError
from regard.processing.pdf import parse_pages

MAX_PAGES = 20  # of one form: forms are short, and every page's picture is kept until it is filled


def extract_file(chat: Chat, path: Path, wanted: Any, reading: Reading, *, pages: str | None = None) -> Extracted:
    """Fill a form from a file. `pages` is like "1-3". Errors: InputError for more than MAX_PAGES pages."""
    reading.check_model(chat.name)
    names = list(list_pages(path))
    if pages is not None:
        names = [names[number - 1] for number in sorted(set(parse_pages(pages, len(names))))]
    if len(names) > MAX_PAGES:
        raise InputError(f"{path.name} has {len(names)} pages, the limit of a form is {MAX_PAGES}; choose with --pages")
    read, pictures = [], []
    for name in names:
        page = load_page(name, dpi=reading.dpi)
        text = read_page(chat, page, reading)
        read.append(text)
        pictures.append(_upright(page.picture, text.turn))
    document = DocumentText(file=path.name, pages=tuple(read))
    return extract(chat, pictures, wanted, document=document, language=reading.language, attempts=reading.attempts)


def _upright(picture: Image.Image, turn: int) -> Image.Image:
    return set_upright(picture, turn=turn).picture if turn else picture
