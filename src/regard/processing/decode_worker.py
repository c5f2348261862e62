"""The other side of `decode_pool`: a process that decodes what it is handed, within a limit of memory.

    python -P -m regard.processing.decode_worker SOCKET_FD MAX_MEMORY_BYTES

It reads pickled jobs (part, settings, policy) from its socket, trusts them, and writes what `decode` yields. Its own
words are a JSON header and raw pixels, never a pickle: a decoder that a file has taken over can send wrong
pixels, and nothing that runs. It ends when the other side hangs up, and stays out of the terminal's Ctrl-C.

The memory limit is the kernel's (RLIMIT_DATA and RLIMIT_AS), on top of what is loaded at the start; macOS does not
enforce it. It is no sandbox: it runs as the server's user.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import pickle
import resource
import socket
import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import PIL.Image

from regard.errors import InputError, MissingDependencyError
from regard.messages import Document, Image, Video
from regard.processing.decode import Clip, Decoded, decode
from regard.processing.fetch import source_name
from regard.processing.fetch_policy import FetchPolicy
from regard.processing.frames import VideoSettings

HEADER_SIZE = struct.Struct(">I")
_THREADS_BYTES = 1 << 30  # address space that decoders' threads reserve for their stacks and do not use


def main() -> None:
    """Serve jobs until the other side hangs up."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    _load_decoders()
    _limit_memory(int(sys.argv[2]))
    jobs = channel.makefile("rb")
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the other side is gone
        _send(channel, {"is": "ready"})
        while True:
            try:
                job = pickle.load(jobs)
            except EOFError:
                return
            _send(channel, _work(channel, *job))
            del job  # its bytes are not kept while waiting


def _work(
    channel: socket.socket, part: Image | Video | Document, settings: VideoSettings, policy: FetchPolicy
) -> dict[str, Any]:
    """Send what the part shows; returns the last word."""
    try:
        for value in decode(part, settings=settings, policy=policy):
            _send_decoded(channel, value)
    except (InputError, MissingDependencyError) as error:
        return {"is": "error", "type": type(error).__name__, "message": str(error)}
    except MemoryError:
        text = f"{source_name(part.source)} needs too much memory to be decoded; make it smaller"
        return {"is": "error", "type": InputError.__name__, "message": text}
    return {"is": "end"}


def _load_decoders() -> None:
    """Load what is installed, so that the first picture does not wait and the limit counts none of it."""
    PIL.Image.preinit()
    PIL.Image.init()
    for name in ("av", "pypdfium2"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def _limit_memory(max_memory_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    space_bytes, data_bytes = _used_bytes()
    resource.setrlimit(resource.RLIMIT_DATA, (data_bytes + max_memory_bytes,) * 2)
    resource.setrlimit(resource.RLIMIT_AS, (space_bytes + max_memory_bytes + _THREADS_BYTES,) * 2)


def _used_bytes() -> tuple[int, int]:
    """Address space and private data of this process; zeros where /proc does not say."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0, 0
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(lines["VmSize"].split()[0]) * 1024, int(lines["VmData"].split()[0]) * 1024


def _send_decoded(channel: socket.socket, value: Decoded) -> None:
    if isinstance(value, Clip):
        _send(channel, {"is": "clip"} | vars(value))
        return
    height, width, _ = value.pixels.shape
    _send(channel, {"is": "picture", "number": value.number, "height": height, "width": width})
    channel.sendall(value.pixels.data.cast("B"))


def _send(channel: socket.socket, header: Mapping[str, Any]) -> None:
    text = json.dumps(header).encode()
    channel.sendall(HEADER_SIZE.pack(len(text)) + text)


if __name__ == "__main__":
    main()
