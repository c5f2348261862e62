"""The film strip: every step of a trace on one self-contained page, without scripts."""

from __future__ import annotations

import base64
import io
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from regard.apps.agent.trace import read_trace
from regard.html_page import page

MAX_WIDTH = 720  # pixels of an embedded picture
_STYLE = """ol { list-style: none; padding: 0; display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(19rem, 1fr)); }
li { border: 1px solid #8886; border-radius: .5rem; overflow: hidden; display: flex; flex-direction: column; }
li img { width: 100%; display: block; border-bottom: 1px solid #8886; }
li div { padding: .5rem .8rem; font-size: .9rem; overflow-wrap: anywhere; } li p { margin: .25rem 0; }
.number { font-weight: 700; } .muted { opacity: .7; } .bad { color: #c22; font-weight: 600; } .good { color: #182; }
code { font-size: .85em; }"""


def film_strip(folder: Path) -> str:
    """The page of a trace; pictures are embedded, made smaller where they are large."""
    lines = list(read_trace(folder))
    start: dict[str, Any] = next((line for line in lines if line.get("kind") == "start"), {})
    end: dict[str, Any] = next((line for line in lines if line.get("kind") == "end"), {})
    steps = [line for line in lines if line.get("kind") == "step"]
    made = " \u00b7 ".join(
        escape(str(part))
        for part in (f"model {start.get('model', '?')}", start.get("on", ""), f"{len(steps)} steps", _ending(end))
        if part
    )
    items = "\n".join(_step(folder, step) for step in steps)
    answer = f"<p>Answer: <strong>{escape(str(end['answer']))}</strong></p>" if end.get("answer") else ""
    return page(escape(str(start.get("task", "a run"))), f"<p class=muted>{made}</p>{answer}<ol>{items}</ol>", _STYLE)


def _ending(end: dict[str, Any]) -> str:
    if not end:
        return "the run was cut off"
    return " ".join(filter(None, (str(end.get("status", "")), f"({end['reason']})" if end.get("reason") else "")))


def _step(folder: Path, step: dict[str, Any]) -> str:
    picture = step.get("drawn") or step.get("screenshot")
    shown = f'<img alt="step {step["number"]}" src="{_embedded(folder / picture)}">' if picture else ""
    outcome = str(step.get("outcome", ""))
    rows = [
        f"<p><span class=number>{step['number']}.</span> {escape(str(step.get('said') or step.get('words', '')))}</p>"
    ]
    if step.get("thought"):
        rows.append(f"<p class=muted>{escape(str(step['thought']))}</p>")
    rows.append(f"<p><code>{escape(str(step.get('words', '')))}</code></p>")
    if step.get("target"):
        rows.append(f"<p class=muted>on {escape(str(step['target']))}</p>")
    style = "good" if outcome in ("done", "finished") else "bad"
    reason = f": {escape(str(step['reason']))}" if step.get("reason") else ""
    unchanged = ", nothing changed" if step.get("changed") is False else ""
    rows.append(f"<p class={style}>{escape(outcome)}{unchanged}{reason}</p>")
    rows += [f"<p class=muted>{escape(str(note))}</p>" for note in step.get("notes", ())]
    return f"<li>{shown}<div>{''.join(rows)}</div></li>"


def _embedded(path: Path) -> str:
    try:
        image = Image.open(path).convert("RGB")
    except OSError:
        return ""
    if image.width > MAX_WIDTH:
        image = image.resize((MAX_WIDTH, round(image.height * MAX_WIDTH / image.width)))
    buffer = io.BytesIO()
    # Screens are flat: a palette is smaller than JPEG and keeps letters sharp.
    image.quantize(128, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
