"""Blocks of the paged cache: who uses which, and which hold something that may be used again.

A block is room for `block_size` tokens in all layers. It is in one of three states:

    used      by one or more sequences (the count of its users)
    cached    by none, but its content has a key: the prefix cache may hand it out again, the oldest goes first
    free      by none, and its content means nothing

Blocks next to each other are read as one run (`kernels/paged_attention.py`), so a sequence grows into the next block
while it can, and otherwise goes on in the first gap that has room for what it needs now, with some room to grow for it
and for its neighbour; without such a gap in the middle of the widest. Where memory is taken only as it is written (on
a CPU), blocks that were never written cost nothing yet: the first gaps are used again and again, no block is begun that
was never used while the begun ones are more than SPREAD times the occupied ones (and `max_cached` more), and at most
`max_cached` blocks are kept for the prefix cache. So a server's memory stops growing.

It does not know tokens, requests or tensors.
"""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence

_USED, _FREE = b"\0"[0], b"\1"[0]
_GAP = re.compile(b"\1+")
_ROOM = 8  # blocks that a sequence should be able to grow before it must go on elsewhere
SPREAD = 1.5


class BlockPool:
    """Counts users, finds blocks by the key of their content, and keeps runs long."""

    def __init__(self, num_blocks: int, block_size: int, max_cached: int | None = None) -> None:
        self.num_blocks, self.block_size = num_blocks, block_size
        self._max_cached = num_blocks if max_cached is None else max_cached
        self._num_users = [0] * num_blocks
        self._key_of: list[bytes | None] = [None] * num_blocks
        self._block_of: dict[bytes, int] = {}
        self._cached: OrderedDict[int, None] = OrderedDict()  # no users, oldest first
        self._free = bytearray([_FREE]) * num_blocks
        self._num_free = num_blocks
        self._num_begun = 0  # blocks up to the highest that was ever used

    @property
    def num_available(self) -> int:
        """Blocks that `allocate` can still hand out."""
        return self._num_free + len(self._cached)

    def num_users(self, block: int) -> int:
        """How many sequences use a block."""
        return self._num_users[block]

    def allocate(self, after: int | None = None, num_wanted: int = 1) -> int | None:
        """A block with one user, if possible the one that follows `after`; None if all are used.

        `num_wanted` blocks, this one among them, will be asked for at once.
        """
        if after is not None and after + 1 < self.num_blocks and self._free[after + 1] == _FREE:
            block = after + 1
        elif self._num_free:
            block = self._free_block(num_wanted)
        elif self._cached:
            block, _ = self._cached.popitem(last=False)
            self._forget(block)
            self._num_users[block] = 1
            return block
        else:
            return None
        self._free[block] = _USED
        self._num_free -= 1
        self._num_begun = max(self._num_begun, block + 1)
        self._num_users[block] = 1
        return block

    def _free_block(self, num_wanted: int) -> int:
        """Where to go on: in the first gap with room for `num_wanted` blocks and more, else inside the widest."""
        num_occupied = self.num_blocks - self._num_free
        is_spread = self._num_begun > SPREAD * num_occupied + self._max_cached
        widest = (0, 0)
        for match in _GAP.finditer(self._free, 0, self._num_begun if is_spread else self.num_blocks):
            start, end = match.span()
            begin = start if start == 0 else start + _ROOM  # the sequence in front of the gap may grow
            if end - begin >= num_wanted + _ROOM:
                return begin
            if end - start > widest[1] - widest[0]:
                widest = start, end
        start, end = widest
        return start if start == 0 else (start + end) // 2

    def share(self, block: int) -> None:
        """One more user of a block that is used or cached."""
        if self._num_users[block] == 0:
            del self._cached[block]
        self._num_users[block] += 1

    def release(self, block: int) -> None:
        """One user less. Without users a block stays cached if its content has a key, or is free."""
        self._num_users[block] -= 1
        if self._num_users[block]:
            return
        if self._key_of[block] is not None:
            self._cached[block] = None
            if len(self._cached) <= self._max_cached:
                return
            block, _ = self._cached.popitem(last=False)
            self._forget(block)
        self._free[block] = _FREE
        self._num_free += 1

    def find(self, key: bytes) -> int | None:
        """The block whose content has this key."""
        return self._block_of.get(key)

    def name(self, block: int, key: bytes) -> None:
        """Give a full block's content a key; if another block has it already, this one stays without."""
        if key not in self._block_of and self._key_of[block] is None:
            self._block_of[key] = block
            self._key_of[block] = key

    def _forget(self, block: int) -> None:
        key = self._key_of[block]
        if key is not None:
            del self._block_of[key]
            self._key_of[block] = None

    def check_integrity(self, tables: Iterable[Sequence[int]]) -> None:
        """Compare all counts with the block tables of the live sequences.

        Errors: AssertionError naming the first block whose books are wrong.
        """
        users = Counter(block for table in tables for block in table)
        for block in range(self.num_blocks):
            count, key = self._num_users[block], self._key_of[block]
            assert count == users[block], f"block {block} counts {count} users, {users[block]} tables name it"
            is_free, is_cached = self._free[block] == _FREE, block in self._cached
            assert is_free + is_cached + (count > 0) == 1, f"block {block}: free {is_free}, cached {is_cached}, {count}"
            assert not is_cached or key is not None, f"block {block} is cached without a key"
            assert not is_free or key is None, f"block {block} is free and has a key"
            assert key is None or self._block_of[key] == block, f"block {block} and its key disagree"
        assert self._num_free == self._free.count(_FREE), "the number of free blocks is wrong"
        assert len(self._block_of) == sum(key is not None for key in self._key_of), "keys without a block"
