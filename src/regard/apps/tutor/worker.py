"""The process in which formulas are computed: one JSON request a line in, one answer a line out.

    {"op": "begin", "given": [...], "asked": "...", "texts": [...]}   -> {"ok": true}
    {"op": "step", "text": "..."}, and in the same way "answer"       -> {"verdict": "...", "note": "..."}
    {"op": "judge", "text": "..."}: a step that is not learned from   -> the same
    {"op": "leaks", "text": "...", "secret": {...}}               -> {"leaks": true | false}

It may use limited memory and no more than its caller's patience: `checker` kills it when it is late and starts a new
one. It starts with an empty environment of ours: no model, no torch.
"""

from __future__ import annotations

import copy
import json
import sys
from typing import Any

from regard.apps.tutor.leaks import Secret, leaks
from regard.apps.tutor.verdicts import Session

MAX_MEMORY = 1 << 30


def main() -> None:
    """Answer requests until the input ends."""
    _limit_memory()
    sys.setrecursionlimit(3000)
    session = Session((), "", ())
    _say({"ok": True})
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["op"] == "begin":
                session = Session(request["given"], request["asked"], request["texts"])
                answer: dict[str, Any] = {"ok": True}
            elif request["op"] == "leaks":
                answer = {"leaks": leaks(request["text"], Secret(**request["secret"]))}
            elif request["op"] == "judge":
                answer = copy.deepcopy(session).step(request["text"])
            elif request["op"] == "step":
                answer = session.step(request["text"])
            else:
                answer = session.answer(request["text"])
        except (MemoryError, RecursionError):
            answer = {"verdict": "not checkable", "note": "too large to compute"}
        except Exception as error:  # SymPy raises many kinds for what it cannot do; none of them may end the check
            answer = {"verdict": "not checkable", "note": f"not computable ({type(error).__name__})"}
        _say(answer)


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def _limit_memory() -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    except (ImportError, ValueError, OSError):
        return  # Windows has no such limit; the time limit stays


if __name__ == "__main__":
    main()
