"""What comes back from `mockup_to_code`: the page and how it came about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image

from regard.apps.coding.compare import Scores
from regard.apps.coding.images import difference, side_by_side
from regard.apps.coding.render import Rendered
from regard.apps.result import Box2D, Result, write_whole
from regard.errors import InputError

Source = Literal["answer", "elements", "segmentation"]


class Step(Result):
    """One version that was tried. `scores` None: it could not be drawn or was no page; `note` says why."""

    kind: Literal["answer", "elements", "segmentation", "measured", "revision"]
    scores: Scores | None
    is_kept: bool
    note: str = ""


class MockupResult(Result):
    """`source`: where the kept page comes from: the model's own HTML ("answer"), a list of elements that it wrote
    ("elements"), or grounds and lines found in the picture, whose words it read ("segmentation").

    `first` and `scores` compare the first version and the kept one with the mock-up, as the loop saw them: by the
    words that the model reads in it. `pictures` are cut out of the mock-up (`label` is the file). Sizes in pixels.
    """

    source: Source
    first_source: Source
    first: Scores
    scores: Scores
    steps: tuple[Step, ...]
    num_lines_read: int
    pictures: tuple[Box2D, ...]
    removed: tuple[str, ...]
    blocked: tuple[str, ...]
    repairs: tuple[str, ...]
    width: int
    height: int
    scale: float
    html: str


@dataclass(frozen=True)
class CodedPage:
    """A page made from a mock-up, with the pictures that belong to it and those that show how near it is."""

    result: MockupResult
    assets: Mapping[str, Image.Image]
    mockup: Image.Image
    first_drawn: Rendered
    last_drawn: Rendered

    @property
    def before(self) -> Image.Image:
        """The first version as Chromium drew it."""
        return self.first_drawn.image

    @property
    def after(self) -> Image.Image:
        """The kept version as Chromium drew it."""
        return self.last_drawn.image

    @property
    def difference(self) -> Image.Image:
        """What differs: red only in the mock-up, blue only in the page."""
        return difference(self.mockup, self.after)

    def comparison(self) -> Image.Image:
        """Mock-up, first version, kept version and difference in one row."""
        first, last = self.result.first.total, self.result.scores.total
        return side_by_side((
            ("mock-up", self.mockup), (f"first version: {first:.3f}", self.before),
            (f"kept version: {last:.3f}", self.after), ("difference", self.difference),
        ))  # fmt: skip

    def save(self, folder: str | Path) -> list[Path]:
        """Write index.html, assets/, comparison.png, difference.png, after.png and report.json into a folder.

        Errors: InputError if that cannot be done.
        """
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if self.assets:
                (folder / "assets").mkdir(exist_ok=True)
            for name, picture in self.assets.items():
                picture.save(folder / name)
            shown = {"before": self.before, "after": self.after, "difference": self.difference}
            for name, picture in (shown | {"comparison": self.comparison()}).items():
                picture.save(folder / f"{name}.png")
        except OSError as error:
            raise InputError(f"{folder} cannot be written ({error.strerror}); name another folder") from None
        self.result.save(folder / "report.json")
        write_whole(folder / "index.html", self.result.html.encode())  # last: a page is there when all of it is
        return [folder / "index.html", folder / "comparison.png", folder / "report.json"]


class ChartResult(Result):
    """Code that should reproduce a chart. It is never run here. `repairs` as in `apps.reading`."""

    code: str
    repairs: tuple[str, ...]
