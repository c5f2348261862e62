"""Who computes how many tokens in the next step.

A step has room for `max_tokens_per_step` tokens. First every decoding sequence gets its newest token (and what
speculation proposes); what is left is shared evenly among the sequences that still compute their prompts, so that a
short prompt does not wait for a long one. A prompt goes only as far as the features of its pictures are there.

    waiting  --admit-->  running  --finish-->  gone
       ^------preempt------'          the youngest gives its blocks back and computes them again later

A sequence is admitted when its whole prompt finds room, the oldest first. The blocks that the prefix cache already
has are shared and not computed. Blocks for new tokens are taken as they come; when none is left, the youngest running
sequence is preempted.

It does not run anything: it returns `Chunk`s and keeps the books.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from regard.engine.blocks import BlockPool
from regard.engine.request import Sequence, Status


@dataclass(frozen=True)
class Chunk:
    """Tokens [start, start + count) of a sequence; `proposed` of them, at the end, are only guesses."""

    sequence: Sequence
    start: int
    count: int
    proposed: tuple[int, ...] = ()

    @property
    def is_last(self) -> bool:
        """Whether the chunk reaches the newest token, so that its logits are wanted."""
        return self.start + self.count - len(self.proposed) == len(self.sequence.token_ids)


class Scheduler:
    """Waiting and running sequences, and the blocks they hold."""

    def __init__(self, pool: BlockPool, *, max_tokens_per_step: int, max_running: int, use_prefix_cache: bool) -> None:
        self.pool = pool
        self.max_tokens_per_step, self.max_running = max_tokens_per_step, max_running
        self.use_prefix_cache = use_prefix_cache
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []  # the oldest first

    def add(self, sequence: Sequence) -> None:
        """Queue a new sequence."""
        self.waiting.append(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Forget a sequence in any state and give its blocks back."""
        if sequence in self.running:
            self.running.remove(sequence)
        elif sequence in self.waiting:
            self.waiting.remove(sequence)
        self._release(sequence)
        sequence.features.clear()
        sequence.status = Status.FINISHED

    def admit(self) -> None:
        """Move waiting sequences to running while their prompts find room."""
        held_back: list[Sequence] = []
        while self.waiting and len(self.running) < self.max_running:
            sequence = self.waiting.popleft()
            leader = sequence.leader
            if leader is not None and leader.status is not Status.FINISHED and not leader.num_output:
                held_back.append(sequence)  # the leader's prompt will be in the prefix cache
                continue
            cached = self._cached_blocks(sequence)
            num_blocks = -(-len(sequence.token_ids) // self.pool.block_size) - len(cached)
            num_taken = sum(self.pool.num_users(block) == 0 for block in cached)
            # One block for each running sequence stays free, so that admitting does not at once preempt.
            if num_blocks + num_taken + len(self.running) > self.pool.num_available and self.running:
                held_back.append(sequence)
                break
            for block in cached:
                self.pool.share(block)
            sequence.blocks = list(cached)
            sequence.num_computed = len(cached) * self.pool.block_size
            if sequence.num_preempted == 0:
                sequence.num_cached = sequence.num_computed
            sequence.status = Status.RUNNING
            self.running.append(sequence)
        self.waiting.extendleft(reversed(held_back))

    def schedule(self, proposals: dict[int, tuple[int, ...]]) -> list[Chunk]:
        """The chunks of the next step. `proposals` are speculated tokens by sequence number."""
        chunks: list[Chunk] = []
        room = self.max_tokens_per_step
        for sequence in [s for s in self.running if s.is_decoding]:
            if sequence.status is not Status.RUNNING or room < 1:
                continue  # preempted a moment ago, or the step is full
            proposed = proposals.get(sequence.number, ())[: room - 1]
            if self._reserve(sequence, len(sequence.token_ids) + len(proposed)):
                chunks.append(Chunk(sequence, sequence.num_computed, 1 + len(proposed), proposed))
                room -= 1 + len(proposed)
        prompts = [s for s in self.running if not s.is_decoding and self._reach(s) > s.num_computed]
        # The shortest first: what it does not use of its share, the longer ones get.
        prompts.sort(key=lambda s: self._reach(s) - s.num_computed)
        for index, sequence in enumerate(prompts):
            if sequence.status is not Status.RUNNING:
                continue
            share = room // (len(prompts) - index)
            count = min(self._reach(sequence) - sequence.num_computed, max(share, min(room, self.pool.block_size)))
            if count > 0 and self._reserve(sequence, sequence.num_computed + count):
                chunks.append(Chunk(sequence, sequence.num_computed, count))
                room -= count
        return [chunk for chunk in chunks if chunk.sequence.status is Status.RUNNING]

    def can_go_on(self, sequence: Sequence) -> bool:
        """Whether the next step could compute something for it."""
        return sequence.is_decoding or self._reach(sequence) > sequence.num_computed

    def advance(self, sequence: Sequence, num_computed: int) -> None:
        """Note that the cache now holds the first `num_computed` tokens, and name the blocks that are full."""
        sequence.num_computed = num_computed
        if not self.use_prefix_cache:
            return
        size = self.pool.block_size
        for index in range(len(sequence.keys), num_computed // size):
            sequence.keys.append(sequence.block_key(index, size))
            self.pool.name(sequence.blocks[index], sequence.keys[index])

    def preempt(self, sequence: Sequence) -> None:
        """Take a running sequence's blocks; it will compute its tokens again, what it has written stays."""
        self.running.remove(sequence)
        self._release(sequence)
        sequence.num_computed = 0
        sequence.num_preempted += 1
        sequence.status = Status.WAITING
        self.waiting.appendleft(sequence)

    def _reserve(self, sequence: Sequence, num_tokens: int) -> bool:
        """Get blocks for `num_tokens` tokens, preempting the youngest others if need be; False if it was this one."""
        while (num_missing := -(-num_tokens // self.pool.block_size) - len(sequence.blocks)) > 0:
            block = self.pool.allocate(sequence.blocks[-1] if sequence.blocks else None, num_missing)
            if block is not None:
                sequence.blocks.append(block)
                continue
            youngest = self.running[-1]
            self.preempt(youngest)
            if youngest is sequence:
                return False
        return True

    def _reach(self, sequence: Sequence) -> int:
        """How far the tokens can be computed now: up to the first visual token without features."""
        missing = sequence.missing_units(len(sequence.token_ids))
        if not missing:
            return len(sequence.token_ids)
        return max(sequence.num_computed, sequence.visual.starts[missing[0]])

    def _cached_blocks(self, sequence: Sequence) -> list[int]:
        """Blocks of the longest beginning that the prefix cache has; the last token is always computed."""
        if not self.use_prefix_cache:
            return []
        size = self.pool.block_size
        blocks: list[int] = []
        sequence.keys.clear()
        for index in range((len(sequence.token_ids) - 1) // size):
            key = sequence.block_key(index, size)
            block = self.pool.find(key)
            if block is None:
                break
            sequence.keys.append(key)
            blocks.append(block)
        return blocks

    def _release(self, sequence: Sequence) -> None:
        # The last block first: when blocks are reused, the beginning of a prompt lives longest.
        for block in reversed(sequence.blocks):
            self.pool.release(block)
        sequence.blocks = []
        sequence.keys.clear()
