"""The parent's side of a child process: start it, ask it with a time limit, end it.

Whatever goes wrong (a refusal, a crash, a time limit) is a `Failed` with a sentence for the report. A child that has
failed to answer in time is ended together with the processes it started; what it wrote to the standard error is kept
in a file, whose last line explains a crash.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from regard.bench.requests import LoadOptions
from regard.errors import EngineError

_GRACE_S = 5.0
_MAX_COMPLAINT_CHARS = 200


class Failed(EngineError):
    """A system could not do what it was asked; the message is a sentence."""


class Worker:
    """One child. `start` returns at once; `ready` waits until it has loaded."""

    def __init__(self, name: str, options: LoadOptions, log_folder: Path) -> None:
        self.name = name
        self.started_s = time.perf_counter()
        self._log = log_folder / f"{name}.log"
        environment = os.environ | dict.fromkeys(
            ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(options.num_threads)
        )
        environment |= {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "regard.bench.child", name, json.dumps(asdict(options))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                text=True,
                encoding="utf-8",
                start_new_session=True,  # so that ending it ends the processes that it started
            )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def is_alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def ready(self, limit_s: float) -> dict[str, Any]:
        """Wait until it has loaded; returns its facts. Errors: Failed."""
        facts: dict[str, Any] = self._receive(limit_s, "loading")["ready"]
        return facts

    def ask(self, command: Mapping[str, Any], limit_s: float) -> dict[str, Any]:
        """Give a command and wait for the answer. Errors: Failed."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        except (OSError, ValueError):  # ended, or closed
            raise Failed(self._obituary()) from None
        return self._receive(limit_s, "this")

    def close(self) -> None:
        """End it, kindly first, and whatever it started."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_S)
        self._kill()
        self._reader.join()

    def _receive(self, limit_s: float, doing: str) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=limit_s)
        except queue.Empty:
            self._kill()
            raise Failed(f"{doing} did not finish within {limit_s:g} s") from None
        if not line:
            self._process.wait()
            raise Failed(self._obituary())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._lines.put(line)
        self._lines.put("")

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _obituary(self) -> str:
        status = self._process.poll()
        if status is not None and status < 0:
            text = f"its process was ended by {signal.Signals(-status).name}"
            return f"{text}, as happens when memory runs out" if status == -signal.SIGKILL else text
        complaint = self._log.read_text(errors="replace").strip().splitlines()[-1:]
        return " ".join([f"its process ended with status {status}", *complaint])[:_MAX_COMPLAINT_CHARS]
