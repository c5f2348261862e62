"""Stands for `regard serve` where a test of the page decides what is answered: its files and headers, scripted words.

with serving(Says("There it is.", boxes=[box])) as server:
    ...                      server.url, server.bodies: what was asked; server.scripts may be replaced
"""

from __future__ import annotations

import json
import mimetypes
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from regard.server.page import HEADERS, WEB_FOLDER

MODEL = {
    "id": "regard-nano",
    "object": "model",
    "regard": {
        "is_thinking": False,
        "max_model_len": 4096,
        "device": "cpu",
        "dtype": "float32",
        "defaults": {"temperature": 0.0, "top_p": 1.0, "max_tokens": 1024},
        "max_body_bytes": 64_000_000,
        "max_file_bytes": 512_000_000,
    },
}
HOW_TO_ALLOW = "its operator can allow it with regard serve --allow-agent"
PRESETS = [
    {"name": "greedy", "title": "the likeliest token every time", "settings": {"temperature": 0.0, "max_tokens": 1024}},
    {
        "name": "ocr",
        "title": "reading text, key-value extraction, text spotting",
        "settings": {"temperature": 0.7, "top_p": 0.8, "max_tokens": 4096, "max_pixels": 2097152},
        "source": "ocr cookbook",
    },
]


@dataclass(frozen=True)
class Says:
    """One answer. `pause_s` between its pieces; `status` not 200: an error with `text`; `cut` breaks it off."""

    text: str = ""
    thinking: str = ""
    boxes: Sequence[Mapping[str, Any]] = ()
    points: Sequence[Mapping[str, Any]] = ()
    media: Sequence[Mapping[str, Any]] = ()
    finish: str = "stop"
    pause_s: float = 0.0
    status: int = 200
    cut: bool = False


@dataclass(frozen=True)
class Ran:
    """One run of an application: `files` are (path, bytes); `error` ends it instead; `forever` never ends."""

    result: Mapping[str, Any] = field(default_factory=dict)
    files: Sequence[tuple[str, bytes]] = ()
    progress: Sequence[tuple[int, int, str]] = ()
    error: str = ""
    forever: bool = False


def saw(kind: str = "image", width: int = 352, height: int = 256, **more: Any) -> dict[str, Any]:
    """A media report."""
    seen = {"kind": kind, "name": "picture", "width": width, "height": height, "num_visual_tokens": 88, "num_frames": 1}
    rest = {"resized_width": width, "resized_height": height, "frame_times_s": [], "duration_s": None, "page": None}
    return {**seen, **rest, "cache_hit": False, **more}


def box(x1: float, y1: float, x2: float, y2: float, label: str = "", confidence: float | None = 0.9) -> dict[str, Any]:
    """A box on the first picture."""
    return {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "label": label, "image": 0, "confidence": confidence}


@dataclass
class PageServer:
    """What runs: `scripts` are answered one after the other, the last again and again."""

    url: str
    scripts: list[Says | Ran]
    key: str | None = None
    bodies: list[Any] = field(default_factory=list)
    uploads: list[bytes] = field(default_factory=list)
    made: dict[str, bytes] = field(default_factory=dict)
    allows_agent: bool = False
    num_sent: int = 0
    hung_up: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serving(*scripts: Says | Ran, key: str | None = None) -> Iterator[PageServer]:
    """Serve on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            if path.startswith("/v1/"):
                if self.is_locked():
                    return
                self.send_api(path)
                return
            file = WEB_FOLDER / (path.lstrip("/") or "index.html")
            if not file.is_file():
                self.send_json({"error": {"message": f"there is nothing at {path}"}}, 404)
                return
            self.send(file.read_bytes(), mimetypes.guess_type(file.name)[0] or "font/woff2", headers=HEADERS)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.is_locked():
                return
            if self.path == "/v1/files":
                server.uploads.append(body)
                self.send_json({"id": f"file-{len(server.uploads)}"})
                return
            server.bodies.append(json.loads(body))
            script = server.scripts.pop(0) if len(server.scripts) > 1 else server.scripts[0]
            if isinstance(script, Says) and script.status != 200:
                self.send_json({"error": {"message": script.text}}, script.status)
                return
            try:
                self.begin_stream()
                if isinstance(script, Ran):
                    self.run(script)
                else:
                    self.stream(script)
            except OSError:
                server.hung_up.set()

        def send_api(self, path: str) -> None:
            if path.startswith("/v1/files/"):
                self.send(server.made[path.split("/")[3]], "application/octet-stream")
                return
            apps = [
                {"id": name, "is_allowed": name != "agent" or server.allows_agent, "how_to_allow": HOW_TO_ALLOW}
                for name in ("locate", "document", "video", "code", "tutor", "agent")
            ]
            self.send_json({"data": {"/v1/models": [MODEL], "/v1/apps": apps}.get(path, PRESETS)})

        def run(self, script: Ran) -> None:
            for done, total, text in script.progress:
                self.send_data({"type": "progress", "done": done, "total": total, "text": text})
            while script.forever:
                self.send_data({"type": "progress", "done": 0, "total": 0, "text": "on and on"})
                time.sleep(0.02)
            if script.error:
                self.send_data({"type": "error", "error": {"message": script.error}})
                return
            files = []
            for path, data in script.files:
                server.made[f"made-{len(server.made)}"] = data
                name = path.rpartition("/")[2]
                files.append({"id": list(server.made)[-1], "name": name, "path": path, "bytes": len(data)})
            self.send_data({"type": "result", "result": script.result, "files": files})

        def is_locked(self) -> bool:
            is_wrong = key is not None and self.headers.get("Authorization") != f"Bearer {key}"
            if is_wrong:
                self.send_json({"error": {"message": "this server needs a key"}}, 401)
            return is_wrong

        def begin_stream(self) -> None:
            self.close_connection = True
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()

        def stream(self, script: Says) -> None:
            for name, text in (("reasoning_content", script.thinking), ("content", script.text)):
                for start in range(0, len(text), 6):
                    self.send_event({name: text[start : start + 6]}, None)
                    time.sleep(script.pause_s)
            if script.cut:
                return
            more = {"boxes": list(script.boxes), "points": list(script.points)}
            self.send_event({}, script.finish, more, media=list(script.media))
            usage = {"prompt_tokens": 120, "completion_tokens": max(1, len(script.text) // 4)}
            self.wfile.write(f"data: {json.dumps({'choices': [], 'usage': usage})}\n\ndata: [DONE]\n\n".encode())

        def send_event(self, delta: Any, finish: str | None, more: Any = None, **fields: Any) -> None:
            choice = {"index": 0, "delta": delta, "finish_reason": finish, **(more or {})}
            self.send_data({"model": MODEL["id"], "choices": [choice], **fields})

        def send_data(self, value: Any) -> None:
            self.wfile.write(f"data: {json.dumps(value)}\n\n".encode())
            self.wfile.flush()
            server.num_sent += 1

        def send_json(self, value: Any, status: int = 200) -> None:
            self.send(json.dumps(value).encode(), "application/json", status)

        def send(self, data: bytes, kind: str, status: int = 200, headers: Mapping[str, str] = HEADERS) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Type": kind, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server = PageServer(f"http://127.0.0.1:{http.server_address[1]}", list(scripts), key)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    http.shutdown()
    http.server_close()
    thread.join()
