"""200 conversations about a widget that regard-nano has never seen, and 50 others to measure with.

    python examples/finetune/make_data.py data/dials
    regard train data/dials/train.jsonl --held-out data/dials/test.jsonl --model nano --out runs/dials

The widget is a dial: a ring with a pointer, its name below. Each panel has two to four of them among buttons. Asked:
where a dial is (a box, in thousandths of the picture, as the family writes it) and whether it is turned up to more than
half. This is the form that your own data takes: pictures in a folder, one conversation a line.
"""

from __future__ import annotations

import json
import math
import random
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

# fmt: off
NAMES = (
    "Volume", "Bass", "Treble", "Gain", "Echo", "Tone", "Speed", "Heat", "Light", "Fan",
    "Pan", "Mix", "Drive", "Depth", "Rate", "Delay", "Attack", "Release", "Pitch", "Noise",
    "Power", "Level", "Focus", "Zoom", "Filter", "Decay", "Width", "Timer", "Grain", "Steam",
)
# fmt: on
BUTTONS = ("Save", "Reset", "Mute", "Start", "Stop", "Close", "Load", "Apply")
PAPERS = ("#ffffff", "#f3f4f6", "#fff8ec", "#eef4ff", "#20242c", "#2b2b2b")
ACCENTS = ("#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed")
SPAN = 270  # degrees from the lowest to the highest position


def panel(rng: random.Random) -> tuple[Image.Image, list[tuple[str, float, tuple[float, float, float, float]]]]:
    """A picture, and the name, the position (0 to 1) and the box of each of its dials."""
    columns, rows = rng.choice(((3, 2), (4, 2), (3, 3)))
    cell = rng.randint(72, 96)
    width, height = columns * cell + 16, rows * cell + 16
    paper, accent = rng.choice(PAPERS), rng.choice(ACCENTS)
    ink = "#f1f1f1" if paper.startswith("#2") else "#222222"
    picture = Image.new("RGB", (width, height), paper)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(rng.randint(13, 16))
    places = [(8 + column * cell, 8 + row * cell) for row in range(rows) for column in range(columns)]
    rng.shuffle(places)
    dials = []
    for name in rng.sample(NAMES, rng.randint(2, 4)):
        x, y = places.pop()
        radius = rng.uniform(0.26, 0.32) * cell
        cx, cy, position = x + cell / 2, y + 0.4 * cell, rng.random()
        box = (cx - radius, cy - radius, cx + radius, cy + radius)
        draw.ellipse(box, outline=ink, width=2)
        start = 90 + (360 - SPAN) / 2
        draw.arc(box, start, start + SPAN * position, fill=accent, width=4)
        angle = math.radians(start + SPAN * position)
        tip = (cx + 0.8 * radius * math.cos(angle), cy + 0.8 * radius * math.sin(angle))
        draw.line((cx, cy, *tip), fill=ink, width=3)
        draw.text((cx, y + 0.88 * cell), name, fill=ink, font=font, anchor="mm")
        dials.append((name, position, box))
    for label in rng.sample(BUTTONS, min(len(places), rng.randint(1, 3))):
        x, y = places.pop()
        draw.rounded_rectangle((x + 6, y + 0.3 * cell, x + cell - 6, y + 0.62 * cell), 5, fill=accent)
        draw.text((x + cell / 2, y + 0.46 * cell), label, fill="white", font=font, anchor="mm")
    return picture, dials


def conversation(rng: random.Random, folder: Path, number: int) -> dict[str, object]:
    picture, dials = panel(rng)
    picture.save(folder / f"{number}.png")
    name, position, box = rng.choice(dials)
    if rng.random() < 0.75:
        sides = (picture.width, picture.height, picture.width, picture.height)
        numbers = ", ".join(str(round(1000 * value / side)) for value, side in zip(box, sides, strict=True))
        question = f"Where is the {name} dial?"
        answer = f'```json\n[\n\t{{"bbox_2d": [{numbers}], "label": "{name}"}}\n]\n```'
    else:
        question, answer = f"Is the {name} dial above half?", "Yes." if position > 0.5 else "No."
    content = [{"type": "image", "image": f"{folder.name}/{number}.png"}, {"type": "text", "text": question}]
    return {"messages": [{"role": "user", "content": content}, {"role": "assistant", "content": answer}]}


def main() -> None:
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "data/dials")
    for split, count, seed in (("train", 200, 1), ("test", 50, 2)):
        folder = target / split
        folder.mkdir(parents=True, exist_ok=True)
        rng = random.Random(seed)
        lines = [json.dumps(conversation(rng, folder, number)) for number in range(count)]
        (target / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{target / 'train.jsonl'} and {target / 'test.jsonl'} are written")


if __name__ == "__main__":
    main()
