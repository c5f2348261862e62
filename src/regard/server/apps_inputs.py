"""Inputs of applications: read from the request, decoded by the decoders' processes first, and put where the run is.

Applications open files in the server's own process, so nothing gets there that the decoders have not survived (those of
the model's media: `DecodePool` in `regard serve`, with limits of memory and time):

    pictures     decoded there and written anew from their pixels, every page of a TIFF too: the application opens our
                 PNG or TIFF, and never what was sent. Only pixels stay; the resolution and the colour profile go
    documents    each page that is used is drawn there, as large as the application draws it; beyond `MAX_PAGES` refused
    clips        opened there, and `NUM_FRAMES` frames from the first to the last decoded

Not covered: a document's own words and its copy with a layer of text (PDFium, qpdf) and a clip's other frames are read
in the server's process, from a file that was sound so far. An application's browser is a process of its own anyway.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image as Pillow
from PIL.TiffImagePlugin import AppendingTiffWriter

from regard.apps.pages import DPI
from regard.conversation import media_part
from regard.errors import InputError
from regard.messages import VIDEO_SUFFIXES, Document, Image, Video
from regard.processing.decode import Picture
from regard.processing.fetch import Fetched, read_bytes, source_name
from regard.processing.image import check_aspect_ratio
from regard.processing.media import MediaReader
from regard.server.apps_job import App
from regard.server.fields import shown
from regard.server.service import Service

MAX_PAGES = 200
NUM_FRAMES = 16
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclass(frozen=True)
class Given:
    """One input: its name as it was sent, its kind (image, video, document), and where its bytes are."""

    name: str
    kind: str
    data: Path | bytes


def read_inputs(app: App, given: list[Any], service: Service) -> list[Given]:
    """The inputs of a request. Errors: InputError; HttpError 404 for a file that is not there."""
    fewest, most = app.num_inputs
    if not fewest <= len(given) <= most:
        wanted = str(fewest) if fewest == most else f"{fewest} to {most}"
        raise InputError(f"there are {len(given)} inputs, and {app.title} takes {wanted}; correct the list")
    found: list[Given] = []
    for one in given:
        if isinstance(one, str) and one.startswith("data:"):
            data: Path | bytes = read_bytes(one, "document")
            part, name = media_part(data), "input"
        elif isinstance(one, str):
            stored = service.files.get(one)
            part, name, data = stored.part, stored.name, stored.path
        else:
            raise InputError(f"an input is {shown(one)}; it must be the id of an uploaded file or a data URL")
        kind = type(part).__name__.lower()
        if kind not in app.takes:
            raise InputError(f"{name} is of the kind {kind}, and {app.title} takes {' or '.join(app.takes)} only")
        found.append(Given(name, kind, data))
    return found


def placed(given: Given, folder: Path, media: MediaReader, *, pages: str | None, check: Callable[[], None]) -> Path:
    """Put an input into a new folder, as a file that the application may open. `check` is called between its pictures.

    Errors: InputError for what is damaged, too large, too slow, or kills its decoder; BusyError if no decoder is free.
    """
    folder.mkdir(parents=True)
    stem, suffix = _split(given.name)
    path = folder / f"{stem}{suffix if suffix in VIDEO_SUFFIXES else '.mp4' if given.kind == 'video' else '.pdf'}"
    if given.kind == "image":
        path = folder / "given"
    _put(given, path)
    source = Fetched(path, given.name)
    if given.kind == "image":
        try:
            return _drawn_anew(source, folder / stem, media, check)
        finally:
            path.unlink()
    part = Video(source, num_frames=NUM_FRAMES) if given.kind == "video" else Document(source, pages=pages, dpi=DPI)
    with closing(media.decoded(part)) as values:
        for number, _ in enumerate(values):
            check()
            if given.kind == "document" and number == MAX_PAGES:
                raise InputError(
                    f"{given.name} has more than {MAX_PAGES} pages, which is the limit here; name fewer, or use regard "
                    "document"
                )
    return path


def _drawn_anew(source: Fetched, path: Path, media: MediaReader, check: Callable[[], None]) -> Path:
    """Write a picture from its pixels, under `path` with a suffix of its own."""
    data = read_bytes(source)
    if not data.startswith(_TIFF_STARTS):
        path = path.with_name(f"{path.name}.png")
        _decoded(Image(source), media).save(path, compress_level=1)
        return path
    path = path.with_name(f"{path.name}.tiff")
    with AppendingTiffWriter(str(path), new=True) as writer:
        for number, page in enumerate(_tiff_pages(data)):
            check()
            if number == MAX_PAGES:
                raise InputError(f"{source.name} has more than {MAX_PAGES} pages, which is the limit here; divide it")
            _decoded(Image(Fetched(page, source.name)), media).save(writer, "TIFF")
            writer.newFrame()
    return path


def _decoded(image: Image, media: MediaReader) -> Pillow.Image:
    with closing(media.decoded(image)) as values:
        picture = next(Pillow.fromarray(value.pixels) for value in values if isinstance(value, Picture))
    check_aspect_ratio(picture.height, picture.width, source_name(image.source))
    return picture


def _tiff_pages(data: bytes) -> Iterator[bytes]:
    """The file with each of its pages in turn as the first one, which is the one that decoders take."""
    order = "<" if data.startswith(b"II") else ">"
    is_big = data[2:4] in (b"+\0", b"\0+")
    place, offset, count, entry = (8, "Q", "Q", 20) if is_big else (4, "I", "H", 12)
    start = struct.calcsize(order + offset)
    seen: set[int] = set()
    yield data
    where = place
    while True:
        try:
            (at,) = struct.unpack_from(order + offset, data, where)
            (num_entries,) = struct.unpack_from(order + count, data, at)
        except struct.error:  # behind the end of the file: there is no such page
            return
        if at == 0 or at in seen:
            return
        if seen:
            yield data[:place] + data[where : where + start] + data[place + start :]
        seen.add(at)
        where = at + struct.calcsize(order + count) + num_entries * entry


def _split(name: str) -> tuple[str, str]:
    """A harmless stem, and the suffix in small letters."""
    bare, _, suffix = name.rpartition(".")
    return re.sub(r"[^\w-]+", "-", bare or name)[:60].strip("-") or "input", f".{suffix.lower()}"


def _put(given: Given, path: Path) -> None:
    """Write the input to a file of its own, so that it stays though its upload is deleted."""
    if isinstance(given.data, bytes):
        path.write_bytes(given.data)
        return
    try:
        os.link(given.data, path)
    except FileNotFoundError:
        raise InputError(f"the file {given.name} was deleted; upload it again") from None
    except OSError:
        shutil.copyfile(given.data, path)
