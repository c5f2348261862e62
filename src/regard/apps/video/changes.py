"""Where a clip changes, by its pixels alone: what decides which moments a model looks at.

A frame is reduced to a grid of 96x54 cells; a cell has changed when a colour of its average moved by more than
`CELL_LEVELS`. The share of changed cells between neighbouring frames is a curve over the whole clip, and a change is
where it stands out from its surroundings (`stands_out`): a film in which everything always moves has as few changes as
one in which nothing does. `locate` finds the exact frame within the decoded frames of a gap, and whether the changed
place looks like its surroundings before (something appears), after (something disappears) or neither.

A change so slow that no two neighbouring frames differ by `MIN_CELLS` cells is not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

Kind = Literal["appears", "disappears", "changes", "cut"]
Grid = npt.NDArray[np.int16]  # (54, 96, 3)
Place = tuple[float, float, float, float]  # x1, y1, x2, y2 as parts of width and height, 0 to 1

COLUMNS, ROWS = 96, 54
CELL_LEVELS = 20  # of 255: above what compression does to the average of a cell
MIN_CELLS = 4
CUT_SHARE = 0.4  # so much of the picture is another scene
_STANDS_OUT = 3.0  # times the median of the surroundings
_AROUND = 8  # frames to each side that are the surroundings
_MERGE_S = 0.35  # what happens within so little time is one change
_OWN_GROUND = 0.6  # the changed place is like its surroundings when it is so much closer to them than the other


@dataclass(frozen=True)
class Difference:
    """How two neighbouring frames differ: the share of changed cells, and the box around them."""

    share: float
    place: Place


@dataclass(frozen=True)
class Change:
    """Something that changes at `time_s`: exactly (the first frame that shows it), or else within `slack_s` before.

    `share` of the picture's cells changes, inside `place`.
    """

    time_s: float
    slack_s: float
    share: float
    kind: Kind
    place: Place


def difference(before: Grid, after: Grid) -> Difference:
    """Compare two grids."""
    changed = _changed(before, after)
    return Difference(float(changed.mean()), _place(changed))


def stands_out(values: Sequence[float], *, at_least: float = MIN_CELLS / (COLUMNS * ROWS)) -> list[int]:
    """Indices of the values (shares of changed cells, or bytes) that rise above their surroundings, ascending."""
    curve = np.asarray(values, np.float64)
    found = []
    for index in np.flatnonzero(curve >= at_least):
        first = max(0, index - _AROUND)
        around = np.concatenate([curve[first:index], curve[index + 1 : index + 1 + _AROUND]])
        if around.size < 4 or curve[index] > _STANDS_OUT * float(np.median(around)):
            found.append(int(index))
    return found


def locate(times_s: Sequence[float], grids: Sequence[Grid]) -> list[Change]:
    """The changes within a gap's decoded frames, in order of time; none if nothing jumps and its ends are alike."""
    if len(grids) < 2:
        return []
    counts = np.array([0] + [int(_changed(a, b).sum()) for a, b in zip(grids, grids[1:], strict=False)])
    usual = float(np.median(counts[1:]))
    jumps = [int(i) for i in np.flatnonzero((counts >= MIN_CELLS) & (counts > _STANDS_OUT * usual))]
    groups: list[list[int]] = []
    for jump in jumps:
        if groups and times_s[jump] - times_s[groups[-1][-1]] <= _MERGE_S:
            groups[-1].append(jump)
        else:
            groups.append([jump])
    found = []
    for group in groups:
        before, after = grids[group[0] - 1], grids[group[-1]]
        if int(_changed(before, after).sum()) >= MIN_CELLS:
            found.append(_change(times_s[group[0]], 0.0, before, after))
    if found or int(_changed(grids[0], grids[-1]).sum()) < MIN_CELLS:
        return found
    changed = _changed(grids[0], grids[-1])
    for index in range(1, len(grids)):  # slow: the first frame that is closer to the end than to the beginning
        to_start = np.abs(grids[index] - grids[0])[changed].sum()
        to_end = np.abs(grids[index] - grids[-1])[changed].sum()
        if to_end < to_start:
            return [_change(times_s[index], 0.0, grids[0], grids[-1])]
    return []


def merged(changes: Sequence[Change]) -> list[Change]:
    """In order of time; changes of one place within `_MERGE_S` are one."""
    kept: list[Change] = []
    for change in sorted(changes, key=lambda change: change.time_s):
        last = kept[-1] if kept else None
        if last is not None and change.time_s - last.time_s <= _MERGE_S and _overlap(last.place, change.place):
            kept[-1] = replace(last, share=max(last.share, change.share), place=_around(last.place, change.place))
        else:
            kept.append(change)
    return kept


def _change(time_s: float, slack_s: float, before: Grid, after: Grid) -> Change:
    changed = _changed(before, after)
    share = float(changed.mean())
    kind: Kind = "cut" if share >= CUT_SHARE else _kind(before, after, changed)
    return Change(time_s, slack_s, share, kind, _place(changed))


def _changed(before: Grid, after: Grid) -> npt.NDArray[np.bool_]:
    changed: npt.NDArray[np.bool_] = np.abs(after - before).max(axis=2) > CELL_LEVELS
    return changed


def _kind(before: Grid, after: Grid, changed: npt.NDArray[np.bool_]) -> Kind:
    """Which of the two looks, at the changed place, like what lies around that place."""
    near = _grown(_grown(changed))
    ring = _grown(_grown(near)) & ~near
    if not changed.any() or not ring.any():
        return "changes"
    ground = np.median(after[ring], axis=0)
    was = float(np.abs(before[changed] - ground).max(axis=1).mean())
    is_now = float(np.abs(after[changed] - ground).max(axis=1).mean())
    if was < _OWN_GROUND * is_now:
        return "appears"
    return "disappears" if is_now < _OWN_GROUND * was else "changes"


def _grown(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """One cell wider on every side."""
    grown = mask.copy()
    grown[1:] |= mask[:-1]
    grown[:-1] |= mask[1:]
    grown[:, 1:] |= mask[:, :-1]
    grown[:, :-1] |= mask[:, 1:]
    return grown


def _place(changed: npt.NDArray[np.bool_]) -> Place:
    if not changed.any():
        return 0.0, 0.0, 1.0, 1.0
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    return (
        float(columns[0] / COLUMNS), float(rows[0] / ROWS), float((columns[-1] + 1) / COLUMNS),
        float((rows[-1] + 1) / ROWS),
    )  # fmt: skip


def _around(one: Place, other: Place) -> Place:
    return min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3])


def _overlap(one: Place, other: Place) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
