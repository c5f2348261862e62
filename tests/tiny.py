"""The names by which tests know the random checkpoint that `regard parity` makes; see there."""

from __future__ import annotations

from regard.parity.random_checkpoint import (
    ID_BY_TOKEN,
    NUM_BYTES,
    NUM_TOKENS,
    TEMPLATE,
    THINKING_TEMPLATE,
    VOCAB_SIZE,
)
from regard.parity.random_checkpoint import random_config as tiny_config
from regard.parity.random_checkpoint import write_random_checkpoint as tiny_folder

__all__ = [
    "ID_BY_TOKEN",
    "NUM_BYTES",
    "NUM_TOKENS",
    "TEMPLATE",
    "THINKING_TEMPLATE",
    "VOCAB_SIZE",
    "tiny_config",
    "tiny_folder",
]
