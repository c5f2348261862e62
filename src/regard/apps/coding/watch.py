"""Limits of time and memory for a browser that shows a page which nobody has read: over a limit, it is killed.

    with Watch(marker, seconds=20, memory_bytes=1 << 30) as watch:
        ...                       # calls into the browser; they fail when it dies
    watch.reason                  # "", or which limit it was

A page can keep a browser busy for ever in ways that no call of ours comes back from, so a thread looks on from
outside. Whose processes they are is seen from a marker that stands on the browser's command line; their children
belong to it. Memory is what the processes hold for themselves (`RssAnon`), shared code counts for nobody.

Linux is read through /proc, other systems through the `ps` program, which knows shared and own memory only together.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

POLL_S = 0.2


@dataclass(frozen=True)
class Process:
    """One process of this machine; memory in bytes."""

    parent: int
    memory_bytes: int
    is_marked: bool


class Watch:
    """Kills the browser with `marker` on its command line when it takes too long or too much memory."""

    def __init__(self, marker: str, *, seconds: float, memory_bytes: int) -> None:
        self._marker = marker
        self._end = time.monotonic() + seconds
        self._seconds, self._memory_bytes = seconds, memory_bytes
        self._over = threading.Event()
        self.reason = ""

    def __enter__(self) -> Watch:
        self._thread = threading.Thread(target=self._look, name="regard-page-watch", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(POLL_S):
            family = family_of(self._marker)
            memory = sum(process.memory_bytes for process in family.values())
            if memory > self._memory_bytes:
                self.reason = f"it took more than {self._memory_bytes >> 20} MiB of memory"
            elif time.monotonic() > self._end:
                self.reason = f"it took more than {self._seconds:g} s"
            if self.reason:
                kill(family)
                return


def family_of(marker: str) -> dict[int, Process]:
    """The processes with `marker` on their command line and all their descendants."""
    everyone = _from_proc(marker) if Path("/proc/self/stat").exists() else _from_ps(marker)
    family = {number: process for number, process in everyone.items() if process.is_marked}
    grown = True
    while grown:
        grown = False
        for number, process in everyone.items():
            if number not in family and process.parent in family:
                family[number], grown = process, True
    family.pop(os.getpid(), None)
    return family


def kill(family: dict[int, Process]) -> None:
    """End processes at once; those that are gone already are fine."""
    for number in family:
        try:
            os.kill(number, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def _from_proc(marker: str) -> dict[int, Process]:
    found = {}
    wanted = marker.encode()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            status = (folder / "status").read_text()
            is_marked = wanted in (folder / "cmdline").read_bytes()
        except OSError:
            continue  # it ended meanwhile
        fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        memory = int(fields.get("RssAnon", "0 kB").split()[0]) * 1024
        found[int(folder.name)] = Process(int(fields["PPid"]), memory, is_marked)
    return found


def _from_ps(marker: str) -> dict[int, Process]:
    listed = subprocess.run(["ps", "-axo", "pid=,ppid=,rss=,command="], capture_output=True, text=True, check=False)
    found = {}
    for line in listed.stdout.splitlines():
        pid, parent, rss, command = line.split(None, 3)
        found[int(pid)] = Process(int(parent), int(rss) * 1024, marker in command)
    return found
