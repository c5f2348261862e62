"""Files that were uploaded: kept in a folder of our own until they are deleted, too old, or the server ends.

    stored = files.add("shot.png", source)       the first bytes tell whether it is a picture, a clip or a PDF
    files.part(stored.file_id)                   the part of a message that it stands for

Nothing is decoded here; a GIF is a picture, unless the message says that it is a clip. Ids are random and looked up,
never joined to a path, and a name is only ever shown. The folder is a temporary one: it goes with the process.
"""

from __future__ import annotations

import secrets
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from regard.conversation import media_part
from regard.errors import InputError, RegardError
from regard.messages import Document, Image, Video
from regard.processing.fetch import Fetched
from regard.server.errors import HttpError
from regard.server.settings import Settings

MAX_NAME = 255
PIECE_BYTES = 1024 * 1024
HEAD_BYTES = 16  # tell what a file is


@dataclass(frozen=True)
class StoredFile:
    """One file. Times are seconds since 1970."""

    file_id: str
    name: str
    purpose: str
    num_bytes: int
    created_s: float
    expires_s: float
    path: Path
    part: Image | Video | Document


class FileStore:
    """Uploaded files by id. Safe to use from several threads."""

    def __init__(self, settings: Settings, now: Callable[[], float] = time.time) -> None:
        self._settings, self._now = settings, now
        self._folder = tempfile.TemporaryDirectory(prefix="regard-files-", ignore_cleanup_errors=True)
        self._files: dict[str, StoredFile] = {}
        self._lock = threading.Lock()

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return Path(self._folder.name)

    def add(self, name: str, source: BinaryIO, *, purpose: str = "user_data", ttl_s: float | None = None) -> StoredFile:
        """Keep a copy of what can be read from `source`.

        Errors: InputError if it is empty; HttpError 413 if it is too large or there is no room.
        """
        settings, shown = self._settings, _shown(name)
        self.forget_old()
        file_id = f"file-{secrets.token_hex(16)}"
        path = self.folder / file_id
        num_bytes, head = _copy(source, path, settings.max_file_bytes)
        now_s = self._now()
        kept_s = settings.file_ttl_s if ttl_s is None else min(ttl_s, settings.file_ttl_s)
        stored = StoredFile(
            file_id=file_id,
            name=shown,
            purpose=purpose,
            num_bytes=num_bytes,
            created_s=now_s,
            expires_s=now_s + kept_s,
            path=path,
            part=replace(media_part(head), source=Fetched(path, shown)),
        )
        try:
            if not num_bytes:
                raise InputError(f"the file {shown!r} is empty (0 bytes); choose another")
            if num_bytes > settings.max_file_bytes:
                raise HttpError(
                    413, f"the file has more than {settings.max_file_bytes} bytes, which is the limit; make it smaller"
                )
            with self._lock:
                total = sum(file.num_bytes for file in self._files.values()) + num_bytes
                if total > settings.max_files_bytes or len(self._files) >= settings.max_files:
                    raise HttpError(
                        413,
                        f"there is no room for more files ({settings.max_files} files and {settings.max_files_bytes} "
                        "bytes are the limit); delete some",
                    )
                self._files[file_id] = stored
        except RegardError:
            path.unlink(missing_ok=True)
            raise
        return stored

    def get(self, file_id: str) -> StoredFile:
        """A file. Errors: HttpError 404 if there is none (any more)."""
        self.forget_old()
        with self._lock:
            stored = self._files.get(file_id)
        if stored is None:
            raise HttpError(404, f"there is no file {file_id[:80]!r}: it was deleted or too old; upload it again")
        return stored

    def part(self, file_id: str) -> Image | Video | Document:
        """The part of a message that a file stands for. Errors: as `get`."""
        return self.get(file_id).part

    def all(self) -> list[StoredFile]:
        """Every file, the newest first."""
        self.forget_old()
        with self._lock:
            return sorted(self._files.values(), key=lambda file: -file.created_s)

    def delete(self, file_id: str) -> None:
        """Remove a file. Errors: as `get`."""
        stored = self.get(file_id)
        with self._lock:
            self._files.pop(file_id, None)
        stored.path.unlink(missing_ok=True)

    def forget_old(self) -> None:
        """Remove what has expired."""
        now_s = self._now()
        with self._lock:
            old = [file for file in self._files.values() if file.expires_s <= now_s]
            for file in old:
                del self._files[file.file_id]
        for file in old:
            file.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Remove everything."""
        with self._lock:
            self._files.clear()
        self._folder.cleanup()


def _copy(source: BinaryIO, path: Path, max_bytes: int) -> tuple[int, bytes]:
    """Copy, at most a piece more than allowed; returns how many bytes there were, and the first of them."""
    num_bytes, head = 0, b""
    with path.open("wb") as file:
        while num_bytes <= max_bytes and (piece := source.read(PIECE_BYTES)):
            head = head or piece[:HEAD_BYTES]
            num_bytes += file.write(piece)
    return num_bytes, head


def _shown(name: str) -> str:
    """A name without folders and control characters."""
    bare = name.replace("\\", "/").rpartition("/")[2]
    return "".join(char for char in bare if char.isprintable())[:MAX_NAME] or "file"
