"""Attention supervision: heads of the decoder that look at the cells an answer is about.

To answer "where is Save?" the decoder has to find, among hundreds of visual tokens, those that show the name, and then
write where they are. From the written digits alone a small model learns the finding very slowly: until it finds, the
digits say nothing about how. Reading long texts is alike: it has to find the next character first. So groups of heads
in three layers are told where to look:

    seen     layer 1, at every token that names a place, in the question (or in the action's description): the cells
             that the place covers by a third
    asked    layer 2, at the first token of a box or a point: the tokens that name it
    point    layer 3, at every token that predicts a digit of a box or a point: the cells that it covers by a third
    read     layer 3, at every token that predicts a character of a text that occurs once in the picture: the cell
             it lies in
    loss     -log(sum of the attention on these cells or words)

So a name is matched with the picture piece by piece, where the letters before each piece are at hand; characters of the
whole name at once are not enough to tell its cells from others.

The first token of a place leads (LATER_WEIGHT): once its first digit is given, the rest is found from that digit, and
taught alike, such tokens hide that the place was not found from the question.

The heads stay the model's own; nothing is added to it. Leaves out samples with several pictures, and clips.
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
from regard.train.world.sample import DenseTruth

# Layer (in a shallower model the last one) and key-value head.
HEADS = {"seen": (1, 1), "asked": (2, 0), "point": (3, 0), "read": (3, 1)}
ROWS = 16  # rows are padded to multiples of it
LATER_WEIGHT = 0.03
# The family writes both in 0-1000 of the picture.
COORDINATES = re.compile(r'"(?:bbox_2d|point_2d|coordinate)": \[(\d+(?:, \d+){3}|\d+, \d+)\]')
_LABEL = re.compile(r', "label": "([^"]+)"')
_ACTION = re.compile(r'Action: "\w+ ([^"]+)"')


@dataclass(frozen=True)
class Place:
    """Tokens first..last-1 predict what is said about `box`, in 0-1 of the picture; `kind` is "point" or "read".

    `asked` are the indices of the tokens that name it.
    """

    kind: str
    first: int
    last: int
    box: tuple[float, float, float, float]
    asked: tuple[int, ...] = ()


@dataclass(frozen=True)
class GroundingTargets:
    """Shapes: rows (B, R) int64, padded with -1; weights (B, R) float32; is_target (B, R, T) bool."""

    rows: Tensor
    weights: Tensor
    is_target: Tensor


def box_of(numbers: str) -> tuple[float, float, float, float]:
    """`120, 40, 310, 88` or `120, 40` in 0-1."""
    values = [int(number) / 1000 for number in numbers.split(", ")]
    x1, y1, x2, y2 = values if len(values) == 4 else (*values, *values)
    return x1, y1, x2, y2


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
            yield Place("read", first, first + count, (x, y, x, y))
            at += 1
        first += count


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


def grounding_targets(
    places: Sequence[Sequence[Place]],
    grids: Sequence[Sequence[tuple[int, int, int]]],
    visual_mask: Tensor,
    *,
    merge: int,
) -> dict[str, GroundingTargets]:
    """Rows and targets of a batch, by kind; no entry for a kind that no sample with one still picture has."""
    still = [
        list(of_sample) if len(sizes) == 1 and sizes[0][0] == 1 else []
        for of_sample, sizes in zip(places, grids, strict=True)
    ]
    made = {}
    for kind in HEADS:
        # Of every sample: first and last token that is told, and the tokens to look at.
        told = [
            [span for place in of_sample for span in _spans(kind, place, grid[0], mask.nonzero()[:, 0], merge)]
            for of_sample, grid, mask in zip(still, grids, visual_mask, strict=True)
        ]
        longest = max(sum(last - first for first, last, _ in of_sample) for of_sample in told)
        if longest == 0:
            continue
        longest += -longest % ROWS
        rows = torch.full((len(told), longest), -1)
        weights = torch.zeros(len(told), longest)
        is_target = torch.zeros(len(told), longest, visual_mask.shape[1], dtype=torch.bool)
        for index, of_sample in enumerate(told):
            at = 0
            for first, last, looked_at in of_sample:
                count = last - first
                rows[index, at : at + count] = torch.arange(first, last)
                weights[index, at : at + count] = LATER_WEIGHT
                weights[index, at] = 1.0
                is_target[index, at : at + count, looked_at] = True
                at += count
        made[kind] = GroundingTargets(rows, weights, is_target)
    return made


def _spans(
    kind: str, place: Place, grid: tuple[int, int, int], visual: Tensor, merge: int
) -> list[tuple[int, int, Tensor]]:
    """First and last token that `kind` of head is told about a place, and the tokens to look at."""
    if kind == "asked":
        return [(place.first, place.first + 1, torch.tensor(place.asked))] if place.asked else []
    cells = visual[torch.from_numpy(covered_cells(place.box, grid[1] // merge, grid[2] // merge))]
    if kind == "seen":
        return [(token, token + 1, cells) for token in place.asked]
    return [(place.first, place.last, cells)] if place.kind == kind else []


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
        is_first = targets.weights == 1
        found_BNR = (log_found_BNR - log_all_BNR).detach().exp()
        found = float((found_BNR.mean(1) * is_first).sum() / is_first.sum())
        return (missed_BR * targets.weights).sum() / targets.weights.sum(), found
