"""A model folder that appears whole or not at all.

    with new_folder(out, num_bytes) as partial:     write into `partial`, a hidden folder beside `out`
        ...                                         leaving without an error renames it to `out`

An error or Ctrl-C removes what was written. A process that is killed outright leaves the hidden folder behind, and
`out` still untouched.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from regard.errors import CapacityError, ConfigError
from regard.weights.stored import INDEX_FILE

_SIDE_SUFFIXES = (".json", ".jinja", ".txt")
_LICENSES = ("LICENSE", "NOTICE")


def check_new(out: Path) -> None:
    """Raise ConfigError unless a folder can appear at `out`: nothing there or an empty folder, in one that exists."""
    if out.is_dir() and any(out.iterdir()):
        raise ConfigError(f"{out} is not empty; give a folder that is new or empty")
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file; give a folder that is new or empty")
    if not out.resolve().parent.is_dir():
        raise ConfigError(f"{out}: the folder {out.resolve().parent} does not exist; make it first")


@contextmanager
def new_folder(out: Path, num_bytes: int) -> Iterator[Path]:
    """The folder to write to instead of `out`.

    Errors:  ConfigError if `out` is not new or cannot be written; CapacityError if `num_bytes` do not fit the disk.
    """
    check_new(out)
    out = out.resolve()
    free = shutil.disk_usage(out.parent).free
    if num_bytes > free:
        raise CapacityError(
            f"{out} needs {num_bytes / 1e9:.2f} GB and the disk has {free / 1e9:.2f} GB free; give a folder elsewhere"
        )
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        partial.mkdir()
        yield partial
        if out.exists():
            out.rmdir()
        partial.rename(out)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        if error.errno == errno.ENOSPC:
            raise CapacityError(f"the disk of {out} became full while writing; give a folder elsewhere") from error
        raise ConfigError(f"{out} cannot be written: {error.strerror or error}; give another folder") from error
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def copy_side_files(folder: Path, out: Path) -> None:
    """Copy what a model folder holds beside its weights, config.json and its index: tokenizer, template, licence."""
    for file in sorted(folder.iterdir()):
        is_side_file = file.suffix in _SIDE_SUFFIXES and file.name not in ("config.json", INDEX_FILE)
        if file.is_file() and (is_side_file or file.name.startswith(_LICENSES)):
            shutil.copyfile(file, out / file.name)
