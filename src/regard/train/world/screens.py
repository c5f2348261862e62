"""Simple program screens: a bank rendered once by real Chromium, and questions drawn from it at training time.

    build_bank(Path("screens"), count=4000, seed=1, held_out=False)
    bank = ScreenBank(Path("screens"))
    sample = bank.sample(numpy.random.default_rng(0))

A bank is a folder of ZIP files with `SHARD_SIZE` screens each (`00012.png`, `00012.json`) and a `bank.json` that
says how it was made. Screen i follows from (seed, i) alone, so a bank can be continued after an interruption
and extended by asking for a larger `count`. Screens on which too little can be asked are drawn again.
Questions and their answers are in `screen_questions`; the HTML is made by `screen_layouts`.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from regard.errors import ConfigError, EngineError, InputError
from regard.train.world.browser import RenderedScreen, SheetBrowser
from regard.train.world.sample import Char, DenseTruth, Item, Sample
from regard.train.world.screen_layouts import make_page
from regard.train.world.screen_questions import ask, askable
from regard.train.world.screen_widgets import KINDS

__all__ = ["KINDS", "SHARD_SIZE", "Screen", "ScreenBank", "build_bank"]

SHARD_SIZE = 500
MIN_ASKABLE = 2
BANK_VERSION = 4  # raise it when the same seed draws other screens
_MAX_ATTEMPTS = 20


@dataclass(frozen=True)
class Screen:
    """One screen of a bank: its picture and what Chromium said is on it (see `browser.RenderedScreen`)."""

    image: Image.Image
    widgets: tuple[dict[str, Any], ...]
    dense: DenseTruth


def build_bank(
    folder: Path, *, count: int, seed: int, held_out: bool, on_progress: Callable[[int, int], None] | None = None
) -> None:
    """Render `count` screens into `folder`, keeping complete shards that are already there.

    `on_progress(done, count)` is called after every shard that had to be rendered.
    Errors: ConfigError when the folder holds a bank of another seed, side or version.
    """
    folder.mkdir(parents=True, exist_ok=True)
    recipe = {"version": BANK_VERSION, "seed": seed, "held_out": held_out}
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
            _write_shard(path, indices, _render(browser, indices, seed=seed, held_out=held_out))
            if on_progress is not None:
                on_progress(indices.stop, count)


def _is_complete(path: Path, num_screens: int) -> bool:
    if not path.is_file():
        return False
    with zipfile.ZipFile(path) as shard:
        return len(shard.namelist()) == 2 * num_screens


def _render(browser: SheetBrowser, indices: Sequence[int], *, seed: int, held_out: bool) -> list[RenderedScreen]:
    """Render screens, drawing those again on which fewer than MIN_ASKABLE widgets can be asked for."""
    finished: dict[int, RenderedScreen] = {}
    for attempt in range(_MAX_ATTEMPTS):
        missing = [i for i in indices if i not in finished]
        if not missing:
            break
        pages = [make_page(np.random.default_rng([seed, i, attempt]), held_out=held_out) for i in missing]
        for i, screen in zip(missing, browser.render(pages), strict=True):
            if len(askable(screen.widgets)) >= MIN_ASKABLE:
                finished[i] = screen
    if len(finished) < len(indices):
        raise EngineError(
            f"{len(indices) - len(finished)} screens still had too few widgets after {_MAX_ATTEMPTS} draws"
        )
    return [finished[i] for i in indices]


def _write_shard(path: Path, indices: Sequence[int], screens: Sequence[RenderedScreen]) -> None:
    partial = path.with_suffix(".partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as shard:
        for i, screen in zip(indices, screens, strict=True):
            picture = io.BytesIO()
            screen.image.save(picture, "PNG", compress_level=1)
            truth = {"widgets": screen.widgets, "text": screen.text, "xs": screen.xs, "ys": screen.ys}
            shard.writestr(f"{i:06d}.png", picture.getvalue())
            shard.writestr(f"{i:06d}.json", json.dumps(truth, separators=(",", ":")))
    partial.rename(path)


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
        items = tuple(
            Item(w["kind"], tuple(w["box"]), w["label"] if w["kind"] != "slider" else "") for w in truth["widgets"]
        )
        chars = tuple(Char(c, x, y) for c, x, y in zip(truth["text"], truth["xs"], truth["ys"], strict=True))
        return Screen(image, tuple(truth["widgets"]), DenseTruth(items, chars))

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
