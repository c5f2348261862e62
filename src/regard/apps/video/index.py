"""What is kept of a clip on disk, so that the next question starts at once: one SQLite file for each clip.

    frames     small JPEGs with their times and how much each differs from the one before (`scan` decides which)
    changes    where the picture changes, when exactly, how much and in which place
    answers    what a model said about which frames, by a hash of the model, the prompt and the times

The file's name is a hash of the clip's size and of 64 pieces of it, so a clip that was moved finds its index. It is
used at once if the clip's time of last change is one that was seen before; otherwise the whole file is hashed, and a
clip with other bytes is read again. The file appears whole or not at all. Frames are read one at a time.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import PIL.Image

from regard.apps.video.changes import Change
from regard.errors import InputError

VERSION = 1
_PIECES, _PIECE_BYTES = 64, 65536
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT);
CREATE TABLE frames (number INTEGER PRIMARY KEY, time_s REAL, share REAL, jpeg BLOB);
CREATE TABLE changes (number INTEGER PRIMARY KEY, value TEXT);
CREATE TABLE answers (key TEXT PRIMARY KEY, value TEXT);
"""


@dataclass(frozen=True)
class ClipFacts:
    """What was measured of a clip while it was read. Units: pixels as displayed, seconds from the first frame.

    `first_tick` and `tick_s`: the container's time of the first frame, and the length of its ticks.
    """

    width: int
    height: int
    fps: float
    num_frames: int
    duration_s: float
    num_indexed: int
    ingest_s: float
    sha256: str
    first_tick: int
    tick_s: float


def default_folder() -> Path:
    """Where indexes are kept if no folder is named: regard/video in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "regard" / "video"


def quick_hash(path: Path) -> str:
    """A hash of the size and 64 pieces: milliseconds, however long the clip. Errors: InputError if it is unreadable."""
    try:
        size = path.stat().st_size
        digest = hashlib.blake2b(str(size).encode(), digest_size=12)
        with path.open("rb") as file:
            for number in range(_PIECES):
                file.seek(number * max(0, size - _PIECE_BYTES) // (_PIECES - 1))
                digest.update(file.read(_PIECE_BYTES))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); name a clip that can") from None
    return digest.hexdigest()


def whole_hash(path: Path) -> str:
    """SHA-256 of the whole file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Index:
    """An open index; a context manager. Times are seconds from the clip's first frame."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._db = connection
        self.facts = ClipFacts(**self._meta("facts"))
        rows = self._db.execute("SELECT number, time_s, share FROM frames ORDER BY time_s").fetchall()
        self._numbers = [row[0] for row in rows]
        self.times_s: list[float] = [row[1] for row in rows]
        self.shares: list[float] = [row[2] for row in rows]
        self.changes: list[Change] = [
            _to_change(json.loads(row[0])) for row in self._db.execute("SELECT value FROM changes ORDER BY number")
        ]

    @classmethod
    def open(cls, clip: Path, folder: Path) -> Index | None:
        """The index of a clip, None if there is none or the clip or the program has changed since."""
        path = folder / f"{quick_hash(clip)}.sqlite"
        if not path.is_file():
            return None
        try:
            connection = sqlite3.connect(path, timeout=30, check_same_thread=False)
        except sqlite3.Error:
            return None
        try:
            rows = dict(connection.execute("SELECT key, value FROM meta"))
            if json.loads(rows["version"]) == VERSION and _is_of(clip, rows, connection):
                return cls(path, connection)
        except (sqlite3.Error, KeyError, ValueError, TypeError):
            pass  # cut short or written by something else: it is made again
        connection.close()
        return None

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def picture(self, number: int) -> PIL.Image.Image:
        """The small picture of frame `number`, counted from 0 in order of time."""
        row = self._db.execute("SELECT jpeg FROM frames WHERE number = ?", (self._numbers[number],)).fetchone()
        picture = PIL.Image.open(io.BytesIO(row[0]))
        picture.load()
        return picture

    def nearest(self, time_s: float) -> int:
        """The number of the frame that is closest to a time."""
        return min(range(len(self.times_s)), key=lambda number: abs(self.times_s[number] - time_s))

    def recall(self, key: str) -> Any:
        """What was kept under a key, None if nothing was."""
        row = self._db.execute("SELECT value FROM answers WHERE key = ?", (key,)).fetchone()
        return None if row is None else json.loads(row[0])

    def keep(self, key: str, value: Any) -> None:
        """Keep plain JSON under a key. A folder that cannot be written to keeps nothing."""
        with suppress(sqlite3.OperationalError), self._db:
            self._db.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (key, json.dumps(value)))

    def _meta(self, key: str) -> Any:
        return json.loads(self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()[0])


class IndexWriter:
    """Writes an index beside its place and moves it there when it is whole; a context manager."""

    def __init__(self, clip: Path, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._clip, self._mtime_ns = clip, clip.stat().st_mtime_ns
            self._path = folder / f"{quick_hash(clip)}.sqlite"
            self._draft = self._path.with_suffix(f".{os.getpid()}.part")
            self._draft.unlink(missing_ok=True)
            self._db = sqlite3.connect(self._draft, isolation_level=None, check_same_thread=False)
            self._db.executescript(f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; {_SCHEMA} BEGIN;")
        except (OSError, sqlite3.Error) as error:
            raise InputError(f"no index can be written to {folder} ({error}); name another folder") from None
        self._num_frames = 0

    def __enter__(self) -> IndexWriter:
        return self

    def __exit__(self, *exc: object) -> None:
        self._db.close()
        self._draft.unlink(missing_ok=True)

    def add(self, time_s: float, share: float, jpeg: bytes) -> None:
        """Add the next frame."""
        self._db.execute("INSERT INTO frames VALUES (?, ?, ?, ?)", (self._num_frames, time_s, share, jpeg))
        self._num_frames += 1

    def finish(self, facts: ClipFacts, changes: Sequence[Change]) -> None:
        """Write the rest and move the file to its place. Errors: InputError if it cannot be."""
        meta = {
            "version": VERSION, "facts": vars(facts), "sha256": facts.sha256, "mtimes": [self._mtime_ns],
            "name": self._clip.name,
        }  # fmt: skip
        try:
            self._db.executemany("INSERT INTO meta VALUES (?, ?)", ((k, json.dumps(v)) for k, v in meta.items()))
            rows = ((number, json.dumps(vars(change))) for number, change in enumerate(changes))
            self._db.executemany("INSERT INTO changes VALUES (?, ?)", rows)
            self._db.execute("COMMIT")
            self._db.close()
            os.replace(self._draft, self._path)
        except (OSError, sqlite3.Error) as error:
            raise InputError(f"the index {self._path} cannot be written ({error}); name another folder") from None


def _is_of(clip: Path, rows: dict[str, str], connection: sqlite3.Connection) -> bool:
    """Whether the clip is the one that was read; a new time of last change with the same bytes is noted."""
    mtimes, mtime_ns = json.loads(rows["mtimes"]), clip.stat().st_mtime_ns
    if mtime_ns in mtimes:
        return True
    if whole_hash(clip) != json.loads(rows["sha256"]):
        return False
    with suppress(sqlite3.OperationalError), connection:
        value = json.dumps([*mtimes[-20:], mtime_ns])
        connection.execute("UPDATE meta SET value = ? WHERE key = 'mtimes'", (value,))
    return True


def _to_change(value: dict[str, Any]) -> Change:
    return Change(value["time_s"], value["slack_s"], value["share"], value["kind"], tuple(value["place"]))
