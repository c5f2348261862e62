"""Which pictures are encoded next, a slice at a time.

Two works go on side by side: several small pictures together, and one large one. So a request with a small picture
does not wait for another's 16-megapixel one. Pictures come in turns: the first missing one of every request, then the
second of every request. A picture that several requests show is encoded once; work that nobody wants any more stops.
"""

from __future__ import annotations

from collections.abc import Sequence as Seq
from dataclasses import dataclass

from regard.engine.request import Sequence, VisualUnit
from regard.engine.vision_cache import VisionCache
from regard.engine.vision_encoder import ROWS_PER_SLICE, Slices, VisionEncoder
from regard.model.vision import VisionFeatures


@dataclass(frozen=True)
class Work:
    """Units being encoded."""

    units: tuple[VisualUnit, ...]
    slices: Slices


@dataclass(frozen=True)
class Wanted:
    """A unit without features, and everyone who waits for it: (sequence, index of the unit in it)."""

    unit: VisualUnit
    places: list[tuple[Sequence, int]]


class Sight:
    """Brings features to the sequences that need them."""

    def __init__(self, encoder: VisionEncoder, cache: VisionCache) -> None:
        self._encoder, self._cache = encoder, cache
        self._works: dict[str, Work] = {}

    def advance(self, running: Seq[Sequence], window: int) -> bool:
        """Hand out what is cached, then do one slice of each work; False if there was nothing to do.

        Only pictures among the next `window` tokens of a sequence count, so that a long clip does not fill the memory.
        """
        wanted = self._wanted(running, window)
        for lane, work in list(self._works.items()):
            if not any(unit.key in wanted for unit in work.units):
                work.slices.close()
                del self._works[lane]
        self._start(wanted)
        for lane, work in list(self._works.items()):
            try:
                next(work.slices)
            except StopIteration as finished:
                del self._works[lane]
                self._hand_out(work, finished.value, wanted)
        return bool(wanted)

    def _wanted(self, running: Seq[Sequence], window: int) -> dict[bytes, Wanted]:
        missing = {s.number: s.missing_units(s.num_computed + window) for s in running}
        wanted: dict[bytes, Wanted] = {}
        for turn in range(max(map(len, missing.values()), default=0)):
            for sequence in running:
                if turn >= len(missing[sequence.number]):
                    continue
                index = missing[sequence.number][turn]
                unit = sequence.visual.units[index]
                features = self._cache.get(unit.key)
                if features is not None:
                    sequence.features[index] = features
                else:
                    wanted.setdefault(unit.key, Wanted(unit, [])).places.append((sequence, index))
        return wanted

    def _start(self, wanted: dict[bytes, Wanted]) -> None:
        """Begin a work in each lane that is idle."""
        busy = {unit.key for work in self._works.values() for unit in work.units}
        waiting = [one.unit for key, one in wanted.items() if key not in busy]
        large = [unit for unit in waiting if unit.num_patches > ROWS_PER_SLICE]
        if large and "large" not in self._works:
            self._works["large"] = self._work(large[:1])
        together: list[VisualUnit] = []
        num_patches = 0
        for unit in waiting:
            if num_patches + unit.num_patches <= ROWS_PER_SLICE:
                together.append(unit)
                num_patches += unit.num_patches
        if together and "small" not in self._works:
            self._works["small"] = self._work(together)

    def _work(self, units: list[VisualUnit]) -> Work:
        # Pictures of equal size next to each other are attended as one batch.
        units = sorted(units, key=lambda unit: unit.grid_hw)
        return Work(tuple(units), self._encoder.encode(units))

    def _hand_out(self, work: Work, made: list[VisionFeatures], wanted: dict[bytes, Wanted]) -> None:
        for unit, features in zip(work.units, made, strict=True):
            self._cache.put(unit.key, features)
            if unit.key in wanted:
                for sequence, index in wanted[unit.key].places:
                    sequence.features[index] = features
                    sequence.encoded.add(index)
