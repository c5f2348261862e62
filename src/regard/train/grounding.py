"""Attention supervision: heads of the decoder that look at the cells an answer is about.

To answer "where is Save?" the decoder has to find, among hundreds of visual tokens, those that show the name, and then
write where they are. From the written digits alone a small model learns the finding very slowly: until it finds, the
digits say nothing about how. Reading long texts is alike: it has to find the next character first. So groups of heads
in three layers are told where to look:

    before   layer 0, at every visual token of a clip: the same cell of the two frames before
    time     layer 0, at every visual token of a clip: the digits of its group's time
    seen     layer 1, at every token that names something, in the question (or in the action's description): the cells
             that it covers by a third; in a clip those of the moment that is asked for
    asked    layer 2, at the first token of a box, a point or an answer: the tokens that name what it is about
    other    layer 2, there: the tokens that name the second thing, where two are compared
    point    layer 3, at every token that predicts a part of a box, a point or an answer: the cells that it is about;
             the mark before the picture, if that is not in it
    read     layer 3, at every token that predicts a character of a text that occurs once in the picture: the cell
             it lies in
    against  layer 3, at the first token of an answer that compares two things: the cells of the second
    counted  layer 3, at the first digit of a count: the middle cell of each thing, and the mark before the picture, all
             alike: what is left for the mark, one of n + 1 parts, says n
    stamp    layer 4, at every token that predicts a part of a time: the digits of the group's time
    loss     -log(sum of the attention on these cells or words); of several areas, the mean over them, so that all of
             what is counted is looked at

So a name is matched with the picture piece by piece, where the letters before each piece are at hand; characters of the
whole name at once are not enough to tell its cells from others.

The first token of a place leads (LATER_WEIGHT): once its first digit is given, the rest is found from that digit, and
taught alike, such tokens hide that the place was not found from the question.

The heads stay the model's own; nothing is added to it. Leaves out samples with several pictures or clips.
Shape letters: B samples, T tokens, R rows of a sample that are told, N heads, D head_dim.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from regard.model.qwen3_vl import Qwen3VL
from regard.model.rope import rotate
from regard.train.world.sample import Area, Clue, DenseTruth

# Layer (in a shallower model the last one) and key-value head.
HEADS = {
    "before": (0, 0),
    "time": (0, 1),
    "seen": (1, 1),
    "asked": (2, 0),
    "other": (2, 1),
    "point": (3, 0),
    "read": (3, 1),
    "against": (3, 2),
    "counted": (3, 3),
    "stamp": (4, 0),
}
ROWS = 16  # rows are padded to multiples of it
LATER_WEIGHT = 0.03
# The family writes both in 0-1000 of the picture.
COORDINATES = re.compile(r'"(?:bbox_2d|point_2d|coordinate)": \[(\d+(?:, \d+){3}|\d+, \d+)\]')
_LABEL = re.compile(r', "label": "([^"]+)"')
_ACTION = re.compile(r'Action: "\w+ ([^"]+)"')


@dataclass(frozen=True)
class Name:
    """Tokens that name something, and where it is."""

    tokens: tuple[int, ...]
    areas: tuple[Area, ...]


@dataclass(frozen=True)
class Place:
    """Tokens first..last-1 predict what is said about `areas`; `kind` is "point" or "read".

    `names` are those of the things it is about. `is_time`: it is the time of its first area. `is_count`: it is the
    number of its areas.
    """

    kind: str
    first: int
    last: int
    areas: tuple[Area, ...]
    names: tuple[Name, ...] = ()
    is_time: bool = False
    is_count: bool = False


@dataclass(frozen=True)
class GroundingTargets:
    """Shapes: rows (B, R) int64, padded with -1; weights (B, R) float32; is_target (B, R, T) bool."""

    rows: Tensor
    weights: Tensor
    is_target: Tensor


def area_of(numbers: str) -> Area:
    """`120, 40, 310, 88` or `120, 40` in 0-1."""
    values = [int(number) / 1000 for number in numbers.split(", ")]
    x1, y1, x2, y2 = values if len(values) == 4 else (*values, *values)
    return Area((x1, y1, x2, y2))


def clue_spans(clues: Sequence[Clue], pieces: Sequence[str]) -> Iterator[tuple[Clue, int, int]]:
    """First and last + 1 of an answer's pieces that say each clue.

    Raises:
        ValueError: the answer does not say it, after the clues before it.
    """
    text = "".join(pieces)
    ends = np.cumsum([len(piece) for piece in pieces])
    end = 0
    for clue in clues:
        start = text.find(clue.said, end)
        if start < 0:
            raise ValueError(f"The answer {text!r} does not say {clue.said!r} after its first {end} characters.")
        end = start + len(clue.said)
        first, last = np.searchsorted(ends, (start, end - 1), side="right")
        yield clue, int(first), int(last) + 1


def names(answer: str) -> list[str]:
    """What each place of an answer is called in it, in their order; '' where nothing calls it."""
    found = []
    for place in COORDINATES.finditer(answer):
        called = _LABEL.match(answer, place.end()) or _ACTION.search(answer, 0, place.start())
        found.append(called[1] if called else "")
    return found


def asked_tokens(name: str, pieces: Sequence[str]) -> tuple[int, ...]:
    """The pieces of a text that belong to the last mention of `name`, or else of its words, in any case."""
    text = "".join(pieces).lower()
    ends = np.cumsum([len(piece) for piece in pieces])
    chosen: set[int] = set()
    for wanted in [name] if _mentions(name, text) else name.split():
        for mention in _mentions(wanted, text)[-1:]:
            first, last = np.searchsorted(ends, (mention.start(), mention.end() - 1), side="right")
            chosen |= set(range(int(first), int(last) + 1))
    return tuple(sorted(chosen))


def _mentions(name: str, text: str) -> list[re.Match[str]]:
    """Where a lower-case text has the name as words of its own, one or many of it."""
    return list(re.finditer(rf"(?<!\w){re.escape(name.lower())}(?:e?s)?(?!\w)", text)) if name else []


def read_places(
    text: str, num_ids: Sequence[int], first: int, dense: DenseTruth, size: tuple[int, int]
) -> Iterator[Place]:
    """Places of a text's characters, if it occurs once in the picture of `size` (width, height) px.

    `num_ids` is how many tokens spell each character, and `first` the token that predicts the first of them.
    """
    shown = "".join(char.char for char in dense.chars)
    wanted = "".join(text.split())
    at = shown.find(wanted) if wanted and len(shown) == len(dense.chars) else -1
    if at < 0 or shown.find(wanted, at + 1) >= 0:
        return
    for character, count in zip(text, num_ids, strict=True):
        if not character.isspace():
            x, y = dense.chars[at].x / size[0], dense.chars[at].y / size[1]
            yield Place("read", first, first + count, (Area((x, y, x, y)),))
            at += 1
        first += count


def middle_of(area: Area) -> Area:
    """The point in its middle."""
    x1, y1, x2, y2 = area.box
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    return Area((x, y, x, y), area.group)


def covered_cells(box: Sequence[float], rows: int, columns: int) -> npt.NDArray[np.bool_]:
    """The cells that a box covers by more than a third of the cell or of itself, per axis. Shape: (rows * columns,)."""
    covered = []
    for low, high, count in ((box[1], box[3], rows), (box[0], box[2], columns)):
        start, end = low * count, max(high * count, low * count + 1e-3)
        cells = np.arange(count)
        shared = np.minimum(end, cells + 1) - np.maximum(start, cells)
        is_in = shared > min(1.0, end - start) / 3
        if not is_in.any():
            is_in[min(count - 1, int((start + end) / 2))] = True
        covered.append(is_in)
    return (covered[0][:, None] & covered[1][None]).reshape(-1)


Told = tuple[int, float, npt.NDArray[np.int64]]  # a token, its weight, the tokens to look at


def grounding_targets(
    places: Sequence[Sequence[Place]],
    grids: Sequence[Sequence[tuple[int, int, int]]],
    stamps: Sequence[Sequence[tuple[int, ...]]],
    visual_mask: Tensor,
    *,
    merge: int,
) -> dict[str, GroundingTargets]:
    """Rows and targets of a batch, by kind; no entry for a kind that no sample with one picture or clip has.

    `stamps` are the tokens of the digits of each group's time, of samples with one clip.
    """
    told: list[dict[str, list[Told]]] = []
    for of_sample, sizes, times, mask in zip(places, grids, stamps, visual_mask, strict=True):
        rows: dict[str, list[Told]] = {kind: [] for kind in HEADS}
        told.append(rows)
        if len(sizes) == 1:
            # (T, H, W) tokens of the picture or clip.
            num_groups, height, width = sizes[0]
            visual = mask.nonzero()[:, 0].numpy().reshape(num_groups, height // merge, width // merge)
            _tell_of_groups(rows, visual, times)
            for place in of_sample:
                _tell_of_place(rows, place, visual, times)
    return {kind: made for kind in HEADS if (made := _padded([rows[kind] for rows in told], visual_mask.shape[1]))}


def _tell_of_groups(
    rows: dict[str, list[Told]], visual: npt.NDArray[np.int64], times: Sequence[tuple[int, ...]]
) -> None:
    """What every visual token of a clip is told."""
    for earlier, later in zip(visual[:-1].ravel(), visual[1:].ravel(), strict=True):
        rows["before"].append((int(later), 1.0, np.array([earlier])))
    for cells, digits in zip(visual, times, strict=False):  # a picture has no time
        rows["time"] += [(int(cell), 1.0, np.array(digits)) for cell in cells.ravel()]


def _tell_of_place(
    rows: dict[str, list[Told]], place: Place, visual: npt.NDArray[np.int64], times: Sequence[tuple[int, ...]]
) -> None:
    def cells(area: Area) -> npt.NDArray[np.int64]:
        return visual[area.group].ravel()[covered_cells(area.box, *visual.shape[1:])]

    for name in place.names:
        for area in name.areas:
            looked_at = cells(area)
            rows["seen"] += [(token, 1 / len(name.areas), looked_at) for token in name.tokens]
    for kind, name in zip(("asked", "other"), place.names, strict=False):
        if name.tokens:
            rows[kind].append((place.first, 1.0, np.array(name.tokens)))
    mark = visual[0, :1, 0] - 1
    if place.names and not place.areas:
        rows["point"].append((place.first, 1.0, mark))
    for name in place.names[1:2]:
        rows["against"] += [(place.first, 1 / len(name.areas), cells(area)) for area in name.areas]
    if place.is_count:
        middles = [cells(middle_of(area)) for area in place.areas]
        rows["counted"] += [(place.first, 1 / (1 + len(middles)), looked_at) for looked_at in (mark, *middles)]
    told = [(place.kind, 1 / len(place.areas), cells(area)) for area in place.areas]
    if place.is_time and times:
        told.append(("stamp", 1.0, np.array(times[place.areas[0].group])))
    for kind, weight, looked_at in told:
        rows[kind].append((place.first, weight, looked_at))
        rows[kind] += [(token, weight * LATER_WEIGHT, looked_at) for token in range(place.first + 1, place.last)]


def _padded(told: list[list[Told]], num_tokens: int) -> GroundingTargets | None:
    longest = max(len(rows) for rows in told)
    if longest == 0:
        return None
    longest += -longest % ROWS
    rows = torch.full((len(told), longest), -1)
    weights = torch.zeros(len(told), longest)
    is_target = torch.zeros(len(told), longest, num_tokens, dtype=torch.bool)
    for index, of_sample in enumerate(told):
        for at, (token, weight, looked_at) in enumerate(of_sample):
            rows[index, at], weights[index, at] = token, weight
            is_target[index, at, looked_at] = True
    return GroundingTargets(rows, weights, is_target)


class AttentionInput:
    """Keeps what the attention of the told layers is given, while the model runs."""

    def __init__(self, model: Qwen3VL) -> None:
        layers: Any = model.model.language_model.layers
        self._attention = {number: layers[min(number, len(layers) - 1)].self_attn for number, _ in HEADS.values()}
        self._given: dict[int, tuple[Any, ...]] = {}
        for number, attention in self._attention.items():
            attention.register_forward_pre_hook(partial(self._keep, number))

    def _keep(self, number: int, _: Any, given: tuple[Any, ...]) -> None:
        self._given[number] = given

    def loss(self, kind: str, targets: GroundingTargets) -> tuple[Tensor, float]:
        """The loss of the last run, and the mean attention on the targets of the places' first tokens."""
        number, head = HEADS[kind]
        x_BTH, cos_BTD, sin_BTD, _ = self._given[number]
        attention = self._attention[number]
        dim = attention.head_dim
        group = attention.q_proj.out_features // attention.k_proj.out_features
        query_weight = attention.q_proj.weight.unflatten(0, (-1, group * dim))[head]
        key_weight = attention.k_proj.weight.unflatten(0, (-1, dim))[head]
        row_BR1 = targets.rows.clamp(min=0)[..., None]

        def picked(values: Tensor) -> Tensor:
            return values.gather(1, row_BR1.expand(-1, -1, values.shape[-1]))

        q_BNRD = F.linear(picked(x_BTH), query_weight).unflatten(-1, (group, dim)).transpose(1, 2)
        q_BNRD = rotate(attention.q_norm(q_BNRD), picked(cos_BTD)[:, None], picked(sin_BTD)[:, None])
        k_BTD = rotate(attention.k_norm(F.linear(x_BTH, key_weight)), cos_BTD, sin_BTD)
        scores_BNRT = (q_BNRD @ k_BTD[:, None].transpose(-1, -2)).float() / math.sqrt(dim)
        is_past = torch.arange(x_BTH.shape[1], device=x_BTH.device) <= row_BR1
        log_all_BNR = scores_BNRT.masked_fill(~is_past[:, None], -math.inf).logsumexp(-1)
        is_row = targets.rows >= 0
        # Padded rows have no target; allowed everything, their gradient is not NaN.
        is_allowed = targets.is_target | ~is_row[..., None]
        log_found_BNR = scores_BNRT.masked_fill(~is_allowed[:, None], -math.inf).logsumexp(-1)
        missed_BR = (log_all_BNR - log_found_BNR).mean(1) * is_row
        first_BR = targets.weights * (targets.weights > LATER_WEIGHT)
        found_BNR = (log_found_BNR - log_all_BNR).detach().exp()
        found = float((found_BNR.mean(1) * (targets.weights > LATER_WEIGHT)).sum() / first_BR.sum())
        return (missed_BR * targets.weights).sum() / targets.weights.sum(), found
