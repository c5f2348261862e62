"""What the commands share: sizes as people write them."""

from __future__ import annotations

import pytest

from regard.cli.main import run
from regard.cli.terminal import parse_size
from regard.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "num_bytes"),
    [("6GiB", 6 * 1024**3), ("900 MB", 900_000_000), ("1.5g", None), ("6e9", 6 * 10**9), ("123", 123), ("2kib", 2048)],
)
def test_sizes_are_understood_as_people_write_them(text: str, num_bytes: int | None) -> None:
    if num_bytes is None:
        with pytest.raises(ConfigError, match="is not understood; write it as 6GiB"):
            parse_size(text)
    else:
        assert parse_size(text) == num_bytes


@pytest.mark.parametrize("text", ["", "GiB", "-1GiB", "1..2MB", "6 elephants", "nan"])
def test_what_is_no_size_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(ConfigError, match="is not understood"):
        parse_size(text)


def test_a_model_that_does_not_fit_into_max_memory_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ask", "Hello?", "--max-memory", "1MB"]) == 1
    assert "max_memory" in capsys.readouterr().err
