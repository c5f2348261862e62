"""Screens in banks: rendered once by real Chromium, questions are drawn from them at training time.

    build_bank(Path("screens"), count=4000, seed=1, held_out=False)
    bank = ScreenBank(Path("screens"))
    sample = bank.sample(numpy.random.default_rng(0))

A bank is a folder of ZIP files with `SHARD_SIZE` screens each (`00012.png`, `00012.json`) and a `bank.json` that
says how it was made. Screen i follows from (seed, i) alone, so a bank can be continued after an interruption
and extended by asking for a larger `count`. Screens on which too little can be asked are drawn again.
Questions and their answers are in `screen_questions`; the HTML is made by `screen_layouts`.

A `BankKind` says what the screens of a bank are: simple program screens (`SCREENS`), or those of another module, which
then carry `extra` truth of their own.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from regard.errors import ConfigError, EngineError, InputError
from regard.train.world.browser import RenderedScreen, ScreenPage, SheetBrowser
from regard.train.world.sample import Char, DenseTruth, Item, Sample
from regard.train.world.screen_layouts import make_page
from regard.train.world.screen_questions import ask, askable
from regard.train.world.screen_widgets import KINDS

__all__ = ["KINDS", "SCREENS", "SHARD_SIZE", "BankKind", "Screen", "ScreenBank", "build_bank", "write_bank"]

SHARD_SIZE = 500
MIN_ASKABLE = 2
BANK_VERSION = 4  # raise it when the same seed draws other screens
_MAX_ATTEMPTS = 20


@dataclass(frozen=True)
class Screen:
    """One screen of a bank: its picture and what Chromium said is on it (see `browser.RenderedScreen`).

    `extra` is what the page's maker knows beside it.
    """

    image: Image.Image
    widgets: tuple[dict[str, Any], ...]
    dense: DenseTruth
    extra: dict[str, Any] = field(default_factory=dict)


class MakePage(Protocol):
    """Draws one page and what is to be remembered of it (JSON types)."""

    def __call__(self, rng: np.random.Generator, *, held_out: bool) -> tuple[ScreenPage, dict[str, Any]]: ...


@dataclass(frozen=True)
class BankKind:
    """What the screens of a bank are. Raise `version` when the same seed draws others; `is_good` may refuse a screen.

    `finish` is given what was rendered, for example to cut off what is empty.
    """

    name: str
    version: int
    make: MakePage
    is_good: Callable[[RenderedScreen, dict[str, Any]], bool]
    finish: Callable[[RenderedScreen], RenderedScreen] = lambda screen: screen


def _make_screen(rng: np.random.Generator, *, held_out: bool) -> tuple[ScreenPage, dict[str, Any]]:
    return make_page(rng, held_out=held_out), {}


def _has_enough(screen: RenderedScreen, extra: dict[str, Any]) -> bool:
    return len(askable(screen.widgets)) >= MIN_ASKABLE


SCREENS = BankKind("screens", BANK_VERSION, _make_screen, _has_enough)


def build_bank(
    folder: Path,
    *,
    count: int,
    seed: int,
    held_out: bool,
    kind: BankKind = SCREENS,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Render `count` screens of a kind into `folder`, keeping complete shards that are already there.

    `on_progress(done, count)` is called after every shard that had to be rendered.
    Errors: ConfigError when the folder holds a bank of another seed, side or version.
    """
    folder.mkdir(parents=True, exist_ok=True)
    recipe: dict[str, Any] = {"version": kind.version, "seed": seed, "held_out": held_out}
    if kind.name != SCREENS.name:
        recipe["kind"] = kind.name
    about = folder / "bank.json"
    if about.is_file() and json.loads(about.read_text()) != recipe:
        raise ConfigError(f"{folder} holds another bank ({about.read_text()}), wanted {recipe}; use an empty folder")
    about.write_text(json.dumps(recipe))
    shards = {
        folder / f"shard-{start // SHARD_SIZE:04d}.zip": range(start, min(start + SHARD_SIZE, count))
        for start in range(0, count, SHARD_SIZE)
    }
    missing = {path: indices for path, indices in shards.items() if not _is_complete(path, len(indices))}
    if not missing:
        return
    with SheetBrowser() as browser:
        for path, indices in missing.items():
            _write_shard(path, indices, _render(browser, indices, kind, seed=seed, held_out=held_out))
            if on_progress is not None:
                on_progress(indices.stop, count)


def _is_complete(path: Path, num_screens: int) -> bool:
    if not path.is_file():
        return False
    with zipfile.ZipFile(path) as shard:
        return len(shard.namelist()) == 2 * num_screens


Made = tuple[RenderedScreen, dict[str, Any]]  # a screen, and what its maker knows


def _render(browser: SheetBrowser, indices: Sequence[int], kind: BankKind, *, seed: int, held_out: bool) -> list[Made]:
    """Render screens, drawing those again that are not good."""
    finished: dict[int, Made] = {}
    for attempt in range(_MAX_ATTEMPTS):
        missing = [i for i in indices if i not in finished]
        if not missing:
            break
        made = [kind.make(np.random.default_rng([seed, i, attempt]), held_out=held_out) for i in missing]
        rendered = browser.render([page for page, _ in made])
        for i, screen, (_, extra) in zip(missing, rendered, made, strict=True):
            if kind.is_good(screen, extra):
                finished[i] = kind.finish(screen), extra
    if len(finished) < len(indices):
        raise EngineError(f"{len(indices) - len(finished)} screens were still not good after {_MAX_ATTEMPTS} draws")
    return [finished[i] for i in indices]


def _write_shard(path: Path, indices: Sequence[int], screens: Sequence[Made]) -> None:
    partial = path.with_suffix(".partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as shard:
        for i, (screen, extra) in zip(indices, screens, strict=True):
            picture = io.BytesIO()
            screen.image.save(picture, "PNG", compress_level=1)
            truth: dict[str, Any] = {
                "widgets": screen.widgets,
                "text": screen.text,
                "xs": screen.xs,
                "ys": screen.ys,
            }
            if extra:
                truth["extra"] = extra
            shard.writestr(f"{i:06d}.png", picture.getvalue())
            shard.writestr(f"{i:06d}.json", json.dumps(truth, separators=(",", ":")))
    partial.rename(path)


def write_bank(folder: Path, screens: Sequence[Made]) -> None:
    """A bank of screens that were rendered elsewhere; at most SHARD_SIZE."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_shard(folder / "shard-0000.zip", range(len(screens)), screens)


class ScreenBank:
    """Random access to a bank; opens its files when they are first used, so it can be sent to other processes.

    Errors: InputError when the folder holds no bank.
    """

    def __init__(self, folder: Path) -> None:
        self._names = []
        self._shards: dict[Path, zipfile.ZipFile] = {}
        for path in sorted(folder.glob("shard-*.zip")):
            with zipfile.ZipFile(path) as shard:
                self._names += [(path, name[:-4]) for name in shard.namelist() if name.endswith(".png")]
        if not self._names:
            raise InputError(f"{folder} holds no screen bank; make one with build_bank")

    def __len__(self) -> int:
        return len(self._names)

    def __getstate__(self) -> dict[str, Any]:
        return {"_names": self._names, "_shards": {}}

    def screen(self, index: int) -> Screen:
        """Screen `index` with its picture decoded."""
        truth = self._truth(index)
        with Image.open(io.BytesIO(self._read(index, "png"))) as opened:
            image = opened.convert("RGB")
        items = tuple(Item(w["kind"], tuple(w["box"]), w["label"]) for w in truth["widgets"] if w["kind"] in KINDS)
        chars = tuple(Char(c, x, y) for c, x, y in zip(truth["text"], truth["xs"], truth["ys"], strict=True))
        return Screen(image, tuple(truth["widgets"]), DenseTruth(items, chars), truth.get("extra", {}))

    def sample(self, rng: np.random.Generator) -> Sample:
        """A question about a random screen with its answer."""
        screen = self.screen(int(rng.integers(len(self))))
        elsewhere = self.widgets(int(rng.integers(len(self))))
        return ask(rng, screen.image, screen.widgets, elsewhere, screen.dense)

    def widgets(self, index: int) -> tuple[dict[str, Any], ...]:
        """What is on screen `index`, without decoding its picture."""
        return tuple(self._truth(index)["widgets"])

    def _truth(self, index: int) -> dict[str, Any]:
        truth: dict[str, Any] = json.loads(self._read(index, "json"))
        return truth

    def _read(self, index: int, suffix: str) -> bytes:
        path, name = self._names[index]
        if path not in self._shards:
            self._shards[path] = zipfile.ZipFile(path)
        return self._shards[path].read(f"{name}.{suffix}")
