"""The server of a soak, in a process of its own: asked over its pipes, watched from outside.

    server = Server("nano")        python -m benchmarks.soak_server MODEL, which runs what `regard serve` runs
    server.check()                 what the engine holds, and whether its books balance

The child answers each line on its standard input with one line of JSON; the end of the input ends it. So no HTTP route
is needed to look into the engine.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from regard.engine.engine import Engine

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Sample:
    """The server's process at one moment, in seconds from the start."""

    time_s: float
    rss_bytes: int
    num_files: int
    num_threads: int


class Server:
    """The server's process, from outside."""

    def __init__(self, model: str) -> None:
        command = [sys.executable, "-m", "benchmarks.soak_server", model]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        ready = self._hear()
        self.url, self.model = str(ready["url"]), str(ready["model"])
        self._watched = psutil.Process(self._process.pid)

    def check(self) -> dict[str, Any]:
        """What the engine still holds, and whether its books balance."""
        return self._ask("check")

    def sample(self, time_s: float) -> Sample:
        """The process and its children at this moment."""
        family = [self._watched, *self._watched.children(recursive=True)]
        rss_bytes = 0
        for process in family:
            try:
                rss_bytes += process.memory_info().rss
            except psutil.NoSuchProcess:  # ended between the two calls
                continue
        return Sample(time_s, rss_bytes, self._watched.num_fds(), self._watched.num_threads())

    def stop(self) -> None:
        """End it; after ten seconds by force."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _ask(self, command: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        return self._hear()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the server's process ended with status {self._process.wait()}; see its messages above")
        return dict(json.loads(line))


def serve(model: str) -> int:
    """The other side: what `regard serve` runs, on a free port; answers each line on stdin with one of JSON."""
    from regard.llm import LLM
    from regard.processing.decode_pool import DecodePool
    from regard.processing.fetch_policy import STRICT_POLICY
    from regard.server.run import make_server
    from regard.server.run import serve as run
    from regard.server.service import Service
    from regard.server.settings import Settings

    with DecodePool(2) as pool:
        llm = LLM.load(model, policy=STRICT_POLICY, decode=pool.decode)
        service = Service(llm, Settings())
        server, listener = make_server(service, "127.0.0.1", 0)
        thread = threading.Thread(target=run, args=(server, listener))
        thread.start()
        try:
            port = listener.getsockname()[1]
            print(json.dumps({"url": f"http://127.0.0.1:{port}/v1", "model": service.name}), flush=True)
            for _ in sys.stdin:  # the end of the input ends the server
                print(json.dumps(llm.engine.call(books)), flush=True)
        finally:
            server.drain()
            thread.join()
            llm.engine.close()
    return 0


def books(engine: Engine) -> dict[str, Any]:
    """What the engine holds between two steps, and whether each block's users are those whose tables name it."""
    live = [*engine.scheduler.running, *engine.scheduler.waiting]
    try:
        engine.pool.check_integrity([sequence.blocks for sequence in live])
        mistake = None
    except AssertionError as error:
        mistake = str(error)
    return {
        "num_running": len(engine.scheduler.running),
        "num_waiting": len(engine.scheduler.waiting),
        "num_blocks": engine.budget.num_blocks,
        "num_blocks_in_use": engine.budget.num_blocks - engine.pool.num_available,
        "is_balanced": mistake is None,
        "mistake": mistake,
    }


if __name__ == "__main__":
    sys.exit(serve(sys.argv[1]))
