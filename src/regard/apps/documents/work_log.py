"""What is done of a long run, in a SQLite file, so that it can be killed at any moment and go on later.

A page's result is there whole or not at all. A file that has changed since (its size or time) is read anew, and a run
with other settings is refused, because its pages would not fit those that are there.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regard.errors import ConfigError, InputError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS settings (value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS files (
    name TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, num_pages INTEGER NOT NULL, error TEXT NOT NULL,
    is_written INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS pages (
    name TEXT NOT NULL, page INTEGER NOT NULL, result BLOB NOT NULL, PRIMARY KEY (name, page)
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class FileState:
    """What is known of a file: how many pages, why it cannot be opened (""), and whether its output is written."""

    num_pages: int
    error: str
    is_written: bool


class WorkLog:
    """The log of one run. All calls must come from the thread that opened it."""

    def __init__(self, path: Path, settings: dict[str, Any], *, restart: bool = False) -> None:
        """Open or begin a log. Errors: ConfigError if it is of a run with other settings; InputError if damaged."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        if restart:
            for suffix in ("", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
        try:
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute("PRAGMA cache_size=-2000")
            self._db.executescript(_SCHEMA)
            found = self._db.execute("SELECT value FROM settings").fetchone()
        except sqlite3.DatabaseError as error:
            raise InputError(f"the work log {path} cannot be used ({error}); start anew with --restart") from None
        told = json.dumps(settings, sort_keys=True, ensure_ascii=False)
        if found is None:
            self._db.execute("INSERT INTO settings VALUES (?)", (told,))
        elif found[0] != told:
            before = json.loads(found[0])
            names = [name for name in settings if settings[name] != before.get(name)]
            changed = ", ".join(f"{name} {before.get(name)!r} instead of {settings[name]!r}" for name in names)
            self.close()
            raise ConfigError(
                f"{path.parent} holds a run with other settings ({changed}); name another folder, or use --restart"
            )

    def begin_file(self, name: str, fingerprint: str, num_pages: int, error: str = "") -> FileState:
        """A file as it is now; what is known of an older version of it is forgotten."""
        found = self._db.execute(
            "SELECT fingerprint, num_pages, error, is_written FROM files WHERE name = ?", (name,)
        ).fetchone()
        if found is not None and found[:2] == (fingerprint, num_pages) and not found[2]:
            return FileState(num_pages, "", bool(found[3]))
        with self._transaction():
            self._db.execute("DELETE FROM pages WHERE name = ?", (name,))
            self._db.execute(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, 0)", (name, fingerprint, num_pages, error)
            )
        return FileState(num_pages, error, False)

    def done_pages(self, name: str) -> set[int]:
        """The numbers of the pages that have a result."""
        return {row[0] for row in self._db.execute("SELECT page FROM pages WHERE name = ?", (name,))}

    def num_done(self) -> int:
        """How many pages of all files have a result."""
        return int(self._db.execute("SELECT count(*) FROM pages").fetchone()[0])

    def add(self, name: str, page: int, result: dict[str, Any]) -> None:
        """Keep a page's result."""
        data = zlib.compress(json.dumps(result, ensure_ascii=False).encode(), 6)
        self._db.execute("INSERT OR REPLACE INTO pages VALUES (?, ?, ?)", (name, page, data))

    def results(self, name: str) -> Iterator[dict[str, Any]]:
        """The results of a file's pages in order, one in memory at a time."""
        for (data,) in self._db.execute("SELECT result FROM pages WHERE name = ? ORDER BY page", (name,)):
            yield json.loads(zlib.decompress(data))

    def files(self) -> Iterator[tuple[str, FileState]]:
        """All files in the order of their names."""
        for name, *state in self._db.execute("SELECT name, num_pages, error, is_written FROM files ORDER BY name"):
            yield name, FileState(state[0], state[1], bool(state[2]))

    def set_written(self, name: str) -> None:
        """Say that a file's output is there."""
        self._db.execute("UPDATE files SET is_written = 1 WHERE name = ?", (name,))

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _transaction(self) -> sqlite3.Connection:
        self._db.execute("BEGIN IMMEDIATE")
        return self._db  # as a context manager it commits or rolls back


def fingerprint_of(path: Path) -> str:
    """What changes when a file does."""
    status = path.stat()
    return f"{status.st_size}:{status.st_mtime_ns}"
