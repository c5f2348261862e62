"""Values beside their labels, found in what was read: how a form is filled where the model reads lines and not pages.

The words that are most like a field's name are its label; its value is what follows on the same line, else the nearest
line to the right on the same level, else the line below. Small mistakes of reading ("Tolal") do not matter.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Sequence

from regard.apps.documents.result import DocumentText, Line

ALIKE = 0.72  # of the letters of a label


def beside_label(name: str, document: DocumentText) -> tuple[int, str] | None:
    """Page (1-based, in the order given) and text of the value beside the label that a field's name means, or None."""
    wanted = plain(re.sub(r"[_-]+", " ", name))
    best: tuple[float, int, str] | None = None
    for number, page in enumerate(document.pages, 1):
        for line in page.lines:
            found = _label(line, wanted)
            if found is None:
                continue
            likeness, rest = found
            value = rest or _neighbour(line, page.lines)
            if value and (best is None or likeness > best[0] + 1e-6):
                best = (likeness, number, value)
    return None if best is None else best[1:]


def _label(line: Line, wanted: str) -> tuple[float, str] | None:
    """How like the beginning of a line is to a label, and what follows it."""
    words = line.text.split()
    best: tuple[float, str] | None = None
    for count in range(1, min(len(words), 6) + 1):
        said = plain("".join(words[:count]))
        if not said or abs(len(said) - len(wanted)) > 0.5 * len(wanted) + 1:
            continue
        likeness = difflib.SequenceMatcher(None, said, wanted, autojunk=False).ratio()
        if likeness >= ALIKE and (best is None or likeness > best[0]):
            best = (likeness, " ".join(words[count:]).lstrip(":=-. ").strip())
    return best


def _neighbour(line: Line, lines: Sequence[Line]) -> str:
    """The text to the right of a line on its level, or below it."""
    height = line.box[3] - line.box[1]
    middle = (line.box[1] + line.box[3]) / 2
    right = [
        other
        for other in lines
        if other.box[0] >= line.box[2] and other.box[1] <= middle <= other.box[3] and other.text
    ]
    if right:
        return min(right, key=lambda other: other.box[0]).text
    below = [
        other
        for other in lines
        if 0 <= other.box[1] - line.box[3] < 1.5 * height
        and abs(other.box[0] - line.box[0]) < 2 * height
        and other.text
    ]
    return min(below, key=lambda other: other.box[1]).text if below else ""


def plain(text: str) -> str:
    """Letters and digits only, in one case and width."""
    return "".join(letter for letter in unicodedata.normalize("NFKC", text).casefold() if letter.isalnum())
