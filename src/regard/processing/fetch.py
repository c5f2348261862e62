"""From what a user names to bytes: paths, file://, http(s)://, data: and bytes.

`local_path` says whether a source is a file on this machine (a video is then read piecewise);
`read_bytes` reads everything else whole, up to the policy's limit for its kind. `fetch` does both for a part of
a message, so that what is left to do with it needs neither files' names nor the network. What comes over the
network is `download`'s business, with its own checks.

It does not decode and does not cache. What a file is, its bytes say: names and stated types are not believed.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
import unicodedata
import urllib.parse
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from regard.errors import InputError
from regard.messages import Document, Image, Video
from regard.processing.download import NETWORK, Network, download
from regard.processing.fetch_policy import DEFAULT_POLICY, FetchPolicy, MediaKind

_PASSWORD = re.compile(r"(?<=://)[^/?#\s]*@")
_SCHEME = re.compile(r"^([a-zA-Z][a-zA-Z0-9+.-]+):(?=//)")

_Media = TypeVar("_Media", bound=Image | Video | Document)


@dataclass(frozen=True)
class Fetched:
    """A source that has been fetched and checked: its bytes, or the path of a local file that is read piecewise."""

    data: bytes | Path
    name: str


def fetch(part: _Media, *, policy: FetchPolicy = DEFAULT_POLICY, network: Network = NETWORK) -> _Media:
    """The part with its source fetched. Pictures and arrays stay as they are.

    Errors: as `read_bytes`.
    """
    source = part.source
    if hasattr(source, "__array_interface__") or isinstance(source, Fetched):
        return part
    kind: MediaKind = "image" if isinstance(part, Image) else "video" if isinstance(part, Video) else "document"
    path = None if kind == "image" else local_path(source, policy=policy)
    data = path if path is not None else read_bytes(source, kind, policy=policy, network=network)
    return replace(part, source=Fetched(data, source_name(source)))


def source_name(source: Any) -> str:
    """Name a source for a report or an error: a path or URL as given (shortened), else what it is."""
    if isinstance(source, Fetched):
        return source.name
    if isinstance(source, str | os.PathLike):
        text = os.fspath(source)
        if isinstance(text, bytes):
            text = os.fsdecode(text)
        if text.startswith("data:"):
            return f"the data URL ({len(text)} characters)"
        text = _PASSWORD.sub("...@", text)
        text = text if len(text) <= 120 else f"{text[:80]}...{text[-30:]}"
        return "".join(_escaped(c) if unicodedata.category(c) in ("Cc", "Cs") else c for c in text)
    if isinstance(source, bytes | bytearray | memoryview):
        return f"the input of {len(source)} bytes"
    return f"the {type(source).__name__} given"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def local_path(source: Any, *, policy: FetchPolicy = DEFAULT_POLICY) -> Path | None:
    """The checked path when `source` names a local file, else None.

    Errors: InputError when it is missing, empty, not a regular file, or not in a folder that may be read.
    """
    if isinstance(source, Fetched):
        return source.data if isinstance(source.data, Path) else None
    path = _named_path(source)
    if path is None:
        return None
    path = _inside(path, source_name(source), policy)
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{source_name(source)} does not exist; check the path") from None
    except (OSError, ValueError) as error:  # too long, a loop of links, no permission, a zero byte in the name
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{source_name(source)} cannot be opened ({reason}); check the path") from None
    if stat.S_ISDIR(found.st_mode):
        raise InputError(f"{source_name(source)} is a folder; name a file in it")
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{source_name(source)} is not a regular file; copy it to one first")
    if found.st_size == 0:
        raise InputError(f"{source_name(source)} is empty (0 bytes); save or download it again")
    return path


def _inside(path: Path, name: str, policy: FetchPolicy) -> Path:
    """The path, links followed, if it lies in a folder that may be read. What lies elsewhere is not looked at."""
    if policy.local_folders is None:
        return path
    if not policy.local_folders:
        raise InputError(f"{name} names a local file, which is not allowed here; send its bytes instead")
    try:
        real = path.resolve()
        is_inside = any(real.is_relative_to(folder.resolve()) for folder in policy.local_folders)
    except (OSError, ValueError, RuntimeError):  # too long, a zero byte, a loop of links
        is_inside = False
    if not is_inside:
        raise InputError(f"{name} is not in a folder that may be read here; send its bytes instead")
    return real


def _named_path(source: Any) -> Path | None:
    if isinstance(source, os.PathLike):
        return Path(os.fsdecode(source))
    if not isinstance(source, str) or source.startswith("data:"):
        return None
    scheme = _SCHEME.match(source)
    if scheme is None:
        return Path(source)
    if scheme[1].lower() != "file":
        return None
    parts = urllib.parse.urlsplit(source)
    if parts.netloc not in ("", "localhost"):
        raise InputError(f"{source_name(source)} names the host {parts.netloc!r}; a file URL must be local")
    return Path(urllib.request.url2pathname(parts.path))


def read_bytes(
    source: Any, kind: MediaKind = "image", *, policy: FetchPolicy = DEFAULT_POLICY, network: Network = NETWORK
) -> bytes:
    """Read the whole of `source`: path, file://, http(s)://, data: URL, or bytes.

    Errors: InputError for anything missing, empty, too large for its kind, not allowed, or no media.
    """
    name, max_bytes = source_name(source), policy.max_bytes(kind)
    if isinstance(source, Fetched) and isinstance(source.data, bytes):
        return source.data
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
    elif isinstance(source, str) and source.startswith("data:"):
        data = _read_data_url(source, max_bytes)
    elif (path := local_path(source, policy=policy)) is not None:
        return _read_file(path, name, max_bytes)
    elif isinstance(source, str):
        data = download(source, name, policy, kind, network)
    else:
        raise InputError(f"{name} is no media; give a path, a URL, bytes, a PIL image or an array")
    if not data:
        raise InputError(f"{name}: nothing is in it (0 bytes); save or download it again")
    if len(data) > max_bytes:
        raise _too_large(name, len(data), max_bytes)
    return data


def describe_bytes(data: bytes) -> str:
    """Say what a file that is not the wanted kind seems to be, for an error message."""
    head = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n")
    lower = head[:256].lower()
    if lower.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) or b"<html" in lower:
        return "an HTML page"
    if head.startswith(b"%PDF"):
        return "a PDF"
    if lower.startswith(b"<svg") or b"<svg" in lower:
        return "an SVG drawing"
    if data[4:8] == b"ftyp":
        return "a HEIF or AVIF picture" if data[8:12] in (b"heic", b"heix", b"mif1", b"avif") else "an MP4 or MOV video"
    if data[:4] == b"\x00\x00\x01\xba":
        return "an MPEG program stream"
    if data[:4] == b"\x1a\x45\xdf\xa3":
        return "a Matroska or WebM video"
    if head and all(byte >= 32 or byte in (9, 10, 13) for byte in head[:64]) and head[:64].isascii():
        return "plain text"
    return "of an unknown or damaged format"


def _too_large(name: str, num_bytes: int, max_bytes: int) -> InputError:
    return InputError(f"{name} has {num_bytes} bytes, the limit is {max_bytes}; make it smaller")


def _read_file(path: Path, name: str, max_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise InputError(f"{name} cannot be read ({error.strerror}); check its permissions") from None
    if len(data) > max_bytes:
        raise _too_large(name, path.stat().st_size, max_bytes)
    return data


def _read_data_url(url: str, max_bytes: int) -> bytes:
    header, comma, payload = url.partition(",")
    if not comma:
        raise InputError("the data URL has no comma; it must look like data:image/png;base64,...")
    if len(payload) > 3 * max_bytes:  # percent-encoding, the most wasteful form, is three characters a byte
        raise _too_large(source_name(url), len(payload) // 3, max_bytes)
    try:
        if not header.lower().endswith(";base64"):
            return urllib.parse.unquote_to_bytes(payload)
    except UnicodeEncodeError:
        raise InputError(f"{source_name(url)} holds half a character; encode the file again") from None
    compact = re.sub(r"\s+", "", urllib.parse.unquote(payload))
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise InputError(f"{source_name(url)} is not valid base64; encode the file again") from None
