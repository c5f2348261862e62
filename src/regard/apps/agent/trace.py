"""What a run leaves behind: a folder that can be read, looked at and replayed.

    trace.jsonl       first line: the task, the model, the screen; then one line for each step; last: how it ended
    001.png           the screen as the model saw it in step 1, secrets painted over
    001-action.png    the same with the action drawn
    film.html         all steps on one page, self-contained
    downloads/        what the pages saved

Every string goes through `Secrets.mask` on its way here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from regard.apps.agent.screen import Action
from regard.apps.agent.secrets import Secrets
from regard.errors import InputError

VERSION = 1
RED, WHITE = (225, 30, 60), (255, 255, 255)


class TraceWriter:
    """Writes a trace as the run goes on, so that a run that is cut off is readable too."""

    def __init__(self, folder: Path, secrets: Secrets) -> None:
        if folder.exists() and any(folder.iterdir()):
            raise InputError(f"the trace folder {folder} is not empty; name another one")
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._secrets = folder, secrets
        self._file = (folder / "trace.jsonl").open("w", encoding="utf-8")

    def write(self, kind: str, **values: Any) -> None:
        """Add one line."""
        line = self._secrets.mask_all({"kind": kind, **values})
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._file.flush()

    def picture(self, name: str, image: Image.Image) -> str:
        """Save a picture and return its name."""
        image.save(self.folder / name)
        return name

    def close(self) -> None:
        """Finish the file and make the film strip."""
        from regard.apps.agent.film import film_strip

        if self._file.closed:
            return
        self._file.close()
        (self.folder / "film.html").write_text(film_strip(self.folder), encoding="utf-8")


def read_trace(folder: Path) -> Iterator[dict[str, Any]]:
    """The lines of a trace. Errors: InputError if there is none or it is damaged."""
    path = folder / "trace.jsonl"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{folder} holds no trace: {path.name} cannot be read ({error.strerror})") from None
    for number, line in enumerate(lines, 1):
        try:
            value = json.loads(line)
        except ValueError:
            raise InputError(f"{path}, line {number}, is not JSON; the trace is damaged") from None
        if isinstance(value, dict):
            yield value


def draw_action(image: Image.Image, action: Action) -> Image.Image:
    """The picture with the action on it: a ring where it presses, an arrow where it drags or scrolls, words below."""
    canvas = image.convert("RGB")
    pen = ImageDraw.Draw(canvas)
    width = max(2, round(min(canvas.size) / 160))
    if action.x is not None and action.y is not None:
        _ring(pen, action.x, action.y, 5 * width, width)
        if action.kind == "scroll":
            _arrow(pen, (action.x, action.y), (action.x, action.y - _clip(action.pixels)), width)
        if action.kind == "hscroll":
            _arrow(pen, (action.x, action.y), (action.x - _clip(action.pixels), action.y), width)
    if action.x2 is not None and action.y2 is not None:
        if action.x is not None and action.y is not None:
            _arrow(pen, (action.x, action.y), (action.x2, action.y2), width)
        else:
            _ring(pen, action.x2, action.y2, 5 * width, width)
    return canvas


def _clip(pixels: float) -> float:
    return max(-120.0, min(120.0, pixels))


def _ring(pen: ImageDraw.ImageDraw, x: float, y: float, radius: float, width: int) -> None:
    for ink, extra in ((WHITE, 2), (RED, 0)):
        box = (x - radius - extra / 2, y - radius - extra / 2, x + radius + extra / 2, y + radius + extra / 2)
        pen.ellipse(box, outline=ink, width=width + extra)
    pen.ellipse((x - 2, y - 2, x + 2, y + 2), fill=RED, outline=WHITE)


def _arrow(pen: ImageDraw.ImageDraw, start: tuple[float, float], end: tuple[float, float], width: int) -> None:
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = max(1.0, (dx * dx + dy * dy) ** 0.5)
    ux, uy = dx / length, dy / length
    head = 5 * width
    back = (end[0] - head * ux, end[1] - head * uy)
    for ink, extra in ((WHITE, 3), (RED, 0)):
        pen.line((*start, *back), fill=ink, width=width + extra)
        wing = head / 2 + extra
        points = [end, (back[0] - wing * uy, back[1] + wing * ux), (back[0] + wing * uy, back[1] - wing * ux)]
        pen.polygon(points, fill=ink)
