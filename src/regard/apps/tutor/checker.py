"""Checking from outside: a worker process with a time limit for each formula.

    with Checker() as checker:
        checker.begin(given=("AB = 6", "BC = 8", "angle B = 90"), asked="AC", texts=steps)
        checker.step("AC^2 = 6^2 + 8^2 = 100")      # Verdict("checked", "")

A formula that takes too long or too much memory is "not checkable": its worker is killed, a new one is told what came
before, and the rest is checked as ever. The worker starts with the first question and stays for the next ones.
"""

from __future__ import annotations

import importlib.util
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any, Literal

from regard.errors import EngineError, MissingDependencyError

VerdictName = Literal["checked", "wrong", "not checkable"]
TIME_LIMIT_S = 4.0
START_LIMIT_S = 120.0


@dataclass(frozen=True)
class Verdict:
    """What checking found out about a step or an answer; `note` says why in a few words."""

    verdict: VerdictName
    note: str = ""


class Checker:
    """One worker process; not for several threads at once."""

    def __init__(self, *, time_limit_s: float = TIME_LIMIT_S) -> None:
        """Errors: MissingDependencyError without SymPy."""
        if importlib.util.find_spec("sympy") is None:
            raise MissingDependencyError("checking steps needs SymPy; install it with: pip install 'regard[tutor]'")
        self._time_limit_s = time_limit_s
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str] = queue.Queue()
        self._told: list[dict[str, Any]] = []  # what a new worker has to be told

    def __enter__(self) -> Checker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def begin(self, *, given: Sequence[str], asked: str, texts: Sequence[str]) -> None:
        """A new solution. `texts`: its steps and its answer, which tell variables from units."""
        request = {"op": "begin", "given": list(given), "asked": asked, "texts": list(texts)}
        self._told = []
        if self._ask(request) is not None:
            self._told = [request]

    def step(self, text: str) -> Verdict:
        """Judge the next step, and take it for known if it is not wrong."""
        request = {"op": "step", "text": text}
        answer = self._ask(request)
        if answer is not None:
            self._told.append(request)
        return _verdict(answer, self._time_limit_s)

    def judge(self, text: str) -> Verdict:
        """Judge a text as a step, and forget it: a student's line need not be true."""
        return _verdict(self._ask({"op": "judge", "text": text}), self._time_limit_s)

    def answer(self, text: str) -> Verdict:
        """Whether the steps come to this answer."""
        return _verdict(self._ask({"op": "answer", "text": text}), self._time_limit_s)

    def leaks(self, text: str, *, answers: Sequence[str], given: Sequence[str] = ()) -> bool:
        """Whether a text gives one of the answers away; what cannot be checked in time does."""
        secret = {"answers": list(answers), "given": list(given)}
        answer = self._ask({"op": "leaks", "text": text, "secret": secret})
        return True if answer is None else bool(answer.get("leaks", True))

    def close(self) -> None:
        """End the worker."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """The worker's answer; None if it came to no end in time."""
        if self._process is None:
            self._start()
            for earlier in self._told:
                self._send(earlier)
                self._receive(START_LIMIT_S)
        self._send(request)
        answer = self._receive(self._time_limit_s)
        if answer is None:
            self.close()
        return answer

    def _start(self) -> None:
        command = [sys.executable, "-c", "from regard.apps.tutor.worker import main; main()"]
        self._lines = queue.Queue()
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        threading.Thread(target=_read, args=(self._process.stdout, self._lines), daemon=True).start()
        if self._receive(START_LIMIT_S) is None:
            self.close()
            raise EngineError("the process that checks formulas does not start; is SymPy installed as it should be?")

    def _send(self, request: dict[str, Any]) -> None:
        if self._process is None or self._process.stdin is None:
            return
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except OSError:
            return  # it has died; receiving will tell

    def _receive(self, time_limit_s: float) -> dict[str, Any] | None:
        try:
            line = self._lines.get(timeout=time_limit_s)
        except queue.Empty:
            return None
        answer: dict[str, Any] | None = json.loads(line) if line else None
        return answer


def _read(pipe: IO[str] | None, lines: queue.Queue[str]) -> None:
    try:
        for line in pipe or ():
            lines.put(line)
    except (OSError, ValueError):
        pass  # closed under our hands
    lines.put("")  # the end: nothing will come any more


def _verdict(answer: dict[str, Any] | None, time_limit_s: float) -> Verdict:
    if answer is None:
        return Verdict("not checkable", f"takes longer than {time_limit_s:g} s or too much memory")
    return Verdict(answer["verdict"], answer["note"])
