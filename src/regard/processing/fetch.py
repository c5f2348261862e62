"""From what a user names to bytes: paths, file://, http(s)://, data: and bytes.

`local_path` says whether a source is a file on this machine (a video is then read piecewise);
`read_bytes` reads everything else whole, up to `limits.max_bytes`. What comes over the network is
`download`'s business, with its own checks.

It does not decode and does not cache.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from regard.errors import InputError
from regard.processing.download import NETWORK, Network, download
from regard.processing.limits import DEFAULT_LIMITS, MediaLimits

_SCHEME = re.compile(r"^([a-zA-Z][a-zA-Z0-9+.-]+):(?=//)")


def source_name(source: Any) -> str:
    """Name a source for a report or an error: a path or URL as given (shortened), else what it is."""
    if isinstance(source, str | os.PathLike):
        text = os.fspath(source)
        if isinstance(text, bytes):
            text = os.fsdecode(text)
        if text.startswith("data:"):
            return f"the data URL ({len(text)} characters)"
        return text if len(text) <= 120 else f"{text[:80]}...{text[-30:]}"
    if isinstance(source, bytes | bytearray | memoryview):
        return f"the input of {len(source)} bytes"
    return f"the {type(source).__name__} given"


def local_path(source: Any, *, limits: MediaLimits = DEFAULT_LIMITS) -> Path | None:
    """The checked path when `source` names a local file, else None.

    Errors: InputError when it is missing, empty, not a regular file, or local files are not allowed.
    """
    path = _named_path(source)
    if path is None:
        return None
    if not limits.allow_local_files:
        raise InputError(f"{source_name(source)} names a local file, which is not allowed here; send its bytes instead")
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


def read_bytes(source: Any, *, limits: MediaLimits = DEFAULT_LIMITS, network: Network = NETWORK) -> bytes:
    """Read the whole of `source`: path, file://, http(s)://, data: URL, or bytes.

    Errors: InputError for anything missing, empty, too large, not allowed, or of another kind.
    """
    name = source_name(source)
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
    elif isinstance(source, str) and source.startswith("data:"):
        data = _read_data_url(source, limits)
    elif (path := local_path(source, limits=limits)) is not None:
        return _read_file(path, name, limits)
    elif isinstance(source, str):
        data = download(source, name, limits, network)
    else:
        raise InputError(f"{name} is no media; give a path, a URL, bytes, a PIL image or an array")
    if not data:
        raise InputError(f"{name}: nothing is in it (0 bytes); save or download it again")
    if len(data) > limits.max_bytes:
        raise _too_large(name, len(data), limits)
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


def _too_large(name: str, num_bytes: int, limits: MediaLimits) -> InputError:
    return InputError(f"{name} has {num_bytes} bytes, the limit is {limits.max_bytes}; make it smaller")


def _read_file(path: Path, name: str, limits: MediaLimits) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limits.max_bytes + 1)
    except OSError as error:
        raise InputError(f"{name} cannot be read ({error.strerror}); check its permissions") from None
    if len(data) > limits.max_bytes:
        raise _too_large(name, path.stat().st_size, limits)
    return data


def _read_data_url(url: str, limits: MediaLimits) -> bytes:
    header, comma, payload = url.partition(",")
    if not comma:
        raise InputError("the data URL has no comma; it must look like data:image/png;base64,...")
    if len(payload) > 3 * limits.max_bytes:  # percent-encoding, the most wasteful form, is three characters a byte
        raise _too_large(source_name(url), len(payload) // 3, limits)
    if not header.lower().endswith(";base64"):
        return urllib.parse.unquote_to_bytes(payload)
    compact = re.sub(r"\s+", "", urllib.parse.unquote(payload))
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise InputError(f"{source_name(url)} is not valid base64; encode the file again") from None
