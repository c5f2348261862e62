"""What the model is asked: the first version of the page, a list of its elements, a better version.

The first prompt is the family's own (mmcode cookbook). The bundled model gets it bare; larger ones also what makes a
page that can be used as it stands: one file, no scripts, pictures named with their places.
"""

from __future__ import annotations

from PIL import Image

from regard.apps.coding.compare import Comparison, Scores
from regard.apps.coding.render import Rect

PAGE = "Analyze this screenshot and convert it to clean, functional and modern HTML code."
PAGE_RULES = (
    " Write one file with semantic elements and CSS in a <style> element, responsive, without scripts and without "
    "files from elsewhere. The page is {width} pixels wide in the screenshot. Write each picture and logo as "
    '<img alt="what it shows" data-bbox="x1 y1 x2 y2"> with its place in the screenshot, relative, 0-1000. '
    "Copy all text exactly."
)
ELEMENTS = (
    "List all elements of this screen with their kind and text. Report bbox_2d, label and text_content in JSON format."
)
CHART = "Convert this chart image to Python matplotlib code that can reproduce the chart."
MAX_DIFFERENCES = 4
MAX_WORDS = 8
CROP_MARGIN_PX = 24


def page_prompt(width: int, *, is_small: bool) -> str:
    """The question for the first version."""
    return PAGE if is_small else PAGE + PAGE_RULES.format(width=width)


def revision(mockup: Image.Image, page: Image.Image, html: str, comparison: Comparison) -> list[str | Image.Image]:
    """The question for a better version: both pictures, pairs of crops where they differ most, and words."""
    what: list[str | Image.Image] = [
        "The first picture is the mock-up, the second a screenshot of the page that you wrote for it.", mockup, page,
    ]  # fmt: skip
    for number, box in enumerate(worst(comparison, mockup.size), 1):
        what += [f"Difference {number}: first the mock-up, then the page at the same place.",
                 _crop(mockup, box), _crop(page, box)]  # fmt: skip
    task = (
        "Write the whole corrected page in one ```html block, without scripts and without files from elsewhere. "
        "Keep the addresses of its pictures (assets/...). Change nothing that is right."
    )
    code = ("The page's code:", "```html", html.strip(), "```")
    what.append("\n".join(("These things differ:", *words(comparison), "", *code, "", task)))
    return what


def words(comparison: Comparison) -> list[str]:
    """What differs, in sentences, the largest first."""
    found: list[tuple[float, str]] = []
    for block in comparison.missing:
        found.append((_area(block.box), f'- The text "{block.text}" at ({_at(block.box)}) is missing.'))
    for block in comparison.extra:
        found.append((_area(block.box), f'- The text "{block.text}" at ({_at(block.box)}) is not in the mock-up.'))
    for pair in comparison.pairs:
        if pair.text < 0.98:
            found.append((_area(pair.wanted.box), f'- "{pair.found.text}" should read "{pair.wanted.text}".'))
        dx, dy = (pair.wanted.box[i] - pair.found.box[i] for i in (0, 1))
        if max(abs(dx), abs(dy)) > 12:
            moved = f"should be {abs(round(dx))} px further {'right' if dx > 0 else 'left'} and {abs(round(dy))} px "
            moved += "lower" if dy > 0 else "higher"
            found.append((_area(pair.wanted.box) * 0.5, f'- "{pair.wanted.text}" {moved}.'))
        wanted, drawn = (box[3] - box[1] for box in (pair.wanted.box, pair.found.box))
        if not 0.8 < wanted / max(drawn, 1) < 1.25:
            larger = "larger" if wanted > drawn else "smaller"
            found.append((_area(pair.wanted.box) * 0.4, f'- The letters of "{pair.wanted.text}" should be {larger}.'))
    found.sort(key=lambda entry: -entry[0])
    return [text for _, text in found[:MAX_WORDS]] or ["- Grounds, lines or pictures; see the two pictures."]


def worst(comparison: Comparison, size: tuple[int, int]) -> list[Rect]:
    """The places to look at: what is missing or too much or moved furthest, largest first."""
    places = [(_area(block.box), block.box) for block in (*comparison.missing, *comparison.extra)]
    places += [(_area(p.wanted.box) * (1 - p.text), p.wanted.box) for p in comparison.pairs if p.text < 0.9]
    places.sort(key=lambda place: -place[0])
    return [box for _, box in places[:MAX_DIFFERENCES]]


def scores_text(scores: Scores) -> str:
    """One line for people."""
    names = ("block", "text", "position", "color", "ssim")
    return f"{scores.total:.3f} (" + ", ".join(f"{name} {getattr(scores, name):.2f}" for name in names) + ")"


def _crop(picture: Image.Image, box: Rect) -> Image.Image:
    x1, y1 = max(int(box[0]) - CROP_MARGIN_PX, 0), max(int(box[1]) - CROP_MARGIN_PX, 0)
    x2, y2 = int(box[2]) + CROP_MARGIN_PX, int(box[3]) + CROP_MARGIN_PX
    return picture.crop((x1, y1, max(x2, x1 + 32), max(y2, y1 + 32)))  # outside the picture Pillow fills with black


def _at(box: Rect) -> str:
    return f"{round(box[0])}, {round(box[1])}"


def _area(box: Rect) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
