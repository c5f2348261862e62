"""Pages of a PDF: the chosen ones, at the asked resolution, and bad files as one sentence."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest

from regard.errors import InputError, MissingDependencyError
from regard.messages import Document
from regard.processing.fetch_policy import FetchPolicy
from regard.processing.pdf import load_pages, parse_pages

pypdfium2 = pytest.importorskip("pypdfium2", reason="reading PDF needs the extra 'pdf'")


def pdf_of(objects: list[str], trailer: str = "") -> bytes:
    """A minimal PDF from the bodies of its objects 1, 2, ..."""
    out = bytearray(b"%PDF-1.4\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode("latin-1")
    table = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(f"{offset:010d} 00000 n \n".encode() for offset in offsets)
    out += f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R {trailer} >>\nstartxref\n{table}\n%%EOF\n".encode()
    return bytes(out)


def pages_of(num_pages: int, width: float = 72, height: float = 36, extra: str = "") -> bytes:
    """A PDF whose page n shows a red bar n points wide on its left."""
    kids = " ".join(f"{3 + 2 * n} 0 R" for n in range(num_pages))
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", f"<< /Type /Pages /Count {num_pages} /Kids [{kids}] >>"]
    for n in range(num_pages):
        content = f"1 0 0 rg 0 0 {n + 1} {height} re f"
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width} {height}] /Contents {4 + 2 * n} 0 R {extra} >>"
        )
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
    return pdf_of(objects)


def red_columns(picture: object) -> int:
    pixels = np.asarray(picture).astype(int)
    return int(((pixels[5, :, 0] > 200) & (pixels[5, :, 1] < 50)).sum())


def test_pages_are_rendered_on_white_at_the_asked_resolution(tmp_path: Path) -> None:
    path = tmp_path / "paper.pdf"
    path.write_bytes(pages_of(3))
    for source in (path, path.read_bytes(), path.as_uri()):
        found = list(load_pages(Document(source, dpi=144)))
        assert [number for number, _ in found] == [1, 2, 3]
        assert [picture.size for _, picture in found] == [(144, 72)] * 3
        assert [picture.mode for _, picture in found] == ["RGB"] * 3
        assert [red_columns(picture) for _, picture in found] == [2, 4, 6]
        assert np.asarray(found[0][1])[0, -1].tolist() == [255, 255, 255]
    assert next(load_pages(Document(path, dpi=72)))[1].size == (72, 36)


def test_chosen_pages_come_in_the_order_written() -> None:
    found = list(load_pages(Document(pages_of(5), pages="4-5, 1", dpi=72)))
    assert [(number, red_columns(picture)) for number, picture in found] == [(4, 4), (5, 5), (1, 1)]


def test_a_rotated_page_is_upright() -> None:
    _, picture = next(load_pages(Document(pages_of(1, extra="/Rotate 90"), dpi=72)))
    assert picture.size == (36, 72)


def test_page_lists_are_parsed() -> None:
    assert parse_pages(None, 3) == [1, 2, 3]
    assert parse_pages("2-", 4) == [2, 3, 4]
    assert parse_pages(" 1 - 2 ,4", 4) == [1, 2, 4]
    for pages, sentence in {
        "": "is no list of pages",
        "one": "is no list of pages",
        "1;2": "is no list of pages",
        "0": "not in the document, which has 4",
        "3-9": "pages '3-9' are not in the document, which has 4",
        "3-2": "not in the document",
    }.items():
        with pytest.raises(InputError, match=sentence):
            parse_pages(pages, 4)


def test_an_encrypted_pdf_is_refused_with_its_reason() -> None:
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 72 72] >>",
        f"<< /Filter /Standard /V 1 /R 2 /P -44 /O <{'41' * 32}> /U <{'42' * 32}> >>",
    ]
    locked = pdf_of(objects, trailer=f"/Encrypt 4 0 R /ID [<{'00' * 16}> <{'00' * 16}>]")
    with pytest.raises(InputError, match="is encrypted; save it without a password first"):
        next(load_pages(Document(locked)))


def test_bad_documents_are_one_sentence(tmp_path: Path) -> None:
    whole = pages_of(2)
    for source, sentence in {
        b"<html><body>404</body></html>": "is an HTML page, not a PDF",
        whole[:100]: "is damaged or cut short",
        b"": "nothing is in it",
        tmp_path / "gone.pdf": r"gone\.pdf does not exist",
    }.items():
        with pytest.raises(InputError, match=sentence) as caught:
            next(load_pages(Document(source)))
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="pages '7' are not in the document, which has 2"):
        next(load_pages(Document(whole, pages="7")))
    with pytest.raises(InputError, match="dpi is 0; it must be from 1 to 1200"):
        next(load_pages(Document(whole, dpi=0)))


def test_a_page_too_large_for_its_resolution_names_one_that_fits() -> None:
    poster = pages_of(1, width=7200, height=7200)
    policy = FetchPolicy(max_image_pixels=1_000_000)
    with pytest.raises(InputError, match="is 14400x14400 pixels at 144 dpi, the limit is 1.0 Mpx; use at most 10 dpi"):
        next(load_pages(Document(poster), policy=policy))
    assert next(load_pages(Document(poster, dpi=10), policy=policy))[1].size == (1000, 1000)


def test_without_the_optional_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pypdfium2", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'regard\[pdf\]'"):
        next(load_pages(Document(pages_of(1))))


def test_pages_stay_usable_after_the_file_is_closed() -> None:
    buffer = io.BytesIO(pages_of(2))
    pictures = dict(load_pages(Document(buffer.getvalue(), dpi=72)))
    assert red_columns(pictures[2]) == 2
