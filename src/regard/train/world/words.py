"""Texts to render: words, labels, numbers, names, codes; and which words are kept for tests.

The word list is Debian's `wamerican` (/usr/share/dict/words); a word is held out when a hash of it says so,
so the split needs no file and never changes. Mixed in are interface words, accented Latin, digits and
random strings, so that reading cannot be replaced by guessing.
"""

from __future__ import annotations

import functools
import zlib
from pathlib import Path

import numpy as np

from regard.errors import MissingDependencyError

WORD_LIST = Path("/usr/share/dict/words")
HELD_OUT_SHARE = 0.1

_UI_WORDS = """
    Save Cancel OK Apply Close Open Delete Edit Copy Paste Cut Undo Redo Send Reply Forward Search Find Next Back
    Previous Continue Submit Reset Login Logout Register Settings Options Preferences Account Profile Password
    Username Email Name Address Phone City Country Language Theme Dark Light Sound Volume Brightness Network Wi-Fi
    Bluetooth Privacy Security Notifications Updates About Help Home Menu File View Insert Format Tools Window New
    Print Export Import Download Upload Share Like Follow Subscribe Buy Cart Checkout Pay Price Total Order Status
    Date Time Today Yesterday Week Month Year Inbox Sent Drafts Spam Trash Archive Folder Documents Pictures Music
    Videos Start Stop Pause Play Record Refresh Retry Yes No More Less Show Hide Enable Disable On Off Add Remove
"""
_ACCENTED = """
    caf\u00e9 na\u00efve \u00fcber sch\u00f6n Gr\u00f6\u00dfe gar\u00e7on se\u00f1or pi\u00f1ata d\u00e9j\u00e0
    cr\u00e8me br\u00fbl\u00e9e fa\u00e7ade Z\u00fcrich M\u00e1laga S\u00e3o Jo\u00e3o \u0141\u00f3d\u017a
"""
UI_WORDS = tuple(_UI_WORDS.split())
ACCENTED = tuple(_ACCENTED.split())
ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
SYMBOLS = "!#$%&'()*+,-./:;<=>?@[]_{}|~\"^\\`"


def is_held_out(word: str) -> bool:
    """Whether a word belongs to the test split (one in ten, by hash of its lower case)."""
    return zlib.crc32(word.lower().encode()) % 1000 < 1000 * HELD_OUT_SHARE


@functools.cache
def word_list(held_out: bool) -> tuple[str, ...]:
    """Plain words of 2 to 12 letters from the chosen split."""
    if not WORD_LIST.exists():
        raise MissingDependencyError(f"{WORD_LIST} is missing; install Debian's 'wamerican' to render texts")
    words = WORD_LIST.read_text(encoding="utf-8").split()
    return tuple(w for w in words if 2 <= len(w) <= 12 and w.isalpha() and is_held_out(w) == held_out)


def random_word(rng: np.random.Generator, *, held_out: bool) -> str:
    """One word in a random letter case."""
    words = word_list(held_out)
    word = words[int(rng.integers(len(words)))]
    style = rng.random()
    if style < 0.15:
        return word.upper()
    return word.capitalize() if style < 0.45 else word


def random_number(rng: np.random.Generator) -> str:
    """An amount, a time, a date, a percentage, a version or a phone-like number."""
    n = int(rng.integers(0, 10000))
    pick = int(rng.integers(9))
    a, b, c = (int(v) for v in rng.integers(0, 60, 3))
    forms = (
        str(n),
        f"{n / 100:.2f}",
        f"${n / 100:.2f}",
        f"{b % 24:02d}:{c:02d}",
        f"{1 + a % 28:02d}.{1 + b % 12:02d}.20{c:02d}",
        f"{n % 101}%",
        f"v{a % 10}.{b % 20}.{c}",
        f"{n:05d}-{a:02d}",
        f"20{c:02d}-{1 + b % 12:02d}-{1 + a % 28:02d}",
    )
    return forms[pick]


def random_string(rng: np.random.Generator, length: int) -> str:
    """Random letters and digits, now and then a symbol; no meaning to lean on."""
    letters = ALPHABET + SYMBOLS if rng.random() < 0.3 else ALPHABET
    return "".join(letters[int(i)] for i in rng.integers(0, len(letters), length))


def short_text(rng: np.random.Generator, max_chars: int, *, held_out: bool) -> str:
    """A text of at most `max_chars` characters as found on screens and papers."""
    pieces: list[str] = []
    while True:
        kind = rng.random()
        if kind < 0.55:
            piece = random_word(rng, held_out=held_out)
        elif kind < 0.70:
            piece = UI_WORDS[int(rng.integers(len(UI_WORDS)))]
        elif kind < 0.84:
            piece = random_number(rng)
        elif kind < 0.97:
            piece = random_string(rng, int(rng.integers(2, 9)))
        else:
            piece = ACCENTED[int(rng.integers(len(ACCENTED)))]
        if kind < 0.70 and rng.random() < 0.06:
            piece += ".,:;!?"[int(rng.integers(6))]
        if len(" ".join([*pieces, piece])) > max_chars:
            break
        pieces.append(piece)
        if rng.random() < 0.35:
            break
    return " ".join(pieces) if pieces else random_string(rng, int(rng.integers(1, max_chars + 1)))
