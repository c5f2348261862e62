"""The block pool's books are right whatever is done, and runs stay long."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.engine.blocks import SPREAD, BlockPool
from regard.engine.paged_cache import slot_runs


def test_a_sequence_grows_into_the_next_block() -> None:
    pool = BlockPool(8, 16)
    first = pool.allocate()
    assert first is not None
    assert [pool.allocate(after=first), pool.allocate(after=first + 1)] == [first + 1, first + 2]


def test_sequences_that_grow_in_turns_stay_in_one_run_each() -> None:
    pool = BlockPool(64, 16)
    tables: list[list[int]] = [[], [], [], []]
    for _ in range(8):
        for table in tables:
            block = pool.allocate(after=table[-1] if table else None)
            assert block is not None
            table.append(block)
    assert [len(slot_runs(table, 128, 16)) for table in tables] == [1, 1, 1, 1]


def test_a_long_prompt_among_short_ones_is_one_run() -> None:
    pool = BlockPool(1000, 16)
    tables: list[list[int]] = []
    for number in range(20):
        block = pool.allocate(num_wanted=2)
        assert block is not None
        tables.append([block])
        if number % 2:
            pool.release(tables.pop()[0])
    table: list[int] = []
    for missing in range(100, 0, -1):
        block = pool.allocate(table[-1] if table else None, missing)
        assert block is not None
        table.append(block)
    assert len(slot_runs(table, 1600, 16)) == 1
    pool.check_integrity([*tables, table])


def test_when_all_blocks_are_used_there_is_none() -> None:
    pool = BlockPool(2, 16)
    assert pool.allocate() is not None and pool.allocate() is not None
    assert pool.allocate() is None and pool.num_available == 0


def test_a_named_block_is_found_after_its_user_left() -> None:
    pool = BlockPool(2, 16)
    block = pool.allocate()
    assert block is not None
    pool.name(block, b"content")
    pool.release(block)
    assert pool.find(b"content") == block
    pool.share(block)
    pool.check_integrity([[block]])


def test_the_block_released_first_is_given_away_first() -> None:
    pool = BlockPool(3, 16)
    blocks = [pool.allocate() for _ in range(3)]
    order = [1, 0, 2]
    for i in order:
        block = blocks[i]
        assert block is not None
        pool.name(block, bytes([i]))
        pool.release(block)
    assert [pool.allocate(), pool.allocate()] == [blocks[1], blocks[0]]
    assert pool.find(bytes([2])) == blocks[2] and pool.find(bytes([1])) is None


def test_free_blocks_are_used_before_cached_ones() -> None:
    pool = BlockPool(2, 16)
    cached = pool.allocate()
    assert cached is not None
    pool.name(cached, b"x")
    pool.release(cached)
    assert pool.allocate() != cached


def test_memory_that_was_never_written_is_left_alone_while_there_is_room() -> None:
    """A server that ran for hours had touched all of its cache: each new sequence began in the middle of nowhere."""
    pool, touched = BlockPool(100_000, 16, max_cached=200), set()
    for number in range(2000):
        table: list[int] = []
        for _ in range(5):
            block = pool.allocate(after=table[-1] if table else None)
            assert block is not None
            table.append(block)
            pool.name(block, f"{number}, {block}".encode())
        touched |= set(table)
        for block in table:
            pool.release(block)
    pool.check_integrity([])
    assert len(touched) < 1200


def test_sequences_that_come_and_go_do_not_begin_ever_more_blocks() -> None:
    """What a busy server's memory does in hours: lengths differ, so that gaps never fit exactly."""
    draw = random.Random(0)
    pool = BlockPool(20_000, 16, max_cached=32)
    tables: list[list[int]] = []
    most_occupied = 0
    begun = 0
    for number in range(4000):
        table: list[int] = []
        wanted = draw.choice((1, 2, 5, 30))
        for rest in range(wanted, 0, -1):
            block = pool.allocate(table[-1] if table else None, rest)
            assert block is not None
            table.append(block)
        for index, block in enumerate(table):
            pool.name(block, f"{number} {index}".encode())
        tables.append(table)
        most_occupied = max(most_occupied, pool.num_blocks - pool.num_available + 32)
        begun = max(begun, *table)
        if len(tables) > 40:
            for block in tables.pop(draw.randrange(len(tables))):
                pool.release(block)
    assert begun <= SPREAD * most_occupied + 32 + 2 * 30  # the last two may have grown


def test_the_oldest_content_goes_when_too_much_is_kept() -> None:
    pool = BlockPool(8, 16, max_cached=2)
    blocks = [pool.allocate() for _ in range(4)]
    for number, block in enumerate(blocks):
        assert block is not None
        pool.name(block, bytes([number]))
        pool.release(block)
    assert [pool.find(bytes([number])) for number in range(4)] == [None, None, *blocks[2:]]
    pool.check_integrity([])


def test_wrong_books_are_noticed() -> None:
    pool = BlockPool(2, 16)
    block = pool.allocate()
    assert block is not None
    with pytest.raises(AssertionError, match="counts 1 users, 0 tables"):
        pool.check_integrity([])
    with pytest.raises(AssertionError, match="counts 1 users, 2 tables"):
        pool.check_integrity([[block], [block]])


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 12))
def test_the_books_are_right_after_any_sequence_of_operations(seed: int, num_blocks: int) -> None:
    rng = random.Random(seed)
    pool, tables, keys = (
        BlockPool(num_blocks, 4, rng.choice([None, 0, 2])),
        [[] for _ in range(3)],
        [bytes([i]) for i in range(6)],
    )
    for _ in range(120):
        table, action = rng.choice(tables), rng.randrange(4)
        if action == 0:
            block = pool.allocate(after=table[-1] if table else None)
            if block is not None:
                table.append(block)
        elif action == 1 and table:
            pool.release(table.pop(rng.randrange(len(table))))
        elif action == 2 and table:
            pool.name(rng.choice(table), rng.choice(keys))
        elif action == 3:
            block = pool.find(rng.choice(keys))
            if block is not None:
                pool.share(block)
                table.append(block)
        pool.check_integrity(tables)
        assert pool.num_available == num_blocks - len({block for table in tables for block in table})


def test_runs_join_neighbours_and_end_inside_a_block() -> None:
    assert slot_runs([4, 5, 9], 40, 16) == ((64, 32), (144, 8))
    assert slot_runs([3], 1, 16) == ((48, 1),)
    assert slot_runs([], 0, 16) == ()
