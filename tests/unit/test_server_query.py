"""Options of an address are read by name, and nothing of them is passed over."""

from __future__ import annotations

import pytest

pytest.importorskip("fastapi", reason="the server needs the extra 'server'")

from regard.errors import InputError
from regard.server.query import Query


def test_options_are_read_by_name() -> None:
    query = Query([("limit", "7"), ("order", "asc"), ("after", "")])
    assert (query.whole("limit", 1, 9, default=2), query.choice("order", "desc", "asc")) == (7, "asc")
    assert (query.text("after"), query.text("after"), query.whole("limit", 1, 9, default=2)) == ("", None, 2)
    query.end()


@pytest.mark.parametrize("value", ["0", "10", "-1", "1.0", "", " 5", "\u0665", "9" * 5000, "1e0", "0x5"])
def test_a_number_is_whole_and_within_its_bounds(value: str) -> None:
    with pytest.raises(InputError, match="limit is '.*; it must be a whole number from 1 to 9"):
        Query([("limit", value)]).whole("limit", 1, 9, default=2)


def test_what_stands_twice_or_is_unknown_is_refused() -> None:
    with pytest.raises(InputError, match="'limit' stands twice in the address; give it once"):
        Query([("limit", "1"), ("limit", "2")])
    with pytest.raises(InputError, match="the address has the option 'colour', which is not supported; leave it out"):
        Query([("colour", "red")]).end()
