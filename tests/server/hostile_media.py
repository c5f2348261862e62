"""Pictures, clips and documents that are bombs, damaged, or something else; and absurd numbers beside good ones."""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from tests.server.hostile import APPS, HUGE, Hostile, app, chat, clip, data_url, encoded, picture


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int, rows: bytes, *extra: bytes, depth: int = 8, color: int = 2) -> bytes:
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(extra) + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")


def zeros(num_bytes: int) -> bytes:
    """So many zeros, deflated: a thousandth of their size."""
    packer = zlib.compressobj(9)
    million = bytes(1_000_000)
    made = [packer.compress(million) for _ in range(num_bytes // 1_000_000)]
    return b"".join([*made, packer.compress(bytes(num_bytes % 1_000_000)), packer.flush()])


def patched(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


def jpeg_header(width: int, height: int) -> bytes:
    data = encoded("JPEG")
    return patched(data, data.index(b"\xff\xc0") + 5, struct.pack(">HH", height, width))


def tiff_header(width: int, height: int) -> bytes:
    tags = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 5), (262, 3, 1), (273, 4, 8), (277, 3, 1)]
    tags += [(278, 4, height), (279, 4, 100)]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"II*\0" + struct.pack("<I", 108) + bytes(100) + struct.pack("<H", len(tags)) + entries + bytes(4)


def webp_header(width: int, height: int) -> bytes:
    extended = b"VP8X" + struct.pack("<I", 10) + bytes(4)
    extended += (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", 4 + len(extended)) + b"WEBP" + extended


def gif_header(width: int, height: int) -> bytes:
    size = struct.pack("<HH", width, height)
    return b"GIF89a" + size + b"\0\0\0" + b",\0\0\0\0" + size + b"\0\x08" + b"\x04\0\0\0\0\0" + b";"


def bmp_header(width: int, height: int) -> bytes:
    return patched(encoded("BMP"), 18, struct.pack("<ii", width, height))


PICTURES: dict[str, Callable[[], bytes]] = {
    "png of 50,000 x 50,000": lambda: png_of(50_000, 50_000, zeros(10_000_000)),
    "png with a side of 2^31 - 1": lambda: png_of(2**31 - 1, 1, b""),
    "png with no side": lambda: png_of(0, 0, b""),
    "png of one row and 100 million columns": lambda: png_of(100_000_000, 1, zeros(1_000_000)),
    "png too long for its width": lambda: png_of(1, 300, zlib.compress(bytes(4 * 300))),
    "png with a gigabyte of text": lambda: png_of(1, 1, b"", png_chunk(b"zTXt", b"a\0\0" + zeros(1_000_000_000))),
    "png with a gigabyte of colour profile": lambda: png_of(
        1, 1, b"", png_chunk(b"iCCP", b"a\0\0" + zeros(1_000_000_000))
    ),
    "png with 64 Mpx of 16 bits": lambda: png_of(8192, 8192, zeros(8192 * 65537), depth=16, color=6),
    "png whose chunk is 4 GB long": lambda: patched(png_of(9, 9, b""), 33, b"\xff\xff\xff\xff"),
    "gif of 50,000 x 50,000": lambda: gif_header(50_000, 50_000),
    "jpeg of 65,535 x 65,535": lambda: jpeg_header(65_535, 65_535),
    "tiff of 50,000 x 50,000": lambda: tiff_header(50_000, 50_000),
    "tiff of 2^32 - 1": lambda: tiff_header(2**32 - 1, 2**32 - 1),
    "tiff with a directory in itself": lambda: (
        b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 330, 4, 1, 8) + b"\x08\0\0\0"
    ),
    "webp of 16,777,216 x 16,777,216": lambda: webp_header(1 << 24, 1 << 24),
    "webp of 16,383 x 16,383": lambda: webp_header(16_383, 16_383),
    "bmp of 50,000 x 50,000": lambda: bmp_header(50_000, 50_000),
    "bmp with a negative width": lambda: bmp_header(-64, 64),
    "jpeg cut in half": lambda: encoded("JPEG")[: len(encoded("JPEG")) // 2],
    "png cut in half": lambda: encoded("PNG")[: len(encoded("PNG")) // 2],
    "webp cut in half": lambda: encoded("WEBP")[: len(encoded("WEBP")) // 2],
    "tiff cut in half": lambda: encoded("TIFF")[: len(encoded("TIFF")) // 2],
    "gif cut in half": lambda: encoded("GIF")[:300],
    "an svg named png": lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "an svg that grows": lambda: b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bbbb">]><svg>&b;</svg>',
    "html named png": lambda: b"<!doctype html><script>alert(1)</script>",
    "a program": lambda: b"\x7fELF" + bytes(200),
    "postscript": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file",
    "gzip": lambda: gzip.compress(bytes(100_000)),
    "a zip": lambda: b"PK\x03\x04" + bytes(100),
    "heic": lambda: b"\0\0\0\x18ftypheic" + bytes(100),
    "an icon": lambda: b"\0\0\x01\0\x01\0" + bytes(100),
    "zeros": lambda: bytes(1000),
    "ones": lambda: b"\xff" * 1000,
    "5 MB, over the limit": lambda: encoded("BMP", (1400, 1400)),
}


def mp4() -> bytes:
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        for index in range(20):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), index * 9, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


def mp4_with(tag: bytes, at: int, value: bytes) -> bytes:
    data = mp4()
    return patched(data, data.index(tag) + at, value)


CLIPS: dict[str, Callable[[], bytes]] = {
    "mp4 cut in half": lambda: mp4()[: len(mp4()) // 2],
    "mp4 without its index": lambda: mp4().replace(b"moov", b"xxxx"),
    "mp4 of 65,535 x 65,535": lambda: mp4_with(b"mp4v\0", 28, b"\xff\xff\xff\xff").replace(b"esds", b"free"),
    "mp4 with four billion frames": lambda: mp4_with(b"stts", 8, b"\0\0\0\x01\xff\xff\xff\xff"),
    "mp4 with a sample table without end": lambda: mp4_with(b"stsz", 12, b"\xff\xff\xff\xff"),
    "mp4 in zero ticks": lambda: mp4_with(b"mdhd", 16, b"\0\0\0\0"),
    "mp4 of noise": lambda: b"\0\0\0\x18ftypisom" + np.random.default_rng(0).bytes(5000),
    "webm of noise": lambda: b"\x1a\x45\xdf\xa3" + np.random.default_rng(0).bytes(5000),
    "avi of noise": lambda: b"RIFF\0\0\0\0AVI LIST" + np.random.default_rng(0).bytes(5000),
    "a playlist of addresses": lambda: b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://169.254.169.254/x\n",
    "a playlist of files": lambda: b"ffconcat version 1.0\nfile '/etc/passwd'\n",
    "a picture": lambda: encoded("PNG"),
    "a gif of 50,000 x 50,000": lambda: gif_header(50_000, 50_000),
    "a document": lambda: b"%PDF-1.4\n",
}


def pdf(
    page: str, content: bytes = b"", tree: str = "<< /Type /Pages /Count 1 /Kids [3 0 R] >>", extra: str = ""
) -> bytes:
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", tree, f"<< /Type /Page /Parent 2 0 R {page} /Contents 4 0 R >>"]
    made = b"%PDF-1.4\n" + b"".join(f"{n} 0 obj\n{body}\nendobj\n".encode() for n, body in enumerate(objects, 1))
    made += f"4 0 obj\n<< /Length {len(content)} {extra} >>\nstream\n".encode() + content + b"\nendstream\nendobj\n"
    return made + b"trailer\n<< /Root 1 0 R /Size 5 >>\n%%EOF\n"


BOX = "/MediaBox [0 0 72 72]"
DOCUMENTS: dict[str, Callable[[], bytes]] = {
    "cut short": lambda: pdf(BOX)[:80],
    "only its first line": lambda: b"%PDF-1.7\n",
    "a page of a square kilometre": lambda: pdf("/MediaBox [0 0 2834645 2834645]"),
    "a page without area": lambda: pdf("/MediaBox [0 0 0.001 0.001]"),
    "pages that are their own parents": lambda: pdf(BOX, tree="<< /Type /Pages /Count 9 /Kids [2 0 R 2 0 R] >>"),
    "two billion pages": lambda: pdf(BOX, tree="<< /Type /Pages /Count 2000000000 /Kids [] >>"),
    "no page": lambda: pdf(BOX, tree="<< /Type /Pages /Count 0 /Kids [] >>"),
    "encrypted": lambda: pdf(BOX).replace(b"/Size 5", b"/Size 5 /Encrypt << /Filter /Standard /V 5 /R 6 >>"),
    "html": lambda: b"<html>not a document</html>",
    "a picture": lambda: encoded("PNG"),
    "noise": lambda: b"%PDF-1.7\n" + np.random.default_rng(0).bytes(5000),
}


def media() -> Iterator[Hostile]:
    for name, make in PICTURES.items():
        yield Hostile(f"picture: {name}", lambda make=make: chat(picture(data_url(make()))))
    for name, make in CLIPS.items():
        yield Hostile(f"clip: {name}", lambda make=make: chat(clip(data_url(make(), "video/mp4"))))
    for name, make in DOCUMENTS.items():
        part = {"type": "document", "document": ""}
        yield Hostile(
            f"document: {name}",
            lambda make=make, part=part: chat(part | {"document": data_url(make(), "application/pdf")}),
        )
    for url in (
        "data:",
        "data:image/png",
        "data:image/png;base64",
        "data:image/png;base64,",
        "data:image/png;base64,@@@@",
    ):
        yield Hostile(f"data URL {url!r}", lambda url=url: chat(picture(url)))
    for url in (
        "data:image/png;base64,AAAAA",
        "data:image/png;base64,\u00e9\u00e9\u00e9\u00e9",
        "data:,%zz",
        "data:;base64;base64,AA==",
    ):
        yield Hostile(f"data URL {url!r}", lambda url=url: chat(picture(url)))


# What an application would open only later.
PAGES: dict[str, Callable[[], bytes]] = {
    "tiff whose second page is 50,000 x 50,000": lambda: two_pages(tiff_header(50_000, 50_000)),
    "tiff whose second page is cut short": lambda: two_pages(encoded("TIFF")[:-9000]),
    "tiff of a thousand pages": lambda: many_pages(1000),
}


def two_pages(second: bytes) -> bytes:
    """A sound page, and another whose offsets are moved behind it."""
    first = encoded("TIFF", (32, 32))
    first += bytes(len(first) % 2)
    (start,) = struct.unpack_from("<I", first, 4)
    (count,) = struct.unpack_from("<H", first, start)
    made = bytearray(first + second)
    at = len(first) + struct.unpack_from("<I", second, 4)[0]
    struct.pack_into("<I", made, start + 2 + 12 * count, at)
    for entry in range(struct.unpack_from("<H", made, at)[0]):
        place = at + 2 + 12 * entry
        tag, kind, number, value = struct.unpack_from("<HHII", made, place)
        if number * {3: 2, 4: 4, 5: 8}.get(kind, 1) > 4 or tag == 273:
            struct.pack_into("<I", made, place + 8, value + len(first))
    return bytes(made)


def many_pages(number: int) -> bytes:
    file = io.BytesIO()
    blank = Image.new("L", (1, 1))
    blank.save(file, "TIFF", save_all=True, append_images=[blank] * (number - 1))
    return file.getvalue()


def applications() -> Iterator[Hostile]:
    """The same to applications, which open files themselves."""
    for name, make in (PICTURES | PAGES).items():
        yield Hostile(f"document app: {name}", lambda make=make: app(data_url(make())), f"{APPS}/document")
    for name in ("png of 50,000 x 50,000", "png with a gigabyte of text", "jpeg cut in half", "zeros"):
        make = PICTURES[name]
        for one, options in (("locate", {"what": "x"}), ("code", {}), ("tutor", {})):
            yield Hostile(f"{one} app: {name}", lambda m=make, o=options: app(data_url(m()), **o), f"{APPS}/{one}")
    for name, make in CLIPS.items():
        yield Hostile(f"video app: {name}", lambda make=make: app(data_url(make(), "video/mp4")), f"{APPS}/video")
    for name, make in DOCUMENTS.items():
        if name != "a picture":
            given = data_url(make(), "application/pdf")
            yield Hostile(f"document app: pdf, {name}", lambda given=given: app(given), f"{APPS}/document")
    for url in ("data:", "data:image/png;base64", "data:image/png;base64,@@@@", "data:image/png;base64,AAAAA"):
        yield Hostile(f"document app: {url!r}", lambda url=url: app(url), f"{APPS}/document")


SMALL = data_url(encoded("PNG"))


def numbers() -> Iterator[Hostile]:
    for option in ("min_pixels", "max_pixels"):
        for value in (0, -1, 1e308, 10**30, HUGE, "5", True, [1], {"a": 1}):
            yield Hostile(f"{option} {repr(value)[:40]}", lambda o=option, v=value: chat(picture(SMALL, **{o: v})))
    for options in (
        {"min_pixels": 10**12},
        {"min_pixels": 2 * 10**9},
        {"min_pixels": 10, "max_pixels": 9},
        {"quality": 5},
        {"detail": "ultra"},
    ):
        yield Hostile(f"picture with {str(options)[:40]}", lambda o=options: chat(picture(SMALL, **o)))
    movie = data_url(mp4(), "video/mp4")
    for options in (
        *({"fps": value} for value in (0, -1, 1e-320, 1e308, HUGE, "2")),
        *({"num_frames": value} for value in (0, -5, 1.5, 10**9, HUGE, 1e308)),
        {"min_frames": 0},
        {"min_frames": 10**9, "num_frames": 2},
        *({"max_frames": value} for value in (0, -1, 0.5)),
        *({"start": value} for value in (-1, 99, 1e308, HUGE, "0:01")),
        *({"end": value} for value in (-1, 0, 1e308)),
        *({"total_pixels": value} for value in (0, 10**400)),
        {"min_frames": 9, "max_frames": 3},
        {"start": 1.5, "end": 1.0},
        {"min_pixels": 10**12, "total_pixels": 10**12},
        {"min_pixels": 10**8, "num_frames": 1000, "total_pixels": 10**12},
        {"sample_fps": 2},
    ):
        yield Hostile(f"clip with {str(options)[:40]}", lambda o=options: chat(clip(movie, **o)))
    frames = [SMALL] * 4
    for options in ({"sample_fps": 0}, {"sample_fps": 1e-300}, {"sample_fps": HUGE}, {"num_frames": 10**9}):
        part = {"type": "video", "video": frames, **options}
        yield Hostile(f"frames with {str(options)[:40]}", lambda part=part: chat(part))
    sheet = data_url(pdf(BOX), "application/pdf")
    for options in (
        *({"dpi": value} for value in (0, -1, 1e308, HUGE, 1201, "144")),
        *({"pages": value} for value in (5, "0", "2", "1-", "9-1", "a", "-", "1" * 5000, "1," * 200_000 + "1")),
    ):
        if options == {"pages": "1-"}:
            continue
        part = {"type": "document", "document": sheet, **options}
        yield Hostile(f"document with {str(options)[:40]}", lambda part=part: chat(part))
