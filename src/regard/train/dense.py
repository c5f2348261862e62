"""Dense supervision of the vision tower: what lies in each 16x16 cell (one visual token).

End to end training from scratch learns to read very slowly; a target in every cell is many times faster.
For every cell the heads predict, from the token the tower hands to the decoder:

    chars   the characters whose centre lies in the cell, in reading order, in SLOTS slots (0 = none)
    kind    the class of the smallest item that covers the cell's centre or lies inside the cell (0 = none)
    name    a hash class of the item's text attribute (a colour name for shapes; 0 = none)
    words   the tokens that spell that text, as a bag: the decoder finds a name by its tokens
    box     that item's box as x1, y1, x2, y2 in 0-1 of the picture
    digits  the first two of the three digits of these in 0-1000, which is how answers write them

The heads are thrown away after training. Shape letters: V cells, D width of a visual token.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regard.train.world.sample import DenseTruth
from regard.train.world.shapes import COLOURS

CELL_PX = 16
SLOTS = 6
WORDS = 16  # of an item's text
HUNDREDS, TENS = 11, 10  # classes: 1000 has ten hundreds
BOX_WEIGHT = 5.0  # of the mean error in 0-1, which is small where the classes' losses are about 1
_ACCENTS_AND_SIGNS = (
    "\u00e9\u00e8\u00ea\u00eb\u00e1\u00e0\u00e2\u00e4\u00e3\u00e5\u00ed\u00ec\u00ee\u00ef\u00f3\u00f2"
    "\u00f4\u00f6\u00f5\u00f8\u00fa\u00f9\u00fb\u00fc\u00e7\u00f1\u00df\u0142\u00c9\u00d6\u00dc\u00c4"
    "\u00c5\u0141\u017a\u0107\u00e3\u00f5\u20ac\u00a3\u00b0\u00b7\u2026\u2013\u201c\u201d\u2019\u2018"
    "\u2022\u00a9"
)
CHARS = "".join(map(chr, range(33, 127))) + _ACCENTS_AND_SIGNS
NUM_CHAR_CLASSES = len(CHARS) + 2  # 0 is empty, the last is any other character
_CHAR_CLASS = {c: i + 1 for i, c in enumerate(CHARS)}


@dataclass(frozen=True)
class DenseTargets:
    """Targets of V cells. Shapes: chars (V, SLOTS), kind (V,), name (V,), words (V, WORDS) int64; box (V, 4) float32.

    `words` is padded with -1.
    """

    chars: npt.NDArray[np.int64]
    kind: npt.NDArray[np.int64]
    name: npt.NDArray[np.int64]
    words: npt.NDArray[np.int64]
    box: npt.NDArray[np.float32]


def targets(
    truth: DenseTruth,
    size: tuple[int, int],
    cells: tuple[int, int],
    kinds: dict[str, int],
    spell: Callable[[str], Sequence[int]] = lambda _: (),
) -> DenseTargets:
    """Targets for a picture of `size` (width, height) px cut into `cells` (columns, rows).

    Only box, kind and chars whose place is inside the picture count; `kinds` maps class names to 1..K, and `spell` an
    item's text to its tokens.
    """
    (width, height), (columns, rows) = size, cells
    chars = np.zeros((rows, columns, SLOTS), dtype=np.int64)
    kind = np.zeros((rows, columns), dtype=np.int64)
    name = np.zeros((rows, columns), dtype=np.int64)
    words = np.full((rows, columns, WORDS), -1, dtype=np.int64)
    box = np.zeros((rows, columns, 4), dtype=np.float32)
    fill = np.zeros((rows, columns), dtype=np.int64)
    for char in sorted(truth.chars, key=lambda c: (round(c.y), c.x)):
        column, row = int(char.x / width * columns), int(char.y / height * rows)
        if 0 <= column < columns and 0 <= row < rows and fill[row, column] < SLOTS:
            chars[row, column, fill[row, column]] = _CHAR_CLASS.get(char.char, NUM_CHAR_CLASSES - 1)
            fill[row, column] += 1
    for item in sorted(truth.items, key=lambda i: -(i.box[2] - i.box[0]) * (i.box[3] - i.box[1])):
        x1, y1, x2, y2 = item.box
        c1, c2 = x1 / width * columns, x2 / width * columns
        r1, r2 = y1 / height * rows, y2 / height * rows
        # Every cell that the item covers by more than a third of the cell or of the item, per axis.
        cover_c = [c for c in range(columns) if min(c2, c + 1) - max(c1, c) > min(1, c2 - c1) / 3]
        cover_r = [r for r in range(rows) if min(r2, r + 1) - max(r1, r) > min(1, r2 - r1) / 3]
        if cover_c and cover_r:
            place = np.ix_(cover_r, cover_c)
            kind[place] = kinds[item.kind]
            name[place] = 1 + COLOURS.index(item.text) if item.text in COLOURS else 0
            spelled = spell(item.text)[:WORDS]
            words[place] = [*spelled, *[-1] * (WORDS - len(spelled))]
            box[place] = np.array((x1 / width, y1 / height, x2 / width, y2 / height), dtype=np.float32).clip(0, 1)
    return DenseTargets(
        chars.reshape(-1, SLOTS), kind.reshape(-1), name.reshape(-1), words.reshape(-1, WORDS), box.reshape(-1, 4)
    )


class DenseHeads(nn.Module):
    """One linear per target on top of the visual tokens."""

    def __init__(self, width: int, num_kinds: int, vocab_size: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.chars = nn.Linear(width, SLOTS * NUM_CHAR_CLASSES)
        self.kind = nn.Linear(width, num_kinds + 1)
        self.name = nn.Linear(width, len(COLOURS) + 1)
        self.words = nn.Linear(width, vocab_size)
        self.box = nn.Linear(width, 4)
        self.digits = nn.Linear(width, 4 * (HUNDREDS + TENS))

    def forward(self, embeds_VD: Tensor, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """Loss and the share of right characters and kinds. `batch` holds the stacked DenseTargets."""
        x = self.norm(embeds_VD)
        logits = self.chars(x).view(-1, NUM_CHAR_CLASSES).float()
        wanted = batch["chars"].view(-1)
        is_char = wanted > 0
        loss = F.cross_entropy(logits, wanted, reduction="none")
        # Empty slots are most of the slots; they count for little so that characters lead.
        weight = torch.where(is_char, 1.0, 0.1)
        num_chars = is_char.sum().clamp(min=1)
        char_loss = (loss * weight).sum() / weight.sum()
        has_item = batch["kind"] > 0
        num_items = has_item.sum().clamp(min=1)
        # Means over the cells that hold something: most cells hold nothing, and lines of text hold no item at all, so
        # that plain means teach to answer "nothing" and hardly anything else.
        kind_logits = self.kind(x).float()
        kind_losses = F.cross_entropy(kind_logits, batch["kind"], reduction="none")
        kind_loss = (kind_losses * has_item).sum() / num_items + 0.2 * kind_losses.mean()
        has_name = batch["name"] > 0
        num_names = has_name.sum().clamp(min=1)
        name_logits = self.name(x).float()
        name_loss = (F.cross_entropy(name_logits, batch["name"], reduction="none") * has_name).sum() / num_names
        has_words = batch["words"][:, 0] >= 0
        word_loss, words = _bags(self.words(x[has_words]).float(), batch["words"][has_words])
        box_error = (self.box(x).float() - batch["box"]).abs().sum(-1)
        box_loss = (box_error * has_item).sum() / num_items
        digit_loss, hundreds, tens = _digits(self.digits(x[has_item]).float(), batch["box"][has_item])
        right = (logits.argmax(-1) == wanted) & is_char
        report = {
            "chars": float(right.sum() / num_chars),
            "kind": float(((kind_logits.argmax(-1) == batch["kind"]) & has_item).sum() / num_items),
            "name": float(((name_logits.argmax(-1) == batch["name"]) & has_name).sum() / num_names),
            "words": words,
            "box": float(box_loss.detach() / 4),
            "hundreds": hundreds,
            "tens": tens,
        }
        of_items = kind_loss + name_loss + BOX_WEIGHT * box_loss + digit_loss
        return char_loss + word_loss + 0.5 * of_items, report


def _bags(logits_NV: Tensor, words_NW: Tensor) -> tuple[Tensor, float]:
    """Mean negative log-likelihood of a cell's words, and the share of them among as many likeliest ones."""
    is_word_NW = words_NW >= 0
    num_N1 = is_word_NW.sum(1, keepdim=True)
    loss_NW = -logits_NV.log_softmax(-1).gather(1, words_NW.clamp(min=0)) * is_word_NW / num_N1
    likeliest_NW = logits_NV.topk(min(WORDS, logits_NV.shape[1]), dim=1).indices
    is_chosen_NW = torch.arange(likeliest_NW.shape[1], device=num_N1.device) < num_N1
    found_NW = (words_NW[:, :, None] == likeliest_NW[:, None].where(is_chosen_NW[:, None], -2)).any(2)
    num = max(1, len(words_NW))
    return loss_NW.sum() / num, float((found_NW / num_N1).sum() / num)


def _digits(logits_NC: Tensor, box_N4: Tensor) -> tuple[Tensor, float, float]:
    """Loss of the boxes' digits, and the shares of right hundreds and tens (0 where no cell holds an item)."""
    hundreds_N4H, tens_N4T = logits_NC.view(-1, 4, HUNDREDS + TENS).split((HUNDREDS, TENS), dim=-1)
    value_N4 = (1000 * box_N4).round().long()
    wanted = (value_N4 // 100, value_N4 // 10 % 10)
    num = max(1, value_N4.numel())
    losses = [
        F.cross_entropy(logits.flatten(0, 1), digit.flatten(), reduction="sum") / num
        for logits, digit in zip((hundreds_N4H, tens_N4T), wanted, strict=True)
    ]
    right = [
        float((logits.argmax(-1) == digit).sum() / num)
        for logits, digit in zip((hundreds_N4H, tens_N4T), wanted, strict=True)
    ]
    return losses[0] + losses[1], right[0], right[1]
