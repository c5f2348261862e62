"""The store keeps what it promised, and no more than it may."""

from __future__ import annotations

import pytest

from regard.server.errors import HttpError
from regard.server.responses_store import ResponseStore, Stored


def stored(name: str, num_bytes: int = 10) -> Stored:
    return Stored({"id": name}, (), (), (), num_bytes)


def is_there(store: ResponseStore, name: str) -> bool:
    try:
        store.get(name)
    except HttpError:
        return False
    return True


def test_the_oldest_make_room_by_number_and_by_size() -> None:
    store = ResponseStore(max_responses=3, max_bytes=100)
    for name in "abcd":
        store.put(stored(name))
    assert [is_there(store, name) for name in "abcd"] == [False, True, True, True]
    store.put(stored("e", 85))
    assert [is_there(store, name) for name in "bcde"] == [False, False, True, True]


def test_what_is_too_large_alone_is_not_kept_and_pushes_nobody_out() -> None:
    store = ResponseStore(max_responses=3, max_bytes=100)
    store.put(stored("a"))
    store.put(stored("b", 101))
    assert is_there(store, "a") and not is_there(store, "b")


def test_a_deleted_response_is_gone_and_its_room_is_free() -> None:
    store = ResponseStore(max_responses=3, max_bytes=100)
    store.put(stored("a", 60))
    store.delete("a")
    store.put(stored("b", 60))
    store.put(stored("c", 40))
    assert [is_there(store, name) for name in "abc"] == [False, True, True]
    with pytest.raises(HttpError, match="there is no stored response 'a': it was not stored, was deleted, or made"):
        store.delete("a")
